/**
 * The counts of every series, in shared memory: one row of numbers for each combination of labels, written by one event loop and read
 * by anyone who holds the table (the worker that renders metrics, the report to the control plane, `weft stat`).
 *
 * A row is `rowLayout.cells` doubles: requests, failures, attempts, the sum of durations, the duration's histogram on the scale of histogram.ts, for
 * each part of the ledger its sum and a coarse histogram, and the sums of the parts in each band of the total (bands.ts). Parts get a coarse one because ten
 * of them are kept per series and because quantiles of parts do not add up anyway; so a row has 10.5 KiB. Counts are doubles since 32 bits wrap
 * within days at 20,000 requests a second. A reader on another thread may see a request half recorded, never a torn number.
 *
 * Rows are given up and used again: a cell of each row says by its generation whose it is. It changes before anything else of the row does.
 */
import assert from 'node:assert/strict';
import { limits } from '../model/limits.ts';
import { type StatusClass, unknownService } from '../model/report.ts';
import { bandCells, bandCount, bandOfBucket, loopEstimatesAt } from './bands.ts';
import { Busiest } from './busiest.ts';
import { bucketCount, bucketIndex, bucketWithin } from './histogram.ts';
import {
  type Destination,
  type Direction,
  type PartsMs,
  partIndex,
  parts,
  type Recorder,
  type Rule,
  type Series,
} from './recorder.ts';

export const statusClasses: readonly StatusClass[] = ['1xx', '2xx', '3xx', '4xx', '5xx'];
const directions: readonly Direction[] = ['outbound', 'inbound'];

/** Upper bounds of a part's histogram, ms; one more cell holds what is above. All are bounds of the fine scale too. */
export const partBoundsMs = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000] as const;
const partBuckets = partBoundsMs.length + 1;
const shortestMs = partBoundsMs[0];
const longestMs = partBoundsMs[partBoundsMs.length - 1]!;

const durationAt = 6;
const partSumsAt = durationAt + bucketCount;
const partsAt = partSumsAt + parts.length;
const bandsAt = partsAt + parts.length * partBuckets;

/** Where things are in a row, in cells. What comes before `bands` is enough for totals, percentiles and means. */
export const rowLayout = {
  requests: 0,
  failures: 1,
  durationSumMs: 2,
  attempts: 3,
  /** Attempts that failed: all but the last one of each request, and that one too unless the request succeeded. */
  attemptsFailed: 4,
  generation: 5,
  duration: durationAt,
  /** Filled in by `readRow`: what the bands have of each part. */
  partSumsMs: partSumsAt,
  parts: partsAt,
  partBuckets,
  bands: bandsAt,
  cells: bandsAt + bandCount * bandCells,
} as const;
const { cells: rowCells } = rowLayout;

/** Memory grows by this many rows at a time: 670 KiB, of which the system hands out only what is touched. */
const rowsPerBlock = 64;
const rowBytes = rowCells * Float64Array.BYTES_PER_ELEMENT;

/** Label of everything beyond `limits.seriesMax`, in place of source, destination and route. */
export const otherLabel = 'other';

export interface SeriesLabels {
  readonly direction: Direction;
  readonly source: string;
  readonly destination: string;
  readonly route: string;
  readonly statusClass: StatusClass;
}

/** All rows of one event loop, as they can be posted to another thread: memory is shared, labels are copied. */
export interface SeriesTable {
  readonly blocks: readonly SharedArrayBuffer[];
  /** One entry a row, in order; of a row that was given up those of before. */
  readonly labels: readonly SeriesLabels[];
  /** Of each row: the generation that its labels belong to. */
  readonly generations: readonly number[];
}

/** `weft_failures_total` and `weft_retries_total`. */
export interface CodeCount {
  readonly direction: Direction;
  readonly code: string;
  readonly count: number;
}

/** A row with a new owner. */
export interface NewRow {
  readonly index: number;
  readonly generation: number;
  readonly labels: SeriesLabels;
  /** New shared memory that holds it; null: it lies in a block that is there. */
  readonly block: SharedArrayBuffer | null;
}
export type RowListener = (row: NewRow) => void;

const partCount = parts.length;
/** For a bucket of histogram.ts: the bucket of a part, and where in a row the band of a total begins. */
const partBucketOf = makePartBuckets();
const bandAtOf = Uint16Array.from(bandOfBucket, (band) => bandsAt + band * bandCells);
const serverErrorIndex = 4;

class Row implements Series {
  /** Requests at the last sweep, and when a sweep last saw that there were more. */
  sweptRequests = 0;

  constructor(
    private readonly cells: Float64Array,
    readonly index: number,
    readonly labels: SeriesLabels,
    private readonly isServerError: boolean,
    public usedAtMs: number,
  ) {}

  get requests(): number {
    return this.cells[rowLayout.requests]!;
  }

  record(totalMs: number, partsMs: PartsMs, isFailure: boolean, attempts = 1, isLoopEstimate = false): void {
    const { cells } = this;
    cells[rowLayout.requests]! += 1;
    if (isFailure) cells[rowLayout.failures]! += 1;
    if (attempts > 0) {
      cells[rowLayout.attempts]! += attempts;
      const failed = isFailure || this.isServerError ? attempts : attempts - 1;
      if (failed > 0) cells[rowLayout.attemptsFailed]! += failed;
    }
    // A clock that gave nonsense once must not spoil a sum for ever.
    if (totalMs > 0 && totalMs < Number.POSITIVE_INFINITY) cells[rowLayout.durationSumMs]! += totalMs;
    const bucket = bucketIndex(totalMs);
    cells[rowLayout.duration + bucket]! += 1;
    const band = bandAtOf[bucket]!;
    if (isLoopEstimate) cells[band + loopEstimatesAt]! += 1;
    let explainedMs = 0;
    partsMs[partIndex.own] = 0;
    for (let part = 0; part < partCount; part++) {
      const ms = partsMs[part]!;
      if (!(ms > 0 && ms < Number.POSITIVE_INFINITY)) continue;
      explainedMs += ms;
      addPart(cells, band, part, ms);
    }
    const ownMs = totalMs - explainedMs;
    if (!(ownMs > 0 && ownMs < Number.POSITIVE_INFINITY)) return;
    partsMs[partIndex.own] = ownMs;
    addPart(cells, band, partIndex.own, ownMs);
  }

  /** Readers pass it over from now on. */
  giveUp(): void {
    this.cells[rowLayout.generation]! += 1;
  }
}

type RowsByClass = (Row | undefined)[];
/** Outbound, inbound; by code. */
type CodeCounts = readonly [Map<string, number>, Map<string, number>];
/** By destination, then route, then source. */
type RowsByLabels = Map<string, Map<string, Map<string, RowsByClass>>>;

/**
 * Counts for one event loop. At most `seriesMax` combinations of labels get a row of their own; the rest share ten rows labelled
 * `other`, one for each direction and status class, so that totals and success rates stay true. The first that come have the rows, until a sweep
 * finds that they are idle, or much less busy than some that have none.
 */
export class SeriesRecorder implements Recorder {
  /** Requests counted. Rows leave with theirs, this only grows. */
  requests = 0;
  /** Requests that found no row of their own left: they are counted under `other`. */
  overflowed = 0;

  private readonly blocks: SharedArrayBuffer[] = [];
  private readonly labels: SeriesLabels[] = [];
  private readonly generations: number[] = [];
  private readonly own = new Set<Row>();
  private readonly free: number[] = [];
  private readonly watched = new Busiest<SeriesLabels>(limits.seriesWatchedMax);
  private sweptAtMs = 0;
  private readonly byDirection: readonly [RowsByLabels, RowsByLabels] = [new Map(), new Map()];
  private readonly others: readonly [RowsByClass, RowsByClass] = [[], []];
  private readonly failureCounts: CodeCounts = [new Map(), new Map()];
  private readonly retryCounts: CodeCounts = [new Map(), new Map()];
  /** Who was counted last, and mostly is next. Of a configuration that is gone they stay until another request ends. */
  private lastDirection: Direction = 'outbound';
  private lastSource = '';
  private lastDestination: Destination | null = null;
  private lastRule: Rule | null = null;
  private lastRows: RowsByClass | null = null;

  constructor(
    private readonly seriesMax: number = limits.seriesMax,
    private readonly onRow: RowListener | null = null,
  ) {}

  series(
    direction: Direction,
    source: string,
    destination: Destination | null,
    rule: Rule | null,
    status: number,
  ): Series {
    const statusIndex = classIndex(status);
    this.requests++;
    // The same objects have the same names: two of these comparisons would be calls if they were of texts.
    if (
      rule === this.lastRule &&
      destination === this.lastDestination &&
      this.lastRows !== null &&
      direction === this.lastDirection &&
      source === this.lastSource
    ) {
      const row = this.lastRows[statusIndex];
      if (row !== undefined) return row;
    }
    const name = destination === null ? unknownService : destination.name;
    const route = rule === null ? '' : rule.route;
    const found = this.byDirection[directionIndex(direction)].get(name)?.get(route)?.get(source);
    if (found?.[statusIndex] === undefined) return this.addSeries(direction, source, name, route, statusIndex);
    this.lastDirection = direction;
    this.lastSource = source;
    this.lastDestination = destination;
    this.lastRule = rule;
    this.lastRows = found;
    return found[statusIndex];
  }

  countFailure(direction: Direction, code: string): void {
    countCode(this.failureCounts[directionIndex(direction)], code);
  }

  countRetry(direction: Direction, code: string): void {
    countCode(this.retryCounts[directionIndex(direction)], code);
  }

  /** What there is to read now, and later: it grows, and where a row has a new owner its labels and generation change. */
  table(): SeriesTable {
    return { blocks: this.blocks, labels: this.labels, generations: this.generations };
  }

  failures(): CodeCount[] {
    return listCodes(this.failureCounts);
  }

  retries(): CodeCount[] {
    return listCodes(this.retryCounts);
  }

  /** Every `limits.seriesSweepMs`; monotonic. */
  sweep(nowMs: number): void {
    const growth = new Map<Row, number>();
    for (const row of this.own) {
      const grown = row.requests - row.sweptRequests;
      row.sweptRequests += grown;
      if (grown > 0) row.usedAtMs = nowMs;
      if (nowMs - row.usedAtMs >= limits.seriesIdleMs) this.giveUp(row);
      else growth.set(row, grown);
    }
    this.sweptAtMs = nowMs;
    this.admitBusy(growth);
  }

  /** Those that were the busiest without a row take free ones, and those of rows that had less than half of their requests since the last sweep. */
  private admitBusy(growth: ReadonlyMap<Row, number>): void {
    const wanted = this.watched.take();
    if (wanted.length === 0) return;
    const quietest = Array.from(growth).sort(([, a], [, b]) => a - b);
    for (const { value: labels, count } of wanted.slice(0, limits.seriesReplacedMax)) {
      if (this.own.size >= this.seriesMax) {
        const [row, grown] = quietest.shift() ?? [null, 0];
        if (row === null || count <= 2 * grown) return;
        this.giveUp(row);
      }
      this.addOwnRow(labels);
    }
  }

  private addSeries(
    direction: Direction,
    source: string,
    destination: string,
    route: string,
    statusIndex: number,
  ): Series {
    const labels = { direction, source, destination, route, statusClass: statusClasses[statusIndex]! };
    if (this.own.size < this.seriesMax) return this.addOwnRow(labels);
    this.overflowed++;
    // Labels are names: none has a NUL in it.
    this.watched.note(`${direction}\0${source}\0${destination}\0${route}\0${statusIndex}`, labels);
    const others = this.others[directionIndex(direction)];
    others[statusIndex] ??= this.addRow({ ...labels, source: otherLabel, destination: otherLabel, route: otherLabel });
    return others[statusIndex];
  }

  private addOwnRow(labels: SeriesLabels): Row {
    const { direction, source, destination, route, statusClass } = labels;
    const row = this.addRow(labels);
    this.own.add(row);
    const byDestination = this.byDirection[directionIndex(direction)];
    const byRoute = getOrAdd(byDestination, destination, () => new Map<string, Map<string, RowsByClass>>());
    const bySource = getOrAdd(byRoute, route, () => new Map<string, RowsByClass>());
    // Filled with all classes at once, so that the array keeps one shape.
    const byClass = getOrAdd(bySource, source, () => statusClasses.map(() => undefined) as RowsByClass);
    byClass[statusClasses.indexOf(statusClass)] = row;
    return row;
  }

  private addRow(labels: SeriesLabels): Row {
    const index = this.free.pop() ?? this.labels.length;
    const isNew = index === this.labels.length;
    const block = isNew && index % rowsPerBlock === 0 ? new SharedArrayBuffer(rowsPerBlock * rowBytes) : null;
    if (block !== null) this.blocks.push(block);
    this.labels[index] = labels;
    const cells = rowOf(this.table(), index);
    const generation = cells[rowLayout.generation]!;
    // New memory is zero already, and costs nothing until it is touched.
    if (!isNew) cells.fill(0, 0, rowLayout.generation).fill(0, rowLayout.generation + 1);
    this.generations[index] = generation;
    this.onRow?.({ index, generation, labels, block });
    return new Row(cells, index, labels, labels.statusClass === statusClasses[serverErrorIndex], this.sweptAtMs);
  }

  private giveUp(row: Row): void {
    const { direction, source, destination, route, statusClass } = row.labels;
    row.giveUp();
    this.own.delete(row);
    this.free.push(row.index);
    this.lastRows = null;
    const byDestination = this.byDirection[directionIndex(direction)];
    const byRoute = byDestination.get(destination)!;
    const bySource = byRoute.get(route)!;
    const byClass = bySource.get(source)!;
    byClass[statusClasses.indexOf(statusClass)] = undefined;
    if (byClass.some((each) => each !== undefined)) return;
    bySource.delete(source);
    if (bySource.size === 0) byRoute.delete(route);
    if (byRoute.size === 0) byDestination.delete(destination);
  }
}

/** The cells of a row, in place: see `rowLayout`. */
export function rowOf(table: Pick<SeriesTable, 'blocks'>, index: number): Float64Array {
  const block = table.blocks[Math.floor(index / rowsPerBlock)];
  assert(block !== undefined && index >= 0, 'the table has this row');
  return new Float64Array(block, (index % rowsPerBlock) * rowBytes, rowCells);
}

/** A copy of the first `cells` of a row, and the sums of its parts; null: it was given up, and is nobody's or somebody else's. */
export function readRow(table: SeriesTable, index: number, cells: number = rowCells): Float64Array | null {
  const live = rowOf(table, index);
  const generation = table.generations[index]!;
  if (live[rowLayout.generation] !== generation) return null;
  const copy = live.slice(0, cells);
  for (let band = bandsAt; band < rowCells; band += bandCells)
    for (let part = 0; part < partCount; part++) copy[partSumsAt + part]! += live[band + part]!;
  // Once more: its loop goes on while this one reads.
  return live[rowLayout.generation] === generation ? copy : null;
}

/** The class of a status: 499 (the client went) is 4xx; what is no status at all counts as a server's fault. */
export function statusClassOf(status: number): StatusClass {
  return statusClasses[classIndex(status)]!;
}

function classIndex(status: number): number {
  // Nearly all, without the division that the others take.
  if (status >= 200 && status < 300) return 1;
  return status >= 100 && status < 500 ? Math.floor(status / 100) - 1 : 4;
}

/** `ms` is more than 0; `band` where that of the total begins. */
function addPart(cells: Float64Array, band: number, part: number, ms: number): void {
  cells[band + part]! += ms;
  cells[rowLayout.parts + part * partBuckets + partBucket(ms)]! += 1;
}

/** Most parts are short ones. */
function partBucket(ms: number): number {
  if (ms <= shortestMs) return 0;
  return ms > longestMs ? partBuckets - 1 : partBucketOf[bucketWithin(ms)]!;
}

function directionIndex(direction: Direction): 0 | 1 {
  return direction === 'outbound' ? 0 : 1;
}

function getOrAdd<V>(map: Map<string, V>, key: string, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function countCode(counts: Map<string, number>, code: string): void {
  const count = counts.get(code);
  if (count === undefined && counts.size >= limits.failureCodesMax) {
    counts.set(otherLabel, (counts.get(otherLabel) ?? 0) + 1);
  } else {
    counts.set(code, (count ?? 0) + 1);
  }
}

function listCodes(counts: CodeCounts): CodeCount[] {
  return directions.flatMap((direction) =>
    Array.from(counts[directionIndex(direction)], ([code, count]) => ({ direction, code, count })),
  );
}

function makePartBuckets(): Uint8Array {
  const buckets = new Uint8Array(bucketCount);
  let index = 0;
  partBoundsMs.forEach((boundMs, bucket) => {
    const last = bucketIndex(boundMs);
    while (index <= last) buckets[index++] = bucket;
  });
  return buckets.fill(partBoundsMs.length, index);
}
