/** Control planes whose calls to etcd fail as networks make them fail: lost before, lost after, done late, watches cut. Nothing is lost, nothing is done twice. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openEtcdStore } from '../../src/control/store/etcd.ts';
import { type EtcdCalls, EtcdFailure, type EtcdOutcome } from '../../src/control/store/etcd-calls.ts';
import { EtcdClient } from '../../src/control/store/etcd-client.ts';
import { EtcdKeys } from '../../src/control/store/etcd-keys.ts';
import { noAccess, parseEtcdUrl } from '../../src/control/store/etcd-location.ts';
import type { CommitResult, Revision, Store } from '../../src/control/store/store.ts';
import { StoreError } from '../../src/control/store/store-error.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { hangingReads } from '../fixtures/etcd-wrappers.ts';
import { seededRandom } from '../fixtures/service-unit.ts';
import { commitOf } from '../unit/store/store-contract.ts';

const storeCount = 3;
const roundsOfEach = 40;
const lateMsMax = 400;

/** What goes wrong, and how often; `end` stops it and waits for what was to be done late. */
class BadNetwork {
  readonly #random: () => number;
  readonly #late: Promise<unknown>[] = [];
  readonly #cuts = new Set<(isCompacted: boolean) => void>();
  #isOver = false;
  faults = 0;

  constructor(seed: number) {
    this.#random = seededRandom(seed);
  }

  wrap(calls: EtcdCalls): EtcdCalls {
    return {
      read: async (range) => {
        this.#mayCut();
        if (this.#is(0.05)) throw this.#lost();
        return calls.read(range);
      },
      write: async (conditions, operations): Promise<EtcdOutcome> => {
        this.#mayCut();
        if (this.#is(0.08)) throw this.#lost();
        if (this.#is(0.08)) {
          this.#late.push(
            this.#pause()
              .then(() => calls.write(conditions, operations))
              .catch(() => undefined),
          );
          throw this.#lost();
        }
        const outcome = await calls.write(conditions, operations);
        if (this.#is(0.08)) throw this.#lost();
        return outcome;
      },
      watch: (range, listener) => {
        const stop = calls.watch(range, listener);
        const cut = (isCompacted: boolean) => {
          this.#cuts.delete(cut);
          stop();
          listener.onEnd({ isCompacted, message: 'cut' });
        };
        this.#cuts.add(cut);
        return () => {
          this.#cuts.delete(cut);
          stop();
        };
      },
      grantLease: (ttlMs) => calls.grantLease(ttlMs),
      keepLease: (lease) => calls.keepLease(lease),
      endLease: (lease) => calls.endLease(lease),
      leaveMember: () => calls.leaveMember(),
      close: () => calls.close(),
    };
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#late);
  }

  #mayCut(): void {
    if (this.#is(0.03)) for (const cut of [...this.#cuts]) cut(this.#random() < 0.3);
  }

  #is(share: number): boolean {
    if (this.#isOver || this.#random() >= share) return false;
    this.faults++;
    return true;
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, this.#random() * lateMsMax));
  }

  #lost(): EtcdFailure {
    return new EtcdFailure('unavailable', 'lost');
  }
}

const reason = whyNoEtcd();

describe.skipIf(reason !== null)('on a bad network', () => {
  let cluster: EtcdCluster;
  beforeAll(async () => {
    cluster = await EtcdCluster.start();
  });
  afterAll(() => cluster?.close());

  it.each([1, 2, 3])(
    'every acknowledged change is there once, and all control planes tell the same (seed %d)',
    async (seed) => {
      const prefix = `bad-${randomUUID()}`;
      const network = new BadNetwork(seed);
      const open = (wrap: (calls: EtcdCalls) => EtcdCalls) =>
        openEtcdStore({
          calls: wrap(new EtcdClient(parseEtcdUrl(`etcd://${cluster.addresses}/${prefix}`), noAccess)),
          prefix,
          clock: systemClock,
          networkClock: systemClock,
          name: cluster.addresses,
          onBackgroundError: () => {},
        });
      const stores = await Promise.all(Array.from({ length: storeCount }, () => open((calls) => network.wrap(calls))));
      const heard = stores.map((store) => {
        const revisions: Revision[] = [];
        store.subscribe((event) => {
          if (event.tag === 'revision') revisions.push(event.revision);
        });
        return revisions;
      });
      try {
        const acknowledged = (await Promise.all(stores.map((store, index) => work(store, index)))).flat();
        await network.end();
        await Promise.all(stores.map((store) => store.sync()));
        expect(network.faults).toBeGreaterThan(20);

        const all = heard[0]!;
        expect(all.map(({ revision }) => revision)).toEqual(all.map((_, index) => index + 1));
        for (const others of heard) expect(others).toEqual(all);
        // The counter went up by one in each revision that touched it: no change was judged by an older state.
        const counted = all.flatMap(({ changes }) => changes.filter(({ key }) => key === 'counter'));
        expect(counted.map(({ after }) => Number(after))).toEqual(counted.map((_, index) => index + 1));
        // Each acknowledged commit is the revision that it was told, and the only one with its own key.
        const own = new Map<string, number[]>();
        for (const { revision, changes } of all)
          for (const { key } of changes) own.set(key, [...(own.get(key) ?? []), revision]);
        own.delete('counter');
        expect([...own.values()].filter(({ length }) => length !== 1)).toEqual([]);
        expect(acknowledged.length).toBeGreaterThan((storeCount * roundsOfEach) / 4);
        for (const { key, revision } of acknowledged) expect(own.get(key)).toEqual([revision]);

        const fresh = await open((calls) => calls);
        const sorted = (store: Store) => [...store.list()].sort((x, y) => (x.key < y.key ? -1 : 1));
        for (const store of stores) expect(sorted(store)).toEqual(sorted(fresh));
        const leases = (store: Store) => [...store.leases()].map(({ id, value }) => `${id} ${value}`).sort();
        for (const store of stores) expect(leases(store)).toEqual(leases(fresh));
        await fresh.close();
      } finally {
        await network.end();
        await Promise.all(stores.map((store) => store.close()));
      }
    },
  );

  it('is seen what others have written also while etcd answers no read, as after an election: it is asked for as a write is, which changes nothing', async () => {
    const prefix = `hung-${randomUUID()}`;
    const client = () => new EtcdClient(parseEtcdUrl(`etcd://${cluster.addresses}/${prefix}`), noAccess);
    const open = (calls: EtcdCalls) =>
      openEtcdStore({
        ...{ calls, prefix, clock: systemClock, networkClock: systemClock, name: cluster.addresses },
        onBackgroundError: () => {},
      });
    let isHanging = false;
    const { calls, counts } = hangingReads(client(), () => isHanging);
    const plain = client();
    const [one, hung] = [await open(plain), await open(calls)];
    try {
      isHanging = true;
      for (let round = 1; round <= 20; round++) {
        await one.commit(commitOf({ a: `${round}` }));
        await hung.sync();
        expect(hung.get('a')?.value).toBe(`${round}`);
      }
      // Who has had no answer does not try in vain each time. (What is looked after regularly asks too.)
      expect(counts.hung).toBe(1);
      expect(counts.throughLog).toBeGreaterThanOrEqual(20);
      expect(await hung.commit(commitOf({ b: '1' }))).toMatchObject({ revision: 21 });

      const { head } = new EtcdKeys(prefix);
      const range = { from: head, to: `${head}\u0000`, limit: 1 };
      const { entries } = await plain.read(range);
      for (let round = 0; round < 5; round++)
        expect((await plain.read({ ...range, throughLog: true })).entries).toEqual(entries);
      expect((await plain.read(range)).entries).toEqual(entries);
      const nowhere = { from: `${prefix}/nowhere`, to: `${prefix}/nowherf`, limit: 1, throughLog: true };
      expect((await plain.read(nowhere)).entries).toEqual([]);
    } finally {
      await Promise.all([one.close(), hung.close()]);
    }
  });
});

/** Counts up in the store, and puts a lease now and then. What failed for want of etcd is sent again under the same request id, or given up. */
async function work(store: Store, index: number): Promise<{ key: string; revision: number }[]> {
  const acknowledged: { key: string; revision: number }[] = [];
  for (let round = 0; round < roundsOfEach; round++) {
    if (round % 8 === 0) await store.putLease(`lease-${index}`, `${round}`, 60_000).catch(bearAway);
    const counter = store.get('counter');
    const key = `${index}-${round}`;
    const commit =
      round % 2 === 0
        ? commitOf({ [key]: 'x' })
        : commitOf(
            { counter: String(Number(counter?.value ?? 0) + 1), [key]: 'x' },
            { expect: new Map([['counter', counter?.revision ?? 0]]) },
          );
    let result: CommitResult | null = null;
    for (let tries = 0; tries < 2 && result === null; tries++) result = await store.commit(commit).catch(bearAway);
    if (result?.tag === 'committed') acknowledged.push({ key, revision: result.revision });
  }
  return acknowledged;
}

function bearAway(error: unknown): null {
  if (error instanceof StoreError && error.code === 'store-unavailable') return null;
  throw error;
}
