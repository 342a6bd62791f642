import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { SeriesDelta } from '../../../src/model/report.ts';
import { startReporter } from '../../../src/sidecar/reporter.ts';
import { bandCount, bandOfBucket } from '../../../src/telemetry/bands.ts';
import { bucketCount, bucketIndex } from '../../../src/telemetry/histogram.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { SeriesRecorder } from '../../../src/telemetry/series.ts';

const noParts = new Float64Array(parts.length);

/** A reporter whose second passes when the test says so, to a control plane that takes `framesLeft` more frames. */
function makeReporter(seriesMax?: number) {
  const recorder = new SeriesRecorder(seriesMax);
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
      expect(ms).toBe(limits.reportStepMs);
      tick = run;
      return () => {
        world.isStopped = true;
      };
    },
  });
  const step = () => {
    world.nowMs += limits.reportStepMs;
    tick();
  };
  const second = () => {
    for (let ms = 0; ms < limits.reportIntervalMs; ms += limits.reportStepMs) step();
  };
  const request = (destination = 'cart.default', status = 200) =>
    recorder
      .series('outbound', 'shop.default', { name: destination }, { route: 'r' }, status)
      .record(1, noParts, status >= 500);
  return { recorder, reporter, frames, world, step, second, request };
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
    for (let i = 0; i < 3; i++) second();
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
    second();
    const first = frames[0]!.length;
    expect(frames).toHaveLength(1);
    world.framesLeft = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 3; i++) second();
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

  it('sends no more at a time than it may, and goes on where it was', () => {
    const { frames, step, second, request } = makeReporter();
    const name = (i: number) => `${'x'.repeat(400)}-${i}.default`;
    for (let i = 0; i < 1_900; i++) request(name(i));
    for (let ms = 0; ms < limits.reportIntervalMs; ms += limits.reportStepMs) step();
    expect(frames).toHaveLength(1);
    step();
    expect(frames).toHaveLength(2);
    expect(frames[1]![0]!.destination).toBe(name(frames[0]!.length));
    for (let i = 0; i < 6; i++) second();
    const before = frames.length;
    const sent = frames.flat().map(({ destination }) => destination);
    expect([sent.length, sent.findIndex((each, i) => each !== name(i))]).toEqual([1_900, -1]);
    request(name(3));
    second();
    expect(frames.slice(before)).toMatchObject([[{ destination: name(3), requests: 1 }]]);
  });

  it('reports a series that has got the row of another from its own beginning', () => {
    const { recorder, frames, second, request } = makeReporter(1);
    request('a.default');
    request('a.default');
    second();
    for (let i = 0; i < 20; i++) request('b.default');
    second();
    recorder.sweep(60_000);
    request('b.default');
    request('b.default');
    request('b.default');
    second();
    expect(frames.at(-1)).toMatchObject([
      { destination: 'b.default', requests: 3, durationBuckets: [bucketIndex(1), 3] },
    ]);
  });

  it('loses nothing to rounding, however often it reports', () => {
    const { recorder, frames, second } = makeReporter();
    const partsMs = new Float64Array(parts.length);
    partsMs[partIndex.wait] = 0.0013;
    for (let i = 0; i < 1_000; i++) {
      recorder.series('outbound', 'a', { name: 'b' }, { route: 'c' }, 200).record(0.0013, partsMs, false);
      second();
    }
    const us = frames.flat().flatMap(({ bands }) => bands.map((band) => band.partsUs[partIndex.wait]!));
    expect(us.every(Number.isInteger)).toBe(true);
    expect(us.reduce((sum, each) => sum + each, 0)).toBe(1_300);
  });

  it('says what grew, with buckets on the scale of the histogram and parts in bands of the total', () => {
    const { recorder, reporter, frames, second, request } = makeReporter();
    request();
    second();
    const partsMs = new Float64Array(parts.length);
    partsMs[partIndex.wait] = 8;
    partsMs[partIndex.own] = 2;
    const record = (totalMs: number, isFailure: boolean, attempts: number, isLoopEstimate: boolean) =>
      recorder
        .series('outbound', 'shop.default', { name: 'cart.default' }, { route: 'r' }, 200)
        .record(totalMs, partsMs, isFailure, attempts, isLoopEstimate);
    record(10, true, 3, false);
    record(10, false, 1, true);
    partsMs[partIndex.wait] = 9e6;
    record(9e6 + 2, false, 1, false);
    reporter.report();
    const us = (wait: number, own: number) => parts.map((part) => (part === 'wait' ? wait : part === 'own' ? own : 0));
    expect(frames[1]).toEqual([
      {
        direction: 'outbound',
        source: 'shop.default',
        destination: 'cart.default',
        route: 'r',
        statusClass: '2xx',
        requests: 3,
        failures: 1,
        attempts: 5,
        attemptsFailed: 3,
        durationBuckets: [bucketIndex(10), 2, bucketCount - 1, 1],
        bands: [
          { band: bandOfBucket[bucketIndex(10)], loopEstimates: 1, partsUs: us(16_000, 4_000) },
          { band: bandCount - 1, loopEstimates: 0, partsUs: us(9e9, 2_000) },
        ],
      },
    ]);
  });
});
