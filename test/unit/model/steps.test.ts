import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { finish, sorted } from '../../../src/model/steps.ts';

describe('steps', () => {
  it('end with their result, or with what they throw', () => {
    const taken: number[] = [];
    function* count(to: number) {
      for (let i = 0; i < to; i++) {
        taken.push(i);
        yield;
      }
      if (to > 2) throw new Error('too far');
      return to;
    }
    expect(finish(count(2))).toBe(2);
    expect(taken).toEqual([0, 1]);
    expect(() => finish(count(3))).toThrow('too far');
  });

  it('sort as the engine does, and keep the order of equals', () => {
    const item = fc.record({ rank: fc.nat(5), id: fc.nat() });
    const byRank = (a: { rank: number }, b: { rank: number }) => a.rank - b.rank;
    fc.assert(
      fc.property(fc.array(item, { maxLength: 400 }), (items) => {
        expect(finish(sorted(items, byRank))).toEqual([...items].sort(byRank));
      }),
      { numRuns: 200 },
    );
  });

  it('sort 10,000 in many steps, each of them small', () => {
    const steps = sorted(
      Array.from({ length: 10_000 }, (_, i) => (i * 7_919) % 10_007),
      (a, b) => a - b,
    );
    let count = 0;
    while (!steps.next().done) count++;
    expect(count).toBeGreaterThan(500);
  });
});
