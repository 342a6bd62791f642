import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { SeriesRecorder } from '../../../src/telemetry/series.ts';
import { StatWindow } from '../../../src/telemetry/stats.ts';

function makeWindow(loops = 1) {
  const time = { nowMs: 0 };
  const recorders = Array.from({ length: loops }, () => new SeriesRecorder());
  const window = new StatWindow(
    () => recorders.map((recorder) => recorder.table()),
    () => time.nowMs,
  );
  const request = (destination: string, status: number, totalMs: number, loop = 0) => {
    const partsMs = new Float64Array(parts.length);
    partsMs[partIndex.wait] = totalMs * 0.75;
    partsMs[partIndex.own] = totalMs * 0.25;
    recorders[loop]!.series('outbound', 'shop.default', { name: destination }, { route: 'r' }, status).record(
      totalMs,
      partsMs,
      status >= 500,
    );
  };
  return { time, window, request };
}

describe('StatWindow', () => {
  it('has no series before there is a request', () => {
    expect(makeWindow().window.read()).toEqual({ windowMs: 0, series: [] });
  });

  it('forgets what is older than the window, and series that were silent in it', () => {
    const { time, window, request } = makeWindow();
    const half = limits.statWindowMs / 2;
    request('cart.default', 200, 1);
    request('old.default', 200, 1);
    time.nowMs = half;
    window.roll();
    request('cart.default', 200, 1);
    time.nowMs = 2 * half;
    window.roll();
    time.nowMs += 10;
    request('cart.default', 503, 1);
    const { windowMs, series } = window.read();
    expect(windowMs).toBe(half + 10);
    expect(series).toHaveLength(1);
    expect(series[0]).toMatchObject({ destination: 'cart.default', requests: 2, byStatus: { '2xx': 1, '5xx': 1 } });
  });

  it('reads the time since the start or the last reading when nobody rolls', () => {
    const { time, window, request } = makeWindow();
    request('cart.default', 200, 1);
    time.nowMs = 600_000;
    expect(window.read()).toMatchObject({ windowMs: 600_000, series: [{ requests: 1 }] });
    time.nowMs = 601_000;
    window.roll();
    expect(window.read()).toMatchObject({ windowMs: 601_000 });
    time.nowMs = 640_000;
    window.read();
    expect(window.read()).toEqual({ windowMs: 40_000, series: [] });
  });

  it('puts status classes and event loops together, busiest series first, with parts that add up', () => {
    const { time, window, request } = makeWindow(2);
    request('quiet.default', 200, 1);
    for (let i = 0; i < 98; i++) request('cart.default', 200, 10, i % 2);
    request('cart.default', 404, 10);
    request('cart.default', 502, 1000);
    time.nowMs = 1000;
    const { series } = window.read();
    expect(series.map(({ destination }) => destination)).toEqual(['cart.default', 'quiet.default']);
    const [cart] = series;
    expect(cart).toMatchObject({
      direction: 'outbound',
      source: 'shop.default',
      route: 'r',
      requests: 100,
      failures: 1,
      failed: 1,
      byStatus: { '2xx': 98, '4xx': 1, '5xx': 1 },
    });
    expect(Math.abs(cart!.p50Ms / 10 - 1)).toBeLessThan(0.0625);
    expect(Math.abs(cart!.p99Ms / 10 - 1)).toBeLessThan(0.0625);
    expect(cart!.parts.wait! + cart!.parts.own!).toBeCloseTo((99 * 10 + 1000) / 100);
    expect(Object.keys(cart!.parts)).toEqual(['wait', 'own']);
  });
});
