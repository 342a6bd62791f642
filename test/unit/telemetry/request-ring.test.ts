import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Decision } from '../../../src/model/decision.ts';
import { limits } from '../../../src/model/limits.ts';
import type { RecentQuery } from '../../../src/model/recent-request.ts';
import { latencyOf } from '../../../src/telemetry/breakdown.ts';
import { parts } from '../../../src/telemetry/recorder.ts';
import { RequestRing } from '../../../src/telemetry/request-ring.ts';
import { endRequest, finishedRequest } from '../../fixtures/finished-request.ts';

const all: RecentQuery = { service: '', route: '', status: '', minMs: 0, isFailed: false, id: '', limit: 256 };

/** Bytes in use, of the heap and of buffers, without garbage. */
function collectedMemory(): () => number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  return () => {
    // Buffers are freed after the first one has found their owners dead.
    collect();
    collect();
    return process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  };
}

describe('RequestRing', () => {
  it('keeps what was said of a request, and no more of its path than it should', () => {
    const ring = new RequestRing();
    const far = { totalMs: 1.1, partsMs: parts.map((part) => (part === 'wait' ? 1 : part === 'own' ? 0.1 : 0)) };
    const path = `/${'a'.repeat(400)}`;
    endRequest(ring, { path, far, isLoopEstimate: true, failure: 'answer-cut', detail: 'cut', status: 502 });
    expect(ring.find(all)).toEqual({
      recorded: 1,
      keptOneIn: 1,
      requests: [
        {
          traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
          spanId: '00f067aa0ba902b7',
          time: '2026-01-02T03:04:05.006Z',
          direction: 'outbound',
          source: 'web.default',
          destination: 'cart.default',
          route: 'default/cart/0',
          called: 'cart.default',
          revision: 7,
          endpoint: '127.0.0.1:9001',
          method: 'GET',
          path: path.slice(0, limits.recentPathCharsMax),
          status: 502,
          failure: 'answer-cut',
          detail: 'cut',
          attempts: 1,
          answerBytes: 12,
          isLoopEstimate: true,
          totalMs: 1.5,
          partsMs: { wait: 1.25, own: 0.25 },
          far: { totalMs: 1.1, partsMs: { wait: 1, own: 0.1 } },
          timeoutsMs: { request: 2_000, perTry: 0, idle: 60_000 },
        },
      ],
    });
  });

  it('finds by service, route, status, time, failure and id, and nothing else', () => {
    const ring = new RequestRing();
    endRequest(ring, { spanId: '1'.repeat(16), status: 200, totalMs: 5 });
    endRequest(ring, { spanId: '2'.repeat(16), status: 503, farFailure: 'no-endpoint' });
    endRequest(ring, { spanId: '3'.repeat(16), status: 404, failure: 'no-route', route: '' });
    endRequest(ring, { spanId: '4'.repeat(16), destination: 'pay.shop', traceId: 'b'.repeat(32) });
    const found = (query: Partial<RecentQuery>) =>
      ring.find({ ...all, ...query }).requests.map(({ spanId }) => Number(spanId[0]));
    expect(found({})).toEqual([4, 3, 2, 1]);
    expect(found({ limit: 2 })).toEqual([4, 3]);
    expect(found({ service: 'cart' })).toEqual([3, 2, 1]);
    expect(found({ service: 'pay.shop' })).toEqual([4]);
    expect(found({ service: 'web' })).toEqual([4, 3, 2, 1]);
    expect(found({ service: 'car' })).toEqual([]);
    expect(found({ route: 'default/cart/0' })).toEqual([4, 2, 1]);
    expect(found({ status: '5xx' })).toEqual([2]);
    expect(found({ status: '404' })).toEqual([3]);
    expect(found({ minMs: 5 })).toEqual([1]);
    expect(found({ isFailed: true })).toEqual([3, 2]);
    expect(found({ id: 'b'.repeat(32) })).toEqual([4]);
    expect(found({ id: '2'.repeat(16) })).toEqual([2]);
    expect(found({ id: '9'.repeat(16) })).toEqual([]);
  });

  it('keeps failures and the slowest of a route longer than the rest, each once', () => {
    const ring = new RequestRing();
    endRequest(ring, { spanId: 'f'.repeat(16), failure: 'upstream-reset', status: 502 });
    endRequest(ring, { spanId: 'a'.repeat(16), totalMs: 900, route: 'default/slow/0' });
    for (let i = 0; i < 3 * limits.recentRequestsMax; i++) endRequest(ring, { totalMs: 1 + i / 1e6 });
    const { recorded, requests } = ring.find({ ...all, isFailed: true });
    expect(recorded).toBe(3 * limits.recentRequestsMax + 2);
    expect(requests.map(({ spanId }) => spanId[0])).toEqual(['f']);
    expect(ring.find({ ...all, minMs: 900 }).requests.map(({ spanId }) => spanId[0])).toEqual(['a']);
  });

  it('has the slowest of each minute, and those of the minute before', () => {
    const ring = new RequestRing();
    const slowAfter = (minute: number) => {
      for (let i = 0; i < 50; i++)
        endRequest(ring, { endedAtMs: minute * limits.slowWindowMs, totalMs: 100 * minute + ((i * 7) % 50) });
      // Others take the places of the last requests.
      for (let i = 0; i < limits.recentRequestsMax; i++)
        endRequest(ring, { endedAtMs: minute * limits.slowWindowMs, route: 'default/other/0', totalMs: 1 });
      return ring.find({ ...all, route: 'default/cart/0' }).requests.map(({ totalMs }) => totalMs);
    };
    const eight = (minute: number) => Array.from({ length: limits.slowPerRouteMax }, (_, i) => 100 * minute + 49 - i);
    expect(slowAfter(1).sort((a, b) => b - a)).toEqual(eight(1));
    expect(slowAfter(2).sort((a, b) => b - a)).toEqual([...eight(2), ...eight(1)]);
    expect(slowAfter(3).sort((a, b) => b - a)).toEqual([...eight(3), ...eight(2)]);
  });

  it('keeps of too many a share by their trace ids, and beyond it the slowest', () => {
    const ring = new RequestRing();
    const rate = 7.5 * (limits.recentRequestsMax / limits.recentSpanMs);
    const shares: number[] = [];
    for (let i = 0; i < rate * 2_000; i++) {
      const [endedAtMs, totalMs] = [1_000 + i / rate, i === rate * 1_500 ? 70 : 1];
      const request = finishedRequest({ endedAtMs, totalMs, spanId: i.toString(16).padStart(16, '0') });
      const isOfShare = ring.isOfShare(i % 4_096, endedAtMs);
      if (isOfShare) shares.push(i);
      if (isOfShare || ring.isSlow({ name: request.destination }, request, totalMs, endedAtMs))
        ring.record(request, isOfShare, false, null);
    }
    const { recorded, keptOneIn } = ring.find(all);
    expect([recorded, keptOneIn]).toEqual([rate * 2_000, 8]);
    // All while nothing is known of the rate, then those whose chance eight divides.
    expect(shares.slice(0, 100)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(shares.filter((i) => i > rate * 300 && i % 8 !== 0)).toEqual([]);
    expect(ring.find({ ...all, minMs: 70 }).requests).toHaveLength(1);
  });

  it('shows what was kept for itself, and does not count it into percentiles', () => {
    const ring = new RequestRing();
    for (let i = 0; i < 50; i++) endRequest(ring, { totalMs: 1, status: 200 });
    const others = [{ status: 503 }, { totalMs: 90 }, { totalMs: 0.5, spanId: 'e'.repeat(16) }];
    for (const other of others) endRequest(ring, other, null, false);
    expect(ring.find(all).requests).toHaveLength(53);
    expect(ring.hops('')[0]!.rows).toHaveLength(50);
    // Where many fail, the last ones are not all failures.
    for (let i = 0; i < 2 * limits.recentRequestsMax; i++)
      endRequest(ring, { failure: 'no-route', status: 404 }, null, false);
    expect(ring.hops('')[0]!.rows).toHaveLength(50);
  });

  it('keeps what was chosen while very many others pass', () => {
    const ring = new RequestRing();
    endRequest(ring, { spanId: 'c'.repeat(16) }, null, false);
    const ended = finishedRequest();
    ring.record(finishedRequest({ spanId: 'd'.repeat(16) }), true, true, null);
    for (let i = 0; i < 2 * limits.recentRequestsMax; i++) ring.record(ended, true, false, null);
    for (const id of ['c', 'd']) expect(ring.find({ ...all, id: id.repeat(16) }).requests).toHaveLength(1);
    expect(ring.hops('')[0]!.rows).toHaveLength(limits.recentRequestsMax);
  });

  it('takes the 1.6 MiB that docs/ledger.md states', () => {
    const memory = collectedMemory();
    const before = memory();
    const rings = Array.from({ length: 8 }, () => new RequestRing());
    const oneMiB = (memory() - before) / rings.length / 2 ** 20;
    // What earlier tests left may be freed meanwhile.
    expect(oneMiB).toBeGreaterThan(0.9);
    expect(oneMiB).toBeLessThan(1.65);
    expect(rings.map((ring) => ring.find(all).recorded)).toEqual(rings.map(() => 0));
  });

  it('takes no more memory for 10,000 paths than for one', () => {
    const ring = new RequestRing();
    const memory = collectedMemory();
    const head = 'h'.repeat(60_000);
    const take = (turn: number) => {
      // A piece of a large head, as a listener reads it: kept as it is, it would keep all of it.
      const path = `/${turn}/${head}`.slice(0, 100 + (turn % 60));
      const flat = Buffer.from(path + head).toString('latin1');
      const detail = flat.slice(0, 80);
      const failure = turn % 3 === 0 ? 'no-route' : '';
      const route = `default/cart-${turn}/0`;
      endRequest(ring, { path: flat.slice(0, 150), detail: failure === '' ? '' : detail, failure, route });
    };
    for (let turn = 0; turn < 3_000; turn++) take(turn);
    const before = memory();
    for (let turn = 3_000; turn < 13_000; turn++) take(turn);
    expect(memory() - before).toBeLessThan(8 * 1024 * 1024);
    expect(ring.find({ ...all, service: 'cart' }).requests).toHaveLength(256);
  });
});

describe('latencyOf', () => {
  it('has parts that sum to the total at every percentile, out of requests near it', () => {
    const times = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 10, maxLength: 10 });
    fc.assert(
      fc.property(fc.array(times, { minLength: 1, maxLength: 300 }), (requests) => {
        const ring = new RequestRing();
        const totals = requests.map((partsMs) => partsMs.reduce((sum, ms) => sum + ms, 0));
        requests.forEach((partsMs, i) => {
          endRequest(ring, { partsMs, totalMs: totals[i]! });
        });
        const [hop] = latencyOf([ring.hops('cart'), ring.hops('nobody')]);
        const sorted = [...totals].sort((a, b) => a - b);
        expect(hop!.requests).toBe(requests.length);
        for (const { percentile, requests: near, totalMs, partsMs } of hop!.at) {
          expect(Object.values(partsMs).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(totalMs, 1);
          const rank = Math.max(0, Math.ceil((sorted.length * percentile) / 100) - 1);
          expect(near).toBeLessThanOrEqual(1 + 2 * Math.floor(sorted.length / 100));
          expect(totalMs).toBeGreaterThanOrEqual(sorted[Math.max(0, rank - near)]! - 0.01);
          expect(totalMs).toBeLessThanOrEqual(sorted[Math.min(sorted.length - 1, rank + near)]! + 0.01);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('has the decision of a request that is asked for by its id, of the last ones only, and of so many a second', () => {
    const ring = new RequestRing();
    const decision = (host: string) => ({ host }) as Decision;
    const idOf = (i: number) => i.toString(16).padStart(32, '0');
    const kept = limits.recentDecisionsMax;
    for (let i = 1; i <= kept + 1; i++) endRequest(ring, { traceId: idOf(i), failure: 'no-route' }, decision(`${i}`));
    endRequest(ring, { traceId: idOf(kept + 2), failure: 'no-route' });
    const of = (i: number) => ring.find({ ...all, id: idOf(i) }).requests.map((request) => request.decision?.host);
    expect([of(1), of(2), of(kept + 1), of(kept + 2)]).toEqual([[undefined], ['2'], [`${kept + 1}`], [undefined]]);
    // Who looks through many has no use for them.
    expect(ring.find(all).requests.every((request) => request.decision === undefined)).toBe(true);

    const allowed = (nowMs: number) =>
      Array.from({ length: 2 * limits.decisionsPerSecondMax }, () => ring.mayExplain(nowMs));
    for (const nowMs of [5_000, 6_500])
      expect(allowed(nowMs).filter(Boolean)).toHaveLength(limits.decisionsPerSecondMax);
    expect(ring.mayExplain(6_999)).toBe(false);
  });
});
