/**
 * The histogram's scale: which bucket a duration belongs to, and what counts in those buckets say. Counts are a plain number array
 * of `bucketCount` cells wherever they live (shared memory, a report, a window), so histograms merge by adding cells.
 *
 * Scale: 10 µs to 1000 s, decimal decades of 60 buckets each: steps of 1/16 from 1 to 2, of 1/8 from 2 to 5, of 1/4 from 5 to 10. A
 * bucket is never wider than 6.25 % of its lower bound, and every round number that a person would put in an alert (0.5, 2.5, 25,
 * 100 ms, 1 s ...) is the edge of a bucket, so that coarse views count exactly. A bucket includes its upper bound, as Prometheus' `le`.
 */
import assert from 'node:assert/strict';

/** The first bucket holds everything up to here, ms; also zero, negative values and NaN. */
export const scaleMinMs = 0.01;
/** The last bucket holds everything above here, ms. */
export const scaleMaxMs = 1_000_000;

const edgesMs = makeEdges();
/** Cells of one histogram. */
export const bucketCount = edgesMs.length + 1;
const overflowIndex = bucketCount - 1;

// A double's sign, exponent and first six bits of fraction name a cell of 1/64 octave, at most 1.6 % wide. Buckets are at least 2.5 %
// wide, so a cell holds at most one edge: one look-up and one comparison find the bucket, without a logarithm.
const cellShift = 14;
const scratch = new Float64Array(1);
const scratchWords = new Uint32Array(scratch.buffer);
const highWord = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;
const firstCell = cellOf(scaleMinMs);
const bucketOfCell = makeCells();

/** The bucket of a duration in ms. Never fails: NaN and negative values are 0, infinity is the last bucket. */
export function bucketIndex(ms: number): number {
  if (!(ms > scaleMinMs)) return 0;
  return ms > scaleMaxMs ? overflowIndex : bucketWithin(ms);
}

/** The same of a duration that is known to be more than `scaleMinMs` and no more than `scaleMaxMs`. */
export function bucketWithin(ms: number): number {
  scratch[0] = ms;
  const index = bucketOfCell[(scratchWords[highWord]! >>> cellShift) - firstCell]!;
  return ms > edgesMs[index]! ? index + 1 : index;
}

/** Inclusive upper bound of a bucket, ms; `Infinity` for the last one. */
export function bucketUpperMs(index: number): number {
  assert(Number.isInteger(index) && index >= 0 && index < bucketCount, 'a bucket index is within the scale');
  return index === overflowIndex ? Number.POSITIVE_INFINITY : edgesMs[index]!;
}

/** Exclusive lower bound of a bucket, ms; 0 for the first one. */
export function bucketLowerMs(index: number): number {
  return index === 0 ? 0 : bucketUpperMs(index - 1);
}

/**
 * The duration in ms below which the share `q` (0 to 1) of the observations lies, by rank, interpolated within its bucket: off by at
 * most the bucket's width, 6.25 %. 0 when there are no observations; `scaleMaxMs` stands for anything above it.
 */
export function percentileMs(counts: ArrayLike<number>, q: number): number {
  const total = totalCount(counts);
  if (total === 0) return 0;
  const rank = Math.min(Math.max(q, 0), 1) * total;
  let below = 0;
  let last = 0;
  for (let index = 0; index < bucketCount; index++) {
    const count = counts[index] ?? 0;
    if (count === 0) continue;
    if (below + count >= rank) return interpolateMs(index, (rank - below) / count);
    below += count;
    last = index;
  }
  return interpolateMs(last, 1);
}

export function totalCount(counts: ArrayLike<number>): number {
  let total = 0;
  for (let index = 0; index < counts.length; index++) total += counts[index]!;
  return total;
}

/** Adds every cell of `from` to the same cell of `into`. */
export function mergeCounts(into: Float64Array, from: ArrayLike<number>): void {
  assert(into.length === bucketCount && from.length === bucketCount, 'both histograms have this scale');
  for (let index = 0; index < bucketCount; index++) into[index]! += from[index]!;
}

/** Adds index and count in pairs, the form in which reports carry a histogram. Pairs outside the scale are left out and counted. */
export function mergePairs(into: Float64Array, pairs: ArrayLike<number>): number {
  let refused = 0;
  for (let at = 0; at + 1 < pairs.length; at += 2) {
    const index = pairs[at]!;
    if (index >= 0 && index < bucketCount && Number.isInteger(index)) into[index]! += pairs[at + 1]!;
    else refused++;
  }
  return refused;
}

function interpolateMs(index: number, share: number): number {
  if (index === overflowIndex) return scaleMaxMs;
  const lowerMs = bucketLowerMs(index);
  return lowerMs + (edgesMs[index]! - lowerMs) * share;
}

function makeEdges(): Float64Array {
  const edges = [scaleMinMs];
  for (let exponent = -2; exponent < 6; exponent++) {
    // Multiplying by 0.01 would miss the double that `0.025` denotes; dividing by 100 gives exactly it.
    const scale = (value: number) => (exponent < 0 ? value / 10 ** -exponent : value * 10 ** exponent);
    for (let step = 17; step <= 32; step++) edges.push(scale(step / 16));
    for (let step = 17; step <= 40; step++) edges.push(scale(step / 8));
    for (let step = 21; step <= 40; step++) edges.push(scale(step / 4));
  }
  return Float64Array.from(edges);
}

function cellOf(ms: number): number {
  scratch[0] = ms;
  return scratchWords[highWord]! >>> cellShift;
}

function makeCells(): Uint16Array {
  const buckets = new Uint16Array(cellOf(scaleMaxMs) - firstCell + 1);
  let bucket = 0;
  for (let cell = 0; cell < buckets.length; cell++) {
    scratchWords[highWord] = (firstCell + cell) << cellShift;
    scratchWords[1 - highWord] = 0;
    const cellLowerMs = scratch[0]!;
    while (edgesMs[bucket]! < cellLowerMs) bucket++;
    buckets[cell] = bucket;
  }
  return buckets;
}
