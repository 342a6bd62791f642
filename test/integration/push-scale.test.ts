/**
 * What a change costs with a thousand sidecars, in things that can be counted: ChangeSets that were encoded, messages and bytes that were sent.
 * Times are for `npm run sim`. Push half of a control plane and simulated sidecars, over real sockets, in this process.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { emptyBundle } from '../../src/control/ca/bundle-edits.ts';
import { type RunningPush, startPush } from '../../src/control/push.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { encodeChangeSet } from '../../src/wire/control-frame.ts';
import { encodeChange } from '../../src/wire/resource-codec.ts';
import { nowMs } from '../sim/clock.mjs';
import { commonService, type FleetStatus, SimFleet, serviceName } from '../sim/sim-fleet.ts';
import { MemoryStore, service, silentLogger } from '../unit/control/memory-store.ts';

vi.mock('../../src/wire/control-frame.ts', { spy: true });
vi.mock('../../src/wire/resource-codec.ts', { spy: true });

const sidecars = 1_000;
const services = 10;
const calls = 5;
/** A ChangeSet that adds nothing but one Service of a few endpoints, its frame, and room for longer numbers. */
const smallPushBytesMax = 250;
/** A quiet machine needs a few seconds for any of it, one that does ten other things half a minute. */
const waitMs = 120_000;
const pollMs = 20;

const authority = {
  bundle: emptyBundle('weft.local'),
  identify: () => Promise.reject(new Error('no token is asked for')),
};

class Plane {
  readonly store = new MemoryStore(systemClock);
  push: RunningPush | null = null;
  fleet: SimFleet | null = null;
  readonly #http: Server = createServer((_, response) =>
    response.end(JSON.stringify({ push: `ws://${this.push?.address}/v1/push` })),
  );

  async start(): Promise<void> {
    const port = Number(this.push?.address.split(':')[1] ?? 0);
    const { store } = this;
    this.push = await startPush({
      store,
      authority,
      host: '127.0.0.1',
      port,
      clock: systemClock,
      logger: silentLogger,
    });
  }

  async join(): Promise<void> {
    await new Promise<void>((resolve) => this.#http.listen(0, '127.0.0.1', resolve));
    const api = `127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
    const plan = {
      from: 0,
      count: sidecars,
      services,
      calls,
      sets: 1,
      registers: false,
      api,
      localAddress: '127.0.0.1',
    };
    this.fleet = new SimFleet({ ...plan, joinPerSecond: 2_000, applyMs: 0 }, { nowMs, random: Math.random });
  }

  get status(): FleetStatus {
    return this.fleet!.status();
  }

  /** Puts Services and waits until all the sidecars that the control plane takes for concerned have them. @returns what it took */
  async change(...names: readonly string[]) {
    const before = this.status.counts;
    const encoded = encodes();
    const resources = names.map((name) => service(name, '127.0.0.1:9001', `127.0.0.1:${10_000 + this.store.revision}`));
    const report = await this.push!.fleet.waitApplied(await this.store.put(...resources), waitMs);
    expect(report).toMatchObject({ missing: [], refused: [] });
    const { pushes, bytes } = this.status.counts;
    const now = encodes();
    return {
      ...{ pushes: pushes - before.pushes, bytes: bytes - before.bytes },
      ...{ changeSets: now.changeSets - encoded.changeSets, objects: now.objects - encoded.objects },
    };
  }

  async close(): Promise<void> {
    this.fleet?.close();
    await this.push?.close();
    this.#http.closeAllConnections();
    this.#http.close();
  }
}

const encodes = () => ({
  changeSets: vi.mocked(encodeChangeSet).mock.calls.length,
  objects: vi.mocked(encodeChange).mock.calls.length,
});

async function until(plane: Plane, isDone: () => boolean): Promise<void> {
  const deadlineMs = nowMs() + waitMs;
  while (!isDone()) {
    if (nowMs() > deadlineMs) throw new Error(`it did not come to this in time: ${JSON.stringify(plane.status)}`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

describe(`${sidecars} sidecars of ${services} Services`, { timeout: 2 * waitMs }, () => {
  const plane = new Plane();
  beforeAll(async () => {
    await plane.start();
    await plane.store.put(
      service(commonService),
      ...Array.from({ length: services }, (_, i) => service(serviceName(i))),
    );
    await plane.join();
    // Its own Service and those that it calls; the trust bundle is the control plane's own, and not here.
    const objects = 1 + calls;
    const isSettled = ({ synced, objectsMin, objectsMax }: FleetStatus) =>
      synced === sidecars && objectsMin === objects && objectsMax === objects;
    await until(plane, () => isSettled(plane.status));
    await until(plane, () => plane.push!.fleet.list().every(({ state }) => state === 'synced'));
  }, 2 * waitMs);
  afterAll(() => plane.close());

  it('cost one encoded ChangeSet for each scope, and one small message for each sidecar', async () => {
    const { pushes, bytes, changeSets, objects } = await plane.change(commonService);
    expect({ pushes, objects }).toEqual({ pushes: sidecars, objects: 1 });
    expect(changeSets).toBeLessThanOrEqual(services);
    expect(bytes / sidecars).toBeLessThan(smallPushBytesMax);
  });

  it('that a change does not concern are sent nothing', async () => {
    expect(await plane.change('nobody')).toMatchObject({ pushes: 0, changeSets: 0 });
    const { pushes, changeSets } = await plane.change(serviceName(3));
    // Its own, and those of the four Services before it, which call it.
    expect(pushes).toBe((calls * sidecars) / services);
    expect(changeSets).toBeLessThanOrEqual(calls);
  });

  it('get one message for all of a transaction', async () => {
    const names = [commonService, ...Array.from({ length: services }, (_, i) => serviceName(i))];
    const { pushes, objects } = await plane.change(...names);
    expect({ pushes, objects }).toEqual({ pushes: sidecars, objects: names.length });
  });

  it('get only the newest of changes that come together, and all end with the last', async () => {
    const before = plane.status.counts;
    const changes = 100;
    let last = 0;
    for (let i = 0; i < changes; i++) {
      last = await plane.store.put(service(commonService, `127.0.0.1:${20_000 + i}`));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await until(plane, () => plane.status.revisionMin === last);
    expect((plane.status.counts.pushes - before.pushes) / sidecars).toBeLessThan(changes / 2);
  });

  it('come back to a control plane that was gone, and are sent nothing that they have', async () => {
    const before = plane.status.counts;
    await plane.push!.close();
    await plane.store.put(service('nobody'));
    await plane.start();
    await until(plane, () => plane.status.counts.firstPushes === before.firstPushes + sidecars);
    const { counts } = plane.status;
    expect(counts.firstObjects - before.firstObjects).toBe(0);
    expect((counts.firstBytes - before.firstBytes) / sidecars).toBeLessThan(smallPushBytesMax);
    const { pushes } = await plane.change(commonService);
    expect(pushes).toBe(sidecars);
  });

  it('saw nothing that the protocol does not allow', () => {
    expect(plane.status.faults).toEqual({});
  });
});
