/**
 * The counts of every series, in shared memory: one row of numbers for each combination of labels, written by one event loop and read
 * by anyone who holds the table (the worker that renders metrics, the report to the control plane, `weft stat`).
 *
 * A row is `rowCells` doubles: requests, failures, the sum of durations, the duration's histogram on the scale of histogram.ts, and
 * for each part of the ledger its sum and a coarse histogram. Parts get a coarse one because ten of them are kept per series and
 * because quantiles of parts do not add up anyway; it keeps a row at 5.1 KiB instead of 42. Counts are doubles since 32 bits wrap
 * within days at 20,000 requests a second. A reader on another thread may see a request half recorded, never a torn number.
 */
import assert from 'node:assert/strict';
import { limits } from '../model/limits.ts';
import type { StatusClass } from '../model/report.ts';
import { bucketCount, bucketIndex } from './histogram.ts';
import { type Direction, type PartsMs, parts, type Recorder, type Series } from './recorder.ts';

export const statusClasses: readonly StatusClass[] = ['1xx', '2xx', '3xx', '4xx', '5xx'];
const directions: readonly Direction[] = ['outbound', 'inbound'];

/** Upper bounds of a part's histogram, ms; one more cell holds what is above. All are bounds of the fine scale too. */
export const partBoundsMs = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 5000] as const;
const partBuckets = partBoundsMs.length + 1;

/** Where things are in a row, in cells. */
export const rowLayout = {
  requests: 0,
  failures: 1,
  durationSumMs: 2,
  duration: 3,
  partSumsMs: 3 + bucketCount,
  parts: 3 + bucketCount + parts.length,
  partBuckets,
  cells: 3 + bucketCount + parts.length + parts.length * partBuckets,
} as const;
const { cells: rowCells } = rowLayout;

/** Memory grows by this many rows at a time: 330 KiB, of which the system hands out only what is touched. */
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
  /** One entry a row, in order. */
  readonly labels: readonly SeriesLabels[];
}

/** `weft_failures_total` and `weft_retries_total`. */
export interface CodeCount {
  readonly direction: Direction;
  readonly code: string;
  readonly count: number;
}

/** Hears of each new row; `block` is new shared memory that holds it, null: it lies in the last one. */
export type RowListener = (labels: SeriesLabels, block: SharedArrayBuffer | null) => void;

const partBucketOf = makePartBuckets();

class Row implements Series {
  constructor(private readonly cells: Float64Array) {}

  record(totalMs: number, partsMs: PartsMs, isFailure: boolean): void {
    const { cells } = this;
    cells[rowLayout.requests]! += 1;
    if (isFailure) cells[rowLayout.failures]! += 1;
    // A clock that gave nonsense once must not spoil a sum for ever.
    if (totalMs > 0 && totalMs < Number.POSITIVE_INFINITY) cells[rowLayout.durationSumMs]! += totalMs;
    cells[rowLayout.duration + bucketIndex(totalMs)]! += 1;
    for (let part = 0; part < parts.length; part++) {
      const ms = partsMs[part]!;
      if (!(ms > 0 && ms < Number.POSITIVE_INFINITY)) continue;
      cells[rowLayout.partSumsMs + part]! += ms;
      cells[rowLayout.parts + part * partBuckets + partBucketOf[bucketIndex(ms)]!]! += 1;
    }
  }
}

type RowsByClass = (Row | undefined)[];
/** Outbound, inbound; by code. */
type CodeCounts = readonly [Map<string, number>, Map<string, number>];
/** By destination, then route, then source. */
type RowsByLabels = Map<string, Map<string, Map<string, RowsByClass>>>;

/**
 * Counts for one event loop. At most `seriesMax` combinations of labels get a row of their own; the rest share ten rows labelled
 * `other`, one for each direction and status class, so that totals and success rates stay true.
 */
export class SeriesRecorder implements Recorder {
  /** Requests that found no row of their own left: they are counted under `other`. */
  overflowed = 0;

  private readonly blocks: SharedArrayBuffer[] = [];
  private readonly labels: SeriesLabels[] = [];
  private ownRows = 0;
  private readonly byDirection: readonly [RowsByLabels, RowsByLabels] = [new Map(), new Map()];
  private readonly others: readonly [RowsByClass, RowsByClass] = [[], []];
  private readonly failureCounts: CodeCounts = [new Map(), new Map()];
  private readonly retryCounts: CodeCounts = [new Map(), new Map()];

  // Requests come in runs with the same labels; comparing four references is cheaper than hashing three strings.
  private lastDirection: Direction = 'outbound';
  private lastSource = '';
  private lastDestination = '';
  private lastRoute = '';
  private lastRows: RowsByClass | null = null;

  constructor(
    private readonly seriesMax: number = limits.seriesMax,
    private readonly onRow: RowListener | null = null,
  ) {}

  series(direction: Direction, source: string, destination: string, route: string, status: number): Series {
    const statusIndex = classIndex(status);
    if (
      this.lastRows !== null &&
      route === this.lastRoute &&
      destination === this.lastDestination &&
      direction === this.lastDirection &&
      source === this.lastSource
    ) {
      const row = this.lastRows[statusIndex];
      if (row !== undefined) return row;
    }
    const found = this.byDirection[directionIndex(direction)].get(destination)?.get(route)?.get(source);
    if (found?.[statusIndex] === undefined) return this.addSeries(direction, source, destination, route, statusIndex);
    this.lastDirection = direction;
    this.lastSource = source;
    this.lastDestination = destination;
    this.lastRoute = route;
    this.lastRows = found;
    return found[statusIndex];
  }

  countFailure(direction: Direction, code: string): void {
    countCode(this.failureCounts[directionIndex(direction)], code);
  }

  countRetry(direction: Direction, code: string): void {
    countCode(this.retryCounts[directionIndex(direction)], code);
  }

  /** What there is to read now. Rows are added at the end and never leave. */
  table(): SeriesTable {
    return { blocks: this.blocks, labels: this.labels };
  }

  failures(): CodeCount[] {
    return listCodes(this.failureCounts);
  }

  retries(): CodeCount[] {
    return listCodes(this.retryCounts);
  }

  private addSeries(
    direction: Direction,
    source: string,
    destination: string,
    route: string,
    statusIndex: number,
  ): Series {
    const statusClass = statusClasses[statusIndex]!;
    if (this.ownRows >= this.seriesMax) {
      this.overflowed++;
      const others = this.others[directionIndex(direction)];
      others[statusIndex] ??= this.addRow({
        direction,
        source: otherLabel,
        destination: otherLabel,
        route: otherLabel,
        statusClass,
      });
      return others[statusIndex];
    }
    this.ownRows++;
    const row = this.addRow({ direction, source, destination, route, statusClass });
    const byDestination = this.byDirection[directionIndex(direction)];
    const byRoute = getOrAdd(byDestination, destination, () => new Map<string, Map<string, RowsByClass>>());
    const bySource = getOrAdd(byRoute, route, () => new Map<string, RowsByClass>());
    // Filled with all classes at once, so that the array keeps one shape.
    getOrAdd(bySource, source, () => statusClasses.map(() => undefined) as RowsByClass)[statusIndex] = row;
    return row;
  }

  private addRow(labels: SeriesLabels): Row {
    const index = this.labels.length;
    const block = index % rowsPerBlock === 0 ? new SharedArrayBuffer(rowsPerBlock * rowBytes) : null;
    if (block !== null) this.blocks.push(block);
    this.labels.push(labels);
    this.onRow?.(labels, block);
    return new Row(rowOf(this.table(), index));
  }
}

/** The cells of a row, in place: see `rowLayout`. */
export function rowOf(table: SeriesTable, index: number): Float64Array {
  const block = table.blocks[Math.floor(index / rowsPerBlock)];
  assert(block !== undefined && index >= 0, 'the table has this row');
  return new Float64Array(block, (index % rowsPerBlock) * rowBytes, rowCells);
}

/** The class of a status: 499 (the client went) is 4xx; what is no status at all counts as a server's fault. */
export function statusClassOf(status: number): StatusClass {
  return statusClasses[classIndex(status)]!;
}

function classIndex(status: number): number {
  return status >= 100 && status < 500 ? Math.floor(status / 100) - 1 : 4;
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
