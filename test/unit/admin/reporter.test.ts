import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { SeriesDelta } from '../../../src/model/report.ts';
import { startReporter } from '../../../src/sidecar/reporter.ts';
import { bucketCount, bucketIndex } from '../../../src/telemetry/histogram.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { SeriesRecorder } from '../../../src/telemetry/series.ts';

const noParts = new Float64Array(parts.length);

/** A reporter whose second passes when the test says so, to a control plane that takes `framesLeft` more frames. */
function makeReporter() {
  const recorder = new SeriesRecorder();
  const frames: (readonly SeriesDelta[])[] = [];
  const world = { framesLeft: Number.POSITIVE_INFINITY, nowMs: 0, isStopped: false };
  let tick = () => {};
  const reporter = startReporter({
    tables: () => [recorder.table()],
    send: (deltas) => {
      if (world.framesLeft === 0) return false;
      world.framesLeft--;
      frames.push(deltas);
      return true;
    },
    nowMs: () => world.nowMs,
    every: (ms, run) => {
      expect(ms).toBe(limits.reportIntervalMs);
      tick = run;
      return () => {
        world.isStopped = true;
      };
    },
  });
  const second = () => {
    world.nowMs += limits.reportIntervalMs;
    tick();
  };
  const request = (destination = 'cart.default', status = 200) =>
    recorder.series('outbound', 'shop.default', destination, 'r', status).record(1, noParts, status >= 500);
  return { recorder, reporter, frames, world, second, request };
}

describe('startReporter', () => {
  it('keeps what it could not send for the next report, and sends it once', () => {
    const { frames, world, second, request } = makeReporter();
    world.framesLeft = 0;
    request();
    second();
    request();
    second();
    expect(frames).toEqual([]);
    world.framesLeft = Number.POSITIVE_INFINITY;
    second();
    second();
    expect(frames).toHaveLength(1);
    expect(frames[0]).toMatchObject([{ destination: 'cart.default', requests: 2, failures: 0 }]);
  });

  it('forgets what is older than the window when the control plane was away for longer', () => {
    const { frames, world, second, request } = makeReporter();
    world.framesLeft = 0;
    request();
    second();
    world.nowMs += limits.statWindowMs;
    world.framesLeft = Number.POSITIVE_INFINITY;
    second();
    expect(frames).toEqual([]);
    request();
    second();
    expect(frames[0]).toMatchObject([{ requests: 1 }]);
  });

  it('sends several frames when one would be too large, each series in one of them', () => {
    const { frames, second, request } = makeReporter();
    for (let i = 0; i < 1_900; i++) request(`${'x'.repeat(60)}-${i}.default`);
    second();
    expect(frames.length).toBeGreaterThan(1);
    expect(new Set(frames.flat().map(({ destination }) => destination)).size).toBe(1_900);
    expect(frames.flat()).toHaveLength(1_900);
    for (const frame of frames) {
      expect(JSON.stringify(frame).length).toBeLessThan(2 * limits.reportBytesMax);
    }
  });

  it('takes up where a connection broke between two frames', () => {
    const { frames, world, second, request } = makeReporter();
    for (let i = 0; i < 1_900; i++) request(`${'x'.repeat(60)}-${i}.default`);
    world.framesLeft = 1;
    second();
    const first = frames[0]!.length;
    expect(frames).toHaveLength(1);
    world.framesLeft = Number.POSITIVE_INFINITY;
    second();
    expect(frames.slice(1).flat()).toHaveLength(1_900 - first);
  });

  it('sends nothing when nothing grew, and stops', () => {
    const { frames, world, second, reporter } = makeReporter();
    second();
    second();
    expect(frames).toEqual([]);
    reporter.stop();
    expect(world.isStopped).toBe(true);
  });

  it('says what grew, with buckets on the scale of the histogram', () => {
    const { recorder, reporter, frames, second, request } = makeReporter();
    request();
    second();
    const partsMs = new Float64Array(parts.length);
    partsMs[partIndex.wait] = 8;
    partsMs[partIndex.own] = 2;
    const series = recorder.series('outbound', 'shop.default', 'cart.default', 'r', 200);
    series.record(10, partsMs, true);
    series.record(10, partsMs, false);
    partsMs[partIndex.wait] = 9e6;
    series.record(9e6, partsMs, false);
    reporter.report();
    expect(frames[1]).toEqual([
      {
        direction: 'outbound',
        source: 'shop.default',
        destination: 'cart.default',
        route: 'r',
        statusClass: '2xx',
        requests: 3,
        failures: 1,
        durationBuckets: [bucketIndex(10), 2, bucketCount - 1, 1],
        parts: [
          { part: 'wait', seconds: 9000.016, buckets: [bucketIndex(10), 2, bucketCount - 1, 1] },
          { part: 'own', seconds: 0.006, buckets: [bucketIndex(2.5), 3] },
        ],
      },
    ]);
  });
});
