/**
 * Where the time of the requests around a percentile went. Percentiles of parts do not add up to those of the total, and belong to no
 * request that ever was; so the requests are put in order by their total, and the mean of those around the rank is taken, part by part: those add up.
 */
import type { HopLatency, LatencyAt, RecentHop } from '../model/recent-request.ts';
import { percentiles } from './bands.ts';
import { type Direction, parts } from './recorder.ts';

/** Where things are in the times of one request. The far total is -1 where nothing was said. */
export const times = {
  isLoopEstimate: 0,
  totalMs: 1,
  parts: 2,
  farTotalMs: 2 + parts.length,
  count: 3 + 2 * parts.length,
} as const;

/** Requests of one hop, each as its `times`. Crosses between threads. */
export interface HopRows {
  readonly direction: Direction;
  readonly source: string;
  readonly destination: string;
  readonly rows: readonly Float64Array[];
}

/** Of several event loops: hops with the same names are one. Busiest first. */
export function latencyOf(loops: readonly (readonly HopRows[])[]): readonly HopLatency[] {
  const byHop = new Map<string, { readonly labels: HopRows; readonly rows: Float64Array[] }>();
  for (const labels of loops.flat()) {
    const key = `${labels.direction} ${labels.source} ${labels.destination}`;
    const hop = byHop.get(key) ?? { labels, rows: [] };
    byHop.set(key, hop);
    for (const row of labels.rows) hop.rows.push(row);
  }
  return Array.from(byHop.values(), ({ labels: { direction, source, destination }, rows }) => {
    rows.sort((a, b) => a[times.totalMs]! - b[times.totalMs]!);
    const at = percentiles.map((percentile) => around(rows, percentile));
    return { direction, source, destination, requests: rows.length, at };
  }).sort((a, b) => b.requests - a.requests);
}

/**
 * The requests around the rank, by one percent of all to either side, and as many to one side as to the other: at the end of the order there are
 * fewer. `rows` is sorted and not empty.
 */
function around(rows: readonly Float64Array[], percentile: number): LatencyAt {
  const rank = Math.max(0, Math.ceil((rows.length * percentile) / 100) - 1);
  const reach = Math.min(Math.floor(rows.length / 100), rank, rows.length - 1 - rank);
  const near = rows.slice(rank - reach, rank + reach + 1);
  const withFar = near.filter((row) => row[times.farTotalMs]! >= 0);
  return {
    percentile,
    requests: near.length,
    loopEstimates: near.filter((row) => row[times.isLoopEstimate] === 1).length,
    ...meanOf(near, times.totalMs),
    far: withFar.length === 0 ? null : { ...meanOf(withFar, times.farTotalMs), requests: withFar.length },
  };
}

function meanOf(rows: readonly Float64Array[], totalAt: number): RecentHop {
  const mean = (at: number) => Math.round((rows.reduce((sum, row) => sum + row[at]!, 0) / rows.length) * 1000) / 1000;
  const partsMs: Record<string, number> = {};
  parts.forEach((part, index) => {
    const ms = mean(totalAt + 1 + index);
    if (ms > 0) partsMs[part] = ms;
  });
  return { totalMs: mean(totalAt), partsMs };
}
