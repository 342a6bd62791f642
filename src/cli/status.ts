/** `weft status`: the control plane at a glance, and what each sidecar has in force. */
import { Command } from 'commander';
import type { GoneSidecar, ReplicaStatus, SidecarStatus } from '../control/fleet.ts';
import { defaultNamespace } from '../model/resources.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient, type FoundedServiceStatus } from './client.ts';
import { formatValue, type Output, tableOption } from './output-flag.ts';
import { countOf, formatAge, formatTable } from './table.ts';
import type { Terminal } from './terminal.ts';

/** Of the Services that a registration has created, so many are mentioned. */
const foundedShownMax = 5;

export function statusCommand(terminal: Terminal): Command {
  const command = new Command('status')
    .description('show the control plane and what each sidecar has in force')
    .addOption(tableOption())
    .addHelpText(
      'after',
      `
Examples:
  weft status
  weft status -o json

States: synced (has all that concerns it), pending (stale: a change is on its way), refused (it kept the last good
version), lost (not connected, its lease still runs), gone (not heard of, its lease has ended: nobody is sent to it, and nobody waits
for it; shown for 10 minutes). Age: for how long. Revision: the version of the configuration that
it has, as far as it concerns it. Link: where it accepts links from other
sidecars (+N: further ones, one for each of its loops), or insecure: links without TLS, for benchmarks only.
Reason: what a change was refused for, or why nobody is sent to an app: shown where there is one.
Core: shown where a listener runs on the uWebSockets.js core for Node 20, whose gaps are in docs/uws.md;
--outbound-http node (or --inbound-http node) has none of them, and Node 24 with the official build of uWebSockets.js,
which needs glibc 2.38 or newer, has fewer.`,
    )
    .action(async (flags: ClientFlags & { readonly output: Output }) => {
      const client = new ControlPlaneClient(flags);
      const [status, { items: sidecars, gone = [] }] = await Promise.all([client.status(), client.fleet()]);
      if (flags.output !== 'table') return terminal.out(await formatValue({ ...status, sidecars, gone }, flags.output));
      const upMs = terminal.nowMs() - Date.parse(status.startedAt);
      terminal.out(
        `control plane ${client.server}, weft ${status.version}, up ${formatAge(upMs)}, store ${status.store}`,
      );
      const { storeOutage = null } = status;
      if (storeOutage !== null)
        terminal.out(
          `store: not available since ${storeOutage.since} (${formatAge(terminal.nowMs() - Date.parse(storeOutage.since))}), writes are refused: ${storeOutage.reason}`,
        );
      for (const line of replicaLines(status.controlPlanes ?? [], terminal.nowMs())) terminal.out(line);
      terminal.out(`revision ${status.revision}, ${summaryOf(sidecars, gone)}`);
      if (status.access?.isInsecure === true)
        terminal.out(
          `WARNING: the control plane runs with --insecure-control-plane: other machines reach it in plain HTTP${status.access.requiresToken ? '' : ', and whoever does may do everything'}`,
        );
      const insecure = sidecars.filter(({ isLinkInsecure }) => isLinkInsecure).length;
      if (insecure > 0)
        terminal.out(`WARNING: ${countOf(insecure, 'sidecar')} with --insecure-link: no encryption, no identity`);
      const older = sidecars.filter(({ hasOlderUwsCore }) => hasOlderUwsCore).length;
      if (older > 0)
        terminal.out(
          `note: ${countOf(older, 'sidecar')} on the uWebSockets.js core for Node 20, which has gaps (docs/uws.md); remedy: --outbound-http node, or Node 24 with the official uWebSockets.js build (glibc 2.38 or newer)`,
        );
      for (const line of foundedLines(status.foundedServices ?? [], terminal.nowMs())) terminal.out(line);
      if (sidecars.length + gone.length > 0) terminal.out(`\n${sidecarTable(sidecars, gone)}`);
    });
  return addClientFlags(command);
}

/** The other control planes on its store: of a store of its own there is nothing to say. */
function replicaLines(replicas: readonly ReplicaStatus[], nowMs: number): string[] {
  const self = replicas.find(({ isSelf }) => isSelf);
  const others = replicas.filter(({ isSelf }) => !isSelf);
  if (self === undefined || others.length === 0) return [];
  const leads = (replica: ReplicaStatus) => (replica.isLeader ? ', leads' : '');
  return [
    `  holds ${countOf(self.sidecars, 'sidecar')}${leads(self)}; it shares its store with`,
    ...others.map((other) =>
      other.api === ''
        ? '  a control plane that is starting'
        : `  http://${other.api}, up ${formatAge(nowMs - Date.parse(other.startedAt))}, holds ${countOf(other.sidecars, 'sidecar')}${leads(other)}`,
    ),
  ];
}

/** Those that nobody is registered under, or whose name is close to another: a mistyped --service is one of them sooner or later. */
function foundedLines(founded: readonly FoundedServiceStatus[], nowMs: number): string[] {
  const shown = founded.filter(({ sidecars, similar }) => sidecars === 0 || (similar ?? null) !== null);
  const lines = shown
    .slice(0, foundedShownMax)
    .map(({ name, namespace, at, similar, sidecars, lastHeardAgoMs = null, isUnused = true }) => {
      const meant = similar ? `; did you mean ${similar}?` : '';
      const said = `note: created Service ${name}.${namespace} ${formatAge(nowMs - Date.parse(at))} ago (it did not exist)${meant}`;
      if (sidecars > 0) return said;
      const flag = namespace === defaultNamespace ? '' : ` -n ${namespace}`;
      if (lastHeardAgoMs !== null)
        return `${said}; its last sidecar was last heard of ${formatAge(lastHeardAgoMs)} ago`;
      if (!isUnused) return `${said}; no sidecar is registered under it now`;
      return `${said}; no sidecar is registered under it: if its name is a mistake, \`weft delete service ${name}${flag}\` removes it`;
    });
  const more = shown.length - lines.length;
  return more === 0 ? lines : [...lines, `note: and ${countOf(more, 'more Service')} like these (-o json)`];
}

function summaryOf(sidecars: readonly SidecarStatus[], gone: readonly GoneSidecar[]): string {
  const living = summaryOfLiving(sidecars);
  return gone.length === 0 ? living : `${living}; ${gone.length} gone (not heard of any more)`;
}

function summaryOfLiving(sidecars: readonly SidecarStatus[]): string {
  if (sidecars.length === 0) return 'no sidecars';
  const behind = sidecars.filter(({ state }) => state !== 'synced').length;
  return `${countOf(sidecars.length, 'sidecar')}, ${behind === 0 ? 'all synced' : `${behind} not synced`}`;
}

export function sidecarTable(sidecars: readonly SidecarStatus[], gone: readonly GoneSidecar[] = []): string {
  const hasReason = sidecars.some(({ reason }) => reason !== null);
  const hasCore = sidecars.some(({ hasOlderUwsCore }) => hasOlderUwsCore);
  return formatTable(
    [
      ...['SERVICE', 'SIDECAR', 'STATE', 'AGE', 'REVISION', 'LEASE', 'ENDPOINT', 'LINK', 'CALLS'],
      ...(hasCore ? ['CORE'] : []),
      ...(hasReason ? ['REASON'] : []),
    ],
    [
      ...sidecars.map((sidecar) => [
        `${sidecar.service}.${sidecar.namespace}`,
        sidecar.sidecar,
        sidecar.state,
        formatAge(sidecar.stateAgeMs),
        sidecar.revision,
        `${Math.max(0, Math.round(sidecar.leaseEndsInMs / 1000))}s`,
        sidecar.registration?.address ?? '-',
        linkOf(sidecar),
        sidecar.subscriptions.join(',') || '-',
        ...(hasCore ? [sidecar.hasOlderUwsCore ? 'uws, Node 20' : '-'] : []),
        ...(hasReason ? [sidecar.reason ?? '-'] : []),
      ]),
      ...gone.map(({ service, namespace, sidecar, lastHeardAgoMs, address }) => [
        ...[
          `${service}.${namespace}`,
          sidecar,
          'gone',
          formatAge(lastHeardAgoMs),
          '-',
          'ended',
          address ?? '-',
          '-',
          '-',
        ],
        ...(hasCore ? ['-'] : []),
        ...(hasReason ? ['-'] : []),
      ]),
    ],
  );
}

function linkOf({ registration, isLinkInsecure }: SidecarStatus): string {
  if (isLinkInsecure) return 'insecure';
  const [first, ...others] = registration?.link ?? [];
  if (first === undefined) return '-';
  return others.length === 0 ? first : `${first} +${others.length}`;
}
