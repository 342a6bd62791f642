/** `weft control-plane`: API, store, push and certificate authority. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { formatAddress } from '../model/host-port.ts';
import { isTrustDomain } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import { durationFlag } from './duration-flag.ts';
import { addEtcdFlags, checkStoreUrl } from './etcd-flags.ts';
import { parseHost, parseListenAddress } from './flag-values.ts';
import type { ControlPlaneFlags } from './serve-control-plane.ts';
import { type Terminal, usageError } from './terminal.ts';

export function controlPlaneCommand(terminal: Terminal): Command {
  const command = new Command('control-plane')
    .description('run the control plane: API, store, push to the sidecars')
    .addOption(
      new Option('--listen <address>', 'where the REST API is served')
        .argParser(parseListenAddress)
        .default({ host: '127.0.0.1', port: 7070 }, '127.0.0.1:7070'),
    )
    .addOption(
      new Option('--push <address>', 'where sidecars connect')
        .argParser(parseListenAddress)
        .default({ host: '127.0.0.1', port: 7071 }, '127.0.0.1:7071'),
    )
    .option(
      '--store <url>',
      'where the state is kept: embedded:DIR, or etcd://[USER@]HOST:PORT,...[/PREFIX] for several control planes of one mesh; etcds:// is TLS',
      'embedded:.weft/store',
    )
    .addOption(
      new Option('--history-count <number>', 'revisions that are kept, to look at and to go back to')
        .argParser(parseHistoryCount)
        .default(limits.revisionsKeptMax),
    )
    .addOption(
      new Option('--history-age <duration>', 'how old a revision gets: it goes when a newer one is made after that')
        .argParser(durationFlag(limits.historyAgeMsMin, limits.historyAgeMsMax, '1m to 87600h'))
        .default(limits.historyAgeMs, '2160h, 90 days'),
    )
    .option(
      '--ca-dir <folder>',
      "where the certificate authority's root.key and root.crt are, or are made (default: ca beside the store's folder, with etcd .weft/ca)",
    )
    .addOption(
      new Option('--trust-domain <name>', 'first part of every identity: spiffe://NAME/ns/NAMESPACE/sa/SERVICE')
        .argParser(parseTrustDomain)
        .default('weft.local'),
    )
    .addOption(
      new Option(
        '--certificate-ttl <duration>',
        "how long a sidecar's certificate lives; it is renewed at half of that",
      )
        .argParser(durationFlag(limits.certificateTtlMsMin, limits.certificateTtlMsMax, '10s to 168h'))
        .default(limits.certificateTtlMs, '1h'),
    )
    .option(
      '--tls-cert <file>',
      "certificate (PEM, chain included) that the API shows people over TLS; read again when it changes (default: one of the mesh's own root)",
    )
    .option('--tls-key <file>', 'its private key (PEM)')
    .option(
      '--tls-name <host>',
      "a further name or address in the API's certificate of the mesh's own root; repeatable",
      collectHost,
    )
    .option('--push-tls', 'TLS on the push port on loopback too; sidecars need a join token then')
    .option(
      '--insecure-control-plane',
      'let other machines in without TLS and without a first token: whoever reaches the ports may do everything',
    )
    .addHelpText(
      'after',
      `
Prints one line of JSON with the addresses it bound once it is ready. Port 0 means any free port.
The API describes itself at /openapi.json. Its port speaks TLS too, with a certificate of the mesh's own root.
Who has root.key can act as any Service: it is kept with mode 600, and a key that others may read is refused.
On addresses that are not loopback, API and push port speak TLS only, sidecars need join tokens, and there must be an API token:
make the first one in the store, before the start (docs/access.md). Plain HTTP is answered on loopback connections only.
On etcd each control plane has a --ca-dir of its own; all serve reads, writes and sidecars, and any of them may end (docs/store.md).

Examples:
  weft control-plane
  weft token create --role admin --store embedded:/var/lib/weft/store > admin.token
  weft control-plane --store embedded:/var/lib/weft/store --listen 0.0.0.0:7070 --push 0.0.0.0:7071
  weft control-plane --listen 0.0.0.0:7070 --push 0.0.0.0:7071 --tls-cert api.crt --tls-key api.key
  weft control-plane --listen 127.0.0.1:0 --push 127.0.0.1:0 --store embedded:/var/lib/weft/store
  weft control-plane --history-count 1000 --history-age 720h
  weft control-plane --store etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379
  weft control-plane --store etcds://weft@etcd.example.org:2379/mesh-a --etcd-ca ca.crt --etcd-password-file etcd.password
  weft control-plane --ca-dir /etc/weft/ca --trust-domain mesh.example.org --certificate-ttl 24h`,
    )
    .action(async (flags: ControlPlaneFlags) => {
      check(flags);
      const { serveControlPlane } = await import('./serve-control-plane.ts');
      terminal.exitCode = await serveControlPlane(flags, terminal);
    });
  return addEtcdFlags(command);
}

function parseTrustDomain(text: string): string {
  if (!isTrustDomain(text))
    throw new InvalidArgumentError(
      'Expected lower-case letters, digits, ".", "-" and "_", for instance mesh.example.org.',
    );
  return text;
}

function parseHistoryCount(text: string): number {
  const count = /^[0-9]{1,6}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > limits.revisionsFlagMax)
    throw new InvalidArgumentError(`Expected a number, 1 to ${limits.revisionsFlagMax}.`);
  return count;
}

function check({ listen, push, store, tlsCert, tlsKey }: ControlPlaneFlags): void {
  if (listen.port !== 0 && formatAddress(listen) === formatAddress(push))
    throw usageError(`--listen and --push cannot both be ${formatAddress(listen)}.`);
  checkStoreUrl('--store', store);
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw usageError('--tls-cert and --tls-key belong together: name both files.');
}

const collectHost = (text: string, earlier: readonly string[] = []): readonly string[] => [...earlier, parseHost(text)];
