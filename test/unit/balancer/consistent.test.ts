import { describe, expect, it } from 'vitest';
import { buildMaglev } from '../../../src/decisions/compile/maglev.ts';
import { buildRing } from '../../../src/decisions/compile/ring.ts';
import { limits } from '../../../src/model/limits.ts';
import type { UnitBalancer } from '../../../src/model/snapshot.ts';
import { countBy, endpointsOf, requestOf, Sidecar, sidecarOf, unitOf } from '../../fixtures/service-unit.ts';

const keyed = (key: string) => requestOf('/', { headers: ['X-User', key] });
const onUser: Pick<UnitBalancer, 'hashOn'> = { hashOn: [{ from: 'header', name: 'x-user' }] };
const keys = Array.from({ length: 20_000 }, (_, i) => `user-${i}`);
const members = (count: number) => endpointsOf(...new Array<number>(count).fill(1));

/** Where each key goes. */
function homes(sidecar: Sidecar): string[] {
  return keys.map((key) => sidecar.pick(keyed(key)).address);
}

function moved(policy: 'RingHash' | 'Maglev', count: number): { all: number; toOld: number } {
  const sidecar = new Sidecar();
  const balancer = { policy, ...onUser };
  sidecar.apply(unitOf({ endpoints: members(count), balancer }));
  const before = homes(sidecar);
  sidecar.apply(unitOf({ endpoints: members(count + 1), balancer }));
  const added = members(count + 1)[count]!.address;
  const after = homes(sidecar);
  const changed = after.filter((home, i) => home !== before[i]);
  return { all: changed.length / keys.length, toOld: changed.filter((home) => home !== added).length / keys.length };
}

describe.each(['RingHash', 'Maglev'] as const)('%s', (policy) => {
  it('sends one key to one endpoint, and spreads requests without a key', () => {
    const sidecar = sidecarOf({ endpoints: members(4), balancer: { policy, ...onUser } });
    expect(countBy(100, () => sidecar.pick(keyed('ann'))).size).toBe(1);
    expect(countBy(200, () => sidecar.pick()).size).toBe(4);
  });

  it('never picks an endpoint without weight, follows weights', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 0, 3), balancer: { policy, ...onUser } });
    const counts = new Map<string, number>();
    for (const home of homes(sidecar)) counts.set(home, (counts.get(home) ?? 0) + 1);
    const [light, none, heavy] = sidecar.service().endpoints.map(({ address }) => counts.get(address) ?? 0);
    expect(none).toBe(0);
    expect(heavy! / light!).toBeGreaterThan(2.5);
    expect(heavy! / light!).toBeLessThan(3.5);
  });

  it('goes on to another endpoint when the first was tried', () => {
    const sidecar = sidecarOf({ endpoints: members(4), balancer: { policy, ...onUser } });
    const first = sidecar.pick(keyed('ann'));
    const second = sidecar.pick(keyed('ann'), [first.slot]);
    expect(second).not.toBe(first);
    expect(sidecar.pick(keyed('ann'), [first.slot])).toBe(second);
    const all = sidecar.service().endpoints.map(({ slot }) => slot);
    expect(sidecar.pick(keyed('ann'), all)).toBe(first);
  });

  it('keeps every endpoint within the load bound while one key takes all requests', () => {
    const sidecar = sidecarOf({ endpoints: members(5), balancer: { policy, ...onUser, boundedLoadPercent: 125 } });
    const requests = 1_000;
    for (let i = 1; i <= requests; i++) {
      const { slot } = sidecar.pick(keyed('hot'));
      sidecar.live.begin(slot);
      expect(sidecar.live.activeRequests(slot)).toBeLessThanOrEqual(Math.ceil((1.25 * i) / 5));
    }
    for (const { slot } of sidecar.service().endpoints)
      while (sidecar.live.activeRequests(slot) > 0) sidecar.live.end(slot, 1, 'ok');
    expect(countBy(10, () => sidecar.pick(keyed('hot'))).size).toBe(1);
  });
});

describe('RingHash', () => {
  it.each([1, 3, 4, 10, 16, 50])(
    'moves at most 1.2/(N+1) of the keys when one joins %i, all of them to it',
    (count) => {
      const { all, toOld } = moved('RingHash', count);
      expect(all).toBeLessThanOrEqual(1.2 / (count + 1));
      expect(toOld).toBe(0);
    },
  );

  it('has between ringEntries and the limit', () => {
    for (const [count, entries] of [
      [1, 1_024],
      [3, 8_192],
      [100, 1_024],
    ] as const) {
      const { positions, owners } = buildRing(members(count), entries);
      expect(positions.length).toBeGreaterThanOrEqual(entries);
      expect(positions.length).toBeLessThanOrEqual(limits.ringEntriesMax);
      expect(owners.length).toBe(positions.length);
    }
  });
});

describe('Maglev', () => {
  it('fills its table evenly: the fullest and the emptiest differ by at most 1', () => {
    const counts = new Map<number, number>();
    for (const owner of buildMaglev(members(7))) counts.set(owner, (counts.get(owner) ?? 0) + 1);
    expect(Math.max(...counts.values()) - Math.min(...counts.values())).toBeLessThanOrEqual(1);
  });

  it.each([3, 10, 50])('moves few keys beyond those that the new one gets, with %i before', (count) => {
    const { all, toOld } = moved('Maglev', count);
    expect(all).toBeLessThan(1.5 / (count + 1));
    expect(toOld).toBeLessThan(0.05);
  });
});
