import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bandCells,
  bandCount,
  bandLowerMs,
  bandOfBucket,
  bandUpperMs,
  latencyAtOf,
  loopEstimatesAt,
} from '../../../src/telemetry/bands.ts';
import { bucketCount, bucketIndex } from '../../../src/telemetry/histogram.ts';
import { partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { rowLayout, rowOf, SeriesRecorder } from '../../../src/telemetry/series.ts';

/** Rows as they are recorded, of requests with these parts. */
function rowOfRequests(requests: readonly Readonly<Record<string, number>>[], isLoopEstimate = false): Float64Array {
  const recorder = new SeriesRecorder();
  const series = recorder.series('outbound', 'a', { name: 'b' }, { route: 'c' }, 200);
  for (const request of requests) {
    const partsMs = new Float64Array(parts.length);
    for (const [part, ms] of Object.entries(request)) partsMs[partIndex[part as keyof typeof partIndex]] = ms;
    series.record(
      partsMs.reduce((sum, ms) => sum + ms, 0),
      partsMs,
      false,
      1,
      isLoopEstimate,
    );
  }
  return rowOf(recorder.table(), 0);
}
const latencyOfRow = (row: Float64Array) =>
  latencyAtOf({
    counts: row.subarray(rowLayout.duration, rowLayout.duration + bucketCount),
    sums: row.subarray(rowLayout.bands),
    unitsPerMs: 1,
  });

describe('bands of the total', () => {
  it('are at most 28 % wide from 0.1 ms to 100 s, and each bucket lies in one of them', () => {
    expect([bandLowerMs(0), bandUpperMs(0), bandLowerMs(bandCount - 1), bandUpperMs(bandCount - 1)]).toEqual([
      0,
      0.1,
      100_000,
      Number.POSITIVE_INFINITY,
    ]);
    for (let band = 1; band < bandCount - 1; band++)
      expect(bandUpperMs(band) / bandLowerMs(band), `band ${band}`).toBeLessThanOrEqual(1.2801);
    for (const ms of [0, 0.1, 0.1001, 1, 1.25, 1.26, 99_999, 100_000, 100_001, 1e9]) {
      const band = bandOfBucket[bucketIndex(ms)]!;
      expect(ms > bandLowerMs(band) || band === 0, `${ms}`).toBe(true);
      expect(ms <= bandUpperMs(band), `${ms}`).toBe(true);
    }
    expect(new Set(bandOfBucket).size).toBe(bandCount);
  });

  it('say of the slow requests what made them slow, which no mean and no percentile of a part would', () => {
    const fast = Array.from({ length: 940 }, () => ({ wait: 2, own: 0.1 }));
    // Half of the slow ones for one reason, half for another: at p99 either part is near its own maximum, and they do not add up.
    const slow = Array.from({ length: 60 }, (_, i) => (i % 2 === 0 ? { connect: 98, own: 2 } : { queue: 99, own: 1 }));
    const [p50, p95, p99] = latencyOfRow(rowOfRequests([...fast, ...slow]));
    expect(p50).toMatchObject({ percentile: 50, requests: 940, totalMs: 2.1, partsMs: { wait: 2, own: 0.1 } });
    for (const at of [p95, p99])
      expect(at).toMatchObject({ requests: 60, totalMs: 100, partsMs: { connect: 49, queue: 49.5, own: 1.5 } });
    expect(p99).toMatchObject({ fromMs: 80, toMs: 100, far: null });
    expect(p99!.percentileMs! / 100).toBeGreaterThan(1 - 0.0625);
  });

  it('have parts that add up to their total, within the bounds that are said, whatever the requests', () => {
    const ms = fc.double({ min: 0, max: 5_000, noNaN: true });
    fc.assert(
      fc.property(
        fc.array(fc.record({ wait: ms, connect: ms, loop: ms }), { minLength: 1, maxLength: 60 }),
        (requests) => {
          for (const { totalMs, partsMs, fromMs, toMs, requests: count } of latencyOfRow(rowOfRequests(requests))) {
            expect(Object.values(partsMs).reduce((sum, each) => sum + each, 0)).toBeCloseTo(totalMs, 1);
            expect(totalMs).toBeGreaterThanOrEqual(fromMs! - 0.001);
            expect(totalMs).toBeLessThanOrEqual((toMs ?? Number.POSITIVE_INFINITY) + 0.001);
            expect(count).toBeGreaterThan(0);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  it('count what has a loop that is an upper bound, and survive totals that are none', () => {
    const row = rowOfRequests([{ wait: 3 }, { wait: 3 }], true);
    expect(row[rowLayout.bands + bandOfBucket[bucketIndex(3)]! * bandCells + loopEstimatesAt]).toBe(2);
    expect(latencyOfRow(row)[0]).toMatchObject({ requests: 2, loopEstimates: 2 });
    expect(latencyOfRow(new Float64Array(rowLayout.cells))).toEqual([]);
    expect(latencyOfRow(rowOfRequests([{ wait: Number.NaN }]))[0]).toMatchObject({ totalMs: 0, partsMs: {} });
  });
});
