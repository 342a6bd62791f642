import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CellCounts } from '../../../src/control/cell-counts.ts';

const read = (counts: CellCounts): Map<number, number> => {
  const found = new Map<number, number>();
  counts.forEach((cell, amount) => void found.set(cell, amount));
  return found;
};

describe('CellCounts', () => {
  it('has no more places than it may, and says so', () => {
    const counts = new CellCounts(1_024);
    const taken = Array.from({ length: 2_000 }, (_, cell) => counts.add(cell * 7, 1));
    expect(taken.filter((isTaken) => isTaken)).toHaveLength(768);
    expect(counts.add(0, 5)).toBe(true);
    expect(counts.add(7 * 1_999, 5)).toBe(false);
    expect([counts.size, counts.bytes]).toEqual([768, 1_024 * 12]);
    expect(read(counts).get(0)).toBe(6);
  });

  it('is a map of sums', () => {
    const step = fc.tuple(
      fc.integer({ min: 0, max: 2 ** 31 - 1 }).map((cell) => cell % 4_096),
      fc.integer({ min: 1, max: 99 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 3_000 }), (steps) => {
        const counts = new CellCounts(2 ** 14);
        const expected = new Map<number, number>();
        for (const [cell, amount] of steps) {
          counts.add(cell, amount);
          expected.set(cell, (expected.get(cell) ?? 0) + amount);
        }
        expect(new Map([...read(counts)].sort())).toEqual(new Map([...expected].sort()));
      }),
      { numRuns: 30 },
    );
  });

  it('takes the largest cells there are', () => {
    const counts = new CellCounts(2_048);
    counts.add(2 ** 31 - 1, 3);
    counts.add(0, 0);
    expect(read(counts)).toEqual(new Map([[2 ** 31 - 1, 3]]));
  });
});
