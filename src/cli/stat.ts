/** `weft stat`: success rate, rate and latency of every hop over the last window, and where its time went. */

import { Command } from 'commander';
import type { MeshStats, SeriesStats } from '../model/report.ts';
import { type Part, parts } from '../telemetry/recorder.ts';
import { addClientFlags, type ClientFlags, ControlPlaneClient } from './client.ts';
import { formatValue, type Output, tableOption } from './output-flag.ts';
import { describeNone, isNamed, scopeNotes, secondsOf } from './reported-traffic.ts';
import { type Cell, formatMs, formatTable } from './table.ts';
import type { Terminal } from './terminal.ts';

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
SUCCESS is the share of requests that were neither answered with 5xx, by whomever, nor a failure of Weft (docs/failures.md): what callers
got in effect. ACTUAL is the share of the attempts at endpoints that were so, and TRIES/S how many there were: a request that was tried
again counts once in REQ/S and twice there, so where ACTUAL is below SUCCESS retries make up for endpoints that fail.
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
      const text = shown.series.length > 0 ? formatStats(shown) : await describeNone(service, secondsOf(stats), client);
      terminal.out(text + scopeNotes(stats.scope));
    });
  return addClientFlags(command);
}

function concerns({ source, destination }: SeriesStats, service: string | undefined): boolean {
  return service === undefined || isNamed(source, service) || isNamed(destination, service);
}

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
function formatStats(stats: MeshStats): string {
  const { series } = stats;
  const seen = parts.filter((part) => series.some((each) => (each.parts[part] ?? 0) > 0));
  const health = formatTable(
    ['HOP', 'FROM', 'TO', 'ROUTE', 'SUCCESS', 'REQ/S', 'P50', 'P95', 'P99', 'ACTUAL', 'TRIES/S'],
    series.map((each) => [
      ...hopCells(each),
      `${successPercent(each).toFixed(2)}%`,
      (each.requests / (stats.windowMs / 1000)).toFixed(1),
      ...[each.p50Ms, each.p95Ms, each.p99Ms].map((ms) => `${formatMs(ms)}ms`),
      ...attemptCells(each, stats),
    ]),
  );
  const ledger = formatTable(
    ['HOP', 'FROM', 'TO', 'ROUTE', ...seen.map((part) => part.toUpperCase()), 'TOTAL'],
    series.map((each) => [...hopCells(each), ...partCells(each, seen)]),
  );
  return `last ${secondsOf(stats)} s\n${health}\n\nwhere the time went, mean ms\n${ledger}`;
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

/** Of what was answered without an attempt, or reported by an older sidecar, there are none. */
function attemptCells({ attempts, attemptsFailed }: SeriesStats, { windowMs }: MeshStats): Cell[] {
  if (!(attempts > 0)) return ['-', '-'];
  const percent = (100 * (attempts - attemptsFailed)) / attempts;
  return [`${percent.toFixed(2)}%`, (attempts / (windowMs / 1000)).toFixed(1)];
}

/** The sidecar counts failures by status class, so that a 5xx that is a failure too counts once. */
export function successPercent({ requests, failed }: SeriesStats): number {
  return requests === 0 ? 100 : (100 * (requests - Math.min(requests, failed))) / requests;
}
