import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { systemClock } from '../../../src/sidecar/clock.ts';
import { HeldObjects } from '../../../src/sidecar/held-objects.ts';
import { StateDir } from '../../../src/sidecar/state-dir.ts';
import { Subscription, type SubscriptionOptions } from '../../../src/sidecar/subscription.ts';
import { ManualClock, service, silentLogger } from '../control/memory-store.ts';
import { FakeControlPlane, until } from './fake-control-plane.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function controlPlane(options?: { autoPong: boolean }): Promise<FakeControlPlane> {
  const plane = await FakeControlPlane.start(options);
  cleanups.push(() => plane.stop());
  return plane;
}

async function stateDir(): Promise<StateDir> {
  const path = await mkdtemp(join(tmpdir(), 'weft-subscription-'));
  cleanups.push(() => rm(path, { recursive: true, force: true }));
  return new StateDir(path, silentLogger);
}

/** A sidecar's subscription with what it brought into force; waits between tries take no time. */
function subscribe(urls: string | readonly string[], options: Partial<SubscriptionOptions> = {}) {
  const applied: HeldObjects[] = [];
  const subscription = new Subscription({
    urls: [urls].flat(),
    service: 'app',
    namespace: 'default',
    softwareVersion: '0.1.0',
    hosts: [],
    stateDir: null,
    clock: systemClock,
    random: () => 0,
    logger: silentLogger,
    apply: async (objects) => void applied.push(objects),
    ...options,
  });
  cleanups.push(() => subscription.close());
  const ask = (host: string) => new Promise<string>((resolve) => subscription.discover(host, resolve));
  return { subscription, applied, ask, held: () => [...(applied.at(-1)?.objects.keys() ?? [])].sort() };
}

const greeted = (plane: FakeControlPlane, connections = 1) =>
  until(() => plane.sessions.length === connections && plane.last.hello !== undefined);

describe('before there is a configuration', () => {
  it('requests fail at once, whether a control plane is there or not', async () => {
    const plane = await controlPlane();
    const { subscription, ask } = subscribe(plane.url);
    expect(await ask('cart')).toBe('no-configuration');
    subscription.start();
    await greeted(plane);
    expect(await ask('cart')).toBe('no-configuration');
    expect(subscription.status()).toMatchObject({ isConnected: false, revision: null });
  });

  it('an empty ChangeSet is one', async () => {
    const plane = await controlPlane();
    const { subscription, applied } = subscribe(plane.url);
    subscription.start();
    await greeted(plane);
    plane.last.push({ revision: 0 });
    await subscription.first;
    await until(() => plane.last.acknowledged === 1);
    expect(applied).toHaveLength(1);
    expect(subscription.status()).toMatchObject({ isConnected: true, revision: 0, sequence: 1 });
  });
});

describe('a Service that did not exist', () => {
  it('is said in the log of the sidecar whose registration has created it', async () => {
    const plane = await controlPlane();
    const lines: unknown[] = [];
    const logger = {
      ...silentLogger,
      info: (fields: object, message: string) => void lines.push({ ...fields, message }),
      warn: (fields: object, message: string) => void lines.push({ ...fields, message, isWarning: true }),
    };
    const { subscription } = subscribe(plane.url, { service: 'crat', logger });
    subscription.start();
    await greeted(plane);
    plane.last.push({ revision: 1 });
    await until(() => plane.last.acknowledged === 1);
    const said = () => lines.filter((line) => JSON.stringify(line).includes('it did not exist'));
    expect(said()).toEqual([]);
    plane.last.push({ revision: 2, foundedService: true });
    await until(() => plane.last.acknowledged === 2);
    plane.last.push({ revision: 3, foundedService: true, similarService: 'cart' });
    await until(() => plane.last.acknowledged === 3);
    const message = 'created this Service (it did not exist)';
    expect(said()).toEqual([
      { service: 'crat.default', message },
      { service: 'crat.default', message: `${message}: did you mean cart?`, isWarning: true },
    ]);
  });
});

describe('reaching a control plane', () => {
  it('tries each in turn, past those that are down, hang up, or make no sense', async () => {
    const down = await FakeControlPlane.start();
    const downUrl = down.url;
    await down.stop();
    const odd = await controlPlane();
    const answers = [
      { status: 500, body: '{}' },
      { status: 200, body: 'not JSON' },
      { status: 200, body: '{"push":7}' },
      { status: 200, body: '{"push":"user@evil:80/x"}' },
      { status: 200, body: JSON.stringify({ push: new URL(downUrl).host }) },
    ];
    odd.answer = answers[0]!;
    const good = await controlPlane();
    good.answer = { status: 503, body: '' };
    const { subscription } = subscribe([downUrl, odd.url, good.url]);
    subscription.start();
    for (const answer of answers) {
      odd.answer = answer;
      const before = odd.bootstraps;
      await until(() => odd.bootstraps > before + 1);
    }
    expect(subscription.status().lastError).not.toBeNull();
    const working = await controlPlane();
    good.answer = working.answer;
    await greeted(working);
  });

  it('gives up one that takes the question and never answers', async () => {
    const plane = await controlPlane();
    const answer = plane.answer;
    plane.answer = null;
    const clock = new ManualClock();
    const { subscription } = subscribe(plane.url, { clock });
    subscription.start();
    await until(() => plane.bootstraps === 1);
    plane.answer = answer;
    clock.advance(limits.connectTimeoutMs);
    await until(
      () => plane.sessions.length === 1,
      () => clock.advance(1),
    );
  });

  it('gives up one that takes a Hello and never answers it', async () => {
    const plane = await controlPlane();
    const clock = new ManualClock();
    subscribe(plane.url, { clock }).subscription.start();
    await greeted(plane);
    clock.advance(limits.greetingMs);
    await until(
      () => plane.sessions.length === 2,
      () => clock.advance(1),
    );
  });

  it('gives up one that nothing is heard of, within 15 s', async () => {
    const plane = await controlPlane({ autoPong: false });
    const clock = new ManualClock();
    const { subscription } = subscribe(plane.url, { clock });
    subscription.start();
    await greeted(plane);
    plane.last.push();
    await subscription.first;
    let waitedMs = 0;
    await until(
      () => plane.sessions.length === 2,
      () => {
        clock.advance(100);
        waitedMs += 100;
      },
    );
    expect(waitedMs).toBeGreaterThan(9_000);
    expect(subscription.status().lastError).toContain('nothing was heard');
  });

  it('waits longer and longer, up to 5 s, when nobody answers', async () => {
    const waits: number[] = [];
    const after = (ms: number, run: () => void) => {
      // The deadline of the question is set by the same clock; here the answer comes first.
      if (ms === limits.connectTimeoutMs) return () => {};
      waits.push(ms);
      setImmediate(run);
      return () => {};
    };
    const { subscription } = subscribe('http://127.0.0.1:1', { clock: { nowMs: () => 0, after }, random: () => 0.9 });
    subscription.start();
    await until(() => waits.length >= 6);
    expect(waits.slice(0, 6)).toEqual([450, 900, 1_800, 3_600, 4_500, 4_500]);
  });

  it('takes another name when somebody else has its own', async () => {
    const plane = await controlPlane();
    subscribe(plane.url).subscription.start();
    await greeted(plane);
    const name = plane.last.hello?.sidecar;
    plane.last.refuse('replaced');
    await greeted(plane, 2);
    expect(plane.last.hello?.sidecar).not.toBe(name);
  });

  it('keeps its name, and says why, when it is refused for something else', async () => {
    const plane = await controlPlane();
    const { subscription } = subscribe(plane.url);
    subscription.start();
    await greeted(plane);
    const name = plane.last.hello?.sidecar;
    plane.last.refuse('too-many-sidecars');
    await greeted(plane, 2);
    expect(plane.last.hello?.sidecar).toBe(name);
    expect(subscription.status().lastError).toContain('too-many-sidecars');
  });

  it('comes back after a frame that cannot be read', async () => {
    const plane = await controlPlane();
    subscribe(plane.url).subscription.start();
    await greeted(plane);
    plane.last.socket.send(Buffer.from([0xff, 0xff]));
    await greeted(plane, 2);
  });
});

describe('ChangeSets', () => {
  it('are applied, acknowledged, and built upon', async () => {
    const plane = await controlPlane();
    const { subscription, held, applied } = subscribe(plane.url);
    subscription.start();
    await greeted(plane);
    plane.last.push({ revision: 3, objects: { 'Service/default/a': service('a'), 'Service/default/b': service('b') } });
    await until(() => plane.last.acknowledged === 1);
    plane.last.push({ revision: 4, objects: { 'Service/default/a': null, 'Service/default/c': service('c') } });
    await until(() => plane.last.acknowledged === 2);
    expect(held()).toEqual(['Service/default/b', 'Service/default/c']);
    expect(applied[1]?.objects.get('Service/default/b')).toBe(applied[0]?.objects.get('Service/default/b'));
    expect(subscription.status()).toMatchObject({ revision: 4, sequence: 2, nacks: 0 });
  });

  it('that cannot be applied are refused with the reason; the configuration before stays', async () => {
    const plane = await controlPlane();
    let fault: Error | null = null;
    const { subscription } = subscribe(plane.url, {
      apply: async () => {
        if (fault !== null) throw fault;
      },
    });
    subscription.start();
    await greeted(plane);
    plane.last.push({ objects: { 'Service/default/a': service('a') } });
    await until(() => plane.last.acknowledged === 1);
    fault = new Error('it does not compile');
    plane.last.push({ revision: 2, objects: { 'Service/default/a': null } });
    await until(() => plane.last.of('nack').length === 1);
    expect(plane.last.of('nack')).toEqual([{ tag: 'nack', sequence: 2, reason: 'it does not compile' }]);
    expect(subscription.status()).toMatchObject({ revision: 1, nacks: 1, lastNack: 'it does not compile' });
    subscription.connectAgain();
    await greeted(plane, 2);
    expect([...(plane.last.hello?.held ?? [])]).toEqual([['Service/default/a', '1.x']]);
  });

  it('that are of a kind not known are refused whole', async () => {
    const plane = await controlPlane();
    const { subscription, applied } = subscribe(plane.url);
    subscription.start();
    await greeted(plane);
    const odd = { kind: 'EndpointSet', namespace: 'n', service: 's', endpoints: [] } as const;
    plane.last.push({ objects: { 'Service/default/a': service('a'), odd } });
    await until(() => plane.last.acknowledged === 1);
    plane.last.socket.send(Buffer.from([0x0a, 0x07, 0x08, 0x02, 0x10, 0x01, 0x1a, 0x01, 0xff]));
    await until(() => plane.last.of('nack').length === 1);
    expect(applied).toHaveLength(1);
  });

  it('on another base end the connection, and a new Hello says what is held', async () => {
    const plane = await controlPlane();
    subscribe(plane.url).subscription.start();
    await greeted(plane);
    plane.last.push({ base: 7 });
    await greeted(plane, 2);
  });

  it('that take too long are refused; when one comes into force after all, the control plane is told by a new Hello', async () => {
    const plane = await controlPlane();
    const clock = new ManualClock();
    let finish: () => void = () => {};
    const { subscription } = subscribe(plane.url, {
      clock,
      apply: () =>
        new Promise((resolve) => {
          finish = resolve;
        }),
    });
    subscription.start();
    await greeted(plane);
    plane.last.push({ objects: { 'Service/default/a': service('a') } });
    await until(
      () => plane.last.of('nack').length === 1,
      () => clock.advance(200),
    );
    const connections = plane.sessions.length;
    finish();
    await until(
      () => plane.sessions.length > connections && plane.last.hello !== undefined,
      () => clock.advance(1),
    );
    expect([...(plane.last.hello?.held.keys() ?? [])]).toEqual(['Service/default/a']);
  });

  it('of many objects are applied whole', async () => {
    const plane = await controlPlane();
    const { subscription, held } = subscribe(plane.url);
    subscription.start();
    await greeted(plane);
    const objects = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, n) => [`Service/default/s${n}`, service(`s${n}`, '127.0.0.1:1')]),
    );
    plane.last.push({ objects });
    await until(() => plane.last.acknowledged === 1);
    expect(held()).toHaveLength(5_000);
    plane.last.socket.terminate();
    await until(() => plane.sessions.length === 2 && plane.last.of('hello').at(-1)?.more === false);
    const hellos = plane.last.of('hello');
    expect(hellos).toHaveLength(5);
    expect(hellos.reduce((sum, hello) => sum + hello.held.size, 0)).toBe(5_000);
  });
});

describe('discovery', () => {
  async function configured(options: Partial<SubscriptionOptions> = {}) {
    const plane = await controlPlane();
    const sidecar = subscribe(plane.url, options);
    sidecar.subscription.start();
    await greeted(plane);
    plane.last.push();
    await sidecar.subscription.first;
    await until(() => plane.last.acknowledged === 1);
    return { plane, ...sidecar };
  }

  it('subscribes a host once, and answers all who wait when its configuration is in force', async () => {
    const { plane, ask } = await configured();
    const answers = [ask('cart'), ask('cart'), ask('other')];
    await until(() => plane.last.of('subscribe').length === 1);
    expect(plane.last.of('subscribe')[0]).toEqual({ tag: 'subscribe', add: ['cart', 'other'], remove: [] });
    plane.last.push({
      objects: { 'Service/default/cart': service('cart') },
      hosts: { cart: 'cart.default', other: '' },
    });
    expect(await Promise.all(answers)).toEqual(['ready', 'ready', 'unknown-service']);
    expect(await ask('other')).toBe('unknown-service');
    expect(await ask('cart')).toBe('ready');
    expect(plane.last.of('subscribe')).toHaveLength(1);
    await until(() => plane.last.acknowledged === 2);
    plane.last.push({ hosts: { other: 'other.default' } });
    await until(() => plane.last.acknowledged === 3);
    expect(await ask('other')).toBe('ready');
  });

  it('says all hosts again on every connection, with those that are pinned', async () => {
    const { plane, ask } = await configured({ hosts: ['pinned'] });
    expect(plane.last.hello?.hosts).toEqual(['pinned']);
    void ask('cart');
    await until(() => plane.last.of('subscribe').length === 1);
    plane.last.socket.terminate();
    await greeted(plane, 2);
    expect(plane.last.hello?.hosts).toEqual(['pinned', 'cart']);
  });

  it('gives up after a second, also while no control plane is there', async () => {
    const clock = new ManualClock();
    const { plane, ask } = await configured({ clock });
    const slow = ask('slow');
    clock.advance(limits.discoveryWaitMs);
    expect(await slow).toBe('discovery-timeout');
    await plane.stop();
    const gone = ask('gone');
    clock.advance(limits.discoveryWaitMs);
    expect(await gone).toBe('discovery-timeout');
  });

  it('refuses what is no host, and more waiting requests than it has room for', async () => {
    const { ask, subscription } = await configured();
    expect(await ask('no host')).toBe('unknown-service');
    expect(await ask('')).toBe('unknown-service');
    const answers: string[] = [];
    for (let n = 0; n <= limits.discoveryPendingMax; n++)
      subscription.discover('cart', (answer) => answers.push(answer));
    expect(answers).toEqual(['discovery-full']);
    await subscription.close();
    expect(answers).toHaveLength(limits.discoveryPendingMax + 1);
  });

  it('lets go of hosts that do not exist when there are too many', async () => {
    const { plane, subscription } = await configured();
    const hosts = Array.from({ length: limits.subscriptionsMax }, (_, n) => `h${n}`);
    for (let from = 0; from < hosts.length; from += 1_000) {
      const some = hosts.slice(from, from + 1_000);
      const { acknowledged } = plane.last;
      for (const host of some) subscription.discover(host, () => {});
      plane.last.push({ hosts: Object.fromEntries(some.map((host) => [host, host === 'h0' ? 'h0.default' : ''])) });
      await until(() => plane.last.acknowledged > acknowledged);
    }
    subscription.discover('one-more', () => {});
    await until(() => plane.last.of('subscribe').at(-1)?.add[0] === 'one-more');
    expect(plane.last.of('subscribe').at(-1)?.remove).toEqual(['h1']);
  });
});

describe('leases', () => {
  it('say at once and at each renewal why nothing is registered, until something is', async () => {
    const plane = await controlPlane();
    const clock = new ManualClock();
    const { subscription } = subscribe(plane.url, { clock });
    subscription.setTrouble('app down');
    subscription.start();
    await greeted(plane);
    plane.last.push();
    await until(() => plane.last.acknowledged === 1);
    const said = () => plane.last.of('renew').map(({ trouble }) => trouble);
    clock.advance(limits.leaseRenewMs);
    await until(() => said().length === 1);
    subscription.setTrouble('app down still');
    await until(() => said().length === 2);
    subscription.setRegistration({ address: '10.0.0.9:15006', zone: '', labels: {}, weight: 1, link: [] });
    clock.advance(limits.leaseRenewMs);
    await until(() => said().length === 3);
    expect(said()).toEqual(['app down', 'app down still', '']);
  });

  it('are renewed every 5 s', async () => {
    const plane = await controlPlane();
    const clock = new ManualClock();
    const { subscription } = subscribe(plane.url, { clock });
    subscription.start();
    await greeted(plane);
    plane.last.push();
    await until(() => plane.last.acknowledged === 1);
    for (let renewal = 1; renewal <= 3; renewal++) {
      clock.advance(limits.leaseRenewMs);
      await until(() => plane.last.of('renew').length === renewal);
    }
  });

  it('carry the registration: said when it is set, and in each Hello', async () => {
    const plane = await controlPlane();
    const registration = { address: '127.0.0.1:80', zone: '', labels: {}, weight: 1, link: [] };
    const locals: string[] = [];
    const { subscription } = subscribe(plane.url, { onConnected: (local) => locals.push(local) });
    subscription.start();
    await greeted(plane);
    expect(plane.last.hello?.registration).toBeNull();
    subscription.setRegistration(registration);
    await until(() => plane.last.of('register').length === 1);
    plane.last.socket.terminate();
    await greeted(plane, 2);
    expect(plane.last.hello?.registration).toEqual(registration);
    expect(locals).toEqual(['127.0.0.1', '127.0.0.1']);
  });

  it('end with a withdrawal, which waits until the control plane has closed the connection', async () => {
    const plane = await controlPlane();
    const { subscription } = subscribe(plane.url);
    subscription.start();
    await greeted(plane);
    let isWithdrawn = false;
    const withdrawn = subscription.withdraw().then(() => {
      isWithdrawn = true;
    });
    await until(() => plane.last.of('withdraw').length === 1);
    expect(isWithdrawn).toBe(false);
    plane.last.socket.close();
    await withdrawn;
    expect(plane.sessions).toHaveLength(1);
  });

  it('are withdrawn in bounded time when nobody answers, and at once when nobody is there', async () => {
    const plane = await controlPlane();
    const clock = new ManualClock();
    const { subscription } = subscribe(plane.url, { clock });
    subscription.start();
    await greeted(plane);
    const withdrawn = subscription.withdraw();
    clock.advance(limits.withdrawMs);
    await withdrawn;
    const alone = subscribe('http://127.0.0.1:1');
    await alone.subscription.withdraw();
  });
});

describe('reports', () => {
  it('are taken only when a control plane has accepted the sidecar', async () => {
    const plane = await controlPlane();
    const { subscription } = subscribe(plane.url);
    expect(subscription.report([])).toBe(false);
    subscription.start();
    await greeted(plane);
    expect(subscription.report([])).toBe(false);
    plane.last.push();
    await until(() => plane.last.acknowledged === 1);
    expect(subscription.report([])).toBe(true);
    await until(() => plane.last.of('report').length === 1);
  });
});

describe('the state directory', () => {
  it('brings the last good configuration back without any control plane, with name and subscriptions', async () => {
    const plane = await controlPlane();
    const dir = await stateDir();
    const before = subscribe(plane.url, { stateDir: dir });
    await before.subscription.restore();
    before.subscription.start();
    await greeted(plane);
    plane.last.push({ revision: 9, objects: { 'Service/default/a': service('a') } });
    await until(() => plane.last.acknowledged === 1);
    void before.ask('a');
    plane.last.push({ revision: 9, hosts: { a: 'a.default' } });
    await until(() => plane.last.acknowledged === 2);
    const name = plane.last.hello?.sidecar;
    await before.subscription.close();

    const after = subscribe(plane.url, { stateDir: dir });
    await after.subscription.restore();
    await after.subscription.first;
    expect(after.held()).toEqual(['Service/default/a']);
    expect(await after.ask('a')).toBe('ready');
    after.subscription.start();
    await greeted(plane, 2);
    expect(plane.last.hello).toMatchObject({ sidecar: name, hosts: ['a'] });
    expect([...(plane.last.hello?.held ?? [])]).toEqual([['Service/default/a', '9.x']]);
  });

  it('does not answer for hosts that are not subscribed any more', async () => {
    const dir = await stateDir();
    const held = HeldObjects.none.with({ revision: 1, changes: [], hosts: new Map([['old', '']]) });
    await dir.save({ sidecar: 's', service: 'app', namespace: 'default', held, lastUsedAtMs: new Map() });
    const plane = await controlPlane();
    const { subscription, ask } = subscribe(plane.url, { stateDir: dir });
    await subscription.restore();
    subscription.start();
    await greeted(plane);
    plane.last.push();
    await until(() => plane.last.acknowledged === 1);
    const answer = ask('old');
    await until(() => plane.last.of('subscribe').length === 1);
    plane.last.push({ hosts: { old: 'old.default' } });
    expect(await answer).toBe('ready');
  });

  it('of another Service is not used', async () => {
    const dir = await stateDir();
    const plane = await controlPlane();
    const before = subscribe(plane.url, { stateDir: dir });
    before.subscription.start();
    await greeted(plane);
    plane.last.push({ objects: { 'Service/default/a': service('a') } });
    await until(() => plane.last.acknowledged === 1);
    await before.subscription.close();
    const after = subscribe(plane.url, { stateDir: dir, service: 'other' });
    await after.subscription.restore();
    expect(after.subscription.status().revision).toBeNull();
  });

  it('whose configuration cannot be applied any more is as good as empty', async () => {
    const dir = await stateDir();
    const plane = await controlPlane();
    const before = subscribe(plane.url, { stateDir: dir });
    before.subscription.start();
    await greeted(plane);
    plane.last.push({ objects: { 'Service/default/a': service('a') } });
    await until(() => plane.last.acknowledged === 1);
    await before.subscription.close();
    const after = subscribe(plane.url, { stateDir: dir, apply: () => Promise.reject(new Error('no')) });
    await after.subscription.restore();
    expect(after.subscription.status().revision).toBeNull();
    after.subscription.start();
    await greeted(plane, 2);
    expect(plane.last.hello?.held.size).toBe(0);
  });
});

describe('whether the configuration may be out of date', () => {
  it('is known by the time: before the first one, after a refusal, without a connection', async () => {
    const plane = await FakeControlPlane.start();
    let isRefused = false;
    const { subscription } = subscribe(plane.url, {
      apply: async () => {
        if (isRefused) throw new Error('it does not fit');
      },
    });
    const reason = () => subscription.staleAt(Date.now())?.reason ?? '';
    expect(reason()).toBe('no control plane has answered since the start');
    subscription.start();
    await greeted(plane);
    plane.last.push({ revision: 1 });
    await until(() => plane.last.acknowledged === 1);
    await until(() => reason() === '');
    isRefused = true;
    plane.last.push({ revision: 2, objects: { 'Service/default/a': service('a') } });
    await until(() => subscription.status().nacks === 1);
    expect(reason()).toBe('its last change is refused: it does not fit');
    await plane.stop();
    await until(() => reason().startsWith('no control plane answers: '));
  });
});
