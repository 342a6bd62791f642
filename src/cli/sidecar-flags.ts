/** The flags of `weft sidecar`, which `weft run` shares, and how they become `SidecarOptions`. */
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { formatAddress, type HostPort, isSocketPath, type LocalAddress } from '../model/host-port.ts';
import { limits } from '../model/limits.ts';
import type { HttpCore, SidecarOptions, UpstreamListener } from '../sidecar/options.ts';
import {
  collectLabel,
  collectUpstream,
  isLoopback,
  parseHost,
  parseListenAddress,
  parseLocalListenAddress,
  parseServerUrls,
  parseServiceName,
  parseSocketMode,
  parseWait,
  parseZone,
} from './flag-values.ts';
import { collectLimit, type GivenLimit, limitFlagHelp, listenerLimitsOf } from './limit-flag.ts';
import {
  forwardedOption,
  type ListenerPolicyFlags,
  listenerPoliciesOf,
  pathsOption,
  viaOption,
  xForwardedOption,
} from './listener-policies.ts';
import { usageError } from './terminal.ts';

/** What commander hands over, by the names it derives from the flags. */
export interface SidecarFlags extends ListenerPolicyFlags {
  readonly service: { readonly name: string; readonly namespace: string };
  readonly app?: LocalAddress;
  readonly outbound: LocalAddress;
  readonly outboundMode?: number;
  readonly outboundHttp: HttpCore;
  readonly inbound?: HostPort;
  readonly inboundHttp: HttpCore;
  readonly link?: HostPort;
  readonly insecureLink?: true;
  readonly joinTokenFile?: string;
  readonly identityDir?: string;
  readonly admin: HostPort;
  readonly controlPlane?: readonly string[];
  readonly config?: string;
  readonly stateDir?: string;
  readonly advertise?: string;
  readonly upstream?: readonly UpstreamListener[];
  readonly zone?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly limit?: readonly GivenLimit[];
  readonly accessLog?: true;
  readonly drainTimeout: number;
  readonly loops: number;
}

const loopback = (port: number): HostPort => ({ host: '127.0.0.1', port });

/** Adds every flag but `--app`, which `weft run` says with `--app-port`. */
export function addSidecarFlags(command: Command): Command {
  return command
    .requiredOption('--service <name>', 'the service it stands beside: NAME or NAME.NAMESPACE', parseServiceName)
    .addOption(
      new Option('--outbound <address>', 'where the app calls other services; or unix:PATH')
        .argParser(parseLocalListenAddress)
        .default(loopback(15_001), '127.0.0.1:15001'),
    )
    .option(
      '--outbound-mode <mode>',
      'who may connect to --outbound unix:PATH, as the mode of its file: 600 (this user; the default), 660 (its group, too)',
      parseSocketMode,
    )
    .option('--inbound <address>', 'where others call the app, for instance 0.0.0.0:15006', parseListenAddress)
    .option(
      '--link <address>',
      'where other sidecars reach the app; with --loops N the N - 1 ports behind it, too (default with a control plane: free ports on the inbound or advertised host)',
      parseListenAddress,
    )
    .option(
      '--insecure-link',
      'links without encryption and identity, in both directions; the other side must say it too (a join token is for the control plane then)',
    )
    .option(
      '--join-token-file <file>',
      'a token of `weft token create --join`, for the first certificate; read again at each try (environment: WEFT_JOIN_TOKEN, the token itself)',
    )
    .option(
      '--identity-dir <dir>',
      'svid.pem, key.pem and bundle.pem, read again when they change, for the links instead of a certificate from the control plane (a join token is for the control plane then)',
    )
    .addOption(
      new Option('--admin <address>', 'where /ready, /live, /metrics, /config and /drain are served')
        .argParser(parseListenAddress)
        .default(loopback(15_000), '127.0.0.1:15000'),
    )
    .option(
      '--control-plane <urls>',
      'API of the control plane, several with commas; with a join token it is asked over TLS, whatever the scheme (default: http://127.0.0.1:7070)',
      parseServerUrls,
    )
    .option('--config <file>', 'resources out of a file, instead of a control plane; read again when it changes')
    .option(
      '--state-dir <dir>',
      'where the last good configuration, the certificate and the free ports of --inbound and --link are kept (default: nothing is kept)',
    )
    .option('--advertise <host>', "the host that others are told (default: the inbound listener's)", parseHost)
    .option('--upstream <service=address>', 'a local port of its own for one service; repeatable', collectUpstream)
    .option('--zone <zone>', 'the zone that is registered', parseZone)
    .option('--label <key=value>', 'a label that is registered; repeatable', collectLabel)
    .addOption(
      new Option('--outbound-http <core>', 'HTTP core of the outbound listener')
        .choices(['uws', 'node'])
        .default('uws'),
    )
    .addOption(
      new Option('--inbound-http <core>', 'HTTP core of the inbound listener').choices(['node', 'uws']).default('node'),
    )
    .addOption(pathsOption())
    .addOption(xForwardedOption())
    .addOption(forwardedOption())
    .addOption(viaOption())
    .option('--limit <listener.name=value>', limitFlagHelp, collectLimit)
    .option('--access-log', 'one line per request on standard error')
    .addOption(
      new Option('--drain-timeout <duration>', 'how long a drain waits for requests that run')
        .argParser(parseWait)
        .default(limits.drainMs, '30s'),
    )
    .addOption(
      new Option(
        '--loops <n>',
        'event loops that serve requests, one for each core to use: they share the ports of uws listeners, and each has a link port',
      )
        .argParser(parseLoops)
        .default(1),
    );
}

/**
 * The flags as one checked value. `joinToken` is the text of the token, see join-token.ts.
 * @throws CliError (exit code 2) when flags contradict each other.
 */
export function sidecarOptionsOf(
  flags: SidecarFlags,
  app: LocalAddress | null,
  joinToken: string | null = null,
): SidecarOptions {
  if (flags.config !== undefined && flags.controlPlane !== undefined)
    throw usageError('--config and --control-plane exclude each other: the configuration has one source.');
  if (flags.inbound !== undefined && app === null)
    throw usageError('--inbound delivers to an app: say where it listens with --app 127.0.0.1:PORT.');
  checkIdentityFlags(flags, app, joinToken);
  checkSockets(flags, app);
  // A state directory may hold an identity that came over TLS.
  if (joinToken === null && flags.stateDir === undefined && flags.controlPlane?.some((url) => url.startsWith('https:')))
    throw usageError(
      '--control-plane https://... needs a join token: it names the root that the control plane must prove to have (--join-token-file or WEFT_JOIN_TOKEN).',
    );
  const link = linkAddressOf(flags, app);
  const upstreams = flags.upstream ?? [];
  checkLoops(flags, link);
  checkListeners([
    { flag: '--outbound', address: flags.outbound, isLocal: true },
    { flag: '--admin', address: flags.admin, isLocal: true },
    ...(flags.inbound === undefined ? [] : [{ flag: '--inbound', address: flags.inbound, isLocal: false }]),
    ...linkPortsOf(link, flags.loops),
    ...upstreams.map(({ name, address }) => ({ flag: `--upstream ${name}`, address, isLocal: true })),
  ]);
  return {
    service: flags.service.name,
    namespace: flags.service.namespace,
    app,
    outbound: flags.outbound,
    outboundMode: flags.outboundMode ?? socketModeDefault,
    outboundHttp: flags.outboundHttp,
    inbound: flags.inbound ?? null,
    inboundHttp: flags.inboundHttp,
    link,
    listenerPolicies: listenerPoliciesOf(flags, { inbound: flags.inbound ?? null, link }),
    isLinkInsecure: flags.insecureLink === true,
    joinToken,
    joinTokenFile: flags.joinTokenFile === undefined ? null : resolve(flags.joinTokenFile),
    identityDir: flags.identityDir === undefined ? null : resolve(flags.identityDir),
    admin: flags.admin,
    source:
      flags.config === undefined
        ? { tag: 'control-plane', urls: flags.controlPlane ?? ['http://127.0.0.1:7070'] }
        : { tag: 'file', path: resolve(flags.config) },
    stateDir: flags.stateDir === undefined ? null : resolve(flags.stateDir),
    advertise: flags.advertise ?? null,
    upstreams,
    zone: flags.zone ?? '',
    labels: flags.label ?? {},
    limits: listenerLimitsOf(flags.limit ?? [], { ...flags, inbound: flags.inbound ?? null, link }),
    loops: flags.loops,
    accessLog: flags.accessLog === true,
    drainMs: flags.drainTimeout,
  };
}

/** This user only. */
const socketModeDefault = 0o600;

function checkSockets({ outbound, outboundMode }: SidecarFlags, app: LocalAddress | null): void {
  const isSocket = isSocketPath(outbound);
  if (outboundMode !== undefined && !isSocket)
    throw usageError('--outbound-mode is the mode of a file: it needs --outbound unix:PATH.');
  if (isSocket && app !== null && isSocketPath(app) && app.path === outbound.path)
    throw usageError(`--app and --outbound are both unix:${app.path}: the sidecar would call itself.`);
}

function checkIdentityFlags(flags: SidecarFlags, app: LocalAddress | null, joinToken: string | null): void {
  const tokenFlag = flags.joinTokenFile === undefined ? 'WEFT_JOIN_TOKEN' : '--join-token-file';
  if (flags.link !== undefined && app === null)
    throw usageError('--link delivers to an app: say where it listens with --app 127.0.0.1:PORT.');
  if (flags.insecureLink === true && flags.identityDir !== undefined)
    throw usageError('--insecure-link and --identity-dir exclude each other: an insecure link has no identity.');
  if (flags.config === undefined) return;
  if (joinToken !== null)
    throw usageError(`${tokenFlag} is for a control plane; with --config there is none to show the token to.`);
  if (flags.link !== undefined && flags.identityDir === undefined && flags.insecureLink !== true)
    throw usageError(
      'With --config nobody issues a certificate for --link: name a directory with svid.pem, key.pem and bundle.pem with --identity-dir DIR, or give up encryption and identity with --insecure-link.',
    );
}

/** With a control plane whoever has an app wants to be called over the link, at the host where he can be called at all. */
function linkAddressOf({ link, inbound, advertise, config }: SidecarFlags, app: LocalAddress | null): HostPort | null {
  if (link !== undefined) return link;
  const host = inbound?.host ?? advertise;
  return app === null || config !== undefined || host === undefined ? null : { host, port: 0 };
}

/** A listener on Node's own servers shares no port, and one at a unix socket no path: further loops would have nothing to do. */
function checkLoops(flags: SidecarFlags, link: HostPort | null): void {
  const { loops, outbound, outboundHttp, upstream = [], inbound, inboundHttp } = flags;
  const isOutboundShared = outboundHttp === 'uws' && (!isSocketPath(outbound) || upstream.length > 0);
  if (loops === 1 || link !== null || isOutboundShared || (inbound !== undefined && inboundHttp === 'uws')) return;
  throw usageError(
    `--loops ${loops} needs listeners that several event loops can serve: --outbound-http uws${isSocketPath(outbound) ? ' at a port (a unix socket has one event loop)' : ''}, --inbound-http uws, or a --link.`,
  );
}

/** Each event loop has a link port: the one named, and those behind it. */
function linkPortsOf(link: HostPort | null, loops: number): readonly NamedListener[] {
  if (link === null) return [];
  if (link.port !== 0 && link.port + loops - 1 > 65_535)
    throw usageError(
      `--link ${formatAddress(link)} with --loops ${loops} takes the ports up to ${link.port + loops - 1}, and there are none above 65535.`,
    );
  return Array.from({ length: link.port === 0 ? 1 : loops }, (_, loop) => ({
    flag: loop === 0 ? '--link' : `--link (event loop ${loop})`,
    address: { host: link.host, port: link.port + loop },
    // Mutual TLS guards it, or --insecure-link says that nothing has to.
    isLocal: false,
  }));
}

interface NamedListener {
  readonly flag: string;
  readonly address: LocalAddress;
  /** It serves whoever connects, so nobody but this machine may. */
  readonly isLocal: boolean;
}

function checkListeners(listeners: readonly NamedListener[]): void {
  const flagByAddress = new Map<string, string>();
  for (const { flag, address, isLocal } of listeners) {
    if (isLocal && !isSocketPath(address)) requireLoopback(flag, address);
    const text = formatAddress(address);
    const earlier = !isSocketPath(address) && address.port === 0 ? undefined : flagByAddress.get(text);
    if (earlier !== undefined) throw usageError(`${earlier} and ${flag} cannot both listen on ${text}.`);
    flagByAddress.set(text, flag);
  }
}

/** Admin and outbound ports ask nobody who he is: they serve this machine only. */
function requireLoopback(flag: string, address: HostPort): void {
  if (!isLoopback(address.host))
    throw usageError(
      `${flag} ${formatAddress(address)} would be open to other machines, and it asks nobody who he is: use an address such as 127.0.0.1:${address.port}.`,
    );
}

function parseLoops(text: string): number {
  const loops = /^[0-9]{1,3}$/.test(text) ? Number(text) : 0;
  if (loops < 1 || loops > limits.loopsMax) throw new InvalidArgumentError(`Expected 1 to ${limits.loopsMax}.`);
  return loops;
}
