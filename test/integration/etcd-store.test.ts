/** The store on etcd, against three real members: the contract of every store, and what holds when there are several control planes on it. */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openEtcdStore } from '../../src/control/store/etcd.ts';
import type { EtcdCalls } from '../../src/control/store/etcd-calls.ts';
import { EtcdClient } from '../../src/control/store/etcd-client.ts';
import { compact } from '../../src/control/store/etcd-compaction.ts';
import { EtcdKeys } from '../../src/control/store/etcd-keys.ts';
import { noAccess, parseEtcdUrl } from '../../src/control/store/etcd-location.ts';
import { readState } from '../../src/control/store/etcd-state.ts';
import { migrateStore } from '../../src/control/store/migrate.ts';
import type { CommitResult, Store, StoreClock, StoreEvent } from '../../src/control/store/store.ts';
import { limits } from '../../src/model/limits.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { cuttable, deafened, losing, mortal, neverFirst } from '../fixtures/etcd-wrappers.ts';
import { ManualClock } from '../unit/store/manual-clock.ts';
import { commitOf, storeContract } from '../unit/store/store-contract.ts';

const reason = whyNoEtcd();
if (reason !== null) console.warn(`The store on etcd is not tested: ${reason}`);

describe.skipIf(reason !== null)('the store on etcd', () => {
  let cluster: EtcdCluster;
  beforeAll(async () => {
    cluster = await EtcdCluster.start();
  });
  afterAll(() => cluster?.close());

  const locationOf = (prefix: string) => parseEtcdUrl(`etcd://${cluster.addresses}/${prefix}`);
  const ignore = (): void => undefined;

  interface Opened {
    readonly store: Store;
    readonly calls: EtcdCalls;
    readonly troubles: string[];
  }

  const open = async (
    prefix: string,
    clock: StoreClock = new ManualClock(),
    wrap: (calls: EtcdCalls) => EtcdCalls = (calls) => calls,
  ): Promise<Opened> => {
    const calls = wrap(new EtcdClient(locationOf(prefix), noAccess));
    const troubles: string[] = [];
    const store = await openEtcdStore({
      calls,
      prefix,
      clock,
      networkClock: systemClock,
      name: cluster.addresses,
      onBackgroundError: ({ message }) => troubles.push(message),
    });
    return { store, calls, troubles };
  };

  storeContract('etcd', async (clock) => {
    const prefix = `contract-${randomUUID()}`;
    const openStore = async () => (await open(prefix, clock)).store;
    let store = await openStore();
    return {
      store,
      async reopen() {
        await store.close();
        store = await openStore();
        return store;
      },
      dispose: () => store.close(),
    };
  });

  describe('several control planes', () => {
    let prefix: string;
    let opened: Store[];
    beforeEach(() => {
      prefix = `test-${randomUUID()}`;
      opened = [];
    });
    afterEach(() => Promise.all(opened.map((store) => store.close())));

    const openOne = async (...args: [clock?: StoreClock, wrap?: (calls: EtcdCalls) => EtcdCalls]): Promise<Opened> => {
      const one = await open(prefix, ...args);
      opened.push(one.store);
      return one;
    };
    const listen = (store: Store): StoreEvent[] => {
      const events: StoreEvent[] = [];
      store.subscribe((event) => events.push(event));
      return events;
    };
    const revisionsOf = (events: readonly StoreEvent[]) =>
      events.flatMap((event) => (event.tag === 'revision' ? [event.revision] : []));
    /** Waits for what another one has done: what no call of this one waits for. */
    const until = async (isSo: () => boolean): Promise<void> => {
      const deadlineMs = performance.now() + 20_000;
      while (!isSo()) {
        if (performance.now() > deadlineMs) throw new Error('still not so');
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };

    it('write against each other: each revision is one commit, and all hear the same in the same order', async () => {
      const stores = [await openOne(), await openOne(), await openOne()].map(({ store }) => store);
      const heard = stores.map(listen);
      const results = await Promise.all(
        stores.flatMap((store, index) =>
          Array.from({ length: 20 }, (_, round) =>
            store.commit(commitOf({ [`${index}-${round}`]: 'x', shared: `${index}` })),
          ),
        ),
      );
      const revisions = results.map((result) => (result.tag === 'committed' ? result.revision : 0));
      expect(revisions.sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
      await Promise.all(stores.map((store) => store.sync()));
      const [first, ...others] = heard.map(revisionsOf);
      expect(first!.map(({ revision }) => revision)).toEqual(Array.from({ length: 60 }, (_, index) => index + 1));
      for (const other of others) expect(other).toEqual(first);
      for (const store of stores) expect([...store.list()]).toEqual([...stores[0]!.list()]);
    });

    it('pass over keys that somebody else has spoilt, and say which', async () => {
      const { store, calls, troubles } = await openOne();
      await store.commit(commitOf({ a: '1' }));
      const keys = new EtcdKeys(prefix);
      const spoil = (key: string, value: string) => calls.write([], [{ tag: 'put', key, value }]);
      for (const value of ['not json', '{}', 'null', '7']) await spoil(keys.lease('zzz'), value);
      await spoil(`${keys.live.from}revision/zzz`, '{"revision":{}}');
      await store.putLease('good', 'x', 60_000);
      expect(await store.commit(commitOf({ b: '2' }))).toEqual({ tag: 'committed', revision: 2 });
      expect(troubles).toEqual([expect.stringContaining(`The key ${prefix}/live/lease/zzz on etcd has a value`)]);
      const fresh = await openOne();
      expect([fresh.store.revision, [...fresh.store.leases()].map(({ id }) => id)]).toEqual([2, ['good']]);
      expect(fresh.troubles).toHaveLength(1);

      await spoil(keys.head, 'garbage');
      const damaged = new RegExp(`its key ${prefix}/live/head has the value "garbage".*number of the newest revision`);
      await expect(openOne()).rejects.toThrow(damaged);
      await expect(store.sync()).rejects.toThrow(damaged);
      await expect(store.commit(commitOf({ c: '3' }))).rejects.toThrow(damaged);
      await spoil(keys.head, '2');
      expect(await store.commit(commitOf({ c: '3' }))).toEqual({ tag: 'committed', revision: 3 });
    });

    it('let exactly one of them win where all expect the same', async () => {
      const stores = [await openOne(), await openOne(), await openOne()].map(({ store }) => store);
      await stores[0]!.commit(commitOf({ a: '0' }));
      const results = await Promise.all(
        stores.map((store, index) => store.commit(commitOf({ a: `${index}` }, { expect: new Map([['a', 1]]) }))),
      );
      expect(results.map(({ tag }) => tag).sort()).toEqual(['committed', 'conflict', 'conflict']);
    });

    it('judge what is expected by what the others have written, though it has not come here yet', async () => {
      const [one, other] = [(await openOne()).store, (await openOne()).store];
      await one.commit(commitOf({ a: '1' }));
      expect(await other.commit(commitOf({ a: '2' }, { expect: new Map([['a', 1]]) }))).toMatchObject({ revision: 2 });
      expect(await one.commit(commitOf({ a: '3' }, { basis: 1 }))).toEqual({ tag: 'outdated', revision: 2 });
    });

    it('recognise a request that comes to another one', async () => {
      const [one, other] = [(await openOne()).store, (await openOne()).store];
      const commit = commitOf({ a: '1' }, { expect: new Map([['a', 0]]) });
      expect(await one.commit(commit)).toEqual({ tag: 'committed', revision: 1 });
      expect(await other.commit(commit)).toEqual({ tag: 'committed', revision: 1 });
    });

    it('see what was committed before a sync', async () => {
      const [one, other] = [(await openOne()).store, (await openOne()).store];
      for (let round = 1; round <= 20; round++) {
        await one.commit(commitOf({ a: `${round}` }));
        await other.sync();
        expect(other.get('a')?.value).toBe(`${round}`);
      }
    });

    it('recognise their own write whose answer was lost, and that of one that was never done', async () => {
      const { store } = await openOne(new ManualClock(), (calls) => losing(calls, ['after', 'before', 'after']));
      const events = listen(store);
      for (let round = 1; round <= 4; round++)
        expect(await store.commit(commitOf({ a: `${round}` }))).toEqual({ tag: 'committed', revision: round });
      expect(revisionsOf(events).map(({ revision }) => revision)).toEqual([1, 2, 3, 4]);
    });

    it('give up a write that others are always ahead of', async () => {
      const { store } = await openOne(new ManualClock(), neverFirst);
      const begunAtMs = performance.now();
      await expect(store.commit(commitOf({ a: '1' }))).rejects.toThrow(/others are first again and again/);
      expect(performance.now() - begunAtMs).toBeLessThan(limits.etcdWriteMs + 2_000);
      expect(store.revision).toBe(0);
    });

    it('keep the leases whose write was answered to nobody', async () => {
      const { store } = await openOne(new ManualClock(), (calls) => losing(calls, ['after', 'before']));
      await store.putLease('a', '1', 15_000);
      await store.putLease('b', '1', 15_000);
      await store.deleteLease('a');
      expect([...store.leases()].map(({ id }) => id)).toEqual(['b']);
    });

    it('commit what is larger than a request to etcd may be, all of it or nothing', async () => {
      const [one, other] = [(await openOne()).store, (await openOne()).store];
      const value = 'ü'.repeat(900_000);
      const many = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`large-${index}`, `${index}${value}`]));
      const [large, small] = await Promise.all([one.commit(commitOf(many)), other.commit(commitOf({ a: '1' }))]);
      expect([large, small].map(({ tag }) => tag)).toEqual(['committed', 'committed']);
      await Promise.all([one.sync(), other.sync()]);
      for (const store of [one, other]) {
        expect(store.revision).toBe(2);
        for (const [key, text] of Object.entries(many)) expect(store.get(key)?.value).toBe(text);
      }
      const { store: late } = await openOne();
      expect(late.get('large-4')?.value).toBe(many['large-4']);
    });

    it('hear of leases that another one holds, which last as long as it lives and no longer', async () => {
      const clock = new ManualClock();
      let dies: () => Promise<void> = async () => {};
      const holder = await openOne(clock, (calls) => {
        const dying = mortal(calls);
        dies = dying.die;
        return dying.calls;
      });
      const { store: other } = await openOne(clock);
      clock.advance(limits.leaseGraceMs);
      const events = listen(other);
      await holder.store.putLease('sidecar', 'here', 15_000);
      await until(() => events.some((event) => event.tag === 'lease'));
      expect(other.holderOf('sidecar')?.id).toBe(holder.store.replicaId);
      // The holder renews it without a word.
      clock.advance(14_000);
      await holder.store.putLease('sidecar', 'here', 15_000);
      clock.advance(14_000);
      expect([...other.leases()].map(({ id }) => id)).toEqual(['sidecar']);
      await dies();
      await until(() => events.some((event) => event.tag === 'replica' && event.replica === null));
      expect(other.holderOf('sidecar')).toBeNull();
      clock.advance(14_999);
      expect([...other.leases()]).toHaveLength(1);
      clock.advance(1);
      expect(events.at(-1)).toEqual({ tag: 'lease', id: 'sidecar', lease: null });
    });

    it('take over the lease of a sidecar that comes to them', async () => {
      const clock = new ManualClock();
      const [one, other] = [(await openOne(clock)).store, (await openOne(clock)).store];
      await one.putLease('sidecar', 'here', 15_000);
      await until(() => [...other.leases()].length === 1);
      const events = [listen(one), listen(other)];
      await other.putLease('sidecar', 'here', 15_000);
      await until(() => one.holderOf('sidecar')?.id === other.replicaId);
      expect(other.holderOf('sidecar')).toBeNull();
      // Withdrawn by the one that it has left: it stays.
      await one.deleteLease('sidecar');
      await one.sync();
      expect([...other.leases()]).toHaveLength(1);
      expect(events.flat().filter(({ tag }) => tag === 'lease')).toEqual([]);
    });

    it('tell each other about themselves, and what a note says is about the leases before it', async () => {
      const [one, other] = [(await openOne()).store, (await openOne()).store];
      await one.putLease('before', '1', 15_000);
      one.tell(() => `${[...one.leases()].length} leases`);
      await until(() => [...other.replicas()].some(({ note }) => note === '1 leases'));
      expect(other.isTold('before')).toBe(true);
      await one.putLease('after', '1', 15_000);
      await until(() => [...other.leases()].length === 2);
      expect(other.isTold('after')).toBe(false);
      const events = listen(other);
      await one.close();
      await until(() => events.some((event) => event.tag === 'replica' && event.replica === null));
      expect([...other.replicas()]).toEqual([]);
    });

    it('have one leader, and another one when that leaves', async () => {
      const [one, other] = [(await openOne()).store, (await openOne()).store];
      await until(() => [...other.replicas()].some(({ isLeader }) => isLeader));
      expect([...one.replicas()].some(({ isLeader }) => isLeader)).toBe(false);
      const { store: third } = await openOne();
      await one.close();
      const leads = (store: Store, seenBy: Store) =>
        [...seenBy.replicas()].some(({ id, isLeader }) => isLeader && id === store.replicaId);
      await until(() => leads(other, third) || leads(third, other));
    });

    it('write as the leader only while they lead, whatever they believe', async () => {
      const deaf: ReturnType<typeof deafened>[] = [];
      const { store: one } = await openOne(new ManualClock(), (calls) => {
        deaf.push(deafened(calls));
        return deaf[0]!.calls;
      });
      const { store: other, calls } = await openOne();
      const leads = (store: Store, seenBy: Store) =>
        [...seenBy.replicas()].some(({ id, isLeader }) => isLeader && id === store.replicaId);
      await until(() => leads(one, other));
      const asLeader = (value: string) => commitOf({ a: value }, { onlyAsLeader: true, requestId: value });
      expect(await other.commit(asLeader('not-mine'))).toEqual({ tag: 'not-leading' });
      // Of its own lead it hears as the others do, and perhaps later.
      let mine: CommitResult = { tag: 'not-leading' };
      for (let tries = 0; mine.tag === 'not-leading' && tries < 100; tries++) {
        mine = await one.commit(asLeader('mine'));
        await one.sync();
      }
      expect(mine).toEqual({ tag: 'committed', revision: 1 });

      // It loses the lead to the other one, and hears of it when etcd has refused it already.
      deaf[0]!.deafen();
      await calls.write([], [{ tag: 'delete', key: new EtcdKeys(prefix).leader }]);
      await until(() => ![...other.replicas()].some(({ isLeader }) => isLeader));
      const refusedBefore = deaf[0]!.refused();
      const late = one.commit(asLeader('too-late'));
      await until(() => deaf[0]!.refused() > refusedBefore);
      deaf[0]!.hear();
      expect(await late).toEqual({ tag: 'not-leading' });
      await other.sync();
      expect(other.get('a')?.value).toBe('mine');
    });

    it('begin anew from what is there when etcd has compacted what they missed', async () => {
      let cut: (message: string) => void = ignore;
      const { store, troubles } = await openOne(new ManualClock(), (calls) => {
        const cutting = cuttable(calls);
        cut = cutting.cut;
        return cutting.calls;
      });
      const { store: other } = await openOne();
      const events = listen(store);
      await other.commit(commitOf({ a: '1' }));
      await store.sync();
      cut('mvcc: required revision has been compacted');
      await other.commit(commitOf({ a: '2' }));
      await other.putLease('l', '1', 15_000);
      await until(() => store.get('a')?.value === '2' && [...store.leases()].length === 1);
      await other.commit(commitOf({ b: '1' }));
      await store.sync();
      expect(revisionsOf(events).map(({ revision }) => revision)).toEqual([1, 2, 3]);
      expect(troubles).toEqual([expect.stringContaining('compacted')]);
    });

    it('open what was compacted, and a leader of before compacts nothing any more', async () => {
      const { store, calls } = await openOne();
      for (let round = 1; round <= 5; round++) await store.commit(commitOf({ a: `${round}`, [`b${round}`]: 'x' }));
      const keys = new EtcdKeys(prefix);
      const before = await readState(calls, keys);
      const compaction = {
        calls,
        keys,
        leader: before.leader!,
        baseModRevision: before.baseModRevision,
        head: store.revision,
        objects: [...store.list()],
        oldestKept: 4,
      };
      const stale = { ...before.leader!, createRevision: before.leader!.createRevision - 1 };
      expect(await compact({ ...compaction, leader: stale })).toBe(false);
      expect((await readState(calls, keys)).revisions).toHaveLength(5);
      expect(await compact(compaction)).toBe(true);
      expect(await compact(compaction)).toBe(false);

      const { store: late } = await openOne();
      expect(late.revision).toBe(5);
      expect(late.history(10).map(({ revision }) => revision)).toEqual([5, 4]);
      const sorted = (of: Store) => [...of.list()].sort((x, y) => (x.key < y.key ? -1 : 1));
      expect(sorted(late)).toEqual(sorted(store));
      expect(await late.commit(commitOf({ a: '6' }, { expect: new Map([['a', 5]]) }))).toMatchObject({ revision: 6 });
    });

    it('that were cut off while others went on and compacted hear the outcome as one change', async () => {
      let cut: (message: string) => void = ignore;
      let isAway = false;
      const { store } = await openOne(new ManualClock(), (calls) => {
        const cutting = cuttable(calls, () => isAway);
        cut = cutting.cut;
        return cutting.calls;
      });
      const { store: other, calls } = await openOne();
      await other.commit(commitOf({ a: '1', gone: '1' }));
      await store.sync();
      const events = listen(store);
      isAway = true;
      cut('mvcc: required revision has been compacted');
      await other.commit(commitOf({ a: '2' }));
      await other.commit(commitOf({ gone: null, b: '1' }));
      const keys = new EtcdKeys(prefix);
      const { leader, baseModRevision } = await readState(calls, keys);
      const objects = [...other.list()];
      expect(await compact({ calls, keys, leader: leader!, baseModRevision, head: 3, objects, oldestKept: 3 })).toBe(
        true,
      );
      await other.commit(commitOf({ c: '1' }));
      isAway = false;
      await until(() => store.revision === 4);
      expect(revisionsOf(events)).toMatchObject([
        {
          revision: 3,
          changes: expect.arrayContaining([
            { key: 'a', before: '1', after: '2' },
            { key: 'b', before: null, after: '1' },
            { key: 'gone', before: '1', after: null },
          ]),
        },
        { revision: 4, changes: [{ key: 'c', before: null, after: '1' }] },
      ]);
      expect(store.revisionsAfter(1)).toBeNull();
    });

    it('write nothing any more when etcd has been emptied under them, and say what to do', async () => {
      const { store, calls } = await openOne();
      await store.commit(commitOf({ a: '1' }));
      await calls.write([], [{ tag: 'delete-range', ...new EtcdKeys(prefix).all }]);
      await expect(store.commit(commitOf({ a: '2' }))).rejects.toMatchObject({
        code: 'store-unusable',
        message: expect.stringMatching(/restored from an older state, or emptied.*Restart/),
      });
      expect(store.get('a')?.value).toBe('1');
    });

    it('are moved over a store in which nothing was ever written; where there is none nothing is moved', async () => {
      const [from, to] = [`moved-${randomUUID()}`, `moved-${randomUUID()}`];
      const urlOf = (prefix: string) => `etcd://${cluster.addresses}/${prefix}`;
      const move = () =>
        migrateStore({
          fromUrl: urlOf(from),
          toUrl: urlOf(to),
          etcdAccess: noAccess,
          clock: systemClock,
          isDryRun: false,
          onProgress: ignore,
        });
      const opened = await open(to);
      await opened.calls.write([], [{ tag: 'put', key: new EtcdKeys(to).head, value: '0' }]);
      await opened.store.close();
      await expect(move()).rejects.toThrow(`There is no store in ${urlOf(from)}`);
      const { store } = await open(from);
      await store.commit(commitOf({ a: '1' }));
      await store.close();
      expect(await move()).toEqual({ revision: 1, objects: 1, revisions: 1 });
      expect((await open(to)).store.get('a')).toEqual({ key: 'a', value: '1', revision: 1 });
    });

    it('leave alone what a newer Weft has written', async () => {
      const { calls } = await openOne();
      await calls.write([], [{ tag: 'put', key: new EtcdKeys(prefix).format, value: '2' }]);
      await expect(openOne()).rejects.toMatchObject({
        code: 'store-unusable',
        message: expect.stringContaining('newer Weft'),
      });
    });

    it.each([0, 1, 2])(
      'write and hear of writes while member %d of etcd stands still without a word',
      async (frozen) => {
        const [one, other] = [(await openOne()).store, (await openOne()).store];
        await one.commit(commitOf({ a: '0' }));
        cluster.freeze(frozen);
        try {
          const slowest = { writeMs: 0, syncMs: 0 };
          for (let round = 1; round <= 10; round++) {
            const beganMs = performance.now();
            expect(await one.commit(commitOf({ a: `${round}` }))).toMatchObject({ tag: 'committed' });
            const writtenMs = performance.now();
            await other.sync();
            expect(other.get('a')?.value).toBe(`${round}`);
            slowest.writeMs = Math.max(slowest.writeMs, writtenMs - beganMs);
            slowest.syncMs = Math.max(slowest.syncMs, performance.now() - writtenMs);
          }
          expect(slowest.writeMs).toBeLessThan(limits.etcdWriteMs);
          expect(slowest.syncMs).toBeLessThan(limits.etcdWriteMs);
          console.log(
            `member ${frozen} stands still: slowest write ${Math.round(slowest.writeMs)} ms, sync ${Math.round(slowest.syncMs)} ms`,
          );
        } finally {
          await cluster.thaw();
        }
      },
    );

    it('refuse writes within a deadline while etcd is away, read from memory, and go on when it is back', async () => {
      const { store } = await openOne();
      await store.commit(commitOf({ a: '1' }));
      await store.putLease('l', '1', 15_000);
      await store.sync();
      const knownAtMs = store.knownAtMs;
      expect(Math.abs(Date.now() - knownAtMs)).toBeLessThan(2_000);
      cluster.freeze();
      try {
        const beganMs = performance.now();
        const [committed, leased, synced] = await Promise.allSettled([
          store.commit(commitOf({ a: '2' }, { requestId: 'while-away' })),
          store.putLease('m', '1', 15_000),
          store.sync(),
        ]);
        expect(performance.now() - beganMs).toBeLessThan(limits.etcdWriteMs + 2 * limits.etcdTryMs);
        for (const one of [committed, leased, synced])
          expect(one).toMatchObject({
            status: 'rejected',
            reason: { code: 'store-unavailable', message: expect.stringMatching(/ is not available: .*try again/i) },
          });
        expect(committed).toMatchObject({
          reason: { message: expect.stringMatching(/may have been written or not: sent again/) },
        });
        expect(store.outage).toMatchObject({ reason: expect.stringMatching(/^\S+ did not answer in time$/) });
        expect(store.get('a')?.value).toBe('1');
        expect(store.knownAtMs).toBe(knownAtMs);
        // A renewal asks nothing of etcd.
        await store.putLease('l', '1', 15_000);
      } finally {
        await cluster.thaw();
      }
      // Whether the one of before was done is found out by its request id.
      const again = await store.commit(commitOf({ a: '2' }, { requestId: 'while-away' }));
      expect(again).toEqual({ tag: 'committed', revision: 2 });
      await store.sync();
      expect(store.knownAtMs).toBeGreaterThan(knownAtMs);
      expect(store.outage).toBeNull();
      expect(store.get('a')?.value).toBe('2');
    });
  });

  it('tells a reader and a watch that etcd has compacted what they ask for', async () => {
    const calls = new EtcdClient(locationOf('compacted'), noAccess);
    const put = { tag: 'put', key: 'compacted/live/head', value: '1' } as const;
    const first = await calls.write([], [put]);
    const second = await calls.write([], [put]);
    if (first.tag !== 'done' || second.tag !== 'done') throw new Error('a write without a condition is done');
    await cluster.post('/v3/kv/compaction', { revision: String(second.etcdRevision), physical: true });
    const range = { from: 'compacted/', to: 'compacted0' };
    await expect(calls.read({ ...range, limit: 1, etcdRevision: first.etcdRevision })).rejects.toMatchObject({
      code: 'compacted',
    });
    const ended = await new Promise((resolve) =>
      calls.watch({ ...range, afterEtcdRevision: first.etcdRevision - 1 }, { onEvents: ignore, onEnd: resolve }),
    );
    expect(ended).toMatchObject({ isCompacted: true });
    // The others of etcd's own refusals that the store tells apart.
    await expect(calls.write([], [{ ...put, lease: '12345' }])).rejects.toMatchObject({ code: 'no-such-lease' });
    expect(await calls.keepLease('12345')).toBe(false);
    calls.close();
  });
});
