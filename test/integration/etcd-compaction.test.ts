/** How the log on etcd stays short while control planes come and go. With bounds that a test reaches. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { openEtcdStore } from '../../src/control/store/etcd.ts';
import { EtcdClient } from '../../src/control/store/etcd-client.ts';
import { EtcdKeys } from '../../src/control/store/etcd-keys.ts';
import { noAccess, parseEtcdUrl } from '../../src/control/store/etcd-location.ts';
import { readState } from '../../src/control/store/etcd-state.ts';
import type { Store } from '../../src/control/store/store.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { EtcdCluster, whyNoEtcd } from '../fixtures/etcd-cluster.ts';
import { commitOf } from '../unit/store/store-contract.ts';

const kept = 20;
vi.mock('../../src/model/limits.ts', async (original) => {
  const { limits } = await original<typeof import('../../src/model/limits.ts')>();
  return { limits: { ...limits, revisionsKeptMax: 20, compactAfterRevisions: 10, replicaRenewMs: 100 } };
});

const reason = whyNoEtcd();

describe.skipIf(reason !== null)('the log of a store on etcd', () => {
  let cluster: EtcdCluster;
  beforeAll(async () => {
    cluster = await EtcdCluster.start();
  });
  afterAll(() => cluster?.close());

  it('is shortened by whoever leads, while others write, and what is left says all', async () => {
    const prefix = `compacted-${randomUUID()}`;
    const client = new EtcdClient(parseEtcdUrl(`etcd://${cluster.addresses}/${prefix}`), noAccess);
    const open = () =>
      openEtcdStore({
        calls: new EtcdClient(parseEtcdUrl(`etcd://${cluster.addresses}/${prefix}`), noAccess),
        prefix,
        clock: systemClock,
        networkClock: systemClock,
        name: cluster.addresses,
      });
    const stored = async () => (await readState(client, new EtcdKeys(prefix))).revisions.length;
    const untilShort = () =>
      vi.waitFor(async () => expect(await stored()).toBeLessThan(kept + 10), { timeout: 20_000 });
    const write = async (store: Store, count: number) => {
      for (let round = 0; round < count; round++)
        await store.commit(commitOf({ [`key-${round % 30}`]: `${store.revision} ${'x'.repeat(10_000)}` }));
    };
    const [one, other] = [await open(), await open()];
    await Promise.all([write(one, 60), write(other, 60)]);
    expect(one.history(1_000)).toHaveLength(kept);
    await untilShort();

    // The leader leaves: the other one takes that over too.
    const [leader, heir] = [...other.replicas()].some(({ isLeader }) => isLeader) ? [one, other] : [other, one];
    await leader.close();
    await write(heir, 60);
    await untilShort();

    const fresh = await open();
    expect(fresh.revision).toBe(180);
    expect(fresh.history(1_000)).toEqual(heir.history(1_000));
    const sorted = (store: Store) => [...store.list()].sort((x, y) => (x.key < y.key ? -1 : 1));
    expect(sorted(fresh)).toEqual(sorted(heir));
    expect(sorted(fresh)).toHaveLength(30);
    // What nobody reads any more is gone.
    const snapshots = await client.read({
      from: `${prefix}/bulk/snapshot/`,
      to: `${prefix}/bulk/snapshot0`,
      limit: 100,
    });
    const { base } = await readState(client, new EtcdKeys(prefix));
    expect(snapshots.entries.every(({ key }) => key.includes(String(base.revision).padStart(16, '0')))).toBe(true);
    await Promise.all([heir.close(), fresh.close()]);
    client.close();
  });
});
