import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { linearize } from '../../fixtures/linearizable.ts';
import {
  problemsOfGroups,
  type ReadOperation,
  registersOf,
  type StoreOperation,
  type Values,
  type WriteOperation,
} from '../../fixtures/store-history.ts';
import { deeds, execute, groups } from './serial-execution.ts';

type Times = readonly [calledAtMs: number, answeredAtMs: number | null];
type Plain = Readonly<Record<string, string | null>>;

const valuesOf = (values: Plain): Values => new Map(Object.entries(values));
const read = ([calledAtMs, answeredAtMs]: Times, saw: Plain): ReadOperation => ({
  ...{ tag: 'read', id: `read at ${calledAtMs}`, calledAtMs, answeredAtMs, saw: valuesOf(saw), at: null },
});
const write = (
  [calledAtMs, answeredAtMs]: Times,
  sets: Plain,
  { over = {}, is = 'done' }: { over?: Plain; is?: 'done' | 'refused' } = {},
): WriteOperation => ({
  ...{ tag: 'write', id: `write at ${calledAtMs}`, calledAtMs, answeredAtMs },
  ...{ expects: valuesOf(over), sets: valuesOf(sets) },
  outcome:
    answeredAtMs === null ? { tag: 'unknown' } : is === 'done' ? { tag: 'done', revision: 1 } : { tag: 'refused' },
});
const verdictOn = (...operations: StoreOperation[]) => linearize(operations, registersOf(['x', 'y'])).tag;

describe('a history that no order explains', () => {
  it.each<readonly [string, readonly StoreOperation[]]>([
    ['a lost write', [write([0, 1], { x: '1' }), read([2, 3], { x: null })]],
    ['a stale read', [write([0, 1], { x: '1' }), write([2, 3], { x: '2' }), read([4, 5], { x: '1' })]],
    ['a read of what is written later', [read([0, 1], { x: '1' }), write([2, 3], { x: '1' })]],
    ['a value that nobody wrote', [write([0, 1], { x: '1' }), read([2, 3], { x: '2' })]],
    [
      'reads that go back in time, though the write is still under way',
      [write([0, 9], { x: '1' }), read([1, 2], { x: '1' }), read([3, 4], { x: null })],
    ],
    [
      'two that have replaced the same',
      [
        write([0, 1], { x: '1' }),
        write([2, 5], { x: '2' }, { over: { x: '1' } }),
        write([2, 5], { x: '3' }, { over: { x: '1' } }),
      ],
    ],
    [
      'two that have created the same',
      [write([0, 5], { x: '1' }, { over: { x: null } }), write([0, 5], { x: '2' }, { over: { x: null } })],
    ],
    [
      'one refused though what it expected was there all the time',
      [write([0, 1], { x: '1' }), write([2, 3], { x: '2' }, { over: { x: '1' }, is: 'refused' })],
    ],
    [
      'a write without an answer that is seen, and then not',
      [write([0, null], { x: '1' }), read([1, 2], { x: '1' }), read([3, 4], { x: null })],
    ],
    [
      'a write without an answer that happens twice',
      [
        write([0, null], { x: '1' }),
        read([1, 2], { x: '1' }),
        write([3, 4], { x: '2' }),
        read([5, 6], { x: '2' }),
        read([7, 8], { x: '1' }),
      ],
    ],
    [
      'a write without an answer that is seen before it was asked for',
      [read([0, 1], { x: '1' }), write([2, null], { x: '1' })],
    ],
    [
      'two that are written together and seen apart',
      [write([0, 9], { x: '1', y: '1' }), read([1, 2], { x: '1' }), read([3, 4], { y: null })],
    ],
    [
      'a deletion that is lost',
      [write([0, 1], { x: '1' }), write([2, 3], { x: null }, { over: { x: '1' } }), read([4, 5], { x: '1' })],
    ],
  ])('%s', (_name, operations) => {
    expect(verdictOn(...operations)).toBe('impossible');
    expect(verdictOn(...[...operations].reverse())).toBe('impossible');
  });

  it('is told with the furthest that any order leads to', () => {
    const operations = [write([0, 1], { x: '1' }), write([2, 3], { x: '2' }), read([4, 5], { x: '1' })];
    expect(problemsOfGroups(operations, [['x']])).toEqual([
      expect.stringMatching(/^x: after 2 of 3 operations it is \["2"\].*read at 4 saw \{"x":"1"\} \(4 to 5 ms\)$/),
    ]);
  });
});

describe('a history that some order explains', () => {
  it.each<readonly [string, readonly StoreOperation[]]>([
    ['nothing at all', []],
    [
      'what is read while it is written, new or old',
      [write([0, 9], { x: '1' }), read([1, 2], { x: null }), read([3, 4], { x: '1' })],
    ],
    [
      'answers that come in another order than what they are about',
      [write([0, 9], { x: '1' }), write([1, 3], { x: '2' }), read([4, 5], { x: '1' })],
    ],
    [
      'a write without an answer that never happens',
      [write([0, null], { x: '1' }), read([1, 2], { x: null }), write([3, 4], { x: '2' })],
    ],
    [
      'a write without an answer that shows long after',
      [write([0, null], { x: '1' }), write([1, 2], { x: '2' }), read([3, 4], { x: '2' }), read([5, 6], { x: '1' })],
    ],
    [
      'one refused for a write without an answer that nobody has seen',
      [
        write([0, 1], { x: '1' }),
        write([2, null], { x: '2' }),
        write([3, 4], { x: '3' }, { over: { x: '1' }, is: 'refused' }),
        write([5, 6], { x: '4' }),
      ],
    ],
    [
      'one of two that replace the same is refused',
      [
        write([0, 1], { x: '1' }),
        write([2, 5], { x: '2' }, { over: { x: '1' } }),
        write([2, 5], { x: '3' }, { over: { x: '1' }, is: 'refused' }),
      ],
    ],
    [
      'what was answered in the moment in which the next was called',
      [write([0, 1], { x: '1' }), read([1, 2], { x: null })],
    ],
  ])('%s', (_name, operations) => {
    expect(verdictOn(...operations)).toBe('linearizable');
    expect(verdictOn(...[...operations].reverse())).toBe('linearizable');
  });
});

describe('the work on a history', () => {
  /** Writes that all overlap, and a read that none of their orders explains. */
  const tangle = (count: number): StoreOperation[] => [
    ...Array.from({ length: count }, (_, index) => write([index / 1000, 10], { x: `${index}` })),
    read([11, 12], { x: 'nobody' }),
  ];

  it('ends undecided at its bound, which is a problem and not a pass', () => {
    expect(linearize(tangle(30), registersOf(['x']), 10_000)).toEqual({ tag: 'undecided', steps: expect.any(Number) });
    expect(problemsOfGroups(tangle(30), [['x']], 10_000)).toEqual([
      expect.stringMatching(/^x: undecided after 10\d+ steps/),
    ]);
  });

  it('is remembered: orders that lead to the same place are followed once', () => {
    // 9! orders; 9 * 2^8 places.
    expect(linearize(tangle(9), registersOf(['x']), 20_000).tag).toBe('impossible');
  });

  it('grows with its length alone when little overlaps', () => {
    const operations = Array.from({ length: 4_000 }, (_, index): StoreOperation[] => [
      write([index, index + 0.6], { x: `${index}` }),
      read([index + 0.5, index + 1.2], { x: `${index}` }),
      ...(index % 200 === 0 ? [write([index, null], { x: `unknown ${index}` })] : []),
    ]).flat();
    expect(linearize(operations, registersOf(['x']), 400_000)).toEqual({ tag: 'linearizable' });
  });
});

describe('what a store has really done', () => {
  it('is linearizable, however calls and answers overlap and whatever is not answered', () => {
    fc.assert(
      fc.property(deeds, (all) => {
        expect(problemsOfGroups(execute(all).operations, groups)).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it('is not, once a read is changed into one of what was replaced before it, or is written after it', () => {
    let planted = 0;
    fc.assert(
      fc.property(deeds, fc.nat(), (all, choice) => {
        const { operations } = execute(all);
        const lies = liesAbout(operations);
        if (lies.length === 0) return;
        planted++;
        const { at, saw } = lies[choice % lies.length]!;
        const told = operations.map((operation, index) =>
          index === at ? ({ ...operation, saw } as ReadOperation) : operation,
        );
        expect(problemsOfGroups(told, groups)).toHaveLength(1);
      }),
      { numRuns: 150 },
    );
    expect(planted).toBeGreaterThan(20);
  });
});

/** Each value that a read of one group cannot have seen, for certain: another one was written wholly between it and the read, or it came wholly later. */
function liesAbout(operations: readonly StoreOperation[]): { readonly at: number; readonly saw: Values }[] {
  const lies: { at: number; saw: Values }[] = [];
  const done = operations.filter((one) => one.tag === 'write' && one.outcome.tag === 'done') as WriteOperation[];
  for (const [at, operation] of operations.entries()) {
    if (operation.tag !== 'read' || operation.at !== null) continue;
    const [key] = operation.saw.keys();
    const same = done.filter(({ sets }) => sets.has(key!));
    for (const { sets, calledAtMs, answeredAtMs } of same) {
      if (sets.get(key!) === null) continue;
      const isReplaced = same.some(
        (other) => other.calledAtMs > answeredAtMs! && other.answeredAtMs! < operation.calledAtMs,
      );
      if (isReplaced || calledAtMs > operation.answeredAtMs!) lies.push({ at, saw: sets });
    }
  }
  return lies;
}
