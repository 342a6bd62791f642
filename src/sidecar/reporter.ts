/**
 * Reports to the control plane: once a second, what each series grew by since it was last reported. What could not be sent is no
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

/** Starts to report every `limits.reportIntervalMs`. */
export function startReporter(options: ReporterOptions): Reporter {
  const growth = new Growth(options.tables);
  let sentAtMs = options.nowMs();
  const report = () => {
    const nowMs = options.nowMs();
    // Requests of ten minutes ago, reported as if they were of the last second, would make the window lie.
    if (nowMs - sentAtMs > limits.statWindowMs) growth.forget();
    if (growth.send(options.send)) sentAtMs = nowMs;
  };
  const stop = options.every(limits.reportIntervalMs, report);
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
  /** Which row of all a report begins with: the one that found no room in the last. */
  private first = 0;

  constructor(private readonly tables: () => readonly SeriesTable[]) {}

  /**
   * Sends what grew, in frames of about `limits.reportBytesMax`, and not more than `limits.reportFramesMax` of them. False when a frame was
   * refused: the rest stays for the next time.
   */
  send(send: (deltas: readonly SeriesDelta[]) => boolean): boolean {
    let frame: GrownRow[] = [];
    let frameBytes = 0;
    let frames = 0;
    for (const { place, grown } of this.grownRows()) {
      const bytes = estimateBytes(grown.delta);
      if (frame.length > 0 && frameBytes + bytes > limits.reportBytesMax) {
        if (!sendFrame(frame, send)) return false;
        frame = [];
        frameBytes = 0;
        frames++;
        this.first = place;
        if (frames === limits.reportFramesMax) return true;
      }
      frame.push(grown);
      frameBytes += bytes;
    }
    return frame.length === 0 || sendFrame(frame, send);
  }

  /** Takes everything up to now as reported. */
  forget(): void {
    for (const { grown } of this.grownRows()) grown.reported.set(grown.row);
  }

  /** From `first` on, and around. */
  private *grownRows(): Generator<{ readonly place: number; readonly grown: GrownRow }> {
    const tables = this.tables();
    const places = tables.reduce((sum, { labels }) => sum + labels.length, 0);
    const from = this.first < places ? this.first : 0;
    for (let step = 0; step < places; step++) {
      const place = (from + step) % places;
      let [tableIndex, index] = [0, place];
      while (index >= tables[tableIndex]!.labels.length) index -= tables[tableIndex++]!.labels.length;
      const grown = this.grownRow(tables[tableIndex]!, tableIndex, index);
      if (grown !== null) yield { place, grown };
    }
  }

  /** Null: there is nothing to report of it. */
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

function newReported(generation: number): Float64Array {
  const reported = new Float64Array(rowLayout.cells);
  reported[rowLayout.generation] = generation;
  return reported;
}

function sendFrame(frame: readonly GrownRow[], send: (deltas: readonly SeriesDelta[]) => boolean): boolean {
  if (!send(frame.map(({ delta }) => delta))) return false;
  for (const { row, reported } of frame) reported.set(row);
  return true;
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
