/** The budget of series: what may be asked for by anybody never makes more of them, and who has a place of its own is who is busy. */
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { parts } from '../../../src/telemetry/recorder.ts';
import { durationBoundsMs, hopBoundsMs, type MetricsInput, renderMetrics } from '../../../src/telemetry/render.ts';
import {
  readRow,
  rowLayout,
  rowOf,
  SeriesRecorder,
  type SeriesTable,
  statusClasses,
} from '../../../src/telemetry/series.ts';
import { metricsInputOf } from '../../fixtures/metrics-input.ts';
import { FakeClient, FakeEndpoint, fakeHead, fakeMesh } from '../proxy/proxy-fakes.ts';

const partsMs = Float64Array.from(parts, (_, index) => index / 10);
const linesPerRow = 1 + (durationBoundsMs.length + 3) + parts.length * (hopBoundsMs.length + 3);
const otherRows = 2 * statusClasses.length;

const textOf = (recorder: SeriesRecorder, changes: Partial<MetricsInput> = {}): Promise<string> =>
  renderMetrics(metricsInputOf([recorder], changes));
const linesOf = (text: string, prefix: string) => text.split('\n').filter((line) => line.startsWith(prefix));
const traffic = /^weft_(requests_total|request_duration_seconds|hop_seconds)/;
const trafficLines = (text: string) => text.split('\n').filter((line) => traffic.test(line)).length;

/** A generator of its own: the same requests in every run. */
function random(seed = 7): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 0x7fffffff;
  };
}
const live = ({ labels, ...table }: SeriesTable) =>
  labels.flatMap((each, index) => (readRow({ labels, ...table }, index) === null ? [] : [each]));

describe('what clients may choose freely', () => {
  it('makes no series: 10,000 random paths, hosts, methods and statuses have a row for each class of status', async () => {
    const recorder = new SeriesRecorder();
    const endpoint = new FakeEndpoint('127.0.0.1:1', 0);
    const { proxy } = fakeMesh([endpoint], undefined, { recorder });
    const next = random();
    const methods = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS'];
    for (let i = 0; i < 10_000; i++) {
      const host = next() < 0.3 ? `host-${Math.floor(next() * 1e9)}` : 'cart';
      const method = next() < 0.1 ? `M${Math.floor(next() * 1e9)}` : methods[Math.floor(next() * methods.length)]!;
      const path = `/${Math.floor(next() * 1e9)}/${next()}`;
      proxy.accept(fakeHead({ host, method, path, query: `?q=${next()}` }), new FakeClient()).onRequestEnd([]);
      if (host === 'cart') endpoint.last.answer(200 + Math.floor(next() * 400));
    }
    expect(recorder.requests).toBe(10_000);
    // To `cart` four classes, to hosts that are nobody's one.
    expect(
      recorder
        .table()
        .labels.map(({ destination, statusClass }) => `${destination} ${statusClass}`)
        .sort(),
    ).toEqual(['cart.default 2xx', 'cart.default 3xx', 'cart.default 4xx', 'cart.default 5xx', 'unknown 4xx']);
    const text = await textOf(recorder);
    expect(trafficLines(text)).toBeLessThanOrEqual(5 * linesPerRow);
    expect(linesOf(text, 'weft_requests_total').reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)).toBe(
      10_000,
    );
  });
});

describe('10,000 random combinations of labels', () => {
  /** With sweeps in between; answers the recorder and the most rows that it ever had. */
  function record(recorder: SeriesRecorder): number {
    const next = random();
    const name = (kind: string) => `${kind}-${Math.floor(next() * 1e9)}`;
    let rowsMax = 0;
    for (let i = 0; i < 10_000; i++) {
      const direction = next() < 0.5 ? 'outbound' : 'inbound';
      const status = 100 + Math.floor(next() * 500);
      recorder
        .series(direction, name('s'), { name: name('d') }, { route: name('r') }, status)
        .record(i / 10, partsMs, false);
      if (i % 1_000 === 0) recorder.sweep(i);
      rowsMax = Math.max(rowsMax, recorder.table().labels.length);
    }
    return rowsMax;
  }

  it('never have more rows than the budget, and no request is lost', () => {
    const recorder = new SeriesRecorder();
    expect(record(recorder)).toBe(limits.seriesMax + otherRows);
    expect([recorder.requests, recorder.overflowed]).toEqual([10_000, 10_000 - limits.seriesMax]);
    const counted = recorder.table().labels.map((_, index) => rowOf(recorder.table(), index)[rowLayout.requests]!);
    expect(counted.reduce((sum, each) => sum + each, 0)).toBe(10_000);
  });

  it('never have more lines than go with the rows', async () => {
    // A smaller budget, which is rendered in a tenth of the time.
    const recorder = new SeriesRecorder(150);
    expect(record(recorder)).toBe(150 + otherRows);
    const lines = trafficLines(await textOf(recorder));
    expect(lines).toBeLessThanOrEqual((150 + otherRows) * linesPerRow);
    expect(lines).toBeGreaterThan(150 * (linesPerRow - hopBoundsMs.length - 3) - 1);
  });

  it('of Services with connections have at most their own budget, the busiest by name and the rest as one', async () => {
    const upstreams = Array.from({ length: 10_000 }, (_, i) => ({
      ...{ destination: `d-${i}`, connections: i, idle: 1, pending: 0 },
    }));
    const text = await textOf(new SeriesRecorder(), { upstreams: [...upstreams, ...upstreams] });
    const pending = linesOf(text, 'weft_upstream_pending{');
    expect(pending).toHaveLength(limits.upstreamSeriesMax + 1);
    expect(text).toContain('weft_upstream_connections{destination="d-9999",state="active"} 19996\n');
    expect(text).toContain(
      `weft_upstream_connections{destination="other",state="idle"} ${2 * (10_000 - limits.upstreamSeriesMax)}\n`,
    );
    expect(text).not.toContain('"d-0"');
  });
});

describe('a sweep', () => {
  const record = (recorder: SeriesRecorder, destination: string, times: number, status = 200) => {
    for (let i = 0; i < times; i++)
      recorder.series('outbound', 's', { name: destination }, { route: 'r' }, status).record(1, partsMs, false);
  };
  const namesOf = (recorder: SeriesRecorder) => live(recorder.table()).map(({ destination }) => destination);

  it('gives the places of the least busy to those who are much busier, and keeps what is as busy', () => {
    const recorder = new SeriesRecorder(4);
    for (const [destination, times] of Object.entries({ a: 100, b: 50, c: 3, d: 1 }))
      record(recorder, destination, times);
    for (const [destination, times] of Object.entries({ e: 40, f: 7, g: 5, h: 1 }))
      record(recorder, destination, times);
    expect(namesOf(recorder)).toEqual(['a', 'b', 'c', 'd', 'other']);
    recorder.sweep(60_000);
    // e for d, f for c; g is not twice as busy as b.
    expect(namesOf(recorder).sort()).toEqual(['a', 'b', 'e', 'f', 'other']);
    const { overflowed } = recorder;
    record(recorder, 'e', 2);
    expect(recorder.overflowed).toBe(overflowed);
    record(recorder, 'd', 1);
    expect(recorder.overflowed).toBe(overflowed + 1);
    const table = recorder.table();
    const e = table.labels.findIndex(({ destination }) => destination === 'e');
    expect(rowOf(table, e)[rowLayout.requests]).toBe(2);
    expect(
      rowOf(table, e)
        .subarray(rowLayout.duration)
        .some((cell) => cell > 0),
    ).toBe(true);
  });

  it('lets idle series leave, and makes room', async () => {
    const recorder = new SeriesRecorder(2);
    record(recorder, 'a', 5);
    record(recorder, 'b', 5);
    recorder.sweep(1_000);
    record(recorder, 'b', 1);
    recorder.sweep(limits.seriesIdleMs);
    expect(namesOf(recorder)).toEqual(['a', 'b']);
    recorder.sweep(limits.seriesIdleMs + 1_000);
    expect(namesOf(recorder)).toEqual(['b']);
    expect(linesOf(await textOf(recorder), 'weft_requests_total')).toHaveLength(1);
    record(recorder, 'c', 2);
    expect(namesOf(recorder).sort()).toEqual(['b', 'c']);
    expect(recorder.table().labels).toHaveLength(2);
    record(recorder, 'a', 1);
    expect(recorder.overflowed).toBe(1);
    // All that were ever counted: what left is still in it.
    expect(recorder.requests).toBe(5 + 6 + 2 + 1);
  });

  it('never shows the counts of one series under the labels of another', () => {
    const rows: { index: number; generation: number }[] = [];
    const recorder = new SeriesRecorder(1, ({ index, generation }) => rows.push({ index, generation }));
    record(recorder, 'a', 3);
    // As another thread has it that has not heard of the change.
    const stale: SeriesTable = structuredClone({ ...recorder.table() });
    record(recorder, 'b', 50);
    recorder.sweep(60_000);
    expect(namesOf(recorder).sort()).toEqual(['b', 'other']);
    expect(stale.labels.map(({ destination }) => destination)).toEqual(['a']);
    expect(readRow(stale, 0)).toBeNull();
    expect(rows).toEqual([
      { index: 0, generation: 0 },
      { index: 1, generation: 0 },
      { index: 0, generation: 1 },
    ]);
  });
});
