/** Where the time of a Service's calls goes over the whole mesh: its hops and those behind them, out of the window of reports. */
import { limits } from '../model/limits.ts';
import { isServiceNamed } from '../model/recent-request.ts';
import type { LatencyQuestion, MeshHop, MeshLatency } from '../model/report.ts';
import { latencyAtOf } from '../telemetry/bands.ts';
import type { StatWindow, WindowRow } from './stat-window.ts';
import type { SeriesName } from './window-series.ts';

/** All but whose reports they are. */
export function meshLatencyOf(
  window: StatWindow,
  question: LatencyQuestion,
): Omit<MeshLatency, 'scope'> & { readonly requestsWithoutDetail: number } {
  const depths = depthsOf(window.names(), question);
  const depthOf = ({ source, destination }: SeriesName) => depths.get(hopKey(source, destination));
  const { windowMs, requestsWithoutDetail, rows } = window.rows(
    (name) => depthOf(name) !== undefined && (question.route === null || name.route === question.route),
  );
  const hops = Array.from(joinRoutes(rows, question), (row) => hopOf(row, depthOf(row.name)!, question)).sort(
    alongCalls,
  );
  const shown = hops.slice(0, limits.latencyHopsMax);
  return { windowMs, requestsWithoutDetail, hops: shown, hopsLeftOut: hops.length - shown.length };
}

/**
 * How far each hop is from the Service, by its ends: 0 for calls to it, 1 for its own, then on along the calls, each hop where it is met first.
 */
function depthsOf(
  names: readonly SeriesName[],
  { service, depth: depthMax }: LatencyQuestion,
): ReadonlyMap<string, number> {
  const depths = new Map<string, number>();
  const bySource = new Map<string, Set<string>>();
  const reached = new Set<string>();
  for (const { source, destination } of names) {
    const calls = bySource.get(source) ?? new Set();
    bySource.set(source, calls.add(destination));
    for (const end of [source, destination]) if (isServiceNamed(end, service)) reached.add(end);
    if (isServiceNamed(destination, service)) depths.set(hopKey(source, destination), 0);
  }
  let callers = [...reached];
  for (let depth = 1; depth <= depthMax && callers.length > 0; depth++) {
    const next: string[] = [];
    for (const source of callers)
      for (const destination of bySource.get(source) ?? []) {
        const key = hopKey(source, destination);
        if (!depths.has(key)) depths.set(key, depth);
        if (reached.has(destination) || !isService(destination)) continue;
        reached.add(destination);
        next.push(destination);
      }
    callers = next;
  }
  return depths;
}

/** `unknown` and `other` are many: their calls are not those of whoever called one of them. */
const isService = (name: string): boolean => name.includes('.');

const hopKey = (source: string, destination: string): string => `${source}\n${destination}`;

/** Rows of the same hop as one, but for those of other routes where these are asked for. */
function joinRoutes(rows: readonly WindowRow[], { isByRoute }: LatencyQuestion): Iterable<WindowRow> {
  const byHop = new Map<string, WindowRow>();
  for (const row of rows) {
    const { direction, source, destination, route } = row.name;
    const key = `${direction}\n${hopKey(source, destination)}${isByRoute ? `\n${route}` : ''}`;
    const joined = byHop.get(key);
    // The cells of each row were added up for this answer alone.
    byHop.set(key, joined === undefined ? row : { ...joined, requests: joined.requests + row.requests });
    if (joined === undefined) continue;
    addCells(joined.counts, row.counts);
    addCells(joined.bandsUs, row.bandsUs);
  }
  return byHop.values();
}

function addCells(into: Float64Array, from: Float64Array): void {
  for (let cell = 0; cell < into.length; cell++) into[cell]! += from[cell]!;
}

function hopOf({ name, requests, counts, bandsUs }: WindowRow, depth: number, question: LatencyQuestion): MeshHop {
  const { direction, source, destination, route } = name;
  return {
    depth,
    direction,
    source,
    destination,
    route: question.isByRoute || question.route !== null ? route : null,
    requests,
    at: latencyAtOf({ counts, sums: bandsUs, unitsPerMs: 1000 }),
  };
}

/** The caller's view of a hop above the callee's. */
function alongCalls(a: MeshHop, b: MeshHop): number {
  return (
    a.depth - b.depth ||
    a.destination.localeCompare(b.destination) ||
    b.direction.localeCompare(a.direction) ||
    a.source.localeCompare(b.source) ||
    (a.route ?? '').localeCompare(b.route ?? '')
  );
}
