import { describe, expect, it } from 'vitest';
import { StatWindow } from '../../../src/control/stat-window.ts';
import { limits } from '../../../src/model/limits.ts';
import type { SeriesDelta } from '../../../src/model/report.ts';
import { bucketCount, bucketIndex } from '../../../src/telemetry/histogram.ts';
import { ManualClock } from './memory-store.ts';

const delta = (change: Partial<SeriesDelta> = {}): SeriesDelta => ({
  direction: 'outbound',
  source: 'a.default',
  destination: 'b.default',
  route: 'default/r/0',
  statusClass: '2xx',
  requests: 1,
  failures: 0,
  durationBuckets: [],
  parts: [],
  ...change,
});

function open() {
  const clock = new ManualClock();
  return { clock, window: new StatWindow(() => clock.nowMs()) };
}

describe('the window', () => {
  it('is empty at first, and its length is the time that it covers', () => {
    const { clock, window } = open();
    clock.advance(7_000);
    expect(window.stats()).toEqual({ windowMs: 7_000, series: [] });
    clock.advance(1_000_000);
    expect(window.stats().windowMs).toBeGreaterThan(limits.statWindowMs - 5_001);
    expect(window.stats().windowMs).toBeLessThanOrEqual(limits.statWindowMs);
  });

  it('keeps no name that is too long', () => {
    const { window } = open();
    for (const name of ['source', 'destination', 'route'])
      for (let n = 0; n < 3; n++) window.add([delta({ [name]: `${n}`.padEnd(1_000_000, 'x') })]);
    window.add([delta({ source: 's'.repeat(127), destination: 'd'.repeat(127), route: 'r'.repeat(191) })]);
    expect(window.stats().series).toMatchObject([
      { source: 'other', destination: 'other', route: 'other', requests: 9 },
      { route: 'r'.repeat(191), requests: 1 },
    ]);
  });

  it('joins what many sidecars report of one series', () => {
    const { window } = open();
    const fast = bucketIndex(1);
    const slow = bucketIndex(100);
    window.add([
      delta({ requests: 90, durationBuckets: [fast, 90], parts: [{ part: 'wait', seconds: 0.09, buckets: [] }] }),
    ]);
    window.add([delta({ requests: 10, statusClass: '5xx', failures: 4, durationBuckets: [slow, 10] })]);
    const [series] = window.stats().series;
    expect(series).toMatchObject({ requests: 100, failures: 4, byStatus: { '2xx': 90, '5xx': 10 } });
    expect(series?.p50Ms).toBeGreaterThan(0.9);
    expect(series?.p50Ms).toBeLessThanOrEqual(1);
    expect(series?.p95Ms).toBeGreaterThan(90);
    expect(series?.parts.wait).toBeCloseTo(0.9);
  });

  it('counts a request that was a 5xx and a failure once, and one that was either of them', () => {
    const { window } = open();
    window.add([
      delta({ requests: 1 }),
      delta({ requests: 4, statusClass: '4xx', failures: 3 }),
      delta({ requests: 5, statusClass: '5xx', failures: 2 }),
    ]);
    window.add([delta({ requests: 2, failures: 1 })]);
    expect(window.stats().series[0]).toMatchObject({ requests: 12, failures: 6, failed: 9 });
  });

  it('forgets what is older than it', () => {
    const { clock, window } = open();
    window.add([delta({ requests: 5 })]);
    clock.advance(limits.statWindowMs / 2);
    window.add([delta({ requests: 7 })]);
    expect(window.stats().series[0]?.requests).toBe(12);
    clock.advance(limits.statWindowMs / 2);
    expect(window.stats().series[0]?.requests).toBe(7);
    clock.advance(limits.statWindowMs);
    expect(window.stats().series).toEqual([]);
  });

  it('puts the busiest first', () => {
    const { window } = open();
    window.add([
      delta({ route: 'x', requests: 1 }),
      delta({ route: 'y', requests: 2 }),
      delta({ route: 'x', requests: 3 }),
    ]);
    expect(window.stats().series.map(({ route, requests }) => [route, requests])).toEqual([
      ['x', 4],
      ['y', 2],
    ]);
  });

  it('counts what is beyond its bound together, per direction', () => {
    const { window } = open();
    const many = Array.from({ length: limits.seriesMax + 100 }, (_, n) => delta({ route: `r${n}` }));
    window.add(many);
    window.add([delta({ route: 'one more', direction: 'inbound' })]);
    const { series } = window.stats();
    expect(series.length).toBe(limits.seriesMax);
    expect(series[0]).toMatchObject({ route: 'other', direction: 'outbound', requests: 102 });
    expect(series.reduce((sum, { requests }) => sum + requests, 0)).toBe(many.length + 1);
  });

  it('leaves out buckets and parts that it does not know', () => {
    const { window } = open();
    window.add([
      delta({ durationBuckets: [bucketCount, 5, 7], parts: [{ part: 'invented', seconds: 1, buckets: [] }] }),
    ]);
    expect(window.stats().series[0]).toMatchObject({ requests: 1, p50Ms: 0, parts: {} });
  });

  it('goes on when the clock is set back', () => {
    const { clock, window } = open();
    window.add([delta()]);
    clock.advance(-20_000);
    window.add([delta()]);
    expect(window.stats().series[0]?.requests).toBe(2);
    expect(window.stats().windowMs).toBeGreaterThan(0);
  });
});
