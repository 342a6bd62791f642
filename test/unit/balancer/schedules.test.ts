import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import { fitWeights, smoothSchedule } from '../../../src/decisions/compile/schedule.ts';
import { limits } from '../../../src/model/limits.ts';
import { SharedLiveState } from '../../../src/proxy/live-state.ts';
import { openSnapshot } from '../../../src/proxy/open-snapshot.ts';
import { route } from '../../../src/proxy/router.ts';
import {
  actionOf,
  backendOf,
  countBy,
  endpointsOf,
  matchOf,
  requestOf,
  Sidecar,
  sidecarOf,
  unitOf,
} from '../../fixtures/service-unit.ts';

const total = (weights: Iterable<number>): number => [...weights].reduce((a, b) => a + b, 0);

describe('fitting weights', () => {
  it('answers zeros for zeros and nothing for nothing', () => {
    expect(fitWeights([0, 0], 100)).toEqual([0, 0]);
    expect(fitWeights([], 100)).toEqual([]);
  });

  it('reduces by the greatest common divisor', () => {
    expect(fitWeights([90, 10, 0], 65_536)).toEqual([9, 1, 0]);
  });

  it('rounds what does not fit to exactly the limit and keeps every weight above 0', () => {
    const fitted = fitWeights([999_983, 1, 0, 333_331], limits.scheduleEntriesMax);
    expect(total(fitted)).toBe(limits.scheduleEntriesMax);
    expect(fitted[1]).toBe(1);
    expect(fitted[2]).toBe(0);
    expect(fitted[0]! / fitted[3]!).toBeCloseTo(999_983 / 333_331, 3);
  });

  it('makes room where many weights were lifted to 1', () => {
    const weights = [1_000_000, 999_999, ...new Array<number>(98).fill(1)];
    const fitted = fitWeights(weights, 100);
    expect(total(fitted)).toBe(100);
    expect(Math.min(...fitted)).toBe(1);
  });
});

describe('smooth schedules', () => {
  it('gives nginx order for 5/1/1', () => {
    expect([...smoothSchedule([5, 1, 1])]).toEqual([0, 0, 1, 0, 2, 0, 0]);
  });

  it('are those of the algorithm as it is written down, for any weights', () => {
    const asWritten = (weights: readonly number[]): number[] => {
      const sum = total(weights);
      const claims = weights.map(() => 0);
      return Array.from({ length: sum }, () => {
        weights.forEach((weight, i) => {
          claims[i]! += weight;
        });
        const best = claims.indexOf(Math.max(...claims.filter((_, i) => weights[i]! > 0)));
        claims[best]! -= sum;
        return best;
      });
    };
    fc.assert(
      fc.property(fc.array(fc.nat(9), { minLength: 1, maxLength: 30 }), (weights) => {
        if (total(weights) > 0) expect([...smoothSchedule(weights)]).toEqual(asWritten(weights));
      }),
      { numRuns: 300 },
    );
  });

  it('for 10,000 members do not compare them all for each entry', () => {
    const weights = Array.from({ length: 10_000 }, (_, i) => 1 + (i % 9));
    const startedAtMs = performance.now();
    expect(smoothSchedule(weights)).toHaveLength(total(weights));
    // 5 ms; it was 900.
    expect(performance.now() - startedAtMs).toBeLessThan(300);
  });

  it('never puts more of one in a row than its weight needs', () => {
    const schedule = smoothSchedule([50, 30, 20]);
    const twice = [...schedule, ...schedule];
    let run = 1;
    let longest = 1;
    for (let i = 1; i < twice.length; i++) {
      run = twice[i] === twice[i - 1] ? run + 1 : 1;
      longest = Math.max(longest, run);
    }
    expect(longest).toBeLessThanOrEqual(2);
  });
});

describe('RoundRobin', () => {
  it('answers null when there is no endpoint, or none with weight', () => {
    for (const endpoints of [[], endpointsOf(0, 0)])
      expect(
        sidecarOf({ endpoints })
          .service()
          .pick({ request: requestOf('/'), tried: [] }),
      ).toBeNull();
  });

  it('gives 3 endpoints 100 of 300 requests each, never the one without weight', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 1, 0, 7) });
    expect([...countBy(300, () => sidecar.pick().address).values()]).toEqual([100, 100, 100]);
  });

  it('is exact over two loops that share the live state', () => {
    const sidecar = new Sidecar();
    const compiled = compileUnit(unitOf());
    sidecar.apply(compiled);
    const otherLive = new SharedLiveState(() => 0, true, sidecar.live.buffer);
    const { snapshot } = openSnapshot({
      revision: 1,
      compiled: [compiled],
      previous: null,
      live: otherLive,
      slots: null,
      random: sidecar.random,
    });
    const facts = { request: requestOf('/'), tried: [] };
    let turn = 0;
    const counts = countBy(300, () => {
      const service = turn++ % 5 < 2 ? sidecar.service() : snapshot.find('cart.default')!;
      return service.pick(facts)!.address;
    });
    expect([...counts.values()]).toEqual([100, 100, 100]);
  });

  it('prefers what was not tried, and takes a tried one when all were', () => {
    const sidecar = sidecarOf({});
    const slots = sidecar.service().endpoints.map(({ slot }) => slot);
    for (let i = 0; i < 6; i++) {
      expect(sidecar.pick(requestOf('/'), [slots[0]!, slots[2]!]).slot).toBe(slots[1]);
      expect(slots).toContain(sidecar.pick(requestOf('/'), slots).slot);
    }
  });
});

describe('WeightedRoundRobin', () => {
  it('gives 5/1/1 in every 7 picks and never five in a row', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(5, 1, 1), balancer: { policy: 'WeightedRoundRobin' } });
    const [heavy] = sidecar.service().endpoints;
    let row = 0;
    for (let turn = 0; turn < 50; turn++) {
      const counts = countBy(7, () => {
        const picked = sidecar.pick();
        row = picked === heavy ? row + 1 : 0;
        expect(row).toBeLessThan(5);
        return picked;
      });
      expect([...counts.values()].sort()).toEqual([1, 1, 5]);
      expect(counts.get(heavy!)).toBe(5);
    }
  });
});

describe('route splits', () => {
  const split = (...weights: number[]) =>
    sidecarOf({
      matches: [matchOf('prefix', '/')],
      actions: [
        actionOf(
          'default/cart/0',
          weights.map((weight, i) => backendOf(`b${i}.default`, weight)),
        ),
      ],
    });
  const pick = (sidecar: ReturnType<typeof split>) => {
    const decision = route(sidecar.service(), requestOf('/x'), null);
    return decision.tag === 'action' ? (decision.action.pickBackend()?.unit ?? null) : undefined;
  };

  it('answers null when every weight is 0 or there is no backend', () => {
    expect(pick(split(0, 0))).toBeNull();
    expect(pick(split())).toBeNull();
  });

  it.each([[[90, 10]], [[1, 99]], [[33, 33, 34]], [[50, 25, 20, 5]]])('gives %j exactly in every 100', (weights) => {
    const sidecar = split(...weights);
    for (let turn = 0; turn < 3; turn++) {
      const counts = countBy(100, () => pick(sidecar));
      expect(weights.map((_, i) => counts.get(`b${i}.default`))).toEqual(weights);
    }
  });

  it('shares one ticket between the actions of a rule', () => {
    const backends = [backendOf('a.default'), backendOf('b.default')];
    const sidecar = sidecarOf({
      matches: [matchOf('exact', '/1', { action: 0 }), matchOf('exact', '/2', { action: 1 })],
      actions: [actionOf('default/cart/0', backends), actionOf('default/cart/0', backends)],
    });
    const pickOf = (path: string) => {
      const decision = route(sidecar.service(), requestOf(path), null);
      return decision.tag === 'action' ? decision.action.pickBackend()!.unit : null;
    };
    expect(pickOf('/1')).not.toBe(pickOf('/2'));
  });

  it('goes straight to its own endpoints without a route', () => {
    const sidecar = sidecarOf(unitOf());
    const decision = route(sidecar.service(), requestOf('/'), null);
    expect(decision.tag === 'action' && decision.action.pickBackend()!.unit).toBe('cart.default');
  });
});
