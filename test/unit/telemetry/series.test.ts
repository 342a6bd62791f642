import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { bucketCount, bucketIndex, bucketUpperMs, percentileMs, totalCount } from '../../../src/telemetry/histogram.ts';
import { type Direction, partIndex, parts } from '../../../src/telemetry/recorder.ts';
import {
  partBoundsMs,
  readRow,
  rowLayout,
  rowOf,
  SeriesRecorder,
  type SeriesTable,
  statusClassOf,
} from '../../../src/telemetry/series.ts';

const noParts = new Float64Array(parts.length);
const duration = (row: Float64Array) => row.subarray(rowLayout.duration, rowLayout.duration + bucketCount);
const partCells = (row: Float64Array, part: number) =>
  row.subarray(rowLayout.parts + part * rowLayout.partBuckets, rowLayout.parts + (part + 1) * rowLayout.partBuckets);
const totalRequests = (table: SeriesTable) =>
  table.labels.reduce((sum, _labels, index) => sum + rowOf(table, index)[rowLayout.requests]!, 0);

describe('SeriesRecorder', () => {
  it('survives times that are none, without spoiling its sums', () => {
    const recorder = new SeriesRecorder();
    const series = recorder.series('outbound', 'shop', { name: 'cart.default' }, { route: 'r' }, 200);
    const partsMs = Float64Array.from(parts, () => Number.NaN);
    for (const ms of [Number.NaN, -5, Number.POSITIVE_INFINITY, 0]) series.record(ms, partsMs, false);
    partsMs.fill(Number.POSITIVE_INFINITY);
    series.record(4, partsMs, true);
    const row = readRow(recorder.table(), 0)!;
    expect(row[rowLayout.requests]).toBe(5);
    expect(row[rowLayout.failures]).toBe(1);
    expect(row[rowLayout.durationSumMs]).toBe(4);
    expect(totalCount(duration(row))).toBe(5);
    // What no part explains.
    expect(parts.map((_, part) => row[rowLayout.partSumsMs + part])).toEqual(
      parts.map((part) => (part === 'own' ? 4 : 0)),
    );
    expect(parts.map((_, part) => totalCount(partCells(row, part)))).toEqual(
      parts.map((part) => (part === 'own' ? 1 : 0)),
    );
    expect([row[rowLayout.attempts], row[rowLayout.attemptsFailed]]).toEqual([5, 1]);
  });

  it('counts everything beyond its bound under other, by direction and class, and loses no request', () => {
    const recorder = new SeriesRecorder(20);
    for (let i = 0; i < 10_000; i++) {
      const status = [200, 301, 404, 502][i % 4]!;
      recorder
        .series(i % 3 === 0 ? 'inbound' : 'outbound', 'shop', { name: `s${i}` }, { route: '' }, status)
        .record(1, noParts, false);
    }
    const table = recorder.table();
    expect(table.labels.filter(({ destination }) => destination !== 'other')).toHaveLength(20);
    expect(table.labels).toHaveLength(20 + 8);
    expect(table.labels[27]).toMatchObject({ source: 'other', destination: 'other', route: 'other' });
    expect(recorder.overflowed).toBe(9_980);
    expect(totalRequests(table)).toBe(10_000);
    const own = recorder.series('inbound', 'shop', { name: 's0' }, { route: '' }, 200);
    expect(recorder.series('inbound', 'shop', { name: 's0' }, { route: '' }, 200)).toBe(own);
  });

  it('is bounded in memory at the bound of series, and before it takes only what it needs', () => {
    const bytes = (table: SeriesTable) => table.blocks.reduce((sum, block) => sum + block.byteLength, 0);
    const recorder = new SeriesRecorder();
    recorder.series('outbound', 'a', { name: 'b' }, { route: 'c' }, 200);
    expect(bytes(recorder.table())).toBeLessThan(700 * 1024);
    for (let i = 0; i < 10_000; i++) recorder.series('outbound', 'a', { name: `b${i}` }, { route: 'c' }, 200);
    expect(recorder.table().labels).toHaveLength(limits.seriesMax + 1);
    // What docs/metrics.md says.
    expect(bytes(recorder.table())).toBeLessThan(22 * 1024 * 1024);
  });

  it('counts attempts, and which of them failed', () => {
    const recorder = new SeriesRecorder();
    const record = (status: number, isFailure: boolean, attempts: number) =>
      recorder.series('outbound', 'a', { name: 'b' }, { route: 'c' }, status).record(1, noParts, isFailure, attempts);
    record(200, false, 1);
    record(200, false, 3);
    record(301, false, 0);
    record(503, false, 2);
    record(504, true, 1);
    record(499, true, 1);
    record(404, true, 0);
    const table = recorder.table();
    const sum = (cell: number) => table.labels.reduce((total, _, index) => total + rowOf(table, index)[cell]!, 0);
    expect([sum(rowLayout.requests), sum(rowLayout.attempts), sum(rowLayout.attemptsFailed)]).toEqual([7, 8, 6]);
  });

  it('bounds the codes that it counts', () => {
    const recorder = new SeriesRecorder();
    for (let i = 0; i < 1_000; i++) recorder.countRetry('outbound', `code-${i}`);
    const retries = recorder.retries();
    expect(retries).toHaveLength(limits.failureCodesMax + 1);
    expect(retries.at(-1)).toEqual({ direction: 'outbound', code: 'other', count: 1_000 - limits.failureCodesMax });
  });

  it('counts failures and retries by direction and code', () => {
    const recorder = new SeriesRecorder();
    recorder.countFailure('outbound', 'no-route');
    recorder.countFailure('inbound', 'no-route');
    recorder.countFailure('outbound', 'no-route');
    recorder.countRetry('outbound', 'connect-refused');
    expect(recorder.failures()).toEqual([
      { direction: 'outbound', code: 'no-route', count: 2 },
      { direction: 'inbound', code: 'no-route', count: 1 },
    ]);
    expect(recorder.retries()).toEqual([{ direction: 'outbound', code: 'connect-refused', count: 1 }]);
  });

  it('keeps combinations apart that differ in one label only, in any order of use', () => {
    const recorder = new SeriesRecorder();
    const combinations: [Direction, string, string, string, number][] = [
      ['outbound', 'a', 'b', 'c', 200],
      ['inbound', 'a', 'b', 'c', 200],
      ['outbound', 'x', 'b', 'c', 200],
      ['outbound', 'a', 'x', 'c', 200],
      ['outbound', 'a', 'b', 'x', 200],
      ['outbound', 'a', 'b', 'c', 500],
      // Would be one string with the first if labels were joined.
      ['outbound', 'a', 'bc', '', 200],
      ['outbound', 'a', '', 'bc', 200],
    ];
    for (let round = 0; round < 3; round++) {
      for (const [direction, source, name, route, status] of combinations)
        recorder.series(direction, source, { name }, { route }, status).record(1, noParts, false);
    }
    const table = recorder.table();
    expect(table.labels).toHaveLength(combinations.length);
    combinations.forEach(([direction, source, destination, route, status], index) => {
      expect(table.labels[index]).toEqual({
        direction,
        source,
        destination,
        route,
        statusClass: statusClassOf(status),
      });
      expect(rowOf(table, index)[rowLayout.requests]).toBe(3);
    });
  });

  it('puts a status into its class', () => {
    const classes = [101, 200, 299, 304, 404, 499, 500, 599, 0, 600, 999, -1, Number.NaN].map(statusClassOf);
    expect(classes.join(' ')).toBe('1xx 2xx 2xx 3xx 4xx 4xx 5xx 5xx 5xx 5xx 5xx 5xx 5xx');
  });

  it('puts each part where its bound says, and its parts add up to its total', () => {
    const recorder = new SeriesRecorder();
    const series = recorder.series('outbound', 'shop', { name: 'cart.default' }, { route: 'r' }, 200);
    const partsMs = new Float64Array(parts.length);
    const tried = [...partBoundsMs, ...partBoundsMs.map((boundMs) => boundMs * 1.0001), 1e9];
    let sumMs = 0;
    for (const ms of tried) {
      partsMs[partIndex.wait] = ms;
      partsMs[partIndex.own] = 1;
      series.record(ms + 1, partsMs, false);
      sumMs += ms + 1;
    }
    const row = readRow(recorder.table(), 0)!;
    // At the bound, just above the one before; in the last cell also what is off the scale.
    expect([...partCells(row, partIndex.wait)]).toEqual([1, ...Array(partBoundsMs.length - 1).fill(2), 2]);
    expect(totalCount(partCells(row, partIndex.own))).toBe(tried.length);
    expect(totalCount(partCells(row, partIndex.tls))).toBe(0);
    const partSumMs = totalCount(row.subarray(rowLayout.partSumsMs, rowLayout.partSumsMs + parts.length));
    expect(partSumMs).toBeCloseTo(sumMs, 3);
    expect(row[rowLayout.durationSumMs]).toBeCloseTo(sumMs, 3);
    for (const boundMs of partBoundsMs) expect(bucketUpperMs(bucketIndex(boundMs))).toBe(boundMs);
  });

  it('keeps percentiles within a bucket of the exact ones', () => {
    const recorder = new SeriesRecorder();
    const series = recorder.series('outbound', 'shop', { name: 'cart.default' }, { route: 'r' }, 200);
    const times = Array.from({ length: 10_000 }, (_, i) => 0.2 * 1.0007 ** ((i * 7919) % 10_000));
    for (const ms of times) series.record(ms, noParts, false);
    times.sort((a, b) => a - b);
    const counts = duration(rowOf(recorder.table(), 0));
    for (const q of [0.5, 0.95, 0.99]) {
      const exactMs = times[Math.ceil(q * times.length) - 1]!;
      expect(Math.abs(percentileMs(counts, q) / exactMs - 1)).toBeLessThan(0.0625);
    }
  });

  it('is read by another holder of its memory as it grows', () => {
    const recorder = new SeriesRecorder();
    const series = recorder.series('outbound', 'a', { name: 'b' }, { route: 'c' }, 200);
    // A structured clone would share the memory in the same way.
    const posted = { ...recorder.table() };
    series.record(1, noParts, false);
    expect(rowOf(posted, 0)[rowLayout.requests]).toBe(1);
    expect(() => rowOf(posted, 64)).toThrow(/has this row/);
    expect(() => rowOf(posted, -1)).toThrow(/has this row/);
  });
});
