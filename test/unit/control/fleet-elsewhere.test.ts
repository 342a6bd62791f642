/** Sidecars that are connected to another control plane on the same store. */
import { describe, expect, it } from 'vitest';
import type { AppliedReport } from '../../../src/control/fleet.ts';
import { composeNote, elsewhereOf, parseNote } from '../../../src/control/fleet-note.ts';
import { limits } from '../../../src/model/limits.ts';
import { version } from '../../../src/model/version.ts';
import { Plane, settle } from './fake-sidecar.ts';
import { service } from './memory-store.ts';

/** Two control planes; what is written to the one is written to the other too, as etcd would. */
class Pair {
  readonly near = new Plane();
  readonly far = new Plane();

  async put(...resources: Parameters<Plane['store']['put']>): Promise<number> {
    await this.far.store.put(...resources);
    // The far one pushes it.
    this.far.clock.advance(limits.debounceMsMax);
    return this.near.store.put(...resources);
  }

  /** The lease of a sidecar of the far one comes to the near one. */
  async share(id: string): Promise<void> {
    const lease = [...this.far.store.leases()].find((one) => one.id === id)!;
    this.near.store.held.set(id, 'far');
    await this.near.store.putLease(id, lease.value, 15_000);
  }

  /** The far one tells what it has to tell by now. */
  tell(): void {
    this.near.store.hear('far', this.far.store.told!());
  }

  statusOf(id: string) {
    return this.near.fleet.list().find(({ sidecar }) => sidecar === id);
  }
}

async function pairWith(id: string, ...hosts: string[]) {
  const pair = new Pair();
  await pair.put(service('a'));
  const sidecar = await pair.far.sidecar(id, { hosts, softwareVersion: '0.0.9' }).hello();
  await pair.share(id);
  return { pair, sidecar };
}

describe('a sidecar of another control plane', () => {
  it('is pending until that one says more, then as that one says', async () => {
    const { pair, sidecar } = await pairWith('s', 'a');
    pair.near.store.hear('far', '');
    expect(pair.statusOf('s')).toMatchObject({ connected: true, state: 'pending', revision: 0 });
    pair.tell();
    expect(pair.statusOf('s')).toMatchObject({ connected: true, state: 'pending', softwareVersion: '0.0.9' });
    sidecar.ack();
    pair.tell();
    expect(pair.statusOf('s')).toMatchObject({ state: 'synced', revision: 1, softwareVersion: '0.0.9', reason: null });
  });

  it('is waited for', async () => {
    const { pair, sidecar } = await pairWith('s', 'a');
    sidecar.ack();
    pair.tell();
    const revision = await pair.put(service('a', '127.0.0.1:1'));
    let report: AppliedReport | null = null;
    void pair.near.fleet.waitApplied(revision, 30_000).then((answer) => {
      report = answer;
    });
    pair.tell();
    await settle();
    expect(report).toBeNull();
    sidecar.ack();
    pair.tell();
    await settle();
    expect(report).toMatchObject({ applied: [{ sidecar: 's', service: 'app' }], missing: [], refused: [] });
  });

  it('that refuses a change ends the wait with its reason', async () => {
    const { pair, sidecar } = await pairWith('s', 'a');
    sidecar.ack();
    const revision = await pair.put(service('a', '127.0.0.1:1'));
    sidecar.nack('no such thing');
    pair.tell();
    const report = await pair.near.fleet.waitApplied(revision, 30_000);
    expect(report.refused).toEqual([{ sidecar: 's', service: 'app', namespace: 'default', reason: 'no such thing' }]);
    expect(pair.statusOf('s')).toMatchObject({ state: 'refused', reason: 'no such thing' });
  });

  it('whose lease is younger than what is told of it has nothing for certain', async () => {
    const { pair, sidecar } = await pairWith('s', 'a');
    sidecar.ack();
    pair.tell();
    pair.near.store.untold.add('s');
    await pair.near.store.putLease(
      's',
      JSON.stringify({ ...JSON.parse(leaseOf(pair, 's')), isLinkInsecure: true }),
      15_000,
    );
    expect(pair.statusOf('s')).toMatchObject({ state: 'pending', revision: 0 });
  });

  it('is lost when that one is gone, and this one’s own when it greets here', async () => {
    const { pair, sidecar } = await pairWith('s', 'a');
    sidecar.ack();
    pair.tell();
    pair.near.store.hear('far', null);
    expect(pair.statusOf('s')).toMatchObject({ connected: false, state: 'lost' });
    pair.near.store.held.delete('s');
    const here = await pair.near.sidecar('s', { hosts: ['a'] }).hello();
    here.ack();
    expect(pair.statusOf('s')).toMatchObject({ connected: true, state: 'synced' });
  });

  it('that greets there after it greeted here is no longer served here', async () => {
    const { pair } = await pairWith('other', 'a');
    const here = await pair.near.sidecar('s', { hosts: ['a'] }).hello();
    await pair.far.sidecar('s', { hosts: ['a'] }).hello();
    pair.near.store.held.set('s', 'far');
    pair.tell();
    expect(here.refusal).toBe('replaced');
    expect(pair.statusOf('s')).toMatchObject({ connected: true });
  });

  it('counts for the control plane that holds it', async () => {
    const { pair } = await pairWith('s', 'a');
    pair.far.fleet.introduce(() => ({ api: '127.0.0.1:7', startedAt: '', roots: ['r7'] }));
    pair.near.fleet.introduce(() => ({ api: '127.0.0.1:8', startedAt: '', roots: [] }));
    await pair.near.sidecar('here').hello();
    pair.tell();
    expect(pair.near.fleet.replicas()).toMatchObject([
      { api: '127.0.0.1:8', isSelf: true, sidecars: 1 },
      { api: '127.0.0.1:7', isSelf: false, sidecars: 1, roots: ['r7'] },
    ]);
  });
});

describe('a note', () => {
  const facts = { api: '127.0.0.1:7070', startedAt: '', roots: [] };

  it('is short when all is well, however many sidecars there are', async () => {
    const plane = new Plane();
    for (let index = 0; index < 100; index++)
      (await plane.sidecar(`sidecar-${index}`, { softwareVersion: version }).hello()).ack();
    expect(plane.store.told!().length).toBeLessThan(200);
  });

  it('says of nobody beyond its bound that all is well', () => {
    const note = parseNote(composeNote([], 7, facts))!;
    expect(elsewhereOf(note, 's')).toMatchObject({ state: 'synced', revision: 7 });
    expect(elsewhereOf({ ...note, isCut: true }, 's')).toMatchObject({ state: 'pending', revision: 0 });
  });

  it.each(['', '{', 'null', '[]', '{"revision":"1","sidecars":{}}'])('that is %j says nothing', (text) => {
    expect(parseNote(text)).toBeNull();
  });
});

const leaseOf = (pair: Pair, id: string): string => [...pair.near.store.leases()].find((one) => one.id === id)!.value;
