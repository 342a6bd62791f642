/**
 * The golden metrics of the whole mesh and the parts of its requests over the last `limits.statWindowMs`, added up from the sidecars' reports in
 * slices of 5 s. Held in memory only: what a series counted in a slice are numbers in cells, of which few are not zero (cell-counts.ts).
 *
 * It is bounded, whatever is reported: 12 slices of at most 3 MiB (`sliceSlotsMax` places of 12 bytes), and the names of `limits.statSeriesMax` series.
 * When a slice has no room left, requests go on to be counted, but not how they were spread; an answer says how many.
 */
import { limits } from '../model/limits.ts';
import { type BandDelta, failedOf, type SeriesDelta, type SeriesStats, type StatusClass } from '../model/report.ts';
import { bandCells, bandCount, loopEstimatesAt } from '../telemetry/bands.ts';
import { bucketCount, percentileMs } from '../telemetry/histogram.ts';
import { parts } from '../telemetry/recorder.ts';
import { CellCounts } from './cell-counts.ts';
import { type SeriesName, WindowSeries } from './window-series.ts';

const sliceMs = 5_000;
const slicesMax = limits.statWindowMs / sliceMs;
const sliceSlotsMax = 2 ** 18;
/** The most that the cells of a window take. */
export const windowBytesMax = slicesMax * sliceSlotsMax * 12;

const classes: readonly StatusClass[] = ['1xx', '2xx', '3xx', '4xx', '5xx'];

/** Where things are among the cells of one series. From `detail` on they are how its requests were spread. */
const layout = {
  requests: 0,
  failures: 1,
  failed: 2,
  attempts: 3,
  attemptsFailed: 4,
  withoutDetail: 5,
  byClass: 6,
  detail: 6 + classes.length,
  bands: 6 + classes.length + bucketCount,
  cells: 6 + classes.length + bucketCount + bandCount * bandCells,
} as const;

/** A series over the window. */
export interface WindowRow {
  readonly name: SeriesName;
  readonly requests: number;
  /** As in telemetry/histogram.ts. */
  readonly counts: Float64Array;
  /** Microseconds, as in telemetry/bands.ts. */
  readonly bandsUs: Float64Array;
}

export interface WindowReading {
  /** How long the counted time is. */
  readonly windowMs: number;
  readonly requestsWithoutDetail: number;
}

interface Slice {
  /** Of the wall clock, in units of `sliceMs`. */
  readonly index: number;
  readonly cells: CellCounts;
}

export class StatWindow {
  readonly #nowMs: () => number;
  readonly #startedAtMs: number;
  readonly #series = new WindowSeries();
  /** Oldest first. */
  #slices: Slice[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#startedAtMs = nowMs();
  }

  /** Of the cells. */
  get bytes(): number {
    return this.#slices.reduce((sum, { cells }) => sum + cells.bytes, 0);
  }

  /** Adds what one sidecar saw since its last report. `reported`: the parts that it has, in its order. */
  add(deltas: readonly SeriesDelta[], reported: readonly string[]): void {
    const slice = this.#currentSlice();
    const partAt = reported.slice(0, reportedPartsMax).map((part) => (parts as readonly string[]).indexOf(part));
    for (const delta of deltas) {
      const first = this.#series.numberOf(delta, slice.index) * layout.cells;
      addTotals(slice.cells, first, delta);
      if (delta.bands.length > bandCount || slice.cells.size + detailCellsOf(delta) > limits.statDetailCellsMax)
        slice.cells.add(first + layout.withoutDetail, delta.requests);
      else addDetail(slice.cells, first, delta, partAt);
    }
  }

  /** Series with requests in the window, or in the newest `seconds` of it, busiest first; of those that are `wanted`. */
  stats(
    wanted: (name: SeriesName) => boolean = () => true,
    seconds: number = limits.statWindowMs / 1000,
  ): WindowReading & { readonly series: SeriesStats[] } {
    const { rows, ...reading } = this.#read(wanted, Math.ceil((seconds * 1000) / sliceMs));
    return { ...reading, series: rows.map(statsOf).sort((a, b) => b.requests - a.requests) };
  }

  /** How the requests of each series that is `wanted` were spread. */
  rows(wanted: (name: SeriesName) => boolean = () => true): WindowReading & { readonly rows: readonly WindowRow[] } {
    const { rows, ...reading } = this.#read(wanted, slicesMax);
    return { ...reading, rows: rows.map(rowOf) };
  }

  /** The names of all series in the window: to choose among them before their cells are added up. */
  names(): readonly SeriesName[] {
    const numbers = new Set<number>();
    this.#currentSlice();
    for (const { cells } of this.#slices)
      cells.forEach((cell) => {
        if (cell % layout.cells === layout.requests) numbers.add(Math.floor(cell / layout.cells));
      });
    return Array.from(numbers, (number) => this.#series.nameOf(number));
  }

  /** Of the newest slices, the one that fills among them: of at least two, for that one may be empty yet. */
  #read(wanted: (name: SeriesName) => boolean, slices: number): WindowReading & { readonly rows: readonly Sums[] } {
    const oldest = this.#currentSlice().index - Math.min(Math.max(slices, 2), slicesMax) + 1;
    const bySeries = new Map<number, Sums | null>();
    let requestsWithoutDetail = 0;
    for (const { index, cells } of this.#slices) {
      if (index < oldest) continue;
      cells.forEach((key, amount) => {
        const number = Math.floor(key / layout.cells);
        let sums = bySeries.get(number);
        if (sums === undefined) {
          const name = this.#series.nameOf(number);
          sums = wanted(name) ? { name, cells: new Float64Array(layout.cells) } : null;
          bySeries.set(number, sums);
        }
        if (sums === null) return;
        const cell = key - number * layout.cells;
        sums.cells[cell]! += amount;
        if (cell === layout.withoutDetail) requestsWithoutDetail += amount;
      });
    }
    const coveredFromMs = Math.max(this.#startedAtMs, oldest * sliceMs);
    const windowMs = Math.max(this.#nowMs() - coveredFromMs, 1);
    const rows = [...bySeries.values()].filter((sums) => sums !== null && sums.cells[layout.requests]! > 0);
    return { windowMs, requestsWithoutDetail, rows: rows as Sums[] };
  }

  #currentSlice(): Slice {
    const newest = this.#slices.at(-1);
    const index = Math.floor(this.#nowMs() / sliceMs);
    // A clock that was set back adds to the newest slice until it has caught up.
    if (newest !== undefined && newest.index >= index) return newest;
    const oldest = index - slicesMax + 1;
    const slice = { index, cells: new CellCounts(sliceSlotsMax) };
    this.#slices = [...this.#slices.filter((old) => old.index >= oldest), slice];
    this.#series.forgetBefore(oldest);
    return slice;
  }
}

interface Sums {
  readonly name: SeriesName;
  /** As `layout` says. */
  readonly cells: Float64Array;
}

/** These always find room: `sliceSlotsMax` has it for all series beyond what `limits.statDetailCellsMax` leaves to detail. */
function addTotals(cells: CellCounts, first: number, delta: SeriesDelta): void {
  cells.add(first + layout.requests, delta.requests);
  cells.add(first + layout.failures, delta.failures);
  cells.add(first + layout.failed, failedOf(delta));
  cells.add(first + layout.attempts, delta.attempts);
  cells.add(first + layout.attemptsFailed, delta.attemptsFailed);
  cells.add(first + layout.byClass + classes.indexOf(delta.statusClass), delta.requests);
}

/** Other versions may have more parts than this one; who names thousands wants to keep the loop busy, as does who repeats bands. */
const reportedPartsMax = 32;

/** The most that a delta may need: all of it is taken, or nothing, so that sums and counts belong together. */
const detailCellsOf = ({ durationBuckets, bands }: SeriesDelta): number =>
  durationBuckets.length / 2 + bands.length * bandCells;

/** What is outside the scale, or a part that nobody knows, is another version's. */
function addDetail(cells: CellCounts, first: number, delta: SeriesDelta, partAt: readonly number[]): void {
  const { durationBuckets } = delta;
  for (let at = 0; at + 1 < durationBuckets.length; at += 2) {
    const bucket = durationBuckets[at]!;
    if (bucket < bucketCount) cells.add(first + layout.detail + bucket, durationBuckets[at + 1]!);
  }
  for (const band of delta.bands) if (band.band < bandCount) addBand(cells, first, band, partAt);
}

function addBand(
  cells: CellCounts,
  first: number,
  { band, loopEstimates, partsUs }: BandDelta,
  partAt: readonly number[],
): void {
  const start = first + layout.bands + band * bandCells;
  cells.add(start + loopEstimatesAt, loopEstimates);
  partAt.forEach((part, index) => {
    if (part !== -1) cells.add(start + part, partsUs[index] ?? 0);
  });
}

const rowOf = ({ name, cells }: Sums): WindowRow => ({
  name,
  requests: cells[layout.requests]!,
  counts: cells.subarray(layout.detail, layout.bands),
  bandsUs: cells.subarray(layout.bands),
});

function statsOf(sums: Sums): SeriesStats {
  const { name, requests, counts, bandsUs } = rowOf(sums);
  const { cells } = sums;
  const spread = Math.max(requests - cells[layout.withoutDetail]!, 1);
  const meansMs: Record<string, number> = {};
  parts.forEach((part, index) => {
    let us = 0;
    for (let cell = index; cell < bandsUs.length; cell += bandCells) us += bandsUs[cell]!;
    if (us > 0) meansMs[part] = us / 1000 / spread;
  });
  const byClass = classes.map((each, index) => [each, cells[layout.byClass + index]!] as const);
  return {
    ...name,
    requests,
    failures: cells[layout.failures]!,
    failed: cells[layout.failed]!,
    attempts: cells[layout.attempts]!,
    attemptsFailed: cells[layout.attemptsFailed]!,
    byStatus: Object.fromEntries(byClass.filter(([, count]) => count > 0)),
    p50Ms: percentileMs(counts, 0.5),
    p95Ms: percentileMs(counts, 0.95),
    p99Ms: percentileMs(counts, 0.99),
    parts: meansMs,
  };
}
