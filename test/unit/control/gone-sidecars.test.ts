/** Sidecars that fell silent: told of for some minutes, and never counted as if they had what nobody knows they have. */
import { describe, expect, it } from 'vitest';
import { GoneSidecars } from '../../../src/control/gone-sidecars.ts';
import { ServedServices } from '../../../src/control/served-services.ts';
import { limits } from '../../../src/model/limits.ts';
import { type FakeSidecar, Plane, settle } from './fake-sidecar.ts';
import { service } from './memory-store.ts';

const registration = { address: '127.0.0.1:9000', zone: '', labels: {}, weight: 1, link: [] };

async function servingFor(plane: Plane, ms: number): Promise<FakeSidecar> {
  await plane.store.put(service('app'));
  const sidecar = await plane.sidecar('s', { registration }).hello();
  for (let leftMs = ms; leftMs > 0; leftMs -= 5_000) {
    sidecar.say({ tag: 'renew', trouble: '' });
    await settle();
    plane.clock.advance(5_000);
  }
  return sidecar;
}

describe('a sidecar that falls silent', () => {
  it('is gone when its lease ends, for some minutes, and a wait says that it is not counted', async () => {
    const plane = new Plane();
    const sidecar = await servingFor(plane, 5_000);
    sidecar.session.closed();
    expect(plane.fleet.gone()).toEqual([]);
    plane.clock.advance(limits.leaseMs);
    await settle();
    expect(plane.fleet.list()).toEqual([]);
    expect(plane.fleet.gone()).toEqual([
      {
        sidecar: 's',
        service: 'app',
        namespace: 'default',
        address: '127.0.0.1:9000',
        lastHeardAgoMs: expect.any(Number),
      },
    ]);
    const revision = await plane.store.put(service('app', '127.0.0.1:1'));
    expect(await plane.fleet.waitApplied(revision, 0)).toMatchObject({
      isEnough: true,
      applied: [],
      gone: [{ sidecar: 's', service: 'app', namespace: 'default' }],
    });
    plane.clock.advance(limits.goneKeptMs);
    expect(plane.fleet.gone()).toEqual([]);
  });

  it('is not gone any more when it comes back', async () => {
    const plane = new Plane();
    (await servingFor(plane, 5_000)).session.closed();
    plane.clock.advance(limits.leaseMs);
    await settle();
    expect(plane.fleet.gone()).toHaveLength(1);
    await plane.sidecar('s', { registration }).hello();
    expect(plane.fleet.gone()).toEqual([]);
  });

  it('that takes leave is not gone', async () => {
    const plane = new Plane();
    const sidecar = await servingFor(plane, 5_000);
    sidecar.say({ tag: 'withdraw' });
    await settle();
    expect(plane.fleet.list()).toEqual([]);
    expect(plane.fleet.gone()).toEqual([]);
  });

  it('leaves a Service that was served, if it was there for longer than a moment', async () => {
    for (const [ms, wasServed] of [
      [5_000, false],
      [limits.servedMomentMs + 5_000, true],
    ] as const) {
      const plane = new Plane();
      (await servingFor(plane, ms)).say({ tag: 'withdraw' });
      await settle();
      expect(plane.fleet.wasServed('app.default')).toBe(wasServed);
    }
  });

  it('is one of so many, and the oldest is forgotten', () => {
    const lease = { sidecar: '', service: 'app', namespace: 'default', registration: null } as never;
    const gone = new GoneSidecars();
    for (let id = 0; id <= limits.goneSidecarsMax; id++) gone.add(String(id), lease, 1_000_000);
    const ids = gone.list(1_000_000).map(({ sidecar }) => sidecar);
    expect([ids.length, ids[0]]).toEqual([limits.goneSidecarsMax, '1']);
    const served = new ServedServices();
    for (let id = 0; id <= limits.servedServicesMax; id++) {
      served.see('s', String(id), id * 2 * limits.servedMomentMs);
    }
    served.see('s', null, Number.MAX_SAFE_INTEGER);
    expect([served.has('0'), served.has('1')]).toEqual([false, true]);
  });
});
