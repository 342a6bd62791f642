/**
 * Reports to the control plane: once a second, what each series grew by since it was last reported, a frame at a time. What could not be sent is no
 * queue, since the counts themselves still hold it: it is part of the next report.
 */
import { limits } from '../model/limits.ts';
import type { BandDelta, SeriesDelta } from '../model/report.ts';
import { bandCells, bandCount, loopEstimatesAt } from '../telemetry/bands.ts';
import { bucketCount } from '../telemetry/histogram.ts';
import { parts } from '../telemetry/recorder.ts';
import { readRow, rowLayout, rowOf, type SeriesLabels, type SeriesTable } from '../telemetry/series.ts';

export interface ReporterOptions {
  /** The tables of all event loops, always in the same order. */
  readonly tables: () => readonly SeriesTable[];
  /** Hands one frame over; false when there is no connection, or no room on it. Not called with nothing. */
  readonly send: (deltas: readonly SeriesDelta[]) => boolean;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  /** Calls `run` every `ms` until the answer is called; must not keep the process alive. */
  readonly every: (ms: number, run: () => void) => () => void;
}

export interface Reporter {
  /** Reports now: at the end of a drain, so that the last requests are counted too. */
  report(): void;
  stop(): void;
}

/** Starts to report every `limits.reportIntervalMs`, and where one frame does not hold all, goes on every `limits.reportStepMs`. */
export function startReporter(options: ReporterOptions): Reporter {
  const growth = new Growth(options.tables);
  let sentAtMs = options.nowMs();
  let beganAtMs = sentAtMs;
  const step = () => {
    const nowMs = options.nowMs();
    if (growth.isAllSent) {
      if (nowMs - beganAtMs < limits.reportIntervalMs) return;
      beganAtMs = nowMs;
      // Requests of ten minutes ago, reported as if they were of the last second, would make the window lie.
      if (nowMs - sentAtMs > limits.statWindowMs) growth.forget();
      growth.begin();
    }
    if (growth.sendFrame(options.send)) sentAtMs = nowMs;
  };
  const report = () => {
    growth.begin();
    while (!growth.isAllSent) growth.sendFrame(options.send);
  };
  const stop = options.every(limits.reportStepMs, step);
  return { report, stop };
}

/** One row that grew, and where the counts that were reported of it are kept. */
interface GrownRow {
  readonly delta: SeriesDelta;
  readonly row: Float64Array;
  readonly reported: Float64Array;
}

/** What each row was when it was last reported, and so what it has grown by. */
class Growth {
  private readonly reported: Float64Array[][] = [];
  /** Of all rows: the next to look at, and how many are left of this report. */
  private next = 0;
  private left = 0;

  constructor(private readonly tables: () => readonly SeriesTable[]) {}

  /** Of this report; or what there was is left for the next. */
  get isAllSent(): boolean {
    return this.left === 0;
  }

  /** Another report, from where the last one ended. */
  begin(): void {
    this.left = rowsOf(this.tables());
  }

  /** Sends what grew, up to about `limits.reportBytesMax` of it. False when that was refused: the report ends. */
  sendFrame(send: (deltas: readonly SeriesDelta[]) => boolean): boolean {
    const tables = this.tables();
    const rows = rowsOf(tables);
    const from = this.next;
    const frame: GrownRow[] = [];
    let bytes = 0;
    for (; this.left > 0; this.left--) {
      this.next %= rows;
      const grown = this.grownAt(tables, this.next);
      if (grown !== null) {
        bytes += estimateBytes(grown.delta);
        if (frame.length > 0 && bytes > limits.reportBytesMax) break;
        frame.push(grown);
      }
      this.next++;
    }
    if (frame.length === 0 || send(frame.map(({ delta }) => delta))) {
      for (const { row, reported } of frame) reported.set(row);
      return true;
    }
    this.next = from;
    this.left = 0;
    return false;
  }

  /** Takes everything up to now as reported. */
  forget(): void {
    const tables = this.tables();
    for (let place = rowsOf(tables) - 1; place >= 0; place--) {
      const grown = this.grownAt(tables, place);
      grown?.reported.set(grown.row);
    }
  }

  /** Null: there is nothing to report of it. `place`: among the rows of all tables. */
  private grownAt(tables: readonly SeriesTable[], place: number): GrownRow | null {
    let [tableIndex, index] = [0, place];
    while (index >= tables[tableIndex]!.labels.length) index -= tables[tableIndex++]!.labels.length;
    return this.grownRow(tables[tableIndex]!, tableIndex, index);
  }

  private grownRow(table: SeriesTable, tableIndex: number, index: number): GrownRow | null {
    this.reported[tableIndex] ??= [];
    const reportedRows = this.reported[tableIndex];
    const generation = table.generations[index]!;
    const live = rowOf(table, index);
    reportedRows[index] ??= newReported(generation);
    const reported = reportedRows[index];
    if (reported[rowLayout.generation] !== generation) reported.fill(0)[rowLayout.generation] = generation;
    if (live[rowLayout.requests] === reported[rowLayout.requests]) return null;
    // A copy: another thread may count on while this one reads, and what is reported must be what is remembered.
    const row = readRow(table, index);
    return row === null ? null : { delta: deltaOf(table.labels[index]!, row, reported), row, reported };
  }
}

const rowsOf = (tables: readonly SeriesTable[]): number => tables.reduce((sum, { labels }) => sum + labels.length, 0);

function newReported(generation: number): Float64Array {
  const reported = new Float64Array(rowLayout.cells);
  reported[rowLayout.generation] = generation;
  return reported;
}

function deltaOf(labels: SeriesLabels, row: Float64Array, reported: Float64Array): SeriesDelta {
  const grown = (cell: number) => row[cell]! - reported[cell]!;
  const durationBuckets: number[] = [];
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    const count = grown(rowLayout.duration + bucket);
    if (count > 0) durationBuckets.push(bucket, count);
  }
  return {
    ...labels,
    requests: grown(rowLayout.requests),
    failures: grown(rowLayout.failures),
    attempts: grown(rowLayout.attempts),
    attemptsFailed: grown(rowLayout.attemptsFailed),
    durationBuckets,
    bands: grownBands(row, reported),
  };
}

function grownBands(row: Float64Array, reported: Float64Array): BandDelta[] {
  const bands: BandDelta[] = [];
  for (let band = 0; band < bandCount; band++) {
    const start = rowLayout.bands + band * bandCells;
    let isGrown = false;
    for (let cell = start; cell < start + bandCells && !isGrown; cell++) isGrown = row[cell] !== reported[cell];
    if (!isGrown) continue;
    bands.push({
      band,
      loopEstimates: row[start + loopEstimatesAt]! - reported[start + loopEstimatesAt]!,
      // The difference of what was rounded: so nothing is lost however often it is reported.
      partsUs: parts.map((_, part) => microseconds(row[start + part]!) - microseconds(reported[start + part]!)),
    });
  }
  return bands;
}

const microseconds = (ms: number): number => Math.round(ms * 1000);

/** Hardly ever too small: five bytes hold any number of 32 bits, and a label takes at most three bytes a character. */
function estimateBytes({ source, destination, route, durationBuckets, bands }: SeriesDelta): number {
  const labelBytes = 3 * (source.length + destination.length + route.length);
  return 80 + labelBytes + 5 * durationBuckets.length + bands.length * (12 + 5 * parts.length);
}
