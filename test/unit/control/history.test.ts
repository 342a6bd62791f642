import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { changesByPeople, changesOf, revisionsOf } from '../../../src/control/history.ts';
import type { Revision } from '../../../src/control/store/store.ts';
import { finish } from '../../../src/model/steps.ts';

type Change = Revision['changes'][number];
const revisionWith = (revision: number, changes: readonly Change[], who = 'ann'): Revision => ({
  revision,
  who,
  message: '',
  atMs: 0,
  changes,
});
const change = (name: string, before: string | null, after: string | null): Change => ({
  key: `Service/default/${name}`,
  before,
  after,
});

/** Any history of three objects, and their states after each revision. */
const histories = fc.array(fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.option(fc.constantFrom('1', '2')))), {
  maxLength: 12,
});
function replay(writes: readonly (readonly (readonly [string, string | null])[])[]) {
  const state = new Map<string, string>();
  const states = [new Map(state)];
  const revisions = writes.map((objects, index) => {
    const changes = [...new Map(objects)].flatMap(([name, after]) => {
      const before = state.get(name) ?? null;
      if (after === null) state.delete(name);
      else state.set(name, after);
      return before === null && after === null ? [] : [change(name, before, after)];
    });
    states.push(new Map(state));
    return revisionWith(index + 1, changes);
  });
  return { revisions, states };
}

describe('what lies between two revisions', () => {
  it('leads from every state to every later one, and names nothing else', () => {
    fc.assert(
      fc.property(histories, fc.nat(12), fc.nat(12), (writes, one, other) => {
        const { revisions, states } = replay(writes);
        const [from, to] = [one, other].map((each) => each % states.length).sort((a, b) => a - b) as [number, number];
        const state = new Map(states[from]);
        const changes = finish(changesOf(revisions.slice(from, to)));
        for (const { key, before, after } of changes) {
          const name = key.split('/')[2]!;
          expect(state.get(name) ?? null).toBe(before);
          expect(before).not.toBe(after);
          if (after === null) state.delete(name);
          else state.set(name, after);
        }
        expect(state).toEqual(states[to]);
        expect(changes.map(({ key }) => key)).toEqual(changes.map(({ key }) => key).sort());
        expect(finish(changesByPeople(revisions.slice(from, to)))).toEqual(changes);
      }),
    );
  });

  it('leaves out what is no resource', () => {
    const changes = [{ key: 'TrustBundle/mesh', before: 'x', after: 'y' }, change('a', '1', '2')];
    expect(finish(changesOf([revisionWith(1, changes)])).map(({ key }) => key)).toEqual(['Service/default/a']);
    expect(finish(changesByPeople([revisionWith(1, changes)])).map(({ key }) => key)).toEqual(['Service/default/a']);
  });
});

describe('what people have changed', () => {
  const founding = (revision: number) => revisionWith(revision, [change('a', null, 'empty')], 'registration');
  const byPeople = (...revisions: Revision[]) =>
    finish(changesByPeople(revisions)).map(({ before, after }) => [before, after]);

  it('is not the Service that a registration has made', () => {
    expect(byPeople(founding(1))).toEqual([]);
    expect(finish(changesOf([founding(1)]))).toHaveLength(1);
  });

  it('is what was done to it afterwards, back to how it was made', () => {
    expect(byPeople(founding(1), revisionWith(2, [change('a', 'empty', 'written')]))).toEqual([['empty', 'written']]);
  });

  it('is what it was before it was deleted and registered again', () => {
    const deleted = revisionWith(1, [change('a', 'written', null)]);
    expect(byPeople(deleted, founding(2))).toEqual([['written', 'empty']]);
    // It did not exist at the beginning: what is there now is the registration's.
    const created = revisionWith(1, [change('a', null, 'written')]);
    expect(byPeople(created, revisionWith(2, [change('a', 'written', null)]), founding(3))).toEqual([]);
  });
});

describe('the revisions of one object', () => {
  it('are those that changed it, with nothing but that', () => {
    const revisions = [
      revisionWith(4, [change('a', '2', null)]),
      revisionWith(3, [change('b', null, '1')]),
      revisionWith(2, [change('a', '1', '2'), change('b', null, '1')]),
      revisionWith(1, [change('a', null, '1')]),
    ];
    const found = finish(revisionsOf('Service/default/a', revisions, 2));
    expect(found.map(({ revision, changes }) => [revision, changes.length])).toEqual([
      [4, 1],
      [2, 1],
    ]);
    expect(finish(revisionsOf('Service/default/none', revisions, 9))).toEqual([]);
  });
});
