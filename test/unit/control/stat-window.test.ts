import { describe, expect, it } from 'vitest';
import { StatWindow, windowBytesMax } from '../../../src/control/stat-window.ts';
import { limits } from '../../../src/model/limits.ts';
import type { BandDelta, SeriesDelta } from '../../../src/model/report.ts';
import { bandCount, bandOfBucket } from '../../../src/telemetry/bands.ts';
import { bucketCount, bucketIndex } from '../../../src/telemetry/histogram.ts';
import { type Part, parts } from '../../../src/telemetry/recorder.ts';
import { ManualClock } from './memory-store.ts';

const delta = (change: Partial<SeriesDelta> = {}): SeriesDelta => ({
  direction: 'outbound',
  source: 'a.default',
  destination: 'b.default',
  route: 'default/r/0',
  statusClass: '2xx',
  requests: 1,
  failures: 0,
  attempts: 1,
  attemptsFailed: 0,
  durationBuckets: [],
  bands: [],
  ...change,
});

/** `count` requests of this total, all of it in one part. */
const spread = (totalMs: number, count: number, part: Part): Partial<SeriesDelta> => ({
  requests: count,
  durationBuckets: [bucketIndex(totalMs), count],
  bands: [bandOf(totalMs, { [part]: totalMs * count })],
});
const bandOf = (totalMs: number, sumsMs: Partial<Record<Part, number>>): BandDelta => ({
  band: bandOfBucket[bucketIndex(totalMs)]!,
  loopEstimates: 0,
  partsUs: parts.map((part) => Math.round((sumsMs[part] ?? 0) * 1000)),
});

function open() {
  const clock = new ManualClock();
  const window = new StatWindow(() => clock.nowMs());
  return { clock, window, add: (deltas: readonly SeriesDelta[]) => window.add(deltas, parts) };
}

describe('the window', () => {
  it('is empty at first, and its length is the time that it covers', () => {
    const { clock, window } = open();
    clock.advance(7_000);
    expect(window.stats()).toEqual({ windowMs: 7_000, requestsWithoutDetail: 0, series: [] });
    clock.advance(1_000_000);
    expect(window.stats().windowMs).toBeGreaterThan(limits.statWindowMs - 5_001);
    expect(window.stats().windowMs).toBeLessThanOrEqual(limits.statWindowMs);
  });

  it('keeps no name that would draw lines or colours of its own', () => {
    const { window, add } = open();
    for (const name of ['a\nFORGED ROW', 'a\tb', '\u001b[31ma', 'a\u009b2J']) add([delta({ source: name })]);
    expect(window.stats().series).toMatchObject([{ source: 'other', destination: 'other', requests: 4 }]);
  });

  it('takes no detail of a report that names parts or bands without end, and is not held up by it', () => {
    const { window } = open();
    const bands = Array.from({ length: 12_000 }, () => ({ band: 0, loopEstimates: 0, partsUs: [] }));
    const startedAtMs = performance.now();
    window.add(
      Array.from({ length: 12 }, () => delta({ bands })),
      Array.from({ length: 300_000 }, () => 'wait'),
    );
    expect(performance.now() - startedAtMs).toBeLessThan(500);
    expect(window.stats()).toMatchObject({ requestsWithoutDetail: 12, series: [{ requests: 12 }] });
  });

  it('keeps no name that is too long', () => {
    const { window, add } = open();
    for (const name of ['source', 'destination', 'route'])
      for (let n = 0; n < 3; n++) add([delta({ [name]: `${n}`.padEnd(1_000_000, 'x') })]);
    add([delta({ source: 's'.repeat(127), destination: 'd'.repeat(127), route: 'r'.repeat(191) })]);
    expect(window.stats().series).toMatchObject([
      { source: 'other', destination: 'other', route: 'other', requests: 9 },
      { route: 'r'.repeat(191), requests: 1 },
    ]);
  });

  it('joins what many sidecars report of one series', () => {
    const { window, add } = open();
    add([delta(spread(1, 90, 'wait'))]);
    add([delta({ ...spread(100, 10, 'connect'), statusClass: '5xx', failures: 4, attempts: 30, attemptsFailed: 30 })]);
    const [series] = window.stats().series;
    expect(series).toMatchObject({ requests: 100, failures: 4, byStatus: { '2xx': 90, '5xx': 10 } });
    expect(series).toMatchObject({ attempts: 31, attemptsFailed: 30 });
    expect(series?.p50Ms).toBeGreaterThan(0.9);
    expect(series?.p50Ms).toBeLessThanOrEqual(1);
    expect(series?.p95Ms).toBeGreaterThan(90);
    expect(series?.parts).toEqual({ wait: 0.9, connect: 10 });
  });

  it('counts a request that was a 5xx and a failure once, and one that was either of them', () => {
    const { window, add } = open();
    add([
      delta({ requests: 1 }),
      delta({ requests: 4, statusClass: '4xx', failures: 3 }),
      delta({ requests: 5, statusClass: '5xx', failures: 2 }),
    ]);
    add([delta({ requests: 2, failures: 1 })]);
    expect(window.stats().series[0]).toMatchObject({ requests: 12, failures: 6, failed: 9 });
  });

  it('forgets what is older than it', () => {
    const { clock, window, add } = open();
    add([delta({ requests: 5 })]);
    clock.advance(limits.statWindowMs / 2);
    add([delta({ requests: 7 })]);
    expect(window.stats().series[0]?.requests).toBe(12);
    clock.advance(limits.statWindowMs / 2);
    expect(window.stats().series[0]?.requests).toBe(7);
    clock.advance(limits.statWindowMs);
    expect(window.stats().series).toEqual([]);
  });

  it('puts the busiest first', () => {
    const { window, add } = open();
    add([delta({ route: 'x', requests: 1 }), delta({ route: 'y', requests: 2 }), delta({ route: 'x', requests: 3 })]);
    expect(window.stats().series.map(({ route, requests }) => [route, requests])).toEqual([
      ['x', 4],
      ['y', 2],
    ]);
  });

  it('shows the newest part of itself where less is asked for', () => {
    const { clock, window, add } = open();
    add([delta({ requests: 5 })]);
    clock.advance(30_000);
    add([delta({ requests: 7 })]);
    clock.advance(4_000);
    const { windowMs, series } = window.stats(() => true, 10);
    expect(series[0]?.requests).toBe(7);
    expect(windowMs).toBeGreaterThan(4_000);
    expect(windowMs).toBeLessThanOrEqual(10_000);
    expect(window.stats(() => true, 60).series[0]?.requests).toBe(12);
  });

  it('counts what is beyond its bound together, per direction, until others leave it', () => {
    const { clock, window, add } = open();
    const many = Array.from({ length: limits.statSeriesMax + 100 }, (_, n) => delta({ route: `r${n}` }));
    add(many);
    add([delta({ route: 'one more', direction: 'inbound' })]);
    const { series } = window.stats();
    expect(series.length).toBe(limits.statSeriesMax + 2);
    expect(series[0]).toMatchObject({ route: 'other', direction: 'outbound', requests: 100 });
    expect(series.reduce((sum, { requests }) => sum + requests, 0)).toBe(many.length + 1);
    clock.advance(limits.statWindowMs);
    add([delta({ route: 'one more' })]);
    expect(window.stats().series.map(({ route }) => route)).toEqual(['one more']);
  });

  it('makes nothing of names that are longer than any can be', () => {
    const { window, add } = open();
    add([delta({ source: 'x'.repeat(1_000_000) })]);
    expect(window.stats().series).toMatchObject([{ source: 'other', requests: 1 }]);
  });

  it('leaves out buckets, bands and parts that it does not know, and reads parts by their names', () => {
    const { window } = open();
    const band = { band: 3, loopEstimates: 0, partsUs: [1_000, 2_000, 4_000] };
    const odd = delta({
      durationBuckets: [bucketCount, 5, 7],
      bands: [{ ...band, band: bandCount }, band, { ...band, partsUs: [] }],
    });
    window.add([odd], ['invented', 'own', 'wait']);
    expect(window.stats().series[0]).toMatchObject({ requests: 1, p50Ms: 0, parts: { own: 2, wait: 4 } });
  });

  it('has a bound in bytes whatever is reported, and goes on to count when it is there', () => {
    const { clock, window, add } = open();
    const everyBucket = Array.from({ length: bucketCount }, (_, bucket) => [bucket, 1]).flat();
    const everyBand = Array.from({ length: bandCount }, (_, band) => ({
      ...{ band, loopEstimates: 1 },
      partsUs: parts.map(() => 7),
    }));
    const widest = {
      requests: bucketCount,
      durationBuckets: everyBucket,
      bands: everyBand,
      failures: 1,
      attemptsFailed: 1,
    };
    let requests = 0;
    for (let at = 0; at < limits.statWindowMs; at += 5_000) {
      const deltas = Array.from({ length: 1_000 }, (_, n) => delta({ ...widest, route: `r${(at + n) % 4_500}` }));
      add(deltas);
      requests += deltas.length * bucketCount;
      clock.advance(5_000);
    }
    clock.advance(-1);
    expect(window.bytes).toBeLessThanOrEqual(windowBytesMax);
    // It is the bound that is stated in docs/ledger.md, and was reached in every slice.
    expect(windowBytesMax).toBe(36 * 1024 * 1024);
    const stats = window.stats();
    expect(stats.series.reduce((sum, each) => sum + each.requests, 0)).toBe(requests);
    expect(stats.requestsWithoutDetail).toBeGreaterThan(requests / 2);
    const detailed = stats.series.find(({ p99Ms }) => p99Ms > 0)!;
    // Sums and counts are of the same requests.
    for (const ms of Object.values(detailed.parts)) expect(ms).toBeCloseTo((bandCount * 7) / 1000 / bucketCount, 9);
  });

  it('keeps room for the totals of every series beside all detail', () => {
    const totals = (limits.statSeriesMax + 2) * 11;
    expect(limits.statDetailCellsMax + totals).toBeLessThanOrEqual((3 / 4) * 2 ** 18);
  });

  it('goes on when the clock is set back', () => {
    const { clock, window, add } = open();
    add([delta()]);
    clock.advance(-20_000);
    add([delta()]);
    expect(window.stats().series[0]?.requests).toBe(2);
    expect(window.stats().windowMs).toBeGreaterThan(0);
  });
});
