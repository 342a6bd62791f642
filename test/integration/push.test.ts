/** Both ends of push over real sockets: uWebSockets.js on the control plane's side, ws in the sidecars. */

import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { emptyBundle } from '../../src/control/ca/bundle-edits.ts';
import { type RunningPush, startPush } from '../../src/control/push.ts';
import type { Identifier } from '../../src/control/push-admission.ts';
import { limits } from '../../src/model/limits.ts';
import type { EndpointSet } from '../../src/model/registration.ts';
import type { Resource } from '../../src/model/resources.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import type { HeldObjects } from '../../src/sidecar/held-objects.ts';
import { StateDir } from '../../src/sidecar/state-dir.ts';
import { Subscription, type SubscriptionOptions } from '../../src/sidecar/subscription.ts';
import { parts } from '../../src/telemetry/recorder.ts';
import { decodeControlFrame } from '../../src/wire/control-frame.ts';
import { encodeSidecarFrame } from '../../src/wire/sidecar-frame.ts';
import { ManualClock, MemoryStore, route, service, silentLogger } from '../unit/control/memory-store.ts';
import { until } from '../unit/sidecar/fake-control-plane.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Asks nobody for a token. */
const nobodysAuthority: Identifier = {
  bundle: emptyBundle('weft.local'),
  identify: () => Promise.reject(new Error('no token is asked for')),
};

/** A control plane of push and bootstrap only, which can be stopped and started on its ports. */
class Plane {
  store = new MemoryStore(systemClock);
  push: RunningPush | null = null;
  #http: Server | null = null;
  #apiPort = 0;
  #pushPort = 0;

  static async start(): Promise<Plane> {
    const plane = new Plane();
    await plane.start();
    cleanups.push(() => plane.stop());
    return plane;
  }

  async start(): Promise<void> {
    const options = {
      store: this.store,
      authority: nobodysAuthority,
      host: '127.0.0.1',
      clock: systemClock,
      logger: silentLogger,
    };
    this.push = await startPush({ ...options, port: this.#pushPort });
    this.#pushPort = Number(this.push.address.split(':')[1]);
    this.#http = createServer((_, response) => response.end(JSON.stringify({ push: `127.0.0.1:${this.#pushPort}` })));
    const http = this.#http;
    await new Promise<void>((resolve) => http.listen(this.#apiPort, '127.0.0.1', resolve));
    this.#apiPort = (http.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    await this.push?.close();
    this.#http?.closeAllConnections();
    this.#http?.close();
  }

  get url(): string {
    return `http://127.0.0.1:${this.#apiPort}`;
  }

  get fleet() {
    return this.push!.fleet;
  }
}

function sidecar(plane: Plane, options: Partial<SubscriptionOptions> = {}) {
  const applied: HeldObjects[] = [];
  let fault: Error | null = null;
  const subscription = new Subscription({
    urls: [plane.url],
    service: 'app',
    namespace: 'default',
    softwareVersion: '0.1.0',
    hosts: [],
    stateDir: null,
    clock: systemClock,
    random: () => 0.05,
    logger: silentLogger,
    apply: async (objects) => {
      if (fault !== null) throw fault;
      applied.push(objects);
    },
    ...options,
  });
  cleanups.push(() => subscription.close());
  subscription.start();
  return {
    subscription,
    applied,
    failWith: (error: Error | null) => {
      fault = error;
    },
    ask: (host: string) => new Promise<string>((resolve) => subscription.discover(host, resolve)),
    keys: () => [...(applied.at(-1)?.objects.keys() ?? [])].sort(),
    endpoints: (name: string) => {
      const held = applied.at(-1)?.objects.get(`EndpointSet/default/${name}`)?.object as EndpointSet | undefined;
      return held?.endpoints.map(({ address }) => address) ?? [];
    },
  };
}

const at = (address: string) => ({ address, zone: '', labels: {}, weight: 1, link: [] });

describe('the push port', () => {
  const options = { authority: nobodysAuthority, host: '127.0.0.1', clock: systemClock, logger: silentLogger };

  it('says when it is taken, and when it is not loopback', async () => {
    const taken = createTcpServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => taken.close());
    const { port } = taken.address() as AddressInfo;
    const store = new MemoryStore(systemClock);
    await expect(startPush({ ...options, store, port })).rejects.toMatchObject({ code: 'port-taken' });
    const first = await startPush({ ...options, store, port: 0 });
    cleanups.push(() => first.close());
    const again = startPush({ ...options, store, port: Number(first.address.split(':')[1]) });
    await expect(again).rejects.toMatchObject({ code: 'port-taken' });
    await expect(startPush({ ...options, store, host: '0.0.0.0', port: 0 })).rejects.toMatchObject({
      code: 'not-loopback',
    });
  });

  it('is free again at once after it was closed under load', async () => {
    const plane = await Plane.start();
    for (let round = 0; round < 3; round++) {
      const one = sidecar(plane);
      await one.subscription.first;
      await plane.stop();
      await plane.start();
    }
  });

  const dial = async (plane: Plane, headers: Record<string, string> = {}) => {
    const socket = new WebSocket(`ws://${plane.push!.address}/v1/push`, { headers, perMessageDeflate: false });
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    const refusals: string[] = [];
    socket.on('message', (bytes: Buffer) => {
      const frame = decodeControlFrame(bytes);
      if (frame.tag === 'refusal') refusals.push(frame.code);
    });
    const opened = await new Promise<string>((resolve) => {
      socket.once('open', () => resolve('open'));
      socket.once('error', (error) => resolve(error.message));
    });
    cleanups.push(() => socket.terminate());
    return { socket, closed, refusals, opened };
  };

  it('lets no web page in', async () => {
    const plane = await Plane.start();
    expect((await dial(plane, { origin: 'https://evil.example' })).opened).toContain('403');
    const answer = await fetch(`http://${plane.push!.address}/`);
    expect(answer.status).toBe(404);
  });

  it('refuses frames that make no sense, and closes; others go on', async () => {
    const plane = await Plane.start();
    const good = sidecar(plane);
    await good.subscription.first;
    const garbage = await dial(plane);
    garbage.socket.send(Buffer.from([0xff, 0x00]));
    expect(await garbage.closed).toBe(1008);
    expect(garbage.refusals).toEqual(['malformed-frame']);
    const text = await dial(plane);
    text.socket.send('hello');
    await text.closed;
    const silent = await dial(plane);
    silent.socket.send(encodeSidecarFrame({ tag: 'renew', trouble: '' }));
    await silent.closed;
    expect(silent.refusals).toEqual(['out-of-order']);
    expect(good.subscription.status().isConnected).toBe(true);
  });

  it('cuts off frames that are too large', async () => {
    const plane = await Plane.start();
    const { socket, closed } = await dial(plane);
    socket.send(Buffer.alloc(limits.pushClientFrameBytesMax + 1));
    expect(await closed).toBe(1006);
    expect(plane.fleet.list()).toEqual([]);
  });

  it('holds one ChangeSet at most for a sidecar that does not read', async () => {
    const plane = await Plane.start();
    const big = Array.from({ length: 4_000 }, (_, n) => `127.0.0.1:${n + 1}`);
    await plane.store.put(service('big', ...big));
    const { socket } = await dial(plane);
    const hello = {
      tag: 'hello',
      sidecar: 'slow',
      service: 'app',
      namespace: 'default',
      softwareVersion: '',
      held: new Map<string, string>(),
      hosts: ['big'],
      registration: null,
      more: false,
      insecureLink: false,
    } as const;
    socket.pause();
    socket.send(encodeSidecarFrame(hello));
    await until(() => plane.fleet.list().length === 1);
    for (let change = 0; change < 50; change++) await plane.store.put(service('big', ...big.slice(change)));
    expect(plane.fleet.list()).toMatchObject([{ state: 'pending', revision: 0 }]);
  });
});

describe('a connection', () => {
  const hello = {
    tag: 'hello',
    sidecar: 'slow',
    service: 'app',
    namespace: 'default',
    softwareVersion: '',
    held: new Map<string, string>(),
    hosts: Array.from({ length: 32 }, (_, n) => `s${n}`),
    registration: null,
    more: false,
    insecureLink: false,
  } as const;

  /** With a clock of its own, so that time passes at once. */
  async function open() {
    const clock = new ManualClock();
    const store = new MemoryStore(clock);
    const push = await startPush({
      store,
      authority: nobodysAuthority,
      host: '127.0.0.1',
      port: 0,
      clock,
      logger: silentLogger,
    });
    const socket = new WebSocket(`ws://${push.address}/v1/push`, { perMessageDeflate: false });
    cleanups.push(
      () => push.close(),
      () => socket.terminate(),
    );
    let isClosed = false;
    socket.once('close', () => {
      isClosed = true;
    });
    await new Promise((resolve) => socket.once('open', resolve));
    return { clock, store, push, socket, isClosed: () => isClosed };
  }

  it('that does not greet is cut after 10 s', async () => {
    const { clock, isClosed } = await open();
    await until(isClosed, () => clock.advance(1_000));
  });

  it('that does not read is cut after 15 s, whatever it says meanwhile', async () => {
    const { clock, store, push, socket } = await open();
    const filler = { filler: 'x'.repeat(1024 * 1024) };
    for (const host of hello.hosts) {
      const { metadata, ...rest } = service(host);
      await store.put({ ...rest, metadata: { ...metadata, annotations: filler } } as Resource);
    }
    socket.pause();
    socket.send(encodeSidecarFrame(hello));
    await until(() => push.fleet.list().length === 1);
    const stuckMs = clock.nowMs();
    await until(
      () => push.fleet.list()[0]?.connected !== true,
      () => {
        clock.advance(1_000);
        socket.send(encodeSidecarFrame({ tag: 'renew', trouble: '' }));
      },
    );
    expect(clock.nowMs() - stuckMs).toBeGreaterThan(limits.slowReaderMs);
  });
});

describe('a mesh', () => {
  it('is told what it needs, when it needs it, and what changes of it', async () => {
    const plane = await Plane.start();
    await plane.store.put(service('cart', '127.0.0.1:1'), service('other'));
    const caller = sidecar(plane);
    await caller.subscription.first;
    expect(caller.keys()).toEqual([]);
    expect(await caller.ask('cart')).toBe('ready');
    expect(caller.keys()).toEqual(['Service/default/cart']);
    expect(await caller.ask('later')).toBe('unknown-service');
    const revision = await plane.store.put(service('later'), route('later', 'later', ['cart']));
    const report = await plane.fleet.waitApplied(revision, 5_000);
    expect(report).toMatchObject({ applied: [{ service: 'app' }], missing: [], refused: [] });
    expect(caller.keys()).toEqual(['HTTPRoute/default/later', 'Service/default/cart', 'Service/default/later']);
    expect(await caller.ask('later')).toBe('ready');
    expect(await caller.ask('nobody')).toBe('unknown-service');
  });

  it('keeps what it has when it refuses a change, and says why', async () => {
    const plane = await Plane.start();
    await plane.store.put(service('cart'));
    const caller = sidecar(plane, { hosts: ['cart'] });
    await caller.subscription.first;
    caller.failWith(new Error('it does not compile'));
    const refused = await plane.fleet.waitApplied(await plane.store.put(service('cart', '127.0.0.1:1')), 5_000);
    expect(refused).toMatchObject({ applied: [], refused: [{ reason: 'it does not compile' }] });
    expect(caller.applied).toHaveLength(1);
    caller.failWith(null);
    const applied = await plane.fleet.waitApplied(await plane.store.put(service('cart', '127.0.0.1:2')), 5_000);
    expect(applied.applied).toHaveLength(1);
    expect(caller.subscription.status()).toMatchObject({ revision: 3, nacks: 1 });
  });

  it('hears of endpoints that register and withdraw', async () => {
    const plane = await Plane.start();
    const caller = sidecar(plane, { hosts: ['cart'] });
    await caller.subscription.first;
    const callee = sidecar(plane, { service: 'cart' });
    await callee.subscription.first;
    callee.subscription.setRegistration(at('127.0.0.1:9'));
    await until(() => caller.endpoints('cart').length === 1);
    expect(caller.keys()).toEqual(['EndpointSet/default/cart', 'Service/default/cart']);
    expect(plane.store.commits.map(({ who }) => who)).toEqual(['registration']);
    await callee.subscription.withdraw();
    await until(() => caller.endpoints('cart').length === 0);
    expect(plane.fleet.list().map(({ service: name }) => name)).toEqual(['app']);
  });

  it('loses no endpoint and no subscription when the control plane starts again', async () => {
    const plane = await Plane.start();
    const callee = sidecar(plane, { service: 'cart' });
    callee.subscription.setRegistration(at('127.0.0.1:9'));
    const caller = sidecar(plane);
    await Promise.all([callee.subscription.first, caller.subscription.first]);
    await caller.ask('cart');
    await until(() => caller.endpoints('cart').length === 1);
    const changes = caller.applied.length;

    await plane.stop();
    expect(await caller.ask('cart')).toBe('ready');
    const revision = await plane.store.put(service('cart', '127.0.0.1:10'));
    await plane.start();
    expect(plane.fleet.list()).toHaveLength(2);
    const report = await plane.fleet.waitApplied(revision, 10_000);
    expect(report.applied).toHaveLength(2);
    expect(report.missing).toEqual([]);
    for (const held of caller.applied.slice(changes)) expect(held.objects.has('EndpointSet/default/cart')).toBe(true);
    expect(caller.applied.at(-1)?.revision).toBe(revision);
  });

  it('starts from disk while there is no control plane, and catches up', async () => {
    const path = await mkdtemp(join(tmpdir(), 'weft-push-'));
    cleanups.push(() => rm(path, { recursive: true, force: true }));
    const plane = await Plane.start();
    await plane.store.put(service('cart'));
    const stateDir = new StateDir(path, silentLogger);
    const before = sidecar(plane, { stateDir });
    await before.subscription.first;
    await before.ask('cart');
    await before.subscription.close();
    await plane.stop();

    const applied: HeldObjects[] = [];
    const after = new Subscription({
      urls: [plane.url],
      service: 'app',
      namespace: 'default',
      softwareVersion: '0.1.0',
      hosts: [],
      stateDir: new StateDir(path, silentLogger),
      clock: systemClock,
      random: () => 0.05,
      logger: silentLogger,
      apply: async (objects) => void applied.push(objects),
    });
    cleanups.push(() => after.close());
    await after.restore();
    expect([...(applied[0]?.objects.keys() ?? [])]).toEqual(['Service/default/cart']);
    after.start();
    await plane.store.put(service('cart', '127.0.0.1:1'));
    await plane.start();
    await until(() => applied.at(-1)?.revision === 2);
    expect(applied).toHaveLength(2);
  });

  it('of 200 sidecars takes a change, all at once', async () => {
    const plane = await Plane.start();
    await plane.store.put(service('cart'));
    const all = Array.from({ length: 200 }, (_, n) => sidecar(plane, { service: `app${n % 10}`, hosts: ['cart'] }));
    await Promise.all(all.map(({ subscription }) => subscription.first));
    await until(() => plane.fleet.list().filter(({ state }) => state === 'synced').length === 200);
    const revision = await plane.store.put(service('cart', '127.0.0.1:1'));
    const report = await plane.fleet.waitApplied(revision, 10_000);
    expect(report.applied).toHaveLength(200);
    for (const { applied } of all) expect(applied.at(-1)?.revision).toBe(revision);
  });

  it('tells the control plane how its requests fare', async () => {
    const plane = await Plane.start();
    const one = sidecar(plane);
    await one.subscription.first;
    await until(() => one.subscription.report([]));
    one.subscription.report([
      {
        direction: 'outbound',
        source: 'app.default',
        destination: 'cart.default',
        route: '',
        statusClass: '2xx',
        requests: 10,
        failures: 0,
        attempts: 11,
        attemptsFailed: 1,
        durationBuckets: [100, 10],
        bands: [{ band: 12, loopEstimates: 0, partsUs: parts.map((part) => (part === 'wait' ? 20_000 : 0)) }],
      },
    ]);
    await until(() => plane.fleet.stats().series.length === 1);
    expect(plane.fleet.stats().series[0]).toMatchObject({
      requests: 10,
      byStatus: { '2xx': 10 },
      parts: { wait: 2 },
      attempts: 11,
      attemptsFailed: 1,
    });
  });
});

describe('a peer that is no WebSocket', () => {
  it('is cut off and harms nobody', async () => {
    const plane = await Plane.start();
    const [host, port] = plane.push!.address.split(':');
    const socket: Socket = connect({ host: host!, port: Number(port) });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.resume();
    socket.write('\x16\x03\x01garbage\r\n\r\n');
    socket.end();
    await closed;
    const one = sidecar(plane);
    await one.subscription.first;
  });
});
