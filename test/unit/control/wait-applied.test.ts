import { describe, expect, it } from 'vitest';
import type { AppliedReport } from '../../../src/control/fleet.ts';
import { limits } from '../../../src/model/limits.ts';
import type { Resource } from '../../../src/model/resources.ts';
import { type FakeSidecar, Plane, settle } from './fake-sidecar.ts';
import { route, service } from './memory-store.ts';

const names = (of: readonly { readonly sidecar: string }[]) => of.map(({ sidecar }) => sidecar).sort();

/** Starts to wait; `report` is null until the wait ends. */
function waitOn(plane: Plane, revision: number, timeoutMs = 30_000) {
  const wait: { report: AppliedReport | null } = { report: null };
  void plane.fleet.waitApplied(revision, timeoutMs).then((report) => {
    wait.report = report;
  });
  return wait;
}

async function keepAlive(plane: Plane, sidecar: FakeSidecar, ms: number): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= 5_000) {
    sidecar.say({ tag: 'renew', trouble: '' });
    await settle();
    plane.clock.advance(Math.min(leftMs, 5_000));
  }
}

async function synced(plane: Plane, id: string, ...hosts: string[]): Promise<FakeSidecar> {
  const sidecar = await plane.sidecar(id, { hosts }).hello();
  sidecar.ack();
  return sidecar;
}

describe('waitApplied', () => {
  it('is done at once without sidecars, and not before the revision exists', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const now = waitOn(plane, 1);
    await settle();
    expect(now.report).toEqual({ revision: 1, isEnough: true, applied: [], missing: [], refused: [] });
    const next = waitOn(plane, 2);
    await settle();
    expect(next.report).toBeNull();
    await plane.store.put(service('a'));
    await settle();
    expect(next.report?.missing).toEqual([]);
  });

  it('counts who is not concerned, and waits for the ack of who is', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const a = await synced(plane, 'a', 'a');
    await synced(plane, 'b', 'b');
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    await settle();
    expect(wait.report).toBeNull();
    a.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a', 'b']);
  });

  it('waits for what the debounce still holds', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    await plane.store.put(service('a', '127.0.0.1:1'));
    a.ack();
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:2')));
    await settle();
    expect(wait.report).toBeNull();
    plane.clock.advance(50);
    a.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
  });

  it('sees that a change which touched a scope left it as it was', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    await plane.store.put(service('warm-up'), service('a', '127.0.0.1:1'));
    a.ack();
    const elsewhere = { ...service('a'), metadata: { name: 'a', namespace: 'other' } } as Resource;
    const wait = waitOn(plane, await plane.store.put(elsewhere));
    await settle();
    expect(wait.report).toBeNull();
    plane.clock.advance(50);
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
  });

  it('counts who loses something by the change', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'), route('r', 'a', ['b']));
    const a = await synced(plane, 'a', 'a');
    const wait = waitOn(plane, await plane.store.put('HTTPRoute/default/r'));
    await settle();
    expect(wait.report).toBeNull();
    expect(a.ack().keys).toEqual(['-HTTPRoute/default/r', '-Service/default/b']);
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
  });

  it('ends early with who refuses, and names the reason', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    a.nack('no');
    await settle();
    expect(wait.report).toMatchObject({ applied: [], missing: [], refused: [{ sidecar: 'a', reason: 'no' }] });
  });

  it('is done when as many percent have it as were asked for, of those that it concerns', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const sidecars = await Promise.all(['1', '2', '3', '4'].map((id) => synced(plane, id, 'a')));
    // Others do not count, though they have all that concerns them.
    for (const id of ['5', '6', '7', '8', '9']) await synced(plane, id, 'b');
    const revision = await plane.store.put(service('a', '127.0.0.1:1'));
    const wait = (percent: number) => {
      const room: { report: AppliedReport | null } = { report: null };
      void plane.fleet.waitApplied(revision, 10_000, percent).then((report) => {
        room.report = report;
      });
      return room;
    };
    const [half, most, all] = [wait(50), wait(51), wait(100)];
    sidecars[0]!.ack();
    sidecars[1]!.nack('no');
    await settle();
    expect([half.report, most.report, all.report]).toEqual([null, null, null]);
    sidecars[2]!.ack();
    await settle();
    expect(half.report).toMatchObject({
      isEnough: true,
      missing: [{ sidecar: '4' }],
      refused: [{ sidecar: '2', reason: 'no' }],
    });
    expect(names(half.report!.applied)).toEqual(['1', '3', '5', '6', '7', '8', '9']);
    expect([most.report, all.report]).toEqual([null, null]);
    plane.clock.advance(10_000);
    await settle();
    expect([most.report?.isEnough, all.report?.isEnough]).toEqual([false, false]);
    expect(names(all.report!.missing)).toEqual(['4']);
  });

  it('counts for a percentage who comes too late no less, and who is gone no more', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const [a, lost] = [await synced(plane, 'a', 'a'), await synced(plane, 'lost', 'a')];
    lost.drop();
    const revision = await plane.store.put(service('a', '127.0.0.1:1'));
    const room: { report: AppliedReport | null } = { report: null };
    void plane.fleet.waitApplied(revision, 60_000, 60).then((report) => {
      room.report = report;
    });
    a.ack();
    await settle();
    expect(room.report).toBeNull();
    await keepAlive(plane, a, limits.leaseMs);
    await settle();
    expect(room.report).toMatchObject({ isEnough: true, applied: [{ sidecar: 'a' }], missing: [], refused: [] });
  });

  it('says how long each has been in its state', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    plane.clock.advance(3_000);
    expect(plane.fleet.list()).toMatchObject([{ state: 'synced', stateAgeMs: 3_000 }]);
    await plane.store.put(service('a', '127.0.0.1:1'));
    plane.clock.advance(2_000);
    expect(plane.fleet.list()).toMatchObject([{ state: 'pending', stateAgeMs: 2_000 }]);
    a.nack('no');
    plane.clock.advance(1_000);
    expect(plane.fleet.list()).toMatchObject([{ state: 'refused', reason: 'no', stateAgeMs: 1_000 }]);
    expect(plane.fleet.countHere()).toEqual({ synced: 0, pending: 0, refused: 1, lost: 0 });
    a.drop();
    plane.clock.advance(500);
    expect(plane.fleet.list()).toMatchObject([{ state: 'lost', stateAgeMs: 500 }]);
  });

  it('does not take an old refusal for the answer to a newer change', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    await plane.store.put(service('a', '127.0.0.1:1'));
    a.nack('no');
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:2')));
    await settle();
    expect(wait.report).toBeNull();
    plane.clock.advance(50);
    a.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
  });

  it('takes an ack of a newer change for the older ones', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await plane.sidecar('a', { hosts: ['a'] }).hello();
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    await plane.store.put(service('a', '127.0.0.1:2'));
    plane.clock.advance(50);
    a.ack();
    await settle();
    expect(wait.report).toBeNull();
    expect(a.ack().revision).toBe(3);
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
  });

  it('names who did not answer at the deadline', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const a = await synced(plane, 'a', 'a');
    await synced(plane, 'b', 'b');
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')), 10_000);
    plane.clock.advance(9_999);
    await settle();
    expect(wait.report).toBeNull();
    plane.clock.advance(1);
    await settle();
    expect(names(wait.report?.missing ?? [])).toEqual(['a']);
    expect(names(wait.report?.applied ?? [])).toEqual(['b']);
    a.ack();
  });

  it('waits for a sidecar that is not connected until it comes back', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const lost = await synced(plane, 'lost', 'a');
    lost.drop();
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    plane.clock.advance(5_000);
    await settle();
    expect(wait.report).toBeNull();
    const back = await plane.sidecar('lost', { hosts: ['a'], held: lost.held }).hello();
    await settle();
    expect(wait.report).toBeNull();
    back.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['lost']);
  });

  it('does not wait for a sidecar that is not connected and not concerned', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    (await synced(plane, 'lost', 'b')).drop();
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['lost']);
  });

  it('waits no longer for a sidecar whose lease ended', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    (await synced(plane, 'lost', 'a')).drop();
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    plane.clock.advance(limits.leaseMs);
    await settle();
    expect(wait.report).toEqual({ revision: 2, isEnough: true, applied: [], missing: [], refused: [] });
  });

  it('waits after a restart for everyone whose lease lives, as it knows of none what it has', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    const revision = await plane.store.put(service('a', '127.0.0.1:1'));
    a.drop();
    const after = plane.restart();
    const wait = waitOn(after, revision);
    await settle();
    expect(wait.report).toBeNull();
    const back = await after.sidecar('a', { hosts: ['a'], held: a.held }).hello();
    expect(back.last.keys).toEqual(['Service/default/a']);
    await settle();
    expect(wait.report).toBeNull();
    back.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
  });

  it('counts a sidecar again that came back from an older state', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    const old = new Map(a.held);
    const revision = await plane.store.put(service('a', '127.0.0.1:1'));
    a.ack();
    a.drop();
    const back = await plane.sidecar('a', { hosts: ['a'], held: old }).hello();
    const wait = waitOn(plane, revision);
    await settle();
    expect(wait.report).toBeNull();
    back.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
  });

  it('waits for a sidecar that comes while it waits', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    const late = await plane.sidecar('late', { hosts: ['a'] }).hello();
    a.ack();
    await settle();
    expect(wait.report).toBeNull();
    late.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a', 'late']);
  });

  it('is not confused by a subscription in between', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const a = await synced(plane, 'a', 'a');
    await plane.store.put(service('a', '127.0.0.1:1'));
    a.say({ tag: 'subscribe', add: ['b'], remove: [] });
    const wait = waitOn(plane, 2);
    await settle();
    expect(wait.report).toBeNull();
    a.ack();
    await settle();
    expect(names(wait.report?.applied ?? [])).toEqual(['a']);
    expect(a.last.keys).toEqual(['Service/default/b']);
    const next = waitOn(plane, await plane.store.put(service('b', '127.0.0.1:1')));
    plane.clock.advance(50);
    a.ack();
    await settle();
    expect(next.report).toBeNull();
    a.ack();
    await settle();
    expect(names(next.report?.applied ?? [])).toEqual(['a']);
  });

  it('is answered when the control plane stops', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await synced(plane, 'a', 'a');
    const wait = waitOn(plane, await plane.store.put(service('a', '127.0.0.1:1')));
    plane.fleet.close();
    await settle();
    expect(names(wait.report?.missing ?? [])).toEqual(['a']);
    await keepAlive(plane, a, 5_000);
  });
});
