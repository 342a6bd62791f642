/**
 * Bands of the total of a request: for each the sums of the parts of all requests whose total lies in it. So the mean of the requests around a
 * percentile is there without any request being kept, and merging over event loops, sidecars and time is the addition of cells.
 *
 * Scale: 0.1 ms to 100 s, ten bands a decade, each at most 28 % wide (1, 1.25, 1.5625, 2, 2.5, 3.125, 4, 5, 6.25, 8, 10); one more below it and one
 * above. Every edge is one of histogram.ts too, so that how many requests a band has is the sum of its buckets there.
 */
import assert from 'node:assert/strict';
import type { LatencyAt } from '../model/recent-request.ts';
import { bucketCount, bucketIndex, bucketUpperMs, percentileMs, totalCount } from './histogram.ts';
import { parts } from './recorder.ts';

const edgesMs = makeEdges();
/** Bands of one series. */
export const bandCount = edgesMs.length + 1;
/** Cells of one band: the sum of each part, and how many of its requests have a `loop` that is an upper bound. */
export const bandCells = parts.length + 1;
/** Where in a band's cells these requests are counted. */
export const loopEstimatesAt = parts.length;

/** The band of each bucket of histogram.ts. */
export const bandOfBucket = makeBands();

/** Exclusive, ms; 0 for the first band. */
export const bandLowerMs = (band: number): number => (band === 0 ? 0 : edgesMs[band - 1]!);
/** Inclusive, ms; `Infinity` for the last band. */
export const bandUpperMs = (band: number): number => edgesMs[band] ?? Number.POSITIVE_INFINITY;

/** The percentiles that latency is shown at. */
export const percentiles = [50, 95, 99] as const;

/** Sums of one hop: `counts` are `bucketCount` cells of histogram.ts, `sums` are `bandCells` of each band, in `unitsPerMs` to a millisecond. */
export interface BandSums {
  readonly counts: Float64Array;
  readonly sums: Float64Array;
  readonly unitsPerMs: number;
}

/** The mean of the requests in the band that holds each percentile. Empty: there are no requests. */
export function latencyAtOf(hop: BandSums): readonly LatencyAt[] {
  const total = totalCount(hop.counts);
  return total === 0 ? [] : percentiles.map((percentile) => latencyAt(hop, percentile, total));
}

function latencyAt({ counts, sums, unitsPerMs }: BandSums, percentile: number, total: number): LatencyAt {
  const band = bandOfRank(counts, Math.max(1, Math.ceil((total * percentile) / 100)));
  let requests = 0;
  for (let bucket = 0; bucket < bucketCount; bucket++) if (bandOfBucket[bucket] === band) requests += counts[bucket]!;
  const cells = sums.subarray(band * bandCells, (band + 1) * bandCells);
  const partsMs: Record<string, number> = {};
  let totalMs = 0;
  parts.forEach((part, index) => {
    const meanMs = cells[index]! / unitsPerMs / requests;
    totalMs += meanMs;
    if (meanMs >= 0.0005) partsMs[part] = microseconds(meanMs);
  });
  return {
    percentile,
    requests,
    loopEstimates: cells[loopEstimatesAt]!,
    totalMs: microseconds(totalMs),
    partsMs,
    far: null,
    percentileMs: microseconds(percentileMs(counts, percentile / 100)),
    fromMs: bandLowerMs(band),
    toMs: Number.isFinite(bandUpperMs(band)) ? bandUpperMs(band) : null,
  };
}

/** `rank` from 1 to the number of requests. */
function bandOfRank(counts: Float64Array, rank: number): number {
  let below = 0;
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    below += counts[bucket]!;
    if (below >= rank) return bandOfBucket[bucket]!;
  }
  return bandCount - 1;
}

const microseconds = (ms: number): number => Math.round(ms * 1000) / 1000;

function makeEdges(): Float64Array {
  const edges: number[] = [];
  // As in histogram.ts: so that equal edges are the same double.
  const scale = (value: number, exponent: number) => (exponent < 0 ? value / 10 ** -exponent : value * 10 ** exponent);
  for (let exponent = -1; exponent < 5; exponent++)
    for (const value of [1, 1.25, 1.5625, 2, 2.5, 3.125, 4, 5, 6.25, 8]) edges.push(scale(value, exponent));
  edges.push(scale(1, 5));
  for (const edge of edges) assert(bucketUpperMs(bucketIndex(edge)) === edge, 'the edge of a band is one of a bucket');
  return Float64Array.from(edges);
}

function makeBands(): Uint8Array {
  const bands = new Uint8Array(bucketCount);
  let band = 0;
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    while (band < edgesMs.length && bucketUpperMs(bucket) > edgesMs[band]!) band++;
    bands[bucket] = band;
  }
  return bands;
}
