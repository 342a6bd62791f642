import { describe, expect, it } from 'vitest';
import { addingRoot } from '../../../src/control/ca/bundle-edits.ts';
import { StoredBundle } from '../../../src/control/ca/stored-bundle.ts';
import { UnclaimedRoots } from '../../../src/control/ca/unclaimed-roots.ts';
import type { ReplicaStatus } from '../../../src/control/fleet.ts';
import { limits } from '../../../src/model/limits.ts';
import { settle } from './fake-sidecar.ts';
import { ManualClock, MemoryStore, silentLogger } from './memory-store.ts';

const hourMs = 3600_000;

async function meshOf(...roots: string[]) {
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const bundle = new StoredBundle(store, clock, 'weft.local');
  for (const sha256 of roots)
    await bundle.change(addingRoot({ sha256, certificatePem: `pem of ${sha256}` }, clock.nowMs()), '');
  const replica = (isSelf: boolean, isLeader: boolean, ...own: string[]): ReplicaStatus => ({
    api: '',
    startedAt: '',
    isSelf,
    isLeader,
    sidecars: 0,
    roots: own,
  });
  const mesh = { bundle, clock, replicas: [replica(true, true, 'mine'), replica(false, false, 'theirs')] };
  const unclaimed = new UnclaimedRoots({ bundle, clock, logger: silentLogger, replicas: () => mesh.replicas });
  const pass = async (ms: number) => {
    for (let leftMs = ms; leftMs > 0; leftMs -= hourMs) {
      clock.advance(Math.min(leftMs, hourMs));
      await settle();
    }
  };
  const leaving = () => bundle.current.roots.filter(({ retiresAt }) => retiresAt !== null).map(({ sha256 }) => sha256);
  return { mesh, replica, pass, leaving, unclaimed, store };
}

describe('a root that no control plane claims', () => {
  it('leaves after a day, and no other does', async () => {
    const { mesh, pass, leaving } = await meshOf('mine', 'theirs', 'lost');
    await pass(limits.rootUnclaimedMs - hourMs);
    expect(leaving()).toEqual([]);
    await pass(2 * hourMs);
    expect(leaving()).toEqual(['lost']);
    const lost = mesh.bundle.current.roots.find(({ sha256 }) => sha256 === 'lost');
    expect(Date.parse(lost!.retiresAt!) - mesh.clock.nowMs()).toBeGreaterThan(limits.certificateTtlMsMax - 2 * hourMs);
  });

  it('stays when its control plane is back within the day', async () => {
    const { mesh, replica, pass, leaving } = await meshOf('mine', 'theirs', 'back');
    await pass(limits.rootUnclaimedMs - hourMs);
    mesh.replicas.push(replica(false, false, 'back'));
    await pass(hourMs);
    mesh.replicas.pop();
    await pass(limits.rootUnclaimedMs - hourMs);
    expect(leaving()).toEqual([]);
  });

  it.each(['another one leads', 'one has not said which are its own'])('stays while %s', async (what) => {
    const { mesh, replica, pass, leaving } = await meshOf('mine', 'theirs', 'lost');
    if (what === 'another one leads') mesh.replicas = [replica(true, false, 'mine'), replica(false, true, 'theirs')];
    else mesh.replicas.push(replica(false, false));
    await pass(2 * limits.rootUnclaimedMs);
    expect(leaving()).toEqual([]);
  });

  it('stays when the one that would let it go leads no more and does not know it', async () => {
    const { pass, leaving, store } = await meshOf('mine', 'theirs', 'lost');
    store.isLeader = false;
    await pass(limits.rootUnclaimedMs + hourMs);
    expect(leaving()).toEqual([]);
    // It begins to count anew, and does it once it leads.
    store.isLeader = true;
    await pass(limits.rootUnclaimedMs - hourMs);
    expect(leaving()).toEqual([]);
    await pass(2 * hourMs);
    expect(leaving()).toEqual(['lost']);
  });

  it('is looked for no longer after the end', async () => {
    const { pass, leaving, unclaimed } = await meshOf('mine', 'lost');
    unclaimed.close();
    await pass(2 * limits.rootUnclaimedMs);
    expect(leaving()).toEqual([]);
  });
});
