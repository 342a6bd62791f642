/** The trust bundle on its way: every sidecar has it, and nobody takes it for a resource. */
import { EventEmitter } from 'node:events';
import type { FastifyReply } from 'fastify';
import { describe, expect, it } from 'vitest';
import { Watchers } from '../../../src/control/api/watch.ts';
import { ConfigIndex } from '../../../src/control/config-index.ts';
import type { AppliedReport } from '../../../src/control/fleet.ts';
import { World } from '../../../src/control/world.ts';
import { type TrustBundle, trustBundleKey } from '../../../src/model/identity.ts';
import { finish } from '../../../src/model/steps.ts';
import { at, type FakeSidecar, Plane, settle } from './fake-sidecar.ts';
import { ManualClock, MemoryStore, service } from './memory-store.ts';

const bundleOf = (...roots: string[]): TrustBundle => ({
  kind: 'TrustBundle',
  trustDomain: 'weft.local',
  roots: roots.map((sha256) => ({ sha256, pem: `pem of ${sha256}`, addedAt: '2026-01-01T00:00:00Z', retiresAt: null })),
  requiresJoinToken: false,
});

async function putBundle(store: MemoryStore, bundle: TrustBundle | null, ...more: [string, string][]): Promise<number> {
  const text = bundle && JSON.stringify(bundle);
  const changes = new Map<string, string | null>([[trustBundleKey, text], ...more]);
  await store.commit({ expect: new Map(), changes, who: 'ca', message: '', requestId: '', atMs: 0 });
  return store.revision;
}

/** The acknowledgement of one ChangeSet can bring the next. */
function ackAll(sidecar: FakeSidecar): void {
  for (let acked = 0; acked < sidecar.received.length; ) {
    acked = sidecar.received.length;
    sidecar.ack();
  }
}

describe('every sidecar has the trust bundle', () => {
  it('also one that calls nobody and whose Service does not exist', async () => {
    const plane = new Plane();
    await putBundle(plane.store, bundleOf('a'));
    const sidecar = await plane.sidecar('s1', { service: 'unknown', hosts: [] }).hello();
    expect(sidecar.last.keys).toEqual([trustBundleKey]);
    expect(sidecar.last.objects.get(trustBundleKey)?.object).toEqual(bundleOf('a'));
  });

  it('is not sent again to one that has it', async () => {
    const plane = new Plane();
    await putBundle(plane.store, bundleOf('a'));
    const before = await plane.sidecar('s1').hello();
    before.ack();
    const { held } = before;
    const back = await plane.restart().sidecar('s1', { held }).hello();
    expect(back.last.keys).toEqual([]);
  });

  it('hears of a change at once, whatever it subscribed to, and of its end', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const sidecars = [
      await plane.sidecar('s1', { hosts: ['a'] }).hello(),
      await plane.sidecar('s2', { hosts: ['b'] }).hello(),
      await plane.sidecar('s3', { service: 'c', registration: at('127.0.0.1:1') }).hello(),
      await plane.sidecar('s4').hello(),
    ];
    plane.clock.advance(1_000);
    for (const sidecar of sidecars) ackAll(sidecar);
    for (const bundle of [bundleOf('a'), bundleOf('a', 'b')]) {
      const revision = await putBundle(plane.store, bundle);
      plane.clock.advance(500);
      for (const sidecar of sidecars) {
        expect(sidecar.ack()).toMatchObject({ revision, keys: [trustBundleKey] });
        expect(sidecar.last.objects.get(trustBundleKey)?.object).toEqual(bundle);
      }
    }
    await putBundle(plane.store, null);
    plane.clock.advance(500);
    for (const sidecar of sidecars) expect(sidecar.ack().keys).toEqual([`-${trustBundleKey}`]);
  });

  it('comes from one encoding, under a version that every replica knows', () => {
    const change = { key: trustBundleKey, text: JSON.stringify(bundleOf('a')), revision: 7 };
    const [index, replica] = [new ConfigIndex(), new ConfigIndex()];
    expect(index.apply([change])).toMatchObject({ isForAll: true });
    replica.apply([change]);
    const published = index.published(trustBundleKey);
    expect(published?.encode()).toBe(published?.encode());
    expect(replica.published(trustBundleKey)?.version).toBe(published?.version);
  });
});

describe('waiting until a trust bundle is in force', () => {
  it('waits for the ack of every sidecar, and names who did not', async () => {
    const plane = new Plane();
    await putBundle(plane.store, bundleOf('a'));
    const [s1, s2] = [await plane.sidecar('s1', { hosts: ['x'] }).hello(), await plane.sidecar('s2').hello()];
    s1.ack();
    s2.ack();
    const revision = await putBundle(plane.store, bundleOf('a', 'b'));
    const reports: AppliedReport[] = [];
    void plane.fleet.waitApplied(revision, 1_000).then((report) => reports.push(report));
    void plane.fleet.waitApplied(revision, 2_000).then((report) => reports.push(report));
    s1.ack();
    plane.clock.advance(1_000);
    await settle();
    expect(reports).toMatchObject([{ applied: [{ sidecar: 's1' }], missing: [{ sidecar: 's2' }] }]);
    s2.ack();
    await settle();
    expect(reports[1]).toMatchObject({ applied: [{ sidecar: 's1' }, { sidecar: 's2' }], missing: [] });
  });

  it('counts a refusal as one', async () => {
    const plane = new Plane();
    const sidecar = await plane.sidecar('s1').hello();
    sidecar.ack();
    const revision = await putBundle(plane.store, bundleOf('a'));
    sidecar.nack('no');
    expect(await plane.fleet.waitApplied(revision, 1_000)).toMatchObject({
      refused: [{ sidecar: 's1', reason: 'no' }],
    });
  });
});

describe('the trust bundle is no resource', () => {
  it('is not in the world, whether it was there before or comes later', async () => {
    const store = new MemoryStore(new ManualClock());
    await putBundle(store, bundleOf('a'));
    const world = new World(store);
    await store.put(service('a'));
    await putBundle(store, bundleOf('a', 'b'));
    expect([...world.all()]).toEqual([service('a')]);
    expect([...world.after(new Map()).keys()]).toEqual(['Service/default/a']);
    expect(finish(world.unitsChangedBy(world.after(new Map())))).toEqual([]);
    expect(world.revision).toBe(3);
  });

  it('is not shown to watchers, who hear of its revision all the same', async () => {
    const clock = new ManualClock();
    const store = new MemoryStore(clock);
    await putBundle(store, bundleOf('a'));
    const watchers = new Watchers({ store, clock });
    let text = '';
    const write = (part: string) => {
      text += part;
    };
    const raw = Object.assign(new EventEmitter(), { writableLength: 0, writeHead() {}, write, end() {} });
    const reply = { hijack() {}, raw, request: { method: 'GET' } } as unknown as FastifyReply;
    watchers.watch(reply, { kind: null, namespace: null, from: 0, isAllowed: () => true });
    await putBundle(store, bundleOf('a', 'b'), ['Service/default/a', JSON.stringify(service('a'))]);
    watchers.close();
    expect(text).not.toContain('TrustBundle');
    expect(text.match(/^event: .*|^id: .*/gm)).toEqual([
      ...['event: revision', 'id: 0', 'event: revision', 'id: 1'],
      ...['event: put', 'event: revision', 'id: 2'],
    ]);
  });
});
