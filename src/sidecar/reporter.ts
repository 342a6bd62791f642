/**
 * Reports to the control plane: once a second, what each series grew by since it was last reported. What could not be sent is no
 * queue, since the counts themselves still hold it: it is part of the next report.
 */
import { limits } from '../model/limits.ts';
import type { PartDelta, SeriesDelta } from '../model/report.ts';
import { bucketCount, bucketIndex } from '../telemetry/histogram.ts';
import { parts } from '../telemetry/recorder.ts';
import { partBoundsMs, rowLayout, rowOf, type SeriesLabels, type SeriesTable } from '../telemetry/series.ts';

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

  constructor(private readonly tables: () => readonly SeriesTable[]) {}

  /** Sends what grew, in frames of about `limits.reportBytesMax`. False when a frame was refused: the rest stays for the next time. */
  send(send: (deltas: readonly SeriesDelta[]) => boolean): boolean {
    let frame: GrownRow[] = [];
    let frameBytes = 0;
    for (const grown of this.grownRows()) {
      const bytes = estimateBytes(grown.delta);
      if (frame.length > 0 && frameBytes + bytes > limits.reportBytesMax) {
        if (!sendFrame(frame, send)) return false;
        frame = [];
        frameBytes = 0;
      }
      frame.push(grown);
      frameBytes += bytes;
    }
    return frame.length === 0 || sendFrame(frame, send);
  }

  /** Takes everything up to now as reported. */
  forget(): void {
    for (const { row, reported } of this.grownRows()) reported.set(row);
  }

  private *grownRows(): Generator<GrownRow> {
    for (const [tableIndex, table] of this.tables().entries()) {
      this.reported[tableIndex] ??= [];
      const reportedRows = this.reported[tableIndex];
      for (const [index, labels] of table.labels.entries()) {
        reportedRows[index] ??= new Float64Array(rowLayout.cells);
        const reported = reportedRows[index];
        const live = rowOf(table, index);
        if (live[rowLayout.requests] === reported[rowLayout.requests]) continue;
        // A copy: another thread may count on while this one reads, and what is reported must be what is remembered.
        const row = live.slice();
        yield { delta: deltaOf(labels, row, reported), row, reported };
      }
    }
  }
}

function sendFrame(frame: readonly GrownRow[], send: (deltas: readonly SeriesDelta[]) => boolean): boolean {
  if (!send(frame.map(({ delta }) => delta))) return false;
  for (const { row, reported } of frame) reported.set(row);
  return true;
}

function deltaOf(labels: SeriesLabels, row: Float64Array, reported: Float64Array): SeriesDelta {
  return {
    ...labels,
    requests: row[rowLayout.requests]! - reported[rowLayout.requests]!,
    failures: row[rowLayout.failures]! - reported[rowLayout.failures]!,
    durationBuckets: grownCells(row, reported, rowLayout.duration, bucketCount, (cell) => cell),
    parts: parts.flatMap((part, index) => partDelta(part, index, row, reported)),
  };
}

function partDelta(part: string, index: number, row: Float64Array, reported: Float64Array): PartDelta[] {
  const sumAt = rowLayout.partSumsMs + index;
  const grownMs = row[sumAt]! - reported[sumAt]!;
  if (grownMs === 0) return [];
  const start = rowLayout.parts + index * rowLayout.partBuckets;
  const buckets = grownCells(row, reported, start, rowLayout.partBuckets, (cell) => partScale[cell]!);
  return [{ part, seconds: grownMs / 1000, buckets }];
}

/** A part's coarse cells, as the buckets of the fine scale that end at the same bound. */
const partScale: readonly number[] = [...partBoundsMs.map(bucketIndex), bucketCount - 1];

/** Index on the fine scale and growth, in pairs. */
function grownCells(
  row: Float64Array,
  reported: Float64Array,
  start: number,
  cells: number,
  indexOf: (cell: number) => number,
): number[] {
  const pairs: number[] = [];
  for (let cell = 0; cell < cells; cell++) {
    const grown = row[start + cell]! - reported[start + cell]!;
    if (grown > 0) pairs.push(indexOf(cell), grown);
  }
  return pairs;
}

/** Never too small: five bytes hold any number of 32 bits, and a label takes at most three bytes a character. */
function estimateBytes({ source, destination, route, durationBuckets, parts: partDeltas }: SeriesDelta): number {
  const labelBytes = 3 * (source.length + destination.length + route.length);
  const numbers = partDeltas.reduce((sum, { buckets }) => sum + buckets.length, durationBuckets.length);
  return 64 + labelBytes + 5 * numbers + 32 * partDeltas.length;
}
