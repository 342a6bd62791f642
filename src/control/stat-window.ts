/**
 * The golden metrics of the whole mesh over the last `limits.statWindowMs`, added up from the sidecars' reports in slices of 5 s. Held in
 * memory only. Counts are kept sparse: a report names the few buckets that grew.
 */

import { limits } from '../model/limits.ts';
import { failedOf, type SeriesDelta, type SeriesStats, type WindowStats } from '../model/report.ts';
import { bucketCount, percentileMs } from '../telemetry/histogram.ts';
import { parts } from '../telemetry/recorder.ts';
import { otherLabel } from '../telemetry/series.ts';

const sliceMs = 5_000;
const slicesMax = limits.statWindowMs / sliceMs;
const knownParts: ReadonlySet<string> = new Set(parts);

type SeriesName = Pick<SeriesStats, 'direction' | 'source' | 'destination' | 'route'>;

interface Sums {
  readonly name: SeriesName;
  requests: number;
  failures: number;
  failed: number;
  readonly byStatus: Map<string, number>;
  /** Count by bucket. */
  readonly buckets: Map<number, number>;
  readonly partSeconds: Map<string, number>;
}

interface Slice {
  /** Of the wall clock, in units of `sliceMs`. */
  readonly index: number;
  readonly series: Map<string, Sums>;
}

export class StatWindow {
  readonly #nowMs: () => number;
  readonly #startedAtMs: number;
  /** Oldest first. */
  #slices: Slice[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#startedAtMs = nowMs();
  }

  /** Adds what one sidecar saw since its last report. */
  add(deltas: readonly SeriesDelta[]): void {
    const slice = this.#currentSlice();
    for (const delta of deltas) addDelta(this.#sumsIn(slice, delta), delta);
  }

  /** Series with requests in the window, busiest first. `windowMs` is the time that the numbers cover. */
  stats(): WindowStats {
    const slice = this.#currentSlice();
    const totals = new Map<string, Sums>();
    for (const { series } of this.#slices) {
      for (const [key, sums] of series) {
        let total = totals.get(key);
        if (total === undefined) {
          total = emptySums(sums.name);
          totals.set(key, total);
        }
        addSums(total, sums);
      }
    }
    const coveredFromMs = Math.max(this.#startedAtMs, (slice.index - slicesMax + 1) * sliceMs);
    return {
      windowMs: Math.max(this.#nowMs() - coveredFromMs, 1),
      series: Array.from(totals.values(), statSeriesOf).sort((a, b) => b.requests - a.requests),
    };
  }

  #currentSlice(): Slice {
    const newest = this.#slices.at(-1);
    const index = Math.floor(this.#nowMs() / sliceMs);
    // A clock that was set back adds to the newest slice until it has caught up.
    if (newest !== undefined && newest.index >= index) return newest;
    const slice = { index, series: new Map<string, Sums>() };
    this.#slices = [...this.#slices.filter((old) => old.index > index - slicesMax), slice];
    return slice;
  }

  #sumsIn(slice: Slice, delta: SeriesDelta): Sums {
    const { source, destination, route } = delta;
    // Before anything is made of them: they come over the network.
    const isShort = source.length + destination.length + route.length <= 3 * limits.reportLabelCharsMax;
    const known = isShort ? slice.series.get(keyOf(delta)) : undefined;
    if (known !== undefined) return known;
    // The bound holds for each slice, so that series which have ended make room. Two places are kept for what is beyond it.
    const name =
      isShort && slice.series.size < limits.seriesMax - 2
        ? nameOf(delta)
        : { direction: delta.direction, source: otherLabel, destination: otherLabel, route: otherLabel };
    const key = keyOf(name);
    const sums = slice.series.get(key) ?? emptySums(name);
    slice.series.set(key, sums);
    return sums;
  }
}

const keyOf = ({ direction, source, destination, route }: SeriesName): string =>
  `${direction}\n${source}\n${destination}\n${route}`;
const nameOf = ({ direction, source, destination, route }: SeriesName): SeriesName => ({
  direction,
  source,
  destination,
  route,
});

function emptySums(name: SeriesName): Sums {
  return { name, requests: 0, failures: 0, failed: 0, byStatus: new Map(), buckets: new Map(), partSeconds: new Map() };
}

function addDelta(sums: Sums, delta: SeriesDelta): void {
  sums.requests += delta.requests;
  sums.failures += delta.failures;
  sums.failed += failedOf(delta);
  addCount(sums.byStatus, delta.statusClass, delta.requests);
  const { durationBuckets } = delta;
  for (let at = 0; at + 1 < durationBuckets.length; at += 2) {
    const bucket = durationBuckets[at]!;
    // What is outside the scale, or a part that nobody knows, is another version's; it would make the maps grow without bound.
    if (bucket < bucketCount) addCount(sums.buckets, bucket, durationBuckets[at + 1]!);
  }
  for (const { part, seconds } of delta.parts) if (knownParts.has(part)) addCount(sums.partSeconds, part, seconds);
}

function addSums(into: Sums, from: Sums): void {
  into.requests += from.requests;
  into.failures += from.failures;
  into.failed += from.failed;
  for (const [status, count] of from.byStatus) addCount(into.byStatus, status, count);
  for (const [bucket, count] of from.buckets) addCount(into.buckets, bucket, count);
  for (const [part, seconds] of from.partSeconds) addCount(into.partSeconds, part, seconds);
}

function addCount<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}

function statSeriesOf({ name, requests, failures, failed, byStatus, buckets, partSeconds }: Sums): SeriesStats {
  const counts = new Float64Array(bucketCount);
  for (const [bucket, count] of buckets) counts[bucket] = count;
  const meansMs = Array.from(partSeconds, ([part, seconds]) => [part, (seconds * 1000) / Math.max(requests, 1)]);
  return {
    ...name,
    requests,
    failures,
    failed,
    byStatus: Object.fromEntries(byStatus),
    p50Ms: percentileMs(counts, 0.5),
    p95Ms: percentileMs(counts, 0.95),
    p99Ms: percentileMs(counts, 0.99),
    parts: Object.fromEntries(meansMs),
  };
}
