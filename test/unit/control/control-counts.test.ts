import { describe, expect, it } from 'vitest';
import { ControlCounts } from '../../../src/control/control-counts.ts';
import { MeteredStore } from '../../../src/control/store/metered-store.ts';
import { StoreError } from '../../../src/control/store/store-error.ts';
import { limits } from '../../../src/model/limits.ts';
import { counter, histogram, type MetricFamily } from '../../../src/telemetry/metric-families.ts';
import { Plane, settle } from './fake-sidecar.ts';
import { ManualClock, MemoryStore, service } from './memory-store.ts';

const valuesOf = (metric: MetricFamily) => metric.values.map(({ labels, value }) => [labels, value]);
/** Count and sum in seconds. */
function appliedOf({ counts }: Plane): readonly [number, number] {
  const metric = histogram('h', '');
  counts.applied.addTo(metric, {});
  const of = (suffix: string) => metric.values.find(({ metricName }) => metricName === `h_${suffix}`)!.value;
  return [of('count'), of('sum')];
}

describe('how long a change takes', () => {
  it('is from its commit to the ack of each sidecar that it concerns, and of no other', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const [a, b] = [
      await plane.sidecar('a', { hosts: ['a'] }).hello(),
      await plane.sidecar('b', { hosts: ['b'] }).hello(),
    ];
    plane.clock.advance(7_000);
    for (const sidecar of [a, b]) sidecar.ack();
    // What a sidecar is sent when it greets says nothing about a change.
    expect(appliedOf(plane)).toEqual([0, 0]);
    await plane.store.put(service('a', '127.0.0.1:1'));
    plane.clock.advance(200);
    a.ack();
    expect(appliedOf(plane)).toEqual([1, 0.2]);
    expect(plane.counts.answers).toEqual({ applied: 3, refused: 0 });
  });

  it('begins with the first of the changes that come together, and goes on while newer ones wait for an ack', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const a = await plane.sidecar('a', { hosts: ['a'] }).hello();
    a.ack();
    plane.clock.advance(1_000);
    await plane.store.put(service('a', '127.0.0.1:1'));
    plane.clock.advance(100);
    // Sent to nobody before the ack; the sidecar is behind with it from now on.
    await plane.store.put(service('a', '127.0.0.1:2'));
    plane.clock.advance(400);
    a.ack();
    expect(appliedOf(plane)).toEqual([1, 0.5]);
    plane.clock.advance(100);
    a.ack();
    expect(appliedOf(plane)).toEqual([2, 1]);
  });

  it('is not what a sidecar takes that subscribes another host, refuses, or comes back', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    plane.clock.advance(60_000);
    const a = await plane.sidecar('a', { hosts: ['a'] }).hello();
    a.ack();
    a.say({ tag: 'subscribe', add: ['b'], remove: [] });
    plane.clock.advance(1_000);
    a.ack();
    await plane.store.put(service('a', '127.0.0.1:1'));
    a.nack('no');
    plane.clock.advance(1_000);
    await settle();
    a.drop();
    plane.clock.advance(1_000);
    const back = await plane.sidecar('a', { hosts: ['a', 'b'], held: a.held }).hello();
    back.ack();
    expect(appliedOf(plane)).toEqual([0, 0]);
    expect(plane.counts.answers.refused).toBe(1);
  });
});

describe('the requests of the API', () => {
  it('are counted by addresses that are known, and by none that a stranger makes up', () => {
    const counts = new ControlCounts();
    counts.request('GET', '/v1/status', 200);
    counts.request('HEAD', '/v1/status', 200);
    counts.request('PUT', '/v1/services/:namespace/:name', 422);
    for (const url of ['/v1/x', '/v1/y', undefined]) counts.request('GET', url, 404);
    counts.request('BREW', '/v1/status', 405);
    const metric = counter('c', '');
    counts.requests.addTo(metric);
    expect(valuesOf(metric)).toEqual([
      [{ address: 'GET /v1/status', status_class: '2xx' }, 2],
      [{ address: 'PUT /v1/services/:namespace/:name', status_class: '4xx' }, 1],
      [{ address: 'unknown', status_class: '4xx' }, 4],
    ]);
  });
});

describe('a metered store', () => {
  it('counts what fails by its code, and lets it pass', async () => {
    const clock = new ManualClock();
    const [inner, counts] = [new MemoryStore(clock), new ControlCounts()];
    const store = new MeteredStore(inner, counts, clock);
    const commit = {
      ...{ expect: new Map(), changes: new Map([['a', '1']]), who: '', message: '', requestId: 'x', atMs: 0 },
    };
    expect(await store.commit(commit)).toEqual({ tag: 'committed', revision: 1 });
    expect([store.revision, store.get('a')?.value]).toEqual([1, '1']);
    inner.commitFault = new StoreError('store-write-failed', 'the disk is full');
    await expect(store.commit({ ...commit, requestId: 'y' })).rejects.toBe(inner.commitFault);
    inner.leaseFault = new Error('no');
    await expect(store.putLease('l', '', limits.leaseMs)).rejects.toBe(inner.leaseFault);
    const metric = counter('c', '');
    counts.storeFailures.addTo(metric);
    expect(valuesOf(metric).filter(([, value]) => value !== 0)).toEqual([
      [{ operation: 'commit', code: 'store-write-failed' }, 1],
      [{ operation: 'lease', code: 'other' }, 1],
    ]);
    const taken = histogram('h', '');
    counts.store.commit.addTo(taken, {});
    expect(taken.values.at(-1)!.value).toBe(2);
  });
});
