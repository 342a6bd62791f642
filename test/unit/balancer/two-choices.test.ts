import { describe, expect, it } from 'vitest';
import type { BalancerPolicy } from '../../../src/model/snapshot.ts';
import { countBy, endpointsOf, requestOf, seededRandom, sidecarOf } from '../../fixtures/service-unit.ts';

interface Simulation {
  readonly policy: BalancerPolicy;
  /** Latency of each endpoint, ms. */
  readonly latenciesMs: readonly number[];
  readonly arrivalsPerSecond: number;
  readonly requests: number;
  /** Endpoint whose quick answers are 429. */
  readonly overloaded?: number;
}

/** An open loop in virtual time: latencies are exponential around each endpoint's mean, arrivals are Poisson. */
function simulate({ policy, latenciesMs, arrivalsPerSecond, requests, overloaded }: Simulation) {
  const sidecar = sidecarOf({ endpoints: endpointsOf(...latenciesMs.map(() => 1)), balancer: { policy } }, 7);
  const random = seededRandom(99);
  const endpoints = sidecar.service().endpoints;
  const shares = new Array<number>(endpoints.length).fill(0);
  const latencies: number[] = [];
  const ends: { atMs: number; index: number; latencyMs: number }[] = [];
  for (let i = 0; i < requests; i++) {
    sidecar.nowMs += (-Math.log(1 - random()) * 1000) / arrivalsPerSecond;
    ends.sort((a, b) => a.atMs - b.atMs);
    while (ends.length > 0 && ends[0]!.atMs <= sidecar.nowMs) {
      const { index, latencyMs } = ends.shift()!;
      sidecar.live.end(endpoints[index]!.slot, latencyMs, index === overloaded ? 'overloaded' : 'ok');
    }
    const index = endpoints.indexOf(sidecar.pick());
    const latencyMs = -Math.log(1 - random()) * latenciesMs[index]!;
    sidecar.live.begin(endpoints[index]!.slot);
    shares[index]!++;
    latencies.push(latencyMs);
    ends.push({ atMs: sidecar.nowMs + latencyMs, index, latencyMs });
  }
  latencies.sort((a, b) => a - b);
  return { shares: shares.map((count) => count / requests), p99Ms: latencies[Math.floor(requests * 0.99)]! };
}

describe('LeastRequest', () => {
  it('gives an endpoint 10 times slower less than a third of its share', () => {
    const { shares } = simulate({
      policy: 'LeastRequest',
      latenciesMs: [10, 10, 10, 100],
      arrivalsPerSecond: 400,
      requests: 20_000,
    });
    expect(shares[3]).toBeLessThan(0.25 / 3);
  });

  it('shares an idle Service by weight', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 3), balancer: { policy: 'LeastRequest' } });
    const [light] = sidecar.service().endpoints;
    const counts = countBy(10_000, () => sidecar.pick());
    expect(counts.get(light!)! / 10_000).toBeGreaterThan(0.22);
    expect(counts.get(light!)! / 10_000).toBeLessThan(0.28);
  });

  it('compares active requests by weight', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 3), balancer: { policy: 'LeastRequest' } });
    const [light, heavy] = sidecar.service().endpoints;
    sidecar.live.begin(light!.slot);
    sidecar.live.begin(heavy!.slot);
    sidecar.live.begin(heavy!.slot);
    for (let i = 0; i < 50; i++) expect(sidecar.pick()).toBe(heavy);
  });

  it('keeps away from what was tried', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 1, 1), balancer: { policy: 'LeastRequest' } });
    const [a, b, c] = sidecar.service().endpoints.map(({ slot }) => slot);
    for (let i = 0; i < 50; i++) expect(sidecar.pick(requestOf('/'), [a!, c!]).slot).toBe(b);
    expect(sidecar.pick(requestOf('/'), [a!, b!, c!])).not.toBeNull();
  });
});

describe('PeakEwma', () => {
  it('keeps p99 at or below 60 % of round robin with one slow endpoint', () => {
    const slow = { latenciesMs: [10, 10, 10, 200], arrivalsPerSecond: 300, requests: 20_000 };
    const ewma = simulate({ policy: 'PeakEwma', ...slow });
    const roundRobin = simulate({ policy: 'RoundRobin', ...slow });
    expect(ewma.p99Ms).toBeLessThanOrEqual(0.6 * roundRobin.p99Ms);
  });

  it('sends no load to quick 429s', () => {
    const { shares } = simulate({
      policy: 'PeakEwma',
      latenciesMs: [20, 20, 20, 1],
      arrivalsPerSecond: 300,
      requests: 10_000,
      overloaded: 3,
    });
    expect(shares[3]).toBeLessThan(0.02);
  });

  it('tries a slow endpoint again when its last answer has faded', () => {
    const sidecar = sidecarOf({ endpoints: endpointsOf(1, 1), balancer: { policy: 'PeakEwma' } });
    const [fast, slow] = sidecar.service().endpoints;
    sidecar.live.begin(slow!.slot);
    sidecar.live.end(slow!.slot, 500, 'ok');
    for (let i = 0; i < 20; i++) expect(sidecar.pick()).toBe(fast);
    sidecar.nowMs += 120_000;
    sidecar.live.begin(fast!.slot);
    sidecar.live.end(fast!.slot, 10, 'ok');
    expect(sidecar.pick()).toBe(slow);
  });
});
