import { describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import { limits } from '../../../src/model/limits.ts';
import { openSnapshot } from '../../../src/proxy/open-snapshot.ts';
import { actionOf, backendOf, endpointOf, endpointsOf, matchOf, Sidecar, unitOf } from '../../fixtures/service-unit.ts';

const a = endpointOf('10.0.0.1:80');
const b = endpointOf('10.0.0.2:80');
const c = endpointOf('[::1]:80');

describe('opening', () => {
  it('refuses a unit whose slots nobody assigned', () => {
    const sidecar = new Sidecar();
    const options = { revision: 1, previous: null, live: sidecar.live, slots: null, random: Math.random };
    expect(() => openSnapshot({ ...options, compiled: [compileUnit(unitOf())] })).toThrow(/slots/);
  });

  it('gives back what was compiled', () => {
    const sidecar = new Sidecar();
    const link = ['[::1]:15008'];
    const identity = 'spiffe://a/ns/b/sa/c';
    sidecar.apply(unitOf({ endpoints: [a, { ...c, zone: 'z', hasSidecar: true, host: '::1', link, identity }, b] }));
    const service = sidecar.service();
    expect(service).toMatchObject({ name: 'cart.default', service: 'cart', namespace: 'default', routes: null });
    expect(service.endpoints[1]).toMatchObject({
      address: '[::1]:80',
      host: '::1',
      port: 80,
      zone: 'z',
      hasSidecar: true,
      link,
      identity,
    });
    for (const i of [0, 2])
      expect(service.endpoints[i]).toMatchObject({ hasSidecar: false, link: [], identity: '/ns/default/sa/cart' });
    expect(sidecar.current!.revision).toBe(1);
    expect(sidecar.current!.find('none.default')).toBeNull();
  });

  it('takes an unchanged Service over as it is', () => {
    const sidecar = new Sidecar();
    const compiled = compileUnit(unitOf());
    sidecar.apply(compiled);
    const before = sidecar.service();
    const { left } = sidecar.apply(compiled, unitOf({ name: 'other.default', hosts: ['other.default'] }));
    expect(sidecar.service()).toBe(before);
    expect(left).toEqual([]);
  });

  it('keeps endpoints whose address stays and reports those that left', () => {
    const sidecar = new Sidecar();
    sidecar.apply(unitOf({ endpoints: [a, b] }));
    const [first, second] = sidecar.service().endpoints;
    const { left } = sidecar.apply(unitOf({ endpoints: [b, c] }));
    expect(sidecar.service().endpoints[0]).toBe(second);
    expect(left).toEqual([first]);
    expect(sidecar.apply().left).toHaveLength(2);
  });
});

describe('the way to an endpoint', () => {
  const linked = { ...b, hasSidecar: true, link: ['10.0.0.2:15008', '10.0.0.2:15009'] };
  const applied = (...endpoints: (typeof a)[]) => {
    const sidecar = new Sidecar();
    sidecar.apply(unitOf({ endpoints: [a, b] }));
    sidecar.apply(unitOf({ endpoints: [a, linked] }));
    const before = sidecar.service().endpoints;
    return { before, ...sidecar.apply(unitOf({ endpoints })), after: sidecar.service().endpoints };
  };

  it.each<[what: string, changes: Partial<typeof a>]>([
    ['loses its link', { link: [] }],
    ['gets another link', { link: ['10.0.0.2:15008', '10.0.0.2:15010'] }],
    ['gets one link less', { link: ['10.0.0.2:15008'] }],
    ['is to be somebody else', { identity: 'spiffe://other.example/ns/default/sa/cart' }],
  ])('is another object in the same slot when it %s', (_what, changes) => {
    const { before, after, left } = applied(a, { ...linked, ...changes });
    expect(after[1]).not.toBe(before[1]);
    expect(after[1]).toMatchObject({ ...changes, slot: before[1]!.slot, upstream: null });
    expect(after[0]).toBe(before[0]);
    expect(left).toEqual([before[1]]);
  });

  it('is another object in the same slot when its Service allows another number of requests in line, unless it has a link', () => {
    const sidecar = new Sidecar();
    sidecar.apply(unitOf({ endpoints: [a, linked] }));
    const before = sidecar.service().endpoints;
    const { left } = sidecar.apply(unitOf({ endpoints: [a, linked], pipelinedDepth: 8 }));
    const after = sidecar.service().endpoints;
    expect(left).toEqual([before[0]]);
    expect(after[0]).toMatchObject({ pipelinedDepth: 8, slot: before[0]!.slot, upstream: null });
    expect(after[1]).toBe(before[1]);
    expect(after[1]).toMatchObject({ pipelinedDepth: 1 });
  });

  it('is the same object when only what it says of itself changed, or its place in the list', () => {
    const { before, after, left } = applied({ ...linked, zone: 'z', link: [...linked.link] }, a);
    expect(after[0]).toBe(before[1]);
    expect(after[0]).toMatchObject({ zone: 'z', link: linked.link, identity: '/ns/default/sa/cart' });
    expect(left).toEqual([]);
  });
});

describe('hosts', () => {
  const sidecar = new Sidecar();
  sidecar.apply(
    unitOf({ name: 'a.default', hosts: ['a', 'shop.example.com', '*.example.com'] }),
    unitOf({ name: 'b.default', hosts: ['b', '*.eu.example.com'] }),
  );
  it.each([
    ['a', 'a.default'],
    ['shop.example.com', 'a.default'],
    ['x.example.com', 'a.default'],
    ['x.y.example.com', 'a.default'],
    ['x.eu.example.com', 'b.default'],
    ['eu.example.com', 'a.default'],
    ['example.com', null],
    ['.example.com', null],
    ['notexample.com', null],
    ['', null],
  ])('%j leads to %j', (host, name) => {
    expect(sidecar.current!.findByHost(host)?.name ?? null).toBe(name);
  });
});

describe('slots', () => {
  it('stay with their endpoint over versions, and with them what is live', () => {
    const sidecar = new Sidecar();
    sidecar.apply(unitOf({ endpoints: [a, b] }));
    const slot = sidecar.service().endpoints[1]!.slot;
    sidecar.live.begin(slot);
    sidecar.apply(unitOf({ endpoints: [c, b], balancer: { policy: 'PeakEwma' } }));
    expect(sidecar.service().endpoints[1]!.slot).toBe(slot);
    expect(sidecar.live.activeRequests(slot)).toBe(1);
  });

  it('are all different, also between Services with the same endpoints', () => {
    const sidecar = new Sidecar();
    sidecar.apply(unitOf({ name: 'x.default', endpoints: [a, b] }), unitOf({ name: 'y.default', endpoints: [a, b] }));
    const slots = ['x.default', 'y.default'].flatMap((name) => sidecar.service(name).endpoints.map(({ slot }) => slot));
    expect(new Set(slots).size).toBe(4);
  });

  it('are quarantined when their endpoint leaves, come back with it, and are given away only when nothing is active', () => {
    const sidecar = new Sidecar();
    const only = (address: typeof a) =>
      sidecar.apply(unitOf({ endpoints: [address] })) && sidecar.service().endpoints[0]!.slot;
    const slot = only(a);
    sidecar.live.begin(slot);
    expect(only(b)).not.toBe(slot);
    expect(only(a)).toBe(slot);
    only(b);
    sidecar.nowMs += limits.slotQuarantineMs;
    expect(only(c)).not.toBe(slot);
    sidecar.live.end(slot, 1, 'ok');
    sidecar.nowMs += limits.slotQuarantineMs;
    const slots = [endpointOf('10.0.1.1:80'), endpointOf('10.0.1.2:80'), endpointOf('10.0.1.3:80')].map(only);
    expect(slots).toContain(slot);
  });

  it('run out without harm: what is left over shares one', () => {
    const sidecar = new Sidecar();
    const units = Array.from({ length: 7 }, (_, i) =>
      unitOf({ name: `s${i}.default`, endpoints: endpointsOf(...new Array<number>(10_000).fill(1)) }),
    );
    sidecar.apply(...units);
    expect(sidecar.slots.overflows).toBe(7 * 10_001 - (limits.liveSlotsMax - 1));
    expect(sidecar.service('s6.default').pick({ request: { path: '/' } as never, tried: [] })).not.toBeNull();
  });

  it('keep the ticket of a schedule and of a split over a swap', () => {
    const sidecar = new Sidecar();
    const unit = unitOf({
      matches: [matchOf('prefix', '/')],
      actions: [actionOf('default/cart/0', [backendOf('x.default', 90), backendOf('y.default', 10)])],
      endpoints: [a, b, c],
    });
    sidecar.apply(unit);
    const picks: string[] = [];
    const units: (string | null)[] = [];
    for (let i = 0; i < 300; i++) {
      picks.push(sidecar.pick().address);
      units.push(sidecar.service().routes!.action(0).pickBackend()!.unit);
      if (i % 7 === 0) sidecar.apply({ ...unit, timeouts: { ...unit.timeouts, requestMs: i } });
    }
    for (const { address } of unit.endpoints) expect(picks.filter((pick) => pick === address)).toHaveLength(100);
    expect(units.filter((name) => name === 'y.default')).toHaveLength(30);
  });
});

describe('live state', () => {
  it('counts active requests of the endpoint and of its Service', () => {
    const sidecar = new Sidecar();
    sidecar.apply(unitOf({ endpoints: [a, b] }));
    const [first, second] = sidecar.service().endpoints.map(({ slot }) => slot);
    sidecar.live.begin(first!);
    sidecar.live.begin(second!);
    sidecar.live.begin(second!);
    sidecar.live.end(second!, 1, 'failed');
    expect([first!, second!].map((slot) => sidecar.live.activeRequests(slot))).toEqual([1, 1]);
  });

  it('estimates latency as Peak EWMA: 30 ms at first, peaks at once, e-fold decay, 5 s for a quick failure', () => {
    const sidecar = new Sidecar();
    sidecar.apply(unitOf({ endpoints: [a], balancer: { policy: 'PeakEwma' } }));
    const { slot } = sidecar.service().endpoints[0]!;
    const { live } = sidecar;
    const answer = (latencyMs: number, outcome: 'ok' | 'overloaded' | 'failed') => {
      live.begin(slot);
      live.end(slot, latencyMs, outcome);
    };
    expect(live.latencyEstimateMs(slot)).toBe(30);
    answer(100, 'ok');
    expect(live.latencyEstimateMs(slot)).toBe(100);
    sidecar.nowMs += 10_000;
    expect(live.latencyEstimateMs(slot)).toBeCloseTo(100 / Math.E);
    answer(10, 'ok');
    expect(live.latencyEstimateMs(slot)).toBeCloseTo(100 / Math.E + 10 * (1 - 1 / Math.E));
    answer(2, 'overloaded');
    expect(live.latencyEstimateMs(slot)).toBe(5_000);
    answer(7_000, 'failed');
    expect(live.latencyEstimateMs(slot)).toBe(7_000);
  });
});
