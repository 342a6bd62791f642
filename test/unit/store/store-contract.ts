/** What every driver of the store must do. A driver's test calls `storeContract` with a way to make an empty store. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Commit, CommitResult, Store, StoreEvent } from '../../../src/control/store/store.ts';
import { limits } from '../../../src/model/limits.ts';
import { ManualClock } from './manual-clock.ts';

export interface StoreUnderTest {
  readonly store: Store;
  /** Closes the store, and opens what it kept again with the same clock. */
  reopen(): Promise<Store>;
  /** Closes whichever store is open and removes what it kept. */
  dispose(): Promise<void>;
}

function isSubsequence(some: readonly unknown[], all: readonly unknown[]): boolean {
  let found = 0;
  for (const one of all) if (found < some.length && one === some[found]) found++;
  return found === some.length;
}

let nextRequest = 0;

/** A commit of the given changes, with a request id of its own. */
export function commitOf(changes: Readonly<Record<string, string | null>>, more: Partial<Commit> = {}): Commit {
  nextRequest += 1;
  return {
    expect: new Map(),
    changes: new Map(Object.entries(changes)),
    who: 'test',
    message: '',
    requestId: `request-${nextRequest}`,
    atMs: 1_000,
    ...more,
  };
}

export function storeContract(name: string, makeStore: (clock: ManualClock) => Promise<StoreUnderTest>): void {
  describe(`${name}: contract of a store`, () => {
    let clock: ManualClock;
    let subject: StoreUnderTest;
    let store: Store;

    beforeEach(async () => {
      clock = new ManualClock();
      subject = await makeStore(clock);
      store = subject.store;
    });
    afterEach(() => subject.dispose());

    const listen = (): StoreEvent[] => {
      const events: StoreEvent[] = [];
      store.subscribe((event) => events.push(event));
      return events;
    };

    describe('commits', () => {
      it('writes nothing when one of several expectations fails', async () => {
        await store.commit(commitOf({ a: '1' }));
        const events = listen();
        const expected = new Map([
          ['a', 1],
          ['b', 7],
        ]);
        const result = await store.commit(commitOf({ a: '2', b: '2' }, { expect: expected }));
        expect(result).toEqual({ tag: 'conflict', key: 'b', expected: 7, actual: 0 });
        expect(store.get('a')).toEqual({ key: 'a', value: '1', revision: 1 });
        expect(store.revision).toBe(1);
        expect(events).toEqual([]);
      });

      it('refuses an object that must not exist but does, and one that was deleted meanwhile', async () => {
        await store.commit(commitOf({ a: '1', b: '1' }));
        await store.commit(commitOf({ b: null }));
        expect(await store.commit(commitOf({ a: '2' }, { expect: new Map([['a', 0]]) }))).toMatchObject({ actual: 1 });
        expect(await store.commit(commitOf({ b: '2' }, { expect: new Map([['b', 1]]) }))).toMatchObject({ actual: 0 });
        expect(await store.commit(commitOf({ b: '3' }, { expect: new Map([['b', 0]]) }))).toMatchObject({
          revision: 3,
        });
      });

      it('lets exactly one of many simultaneous writers with the same expectation win', async () => {
        await store.commit(commitOf({ a: '0' }));
        const writers = Array.from({ length: 10 }, (_, index) =>
          store.commit(commitOf({ a: `writer-${index}` }, { expect: new Map([['a', 1]]) })),
        );
        const results = await Promise.all(writers);
        expect(results.filter((result) => result.tag === 'committed')).toHaveLength(1);
        expect(store.revision).toBe(2);
      });

      it('takes a request that is sent twice once, even after it was opened again', async () => {
        const commit = commitOf({ a: '1' }, { expect: new Map([['a', 0]]), requestId: 'same' });
        expect(await store.commit(commit)).toEqual({ tag: 'committed', revision: 1 });
        await store.commit(commitOf({ a: '2' }));
        expect(await store.commit(commit)).toEqual({ tag: 'committed', revision: 1 });
        store = await subject.reopen();
        expect(await store.commit(commit)).toEqual({ tag: 'committed', revision: 1 });
        expect(store.get('a')?.value).toBe('2');
        expect(store.revision).toBe(2);
        expect(store.madeBy('same')).toMatchObject({ revision: 1, changes: [{ key: 'a', before: null, after: '1' }] });
      });

      it('writes nothing over a newer revision than the one that was judged', async () => {
        await store.commit(commitOf({ a: '1' }));
        expect(await store.commit(commitOf({ b: '1' }, { basis: 1 }))).toEqual({ tag: 'committed', revision: 2 });
        expect(await store.commit(commitOf({ c: '1' }, { basis: 1 }))).toEqual({ tag: 'outdated', revision: 2 });
        expect(store.get('c')).toBeNull();
      });

      it('has replayed everything after a sync', async () => {
        await store.commit(commitOf({ a: '1' }));
        await Promise.all([store.sync(), store.sync(), store.sync()]);
        expect(store.revision).toBe(1);
      });

      it('does not remember a request that met a conflict', async () => {
        const commit = commitOf({ a: '1' }, { expect: new Map([['b', 1]]), requestId: 'again' });
        expect(await store.commit(commit)).toMatchObject({ tag: 'conflict' });
        expect(store.madeBy('again')).toBe(null);
        await store.commit(commitOf({ b: '1' }));
        expect(await store.commit(commit)).toEqual({ tag: 'committed', revision: 2 });
      });

      it('keeps values of any text', async () => {
        const value = `{"a":"line\nbreak"}\n\u0000 ü 漢 😀 ${'x'.repeat(300_000)}`;
        await store.commit(commitOf({ 'Service/default/a': value, empty: '' }));
        store = await subject.reopen();
        expect(store.get('Service/default/a')?.value).toBe(value);
        expect(store.get('empty')?.value).toBe('');
      });

      it('keeps objects, their revisions and the head when it is opened again', async () => {
        await store.commit(commitOf({ a: '1', b: '1' }));
        await store.commit(commitOf({ b: '2', c: '2' }));
        await store.commit(commitOf({ c: null }));
        store = await subject.reopen();
        expect(store.revision).toBe(3);
        expect([...store.list()].sort((x, y) => (x.key < y.key ? -1 : 1))).toEqual([
          { key: 'a', value: '1', revision: 1 },
          { key: 'b', value: '2', revision: 2 },
        ]);
        expect(await store.commit(commitOf({ d: '4' }))).toEqual({ tag: 'committed', revision: 4 });
      });
    });

    describe('revisions', () => {
      it('answers null for revisions that are to come', () => {
        expect(store.revisionsAfter(1)).toBeNull();
        expect(store.revisionsAfter(0)).toEqual([]);
        expect(store.history(5)).toEqual([]);
      });

      it('tells who changed what from what to what, oldest first or newest first', async () => {
        await store.commit(commitOf({ a: '1' }, { who: 'ada', message: 'first', atMs: 5 }));
        await store.commit(commitOf({ a: '2', b: '1', gone: null }));
        await store.commit(commitOf({ a: null }));
        const second = store.revisionsAfter(1)?.[0];
        expect(second?.changes).toEqual([
          { key: 'a', before: '1', after: '2' },
          { key: 'b', before: null, after: '1' },
        ]);
        store = await subject.reopen();
        expect(store.history(2).map((revision) => revision.revision)).toEqual([3, 2]);
        expect(store.revisionsAfter(3)).toEqual([]);
        expect(store.revisionsAfter(0)?.[0]).toEqual({
          revision: 1,
          who: 'ada',
          message: 'first',
          atMs: 5,
          changes: [{ key: 'a', before: null, after: '1' }],
        });
      });
    });

    describe('subscribers', () => {
      it('hear everything in order although one of them throws', async () => {
        store.subscribe(() => {
          throw new Error('a subscriber that fails');
        });
        const events = listen();
        await Promise.all([
          store.commit(commitOf({ a: '1' })),
          store.putLease('l', 'v', 1_000),
          store.commit(commitOf({ a: '2' })),
        ]);
        expect(events.map((event) => (event.tag === 'revision' ? event.revision.revision : event.id))).toEqual([
          1,
          'l',
          2,
        ]);
      });

      it('hear a write that another one makes after the event that caused it', async () => {
        store.subscribe((event) => {
          if (event.tag === 'revision' && event.revision.revision === 1) void store.commit(commitOf({ b: '1' }));
        });
        const events = listen();
        await store.commit(commitOf({ a: '1' }));
        await store.commit(commitOf({ c: '1' }));
        expect(events.map((event) => event.tag === 'revision' && event.revision.revision)).toEqual([1, 2, 3]);
      });

      it('hear nothing any more once they ended their subscription', async () => {
        const events: StoreEvent[] = [];
        const end = store.subscribe((event) => events.push(event));
        end();
        await store.commit(commitOf({ a: '1' }));
        expect(events).toEqual([]);
      });
    });

    describe('leases', () => {
      it('end none within the grace after the start, and then at their term', async () => {
        const events = listen();
        await store.putLease('a', 'v', 1_000);
        clock.advance(limits.leaseGraceMs - 1);
        expect([...store.leases()]).toHaveLength(1);
        clock.advance(1);
        expect([...store.leases()]).toEqual([]);
        await store.putLease('b', 'v', 1_000);
        clock.advance(1_000);
        expect(events.map((event) => event.tag === 'lease' && [event.id, event.lease?.value ?? null])).toEqual([
          ['a', 'v'],
          ['a', null],
          ['b', 'v'],
          ['b', null],
        ]);
      });

      it('last as long as they are renewed, without an event, and end at the term of the last renewal', async () => {
        clock.advance(limits.leaseGraceMs);
        await store.putLease('a', 'v', 15_000);
        const events = listen();
        for (let renewal = 0; renewal < 20; renewal += 1) {
          clock.advance(5_000);
          await store.putLease('a', 'v', 15_000);
        }
        expect([...store.leases()]).toEqual([{ id: 'a', value: 'v', endsAtMs: clock.nowMs() + 15_000 }]);
        expect(events).toEqual([]);
        clock.advance(14_999);
        expect(events).toEqual([]);
        clock.advance(1);
        expect(events).toEqual([{ tag: 'lease', id: 'a', lease: null }]);
      });

      it('end each in their time, also one with a shorter term that came later', async () => {
        clock.advance(limits.leaseGraceMs);
        await store.putLease('long', 'v', 20_000);
        await store.putLease('short', 'v', 1_000);
        clock.advance(1_000);
        expect([...store.leases()].map((lease) => lease.id)).toEqual(['long']);
        clock.advance(19_000);
        expect([...store.leases()]).toEqual([]);
      });

      it('tell a new value, and a withdrawal once', async () => {
        const events = listen();
        await store.putLease('a', '1', 60_000);
        await store.putLease('a', '2', 60_000);
        await store.deleteLease('a');
        await store.deleteLease('a');
        await store.deleteLease('never');
        expect(events.map((event) => event.tag === 'lease' && (event.lease?.value ?? null))).toEqual(['1', '2', null]);
        store = await subject.reopen();
        expect([...store.leases()]).toEqual([]);
      });

      it('that change several times at once are told in order, and the last one stays', async () => {
        const events = listen();
        await Promise.all([
          store.putLease('a', '1', 60_000),
          store.putLease('b', '1', 60_000),
          store.putLease('a', '2', 60_000),
          store.putLease('a', '2', 60_000),
          store.deleteLease('b'),
          store.deleteLease('b'),
          store.putLease('gone', '1', 60_000),
          store.deleteLease('gone'),
          store.putLease('gone', '1', 60_000),
          store.deleteLease('gone'),
          store.putLease('b', '3', 60_000),
        ]);
        // A driver may leave out what lasted for less than a write; what it tells is in the order in which it was asked for.
        const asked = ['a 1', 'b 1', 'a 2', 'b null', 'gone 1', 'gone null', 'gone 1', 'gone null', 'b 3'];
        const told = events.map((event) => event.tag === 'lease' && `${event.id} ${event.lease?.value ?? null}`);
        expect(isSubsequence(told, asked)).toBe(true);
        expect(told).toContain('a 2');
        expect(told.at(-1)).toBe('b 3');
        const kept = () => [...store.leases()].map(({ id, value }) => `${id} ${value}`).sort();
        expect(kept()).toEqual(['a 2', 'b 3']);
        store = await subject.reopen();
        expect(kept()).toEqual(['a 2', 'b 3']);
      });

      it('survive a withdrawal that is followed by the same value', async () => {
        await store.putLease('a', '1', 60_000);
        await Promise.all([store.deleteLease('a'), store.putLease('a', '1', 60_000)]);
        store = await subject.reopen();
        expect([...store.leases()]).toMatchObject([{ id: 'a', value: '1' }]);
      });

      it('whose listener writes an object: of two commits that expect it absent one writes it', async () => {
        let early: Promise<CommitResult> | null = null;
        store.subscribe((event) => {
          if (event.tag === 'lease') early = store.commit(commitOf({ a: 'listener' }, { expect: new Map([['a', 0]]) }));
        });
        const [, late] = await Promise.all([
          store.putLease('sidecar', '1', 60_000),
          store.commit(commitOf({ a: 'late' }, { expect: new Map([['a', 0]]) })),
        ]);
        const results = [await early!, late] as CommitResult[];
        expect(results.map(({ tag }) => tag).sort()).toEqual(['committed', 'conflict']);
        expect(store.get('a')?.value).toBe(late.tag === 'committed' ? 'late' : 'listener');
      });

      it('that were asked for are in the store before it is closed', async () => {
        const asked = Promise.all([store.putLease('a', '1', 60_000), store.putLease('b', '1', 60_000)]);
        store = await subject.reopen();
        await asked;
        expect([...store.leases()].map(({ id }) => id).sort()).toEqual(['a', 'b']);
      });

      it('are there again when it is opened again, for the grace at least, and make no revision', async () => {
        clock.advance(limits.leaseGraceMs);
        await store.putLease('a', 'v', 15_000);
        store = await subject.reopen();
        expect(store.revision).toBe(0);
        expect([...store.leases()]).toEqual([{ id: 'a', value: 'v', endsAtMs: clock.nowMs() + limits.leaseGraceMs }]);
        await store.putLease('a', 'v', 15_000);
        clock.advance(limits.leaseGraceMs - 1);
        expect([...store.leases()]).toHaveLength(1);
        clock.advance(1);
        expect([...store.leases()]).toEqual([]);
        store = await subject.reopen();
        expect([...store.leases()]).toEqual([]);
      });
    });

    it('writes nothing any more once it is closed', async () => {
      await store.close();
      await store.close();
      await expect(store.commit(commitOf({ a: '1' }))).rejects.toMatchObject({ code: 'store-closed' });
      await expect(store.putLease('a', 'v', 1_000)).rejects.toMatchObject({ code: 'store-closed' });
      await expect(store.deleteLease('a')).rejects.toMatchObject({ code: 'store-closed' });
      expect(clock.waiting).toBe(0);
    });
  });
}
