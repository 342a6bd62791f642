/**
 * Golden metrics out of the counts of this process: what `/stats` of the admin port answers and `weft stat --admin` prints. The
 * control plane answers the same shape for the whole mesh from the sidecars' reports.
 */
import { limits } from '../model/limits.ts';
import { failedOf, type SeriesStats, type WindowStats } from '../model/report.ts';
import { bucketCount, percentileMs } from './histogram.ts';
import { parts } from './recorder.ts';
import { readRow, rowLayout, type SeriesLabels, type SeriesTable } from './series.ts';

/** Counts at one time, to be taken off later ones: rows by table, then index. */
interface Baseline {
  readonly atMs: number;
  /** Null: it was nobody's. */
  readonly rows: readonly (readonly (Float64Array | null)[])[];
}

/** Bands of the total are not shown: a row without them is half as large. */
const rowCells = rowLayout.bands;

/**
 * The last minute or so: `roll` keeps a copy of the counts now and then, `read` says what was added since the older one of two. Called
 * every half `limits.statWindowMs`, `roll` makes windows of a half to a whole one; called by nobody, the window is the time since the
 * last reading or since the start. The answer says which.
 */
export class StatWindow {
  private older: Baseline;
  private newer: Baseline;

  constructor(
    private readonly tables: () => readonly SeriesTable[],
    private readonly nowMs: () => number,
  ) {
    this.older = { atMs: nowMs(), rows: [] };
    this.newer = this.older;
  }

  roll(): void {
    const atMs = this.nowMs();
    if (atMs - this.newer.atMs < limits.statWindowMs / 2) return;
    this.older = this.newer;
    const rows = this.tables().map((table) => table.labels.map((_, index) => readRow(table, index, rowCells)));
    this.newer = { atMs, rows };
  }

  /** Series with requests in the window, busiest first. */
  read(): WindowStats {
    const windowMs = this.nowMs() - this.older.atMs;
    const byLabels = new Map<string, Total>();
    this.tables().forEach((table, tableIndex) => {
      table.labels.forEach((labels, index) => {
        const row = readRow(table, index, rowCells);
        if (row !== null) addRow(byLabels, labels, row, baselineOf(row, this.older.rows[tableIndex]?.[index]));
      });
    });
    this.roll();
    const series = Array.from(byLabels.values(), summarize).sort((a, b) => b.requests - a.requests);
    return { windowMs, series };
  }
}

/** What another series counted in the same row before is no baseline. */
const baselineOf = (row: Float64Array, before: Float64Array | null | undefined): Float64Array | undefined =>
  before?.[rowLayout.generation] === row[rowLayout.generation] ? (before ?? undefined) : undefined;

/** Rows of all status classes and event loops together. */
interface Total {
  readonly labels: SeriesLabels;
  readonly cells: Float64Array;
  readonly byStatus: Record<string, number>;
  failed: number;
}

function addRow(
  byLabels: Map<string, Total>,
  labels: SeriesLabels,
  row: Float64Array,
  before: Float64Array | undefined,
): void {
  const requests = row[rowLayout.requests]! - (before?.[rowLayout.requests] ?? 0);
  if (requests === 0) return;
  const key = JSON.stringify([labels.direction, labels.source, labels.destination, labels.route]);
  let total = byLabels.get(key);
  if (total === undefined) {
    total = { labels, cells: new Float64Array(rowCells), byStatus: {}, failed: 0 };
    byLabels.set(key, total);
  }
  const { cells, byStatus } = total;
  for (let cell = 0; cell < rowCells; cell++) cells[cell]! += row[cell]! - (before?.[cell] ?? 0);
  const failures = row[rowLayout.failures]! - (before?.[rowLayout.failures] ?? 0);
  total.failed += failedOf({ statusClass: labels.statusClass, requests, failures });
  byStatus[labels.statusClass] = (byStatus[labels.statusClass] ?? 0) + requests;
}

function summarize({ labels, cells, byStatus, failed }: Total): SeriesStats {
  const { direction, source, destination, route } = labels;
  const requests = cells[rowLayout.requests]!;
  const duration = cells.subarray(rowLayout.duration, rowLayout.duration + bucketCount);
  const meansMs: Record<string, number> = {};
  parts.forEach((part, index) => {
    const sumMs = cells[rowLayout.partSumsMs + index]!;
    if (sumMs > 0) meansMs[part] = sumMs / requests;
  });
  return {
    direction,
    source,
    destination,
    route,
    requests,
    failures: cells[rowLayout.failures]!,
    attempts: cells[rowLayout.attempts]!,
    attemptsFailed: cells[rowLayout.attemptsFailed]!,
    failed,
    byStatus,
    p50Ms: percentileMs(duration, 0.5),
    p95Ms: percentileMs(duration, 0.95),
    p99Ms: percentileMs(duration, 0.99),
    parts: meansMs,
  };
}
