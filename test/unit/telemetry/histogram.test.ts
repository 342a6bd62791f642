import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bucketCount,
  bucketIndex,
  bucketLowerMs,
  bucketUpperMs,
  mergeCounts,
  mergePairs,
  percentileMs,
  scaleMaxMs,
  scaleMinMs,
} from '../../../src/telemetry/histogram.ts';

describe('histogram', () => {
  it('puts what is no duration into the first bucket, and what is off the scale into the last', () => {
    for (const ms of [Number.NaN, -1, -0, 0, Number.MIN_VALUE, Number.NEGATIVE_INFINITY, 0.01])
      expect(bucketIndex(ms)).toBe(0);
    for (const ms of [1_000_000.0001, 1e300, Number.POSITIVE_INFINITY]) expect(bucketIndex(ms)).toBe(bucketCount - 1);
    expect(bucketUpperMs(bucketCount - 1)).toBe(Number.POSITIVE_INFINITY);
    for (const index of [-1, bucketCount, 0.5, Number.NaN])
      expect(() => bucketUpperMs(index)).toThrow(/within the scale/);
  });

  it('answers 0 for a percentile of nothing, and its end for one beyond the scale', () => {
    const counts = new Float64Array(bucketCount);
    expect(percentileMs(counts, 0.5)).toBe(0);
    expect(percentileMs([], 0.99)).toBe(0);
    counts[bucketCount - 1] = 1;
    expect(percentileMs(counts, 0.5)).toBe(scaleMaxMs);
  });

  it('keeps every edge within the bucket it closes, and the next double in the one after', () => {
    for (let index = 0; index < bucketCount - 1; index++) {
      const upperMs = bucketUpperMs(index);
      expect(bucketIndex(upperMs)).toBe(index);
      expect(bucketIndex(upperMs * (1 + Number.EPSILON))).toBe(index + 1);
    }
  });

  it('has no bucket wider than 6.25 % of its lower bound', () => {
    for (let index = 1; index < bucketCount - 1; index++) {
      const lowerMs = bucketLowerMs(index);
      expect((bucketUpperMs(index) - lowerMs) / lowerMs).toBeLessThanOrEqual(0.0625 + 1e-9);
      expect((bucketUpperMs(index) - lowerMs) / lowerMs).toBeGreaterThan(0.025);
    }
  });

  it('has its edges at round numbers', () => {
    for (const ms of [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 6, 7.5, 10, 25, 100, 250, 1000, 60_000, 1e6])
      expect(bucketUpperMs(bucketIndex(ms))).toBe(ms);
  });

  it('finds the bucket that a linear search finds', () => {
    fc.assert(
      fc.property(fc.double({ min: Math.log(1e-3), max: Math.log(1e7), noNaN: true }), (log) => {
        const ms = Math.exp(log);
        const index = bucketIndex(ms);
        return ms <= bucketUpperMs(index) && (index === 0 || ms > bucketUpperMs(index - 1));
      }),
      { numRuns: 20_000 },
    );
  });

  it('gives percentiles within a bucket of the exact ones', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: Math.log(scaleMinMs), max: Math.log(scaleMaxMs), noNaN: true }), {
          minLength: 1,
          maxLength: 400,
        }),
        fc.constantFrom(0.01, 0.5, 0.9, 0.95, 0.99, 1),
        (logs, q) => {
          const sorted = logs.map((log) => Math.min(Math.exp(log), scaleMaxMs)).sort((a, b) => a - b);
          const counts = new Float64Array(bucketCount);
          for (const ms of sorted) counts[bucketIndex(ms)]! += 1;
          // Nearest rank; a product such as 0.99 * 100 must not round up to the next one.
          const exactMs = sorted[Math.max(0, Math.ceil(q * sorted.length - 1e-9) - 1)]!;
          const estimateMs = percentileMs(counts, q);
          return Math.abs(estimateMs - exactMs) <= Math.max(exactMs, estimateMs) * 0.0626 + scaleMinMs;
        },
      ),
      { numRuns: 500 },
    );
  });

  it('merges by adding, in full and in pairs, and counts pairs off the scale', () => {
    const into = new Float64Array(bucketCount);
    const from = new Float64Array(bucketCount);
    from[3] = 2;
    mergeCounts(into, from);
    mergeCounts(into, from);
    expect(mergePairs(into, [3, 1, 7, 5, bucketCount, 9, -1, 9, 0.5, 9])).toBe(3);
    expect(into[3]).toBe(5);
    expect(into[7]).toBe(5);
    expect(into.reduce((sum, count) => sum + count)).toBe(10);
    expect(() => mergeCounts(into, [1])).toThrow(/this scale/);
  });
});
