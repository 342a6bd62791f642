import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type LoggedWrite, problemsOfLog, type StoreOperation } from '../../fixtures/store-history.ts';
import { deeds, type Execution, execute } from './serial-execution.ts';

const problems = ({ log, operations }: Execution): string[] => problemsOfLog(log, operations);

/** Three writes one after the other, and a read of all behind each. */
const three = execute(
  [0, 1, 2, 3, 4, 5].map((step) => ({
    group: 0,
    what: step % 2 === 0 ? 'put' : 'read-all',
    isCurrent: true,
    stepsBefore: 0.4,
    stepsAfter: 0.4,
    answer: 'comes',
  })),
);
const withLog = (log: readonly LoggedWrite[]): Execution => ({ ...three, log });
const withOperation = (at: number, change: Partial<StoreOperation>): Execution => ({
  ...three,
  operations: three.operations.map((one, index) => (index === at ? ({ ...one, ...change } as StoreOperation) : one)),
});
const renumbered = (log: readonly LoggedWrite[]): LoggedWrite[] =>
  log.map((entry, index) => ({ ...entry, revision: index + 1 }));
const [first, second, third] = three.log as [LoggedWrite, LoggedWrite, LoggedWrite];

describe('revisions', () => {
  it('explain what a store has really done, whatever overlaps and is not answered', () => {
    expect(problems(three)).toEqual([]);
    fc.assert(
      fc.property(deeds, (all) => {
        const execution = execute(all);
        // A read that came before the first revision was told 0, which is no revision.
        const operations = execution.operations.filter((one) => one.tag === 'write' || one.at !== 0);
        expect(problems({ ...execution, operations })).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  it.each<readonly [string, Execution, string]>([
    ['a gap', withLog([first, third]), 'revision 2 is missing'],
    ['a write that is lost', withLog(renumbered([first, third])), 'op-2 was acknowledged as revision 2, and is lost'],
    ['a write that is there twice', withLog([first, second, third, { ...second, revision: 4 }]), 'op-2 is there twice'],
    [
      'two in another order than they were asked for',
      withLog(renumbered([second, first, third])),
      'op-0 was answered before op-2 was called',
    ],
    ['half of a write', withLog([first, second, { ...third, changes: new Map() }]), 'op-4 is not whole in revision 3'],
    [
      'another value',
      withLog([first, second, { ...third, changes: new Map([['a', 'x']]) }]),
      'op-4 is not whole in revision 3',
    ],
    ['a refused write', withOperation(2, { outcome: { tag: 'refused' } }), 'op-2 was refused, and is revision 2'],
    [
      'another revision than was told',
      withOperation(2, { outcome: { tag: 'done', revision: 3 } }),
      'op-2 was told revision 3, and is 2',
    ],
    [
      'a write over what it did not expect',
      withOperation(2, { expects: new Map([['a', null]]) }),
      'op-2 expected a to be null',
    ],
    [
      'a read of another state',
      withOperation(3, { saw: new Map([['a', null]]) }),
      'op-3 saw a as null at revision 2, where it was a-2',
    ],
    [
      'a read that was told too old a revision',
      withOperation(5, { at: 2, saw: new Map([['a', 'a-2']]) }),
      'op-4 was answered before op-5 was called',
    ],
    [
      'a read that was told one from the future',
      withOperation(3, { at: 3, saw: new Map([['a', 'a-4']]) }),
      'op-3 was answered before op-4 was called',
    ],
    [
      'a read of a revision that is nowhere',
      withOperation(5, { at: 9 }),
      'op-5 was told revision 9, which is not there',
    ],
  ])('show %s', (_name, execution, problem) => {
    expect(problems(execution).join('\n')).toMatch(problem);
  });

  it('show each acknowledged write that is taken out of them', () => {
    let planted = 0;
    fc.assert(
      fc.property(deeds, fc.nat(), (all, choice) => {
        const { log, operations } = execute(all);
        if (log.length === 0) return;
        const lost = log[choice % log.length]!;
        const write = operations.find(({ id }) => id === lost.who);
        if (write?.answeredAtMs === null) return;
        planted++;
        const rest = renumbered(log.filter((entry) => entry !== lost));
        expect(problemsOfLog(rest, operations).join('\n')).toContain(`${lost.who} was acknowledged`);
      }),
      { numRuns: 150 },
    );
    expect(planted).toBeGreaterThan(50);
  });
});
