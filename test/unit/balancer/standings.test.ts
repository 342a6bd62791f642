/** What people are told of a Service's endpoints is what its balancer goes by. */
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { BalancerPolicy } from '../../../src/model/snapshot.ts';
import { endpointsOf, requestOf, sidecarOf } from '../../fixtures/service-unit.ts';

const policies: readonly BalancerPolicy[] = [
  'RoundRobin',
  'WeightedRoundRobin',
  'LeastRequest',
  'Random',
  'PeakEwma',
  'RingHash',
  'Maglev',
];
const isCertain = (policy: BalancerPolicy) => /RoundRobin|RingHash|Maglev/.test(policy);
const request = requestOf('/', { headers: ['x-user', 'ann'] });

describe.each(policies)('%s', (policy) => {
  const balancer = { policy, hashOn: [{ from: 'header' as const, name: 'x-user' }] };

  it('is told with the next endpoint where that is certain, and the next one it is', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 0, 2, 3), balancer });
    for (let i = 0; i < 12; i++) {
      const { policy: said, candidates, leftOut } = sidecar.service().standings({ request, tried: [] });
      expect([said, candidates.length, leftOut]).toEqual([policy, 4, 0]);
      const next = candidates.filter(({ isNext }) => isNext).map(({ address }) => address);
      expect(next).toHaveLength(isCertain(policy) ? 1 : 0);
      // Asked twice it says the same: nothing was taken.
      expect(sidecar.service().standings({ request, tried: [] }).candidates).toEqual(candidates);
      const picked = sidecar.pick(request).address;
      if (next.length > 0) expect(picked).toBe(next[0]);
    }
  });

  it('is told with the load that it reckons, what was tried, and weights as configured', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 0, 2), balancer });
    const [first, idle, busy] = sidecar.service().endpoints;
    for (let i = 0; i < 3; i++) sidecar.live.begin(busy!.slot);
    const { candidates } = sidecar.service().standings({ request, tried: [first!.slot] });
    const by = (address: string) => candidates.find((each) => each.address === address)!;
    expect(by(first!.address)).toMatchObject({ weight: 1, activeRequests: 0, isTried: true, trouble: '' });
    expect(by(idle!.address)).toMatchObject({ weight: 0, score: null, isNext: false, isTried: false });
    expect(by(busy!.address)).toMatchObject({ weight: 2, activeRequests: 3 });
    const reckons = policy === 'LeastRequest' || policy === 'PeakEwma';
    expect(by(first!.address).score === null).toBe(!reckons);
    if (reckons) expect(by(busy!.address).score!).toBeGreaterThan(by(first!.address).score!);
  });
});

describe('the endpoints of a large Service', () => {
  it('are told up to a bound, those that were tried first', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(...new Array<number>(100).fill(1)) });
    const tried = [sidecar.service().endpoints[77]!.slot];
    const { candidates, leftOut } = sidecar.service().standings({ request, tried });
    expect([candidates.length, leftOut]).toEqual([limits.decisionCandidatesMax, 100 - limits.decisionCandidatesMax]);
    expect(candidates.some(({ isTried }) => isTried)).toBe(true);
  });
});
