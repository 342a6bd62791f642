/** `weft stat`: success rate, rate and latency of every hop over the last window, and where its time went. */

import { Command } from 'commander';
import type { SeriesStats, WindowStats } from '../model/report.ts';

import { namespaceOf } from '../model/resources.ts';
import { type Part, parts } from '../telemetry/recorder.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient } from './client.ts';
import { formatValue, type Output, tableOption } from './output-flag.ts';
import { type Cell, formatMs, formatTable } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

const namesShownMax = 20;

interface StatFlags extends ClientFlags {
  readonly output: Output;
}

export function statCommand(terminal: Terminal): Command {
  const command = new Command('stat')
    .description('show success rate, requests a second, latency and the parts of each hop')
    .argument('[service]', 'only hops from or to this service: NAME or NAME.NAMESPACE')
    .addOption(tableOption())
    .addHelpText(
      'after',
      `
Examples:
  weft stat
  weft stat cart
  weft stat -o json

An outbound hop is a call as the caller's sidecar sees it; the inbound hop below it is the same call at the other side. Over a link
its FROM is who the caller proved to be; what comes in plain HTTP, or over --insecure-link, is unknown.
SUCCESS is the share of requests that were neither answered with 5xx, by whomever, nor a failure of Weft (docs/failures.md).
Parts are means in milliseconds and sum to the hop's own total; those that took no time anywhere are left out:
  loop     waiting for the event loop        wait      until the first byte of the answer
  decide   routing, patterns, discovery      transfer  first to last byte of the answer
  queue    waiting for a connection          own       the sidecar's own work
  connect  opening a connection              network   between sidecars: what was waited beyond what the far sidecar
  tls      the TLS handshake after it                  needed itself, so both machines' kernels and the way
  send     writing the request                         between them; wait is then the far sidecar's own time`,
    )
    .action(async (service: string | undefined, flags: StatFlags) => {
      const client = new ControlPlaneClient(flags);
      const stats = await client.stats();
      const shown = { ...stats, series: stats.series.filter((series) => concerns(series, service)).sort(byHop) };
      if (flags.output !== 'table') return terminal.out(await formatValue(shown, flags.output));
      terminal.out(shown.series.length > 0 ? formatStats(shown) : await describeNone(service, seconds(stats), client));
    });
  return addClientFlags(command);
}

const seconds = ({ windowMs }: WindowStats): number => Math.round(windowMs / 1000);

/** @throws CliError for a name that nobody has: it may be a slip of the keyboard, then the ones there are help. */
async function describeNone(
  service: string | undefined,
  windowSeconds: number,
  client: ControlPlaneClient,
): Promise<string> {
  const last = `in the last ${windowSeconds} s`;
  if (service === undefined) return `no requests ${last}`;
  const none = `no requests to or from ${service} ${last}`;
  const [services, sidecars] = await Promise.all([client.list('Service'), client.sidecars()]);
  const known = new Set([
    ...services.items.map((item) => `${item.metadata.name}.${namespaceOf(item)}`),
    ...sidecars.map((sidecar) => `${sidecar.service}.${sidecar.namespace}`),
  ]);
  const names = [...known].sort();
  if (names.some((name) => isNamed(name, service))) return none;
  if (names.length === 0) throw new CliError(`${none}; the mesh has no services yet`);
  const more = names.length > namesShownMax ? ` and ${names.length - namesShownMax} more` : '';
  throw new CliError(`${none}; the mesh has no such service, but ${names.slice(0, namesShownMax).join(', ')}${more}`);
}

function concerns({ source, destination }: SeriesStats, service: string | undefined): boolean {
  return service === undefined || isNamed(source, service) || isNamed(destination, service);
}

/** `cart` and `cart.default` are names of `cart.default`. */
const isNamed = (fullName: string, service: string): boolean =>
  fullName === service || fullName.startsWith(`${service}.`);

/** The caller's view of a hop first, the callee's below it. */
function byHop(a: SeriesStats, b: SeriesStats): number {
  return (
    a.destination.localeCompare(b.destination) ||
    b.direction.localeCompare(a.direction) ||
    a.source.localeCompare(b.source) ||
    a.route.localeCompare(b.route)
  );
}

/** Two tables out of the same rows: how it went, then where the time went. */
function formatStats(stats: WindowStats): string {
  const { series } = stats;
  const seen = parts.filter((part) => series.some((each) => (each.parts[part] ?? 0) > 0));
  const health = formatTable(
    ['HOP', 'FROM', 'TO', 'ROUTE', 'SUCCESS', 'REQ/S', 'P50', 'P95', 'P99'],
    series.map((each) => [
      ...hopCells(each),
      `${successPercent(each).toFixed(2)}%`,
      (each.requests / (stats.windowMs / 1000)).toFixed(1),
      ...[each.p50Ms, each.p95Ms, each.p99Ms].map((ms) => `${formatMs(ms)}ms`),
    ]),
  );
  const ledger = formatTable(
    ['HOP', 'FROM', 'TO', 'ROUTE', ...seen.map((part) => part.toUpperCase()), 'TOTAL'],
    series.map((each) => [...hopCells(each), ...partCells(each, seen)]),
  );
  return `last ${seconds(stats)} s\n${health}\n\nwhere the time went, mean ms\n${ledger}`;
}

const hopCells = ({ direction, source, destination, route }: SeriesStats): Cell[] => [
  direction,
  source || '-',
  destination || '-',
  route || '-',
];

function partCells({ parts: meanMs }: SeriesStats, seen: readonly Part[]): Cell[] {
  const totalMs = Object.values(meanMs).reduce((sum, ms) => sum + ms, 0);
  return [...seen.map((part) => (meanMs[part] === undefined ? '-' : formatMs(meanMs[part]))), formatMs(totalMs)];
}

/** The sidecar counts failures by status class, so that a 5xx that is a failure too counts once. */
function successPercent({ requests, failed }: SeriesStats): number {
  return requests === 0 ? 100 : (100 * (requests - Math.min(requests, failed))) / requests;
}
