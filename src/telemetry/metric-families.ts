/**
 * Metrics as plain values, in the form in which prom-client takes them from other processes of a cluster (`getMetricsAsJSON`): whoever counts
 * composes them, and a worker that has prom-client renders them (render.ts).
 */
import assert from 'node:assert/strict';
import type { ProcessReading } from './process-reading.ts';

export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** Of values with the same labels. */
  readonly aggregator: 'sum' | 'first';
  readonly values: MetricValue[];
}

export interface MetricValue {
  readonly labels: MetricLabels;
  readonly value: number;
  /** Of a histogram's buckets, sum and count. */
  readonly metricName?: string;
}

export type MetricLabels = Readonly<Record<string, string | number>>;

export function counter(name: string, help: string): MetricFamily {
  return { name, help, type: 'counter', aggregator: 'sum', values: [] };
}

export function gauge(name: string, help: string, aggregator: MetricFamily['aggregator'] = 'first'): MetricFamily {
  return { name, help, type: 'gauge', aggregator, values: [] };
}

export function histogram(name: string, help: string): MetricFamily {
  return { name, help, type: 'histogram', aggregator: 'sum', values: [] };
}

export function add(metric: MetricFamily, labels: MetricLabels, value: number): void {
  metric.values.push({ labels, value });
}

/** One `le` of a histogram: everything below cell `end` is within it. */
export interface Cut {
  /** Seconds. */
  readonly le: number;
  readonly end: number;
}

/** The count is the sum of the cells, so that it agrees with them while somebody goes on counting. */
export function addHistogram(
  metric: MetricFamily,
  labels: MetricLabels,
  counts: Float64Array,
  cuts: readonly Cut[],
  sumMs: number,
): void {
  const bucketName = `${metric.name}_bucket`;
  let within = 0;
  let cell = 0;
  for (const { le, end } of cuts) {
    while (cell < end) within += counts[cell++]!;
    metric.values.push({ metricName: bucketName, labels: { ...labels, le }, value: within });
  }
  while (cell < counts.length) within += counts[cell++]!;
  metric.values.push(
    { metricName: bucketName, labels: { ...labels, le: '+Inf' }, value: within },
    { metricName: `${metric.name}_sum`, labels, value: sumMs / 1000 },
    { metricName: `${metric.name}_count`, labels, value: within },
  );
}

/** By way of whole microseconds, so that 0.1 ms is 0.0001 and not its neighbour. */
export function seconds(ms: number): number {
  return Math.round(ms * 1000) / 1e6;
}

/** What every process of Weft says of itself. */
export function processFamilies(reading: ProcessReading): MetricFamily[] {
  const memory = gauge('process_resident_memory_bytes', 'Resident memory size in bytes.');
  add(memory, {}, reading.residentBytes);
  const cpu = counter('process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.');
  add(cpu, {}, reading.cpuSeconds);
  const start = gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.');
  add(start, {}, reading.startTimeSeconds);
  return [memory, cpu, start];
}

/** Durations counted in a few buckets, for what is too rare for the shared tables of `series.ts`. */
export class DurationCounts {
  readonly #boundsMs: readonly number[];
  readonly #counts: Float64Array;
  readonly #cuts: readonly Cut[];
  #sumMs = 0;

  /** Inclusive upper bounds, ascending. */
  constructor(boundsMs: readonly number[]) {
    assert(
      boundsMs.every((bound, index) => index === 0 || bound > boundsMs[index - 1]!),
      'the bounds of buckets ascend',
    );
    this.#boundsMs = boundsMs;
    this.#counts = new Float64Array(boundsMs.length + 1);
    this.#cuts = boundsMs.map((ms, index) => ({ le: seconds(ms), end: index + 1 }));
  }

  /** Of clocks that were set back, nothing is counted as less than 0. */
  observe(ms: number): void {
    const durationMs = Math.max(0, ms);
    const found = this.#boundsMs.findIndex((bound) => durationMs <= bound);
    this.#counts[found === -1 ? this.#boundsMs.length : found]!++;
    this.#sumMs += durationMs;
  }

  addTo(metric: MetricFamily, labels: MetricLabels): void {
    addHistogram(metric, labels, this.#counts, this.#cuts, this.#sumMs);
  }
}

/** Counts by labels whose values come from closed tables; the bound holds should one of these not be closed. Beyond it all labels are `other`. */
export class LabelledCounts<Label extends string> {
  readonly #names: readonly Label[];
  readonly #seriesMax: number;
  readonly #counts = new Map<string, { readonly labels: Record<Label, string>; count: number }>();

  constructor(names: readonly Label[], seriesMax: number) {
    this.#names = names;
    this.#seriesMax = seriesMax;
  }

  /** By 0: the series is there from the start, so that the first count is an increase. */
  count(labels: Record<Label, string>, by = 1): void {
    const key = this.#names.map((name) => labels[name]).join('\n');
    const entry = this.#counts.get(key);
    if (entry !== undefined) entry.count += by;
    else if (this.#counts.size < this.#seriesMax) this.#counts.set(key, { labels, count: by });
    else this.#countOther(by);
  }

  addTo(metric: MetricFamily): void {
    for (const { labels, count } of this.#counts.values()) add(metric, labels, count);
  }

  /** One series more than the bound. */
  #countOther(by: number): void {
    const labels = Object.fromEntries(this.#names.map((name) => [name, 'other'])) as Record<Label, string>;
    const key = this.#names.map(() => 'other').join('\n');
    const entry = this.#counts.get(key);
    if (entry === undefined) this.#counts.set(key, { labels, count: by });
    else entry.count += by;
  }
}
