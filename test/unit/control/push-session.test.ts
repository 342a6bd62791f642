import { describe, expect, it } from 'vitest';
import { faultOfRegistration } from '../../../src/control/hello-check.ts';
import { foundedServices } from '../../../src/control/service-founder.ts';
import { StoreError } from '../../../src/control/store/store-error.ts';
import { limits } from '../../../src/model/limits.ts';
import type { EndpointSet } from '../../../src/model/registration.ts';
import type { SeriesDelta } from '../../../src/model/report.ts';
import { at, Plane, settle } from './fake-sidecar.ts';
import { ManualClock, MemoryStore, policy, route, service } from './memory-store.ts';

const endpointsIn = (objects: ReadonlyMap<string, { object: unknown }>, key: string) =>
  ((objects.get(key)?.object ?? { endpoints: [] }) as EndpointSet).endpoints.map(({ address }) => address);

describe('a Service that did not exist', () => {
  const register = { registration: at('127.0.0.1:9001') };

  it('is created at the first registration, and the sidecar is told so once', async () => {
    const plane = new Plane();
    const first = await plane.sidecar('s1', register).hello();
    expect(first.received.map(({ founded }) => founded)).toEqual([true]);
    first.ack();
    const second = await plane.sidecar('s2', register).hello();
    expect(second.received.map(({ founded }) => founded)).toEqual([false]);
    expect(foundedServices(plane.store)).toEqual([
      { name: 'app', namespace: 'default', at: expect.any(String), similar: null },
    ]);
    // On its next connection it exists.
    first.drop();
    const again = await plane.sidecar('s1', register).hello();
    expect(again.received.map(({ founded }) => founded)).toEqual([false]);
  });

  it('is told to a sidecar that registers later', async () => {
    const plane = new Plane();
    const sidecar = await plane.sidecar('s1').hello();
    sidecar.ack();
    sidecar.say({ tag: 'register', registration: at('127.0.0.1:9001') });
    await settle();
    // With the endpoint that it has registered, at the latest: the Service itself may be on its way before that is known.
    sidecar.ack();
    plane.clock.advance(limits.debounceMs);
    expect(sidecar.received.map(({ founded }) => founded).filter(Boolean)).toEqual([true]);
    expect(sidecar.last.keys).toContain('EndpointSet/default/app');
  });

  it('is said to be a slip where an older one has nearly its name', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    await plane.sidecar('s1', { ...register, service: 'crat' }).hello();
    await plane.sidecar('s2', { ...register, service: 'web' }).hello();
    await plane.sidecar('s3', { ...register, service: 'crats' }).hello();
    expect(foundedServices(plane.store).map(({ name, similar }) => [name, similar])).toEqual([
      ['crats', 'crat'],
      ['web', null],
      ['crat', 'cart'],
    ]);
  });

  it('is not mentioned once something was written to it, or where it was there before', async () => {
    const plane = new Plane();
    await plane.store.put(service('app'));
    const sidecar = await plane.sidecar('s1', register).hello();
    expect(sidecar.received.map(({ founded }) => founded)).toEqual([false]);
    await plane.sidecar('s2', { ...register, service: 'crat' }).hello();
    expect(foundedServices(plane.store).map(({ name }) => name)).toEqual(['crat']);
    await plane.store.put(service('crat', '127.0.0.1:1'));
    expect(foundedServices(plane.store)).toEqual([]);
  });
});

describe('a report', () => {
  const delta = {
    ...{ route: '', statusClass: '2xx' as const, requests: 1, failures: 0, attempts: 1, attemptsFailed: 0 },
    ...{ durationBuckets: [], bands: [] },
  } satisfies Partial<SeriesDelta>;
  const outbound = (source: string) =>
    ({ ...delta, direction: 'outbound', source, destination: 'cart.default' }) as const;
  const inbound = (destination: string) =>
    ({ ...delta, direction: 'inbound', source: 'cart.default', destination }) as const;

  it('counts with what the sidecar sent and took itself, whatever it says of others', async () => {
    const plane = new Plane();
    const sidecar = await plane.sidecar('s1').hello();
    const series = [
      ...[outbound('app.default'), outbound('cart.default'), outbound('app'), outbound('unknown'), outbound('other')],
      ...[inbound('app.default'), inbound('cart.default'), inbound('unknown'), inbound('other')],
    ];
    sidecar.say({ tag: 'report', parts: [], series });
    const counted = plane.fleet
      .stats()
      .series.map(({ direction, source, destination }) => [direction, source, destination]);
    expect(counted.sort()).toEqual([
      ['inbound', 'cart.default', 'app.default'],
      ['inbound', 'cart.default', 'other'],
      ['inbound', 'cart.default', 'unknown'],
      ['outbound', 'app.default', 'cart.default'],
      ['outbound', 'other', 'cart.default'],
    ]);
    expect(sidecar.refusal).toBeNull();
  });
});

describe('what is refused', () => {
  const plane = new Plane();
  it.each([
    ['a name of a sidecar with a space', { sidecar: 'a b' }, 'bad-hello'],
    ['no Service', { service: '' }, 'bad-hello'],
    ['a Service in capitals', { service: 'Cart' }, 'bad-hello'],
    ['a namespace that is too long', { namespace: 'n'.repeat(64) }, 'bad-hello'],
    ['a host with a line break', { hosts: ['a\nb'] }, 'bad-host'],
    ['too many hosts', { hosts: Array.from({ length: 10_001 }, (_, n) => `h${n}`) }, 'too-many-subscriptions'],
    ['an address without a port', { registration: at('127.0.0.1') }, 'bad-registration'],
    ['port 0', { registration: at('127.0.0.1:0') }, 'bad-registration'],
    ['two ports', { registration: at('127.0.0.1:80:1234') }, 'bad-registration'],
    ['a port above 65535', { registration: at('127.0.0.1:70000') }, 'bad-registration'],
    ['half an IPv4 address', { registration: at('127.0.0:80') }, 'bad-registration'],
    ['an IPv6 address of colons', { registration: at('[:::::]:80') }, 'bad-registration'],
    ['a host with empty labels', { registration: at('a..b:80') }, 'bad-registration'],
    ['a zone with a line break', { registration: { ...at('a:1'), zone: 'a\nb' } }, 'bad-registration'],
    ['a zone that is too long', { registration: { ...at('a:1'), zone: 'z'.repeat(64) } }, 'bad-registration'],
    ['a weight that is too large', { registration: { ...at('a:1'), weight: 1_000_001 } }, 'bad-registration'],
    ['a link without a port', { registration: at('a:1', 'a') }, 'bad-registration'],
    ['port 0 of a link', { registration: at('a:1', 'a:15008', 'a:0') }, 'bad-registration'],
    ['too many links', { registration: at('a:1', ...new Array(65).fill('a:2')) }, 'bad-registration'],
    ['a label name of underscores', { registration: { ...at('a:1'), labels: { _proto_: '' } } }, 'bad-registration'],
    ['a label with a NUL', { registration: { ...at('a:1'), labels: { a: '\0' } } }, 'bad-registration'],
    [
      'a label that is too long',
      { registration: { ...at('a:1'), labels: { a: 'v'.repeat(129) } } },
      'bad-registration',
    ],
    ['a label name with a space', { registration: { ...at('a:1'), labels: { 'a b': '' } } }, 'bad-registration'],
  ])('%s', async (_what, hello, code) => {
    const sidecar = await plane.sidecar('s1', hello).hello();
    expect(sidecar.refusal).toBe(code);
    expect(plane.fleet.list()).toEqual([]);
  });

  it.each([
    ['address', at('a:b')],
    ['zone', { ...at('a:1'), zone: '\t' }],
    ['weight', { ...at('a:1'), weight: 2_000_000 }],
    ['label', { ...at('a:1'), labels: { '': 'x' } }],
    ['link', at('a:1', 'a:15008', 'a')],
  ])('a registration with a nonsensical %s, by that name', (field, registration) => {
    expect(faultOfRegistration(registration)?.message).toContain(field);
  });

  it('a report with amounts that are beyond what can be added up', async () => {
    for (const us of [-1, 2 ** 53, 2 ** 63]) {
      const sidecar = await plane.sidecar('s1').hello();
      sidecar.say({
        tag: 'report',
        parts: ['wait'],
        series: [
          {
            direction: 'outbound',
            source: 'a.default',
            destination: 'b.default',
            route: '',
            statusClass: '2xx',
            requests: 1,
            failures: 0,
            attempts: 1,
            attemptsFailed: 0,
            durationBuckets: [],
            bands: [{ band: 0, loopEstimates: 0, partsUs: [us] }],
          },
        ],
      });
      expect(sidecar.refusal).toBe('malformed-frame');
      expect(plane.rooms.statWindow.stats().series).toEqual([]);
      sidecar.session.closed();
    }
  });

  it('bytes that are no frame', () => {
    const sidecar = plane.sidecar('s1');
    sidecar.session.receive(Uint8Array.of(0xff, 0x01));
    expect(sidecar.refusal).toBe('malformed-frame');
  });

  it('anything before a Hello, a second Hello, answers to what was not sent', async () => {
    const early = plane.sidecar('s1');
    early.say({ tag: 'renew', trouble: '' });
    expect(early.refusal).toBe('out-of-order');
    const twice = await plane.sidecar('s2').hello();
    await twice.hello();
    expect(twice.refusal).toBe('out-of-order');
    const eager = await plane.sidecar('s3').hello();
    eager.say({ tag: 'ack', sequence: 7 });
    expect(eager.refusal).toBe('out-of-order');
  });

  it('everyone, while the store takes no leases', async () => {
    const broken = new Plane();
    broken.store.leaseFault = new Error('the disk is full');
    const sidecar = await broken.sidecar('s1').hello();
    expect(sidecar.refusal).toBe('store-failed');
    expect(broken.fleet.list()).toEqual([]);
  });

  it('nobody who is there already, while the store is away: what it wants it gets, and its renewal tells the store', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const sidecar = await plane.sidecar('s1', { hosts: ['a'] }).hello();
    sidecar.ack();
    plane.store.leaseFault = new StoreError('store-unavailable', 'etcd is away');
    sidecar.say({ tag: 'subscribe', add: ['b'], remove: [] });
    await settle();
    expect(sidecar.refusal).toBeNull();
    expect(sidecar.last.hosts).toMatchObject({ b: expect.anything() });
    plane.store.leaseFault = null;
    sidecar.say({ tag: 'renew', trouble: '' });
    await settle();
    expect([...plane.store.leases()].map(({ value }) => JSON.parse(value).subscriptions)).toEqual([['a', 'b']]);
  });
});

describe('the first ChangeSet', () => {
  it('holds what the subscribed hosts reach and the own Service, and answers every host', async () => {
    const plane = new Plane();
    await plane.store.put(
      service('app'),
      service('cart'),
      service('cart-next'),
      service('other'),
      route('cart', 'cart', ['cart', 'cart-next']),
      policy('p', 'HTTPRoute', 'cart'),
    );
    const sidecar = await plane.sidecar('s1', { hosts: ['cart', 'nobody'] }).hello();
    expect(sidecar.last).toMatchObject({
      sequence: 1,
      base: 0,
      revision: 1,
      hosts: { cart: 'cart.default', nobody: '' },
      keys: [
        'HTTPRoute/default/cart',
        'Service/default/app',
        'Service/default/cart',
        'Service/default/cart-next',
        'TrafficPolicy/default/p',
      ],
    });
  });

  it('leaves out what the sidecar holds and removes what is gone', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'), service('c'));
    const first = await plane.sidecar('s1', { hosts: ['a', 'b', 'c'] }).hello();
    first.ack();
    first.drop();
    await plane.store.put(service('b', '127.0.0.1:1'), 'Service/default/c');
    const second = await plane.sidecar('s1', { hosts: ['a', 'b', 'c'], held: first.held }).hello();
    expect(second.last.keys).toEqual(['-Service/default/c', 'Service/default/b']);
    expect(second.last.hosts).toEqual({ a: 'a.default', b: 'b.default', c: '' });
  });

  it('is sent when nothing differs, as it answers the hosts', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const first = await plane.sidecar('s1', { hosts: ['a'] }).hello();
    first.ack();
    const second = await plane
      .restart()
      .sidecar('s1', { hosts: ['a'], held: first.held })
      .hello();
    expect(second.last).toMatchObject({ sequence: 1, base: 0, keys: [], hosts: { a: 'a.default' } });
  });

  it('replaces what another store gave at the same revision', async () => {
    const before = new Plane();
    await before.store.put(service('a', '127.0.0.1:1'));
    const first = await before.sidecar('s1', { hosts: ['a'] }).hello();
    first.ack();
    const after = new Plane(new MemoryStore(new ManualClock()));
    await after.store.put(service('a', '127.0.0.1:2'));
    const second = await after.sidecar('s1', { hosts: ['a'], held: first.held }).hello();
    expect(second.last.keys).toEqual(['Service/default/a']);
  });

  it('follows a Hello in several parts', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const whole = await plane.sidecar('s1', { hosts: ['a', 'b'] }).hello();
    whole.ack();
    const [one, two] = [...whole.held];
    const sidecar = plane.sidecar('s2', { hosts: ['b'], held: new Map([two!]) });
    const part = { tag: 'hello', sidecar: 's2', service: 'app', namespace: 'default', softwareVersion: '' } as const;
    const rest = { registration: null, insecureLink: false };
    sidecar.say({ ...part, ...rest, held: new Map([one!]), hosts: ['a'], more: true });
    expect(sidecar.received).toEqual([]);
    await sidecar.hello();
    expect(sidecar.last).toMatchObject({ keys: [], hosts: { a: 'a.default', b: 'b.default' } });
  });
});

describe('one ChangeSet at a time', () => {
  it('goes at once after quiet; what changes before the ack comes in one cumulative ChangeSet', async () => {
    const plane = new Plane();
    const sidecar = await plane.sidecar('s1', { hosts: ['a', 'b'] }).hello();
    sidecar.ack();
    await plane.store.put(service('a', '127.0.0.1:1'));
    expect(sidecar.received).toHaveLength(2);
    await plane.store.put(service('a', '127.0.0.1:2'));
    await plane.store.put(service('b'));
    await plane.store.put(service('a', '127.0.0.1:3'));
    plane.clock.advance(50);
    expect(sidecar.received).toHaveLength(2);
    sidecar.ack();
    expect(sidecar.received).toHaveLength(3);
    expect(sidecar.last).toMatchObject({
      sequence: 3,
      base: 2,
      revision: 4,
      keys: ['Service/default/a', 'Service/default/b'],
      hosts: { b: 'b.default' },
    });
    sidecar.ack();
    plane.clock.advance(1_000);
    expect(sidecar.received).toHaveLength(3);
  });

  it('holds changes that follow each other for 50 ms, and for 500 ms at most', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const sidecar = await plane.sidecar('s1', { hosts: ['a'] }).hello();
    sidecar.ack();
    plane.clock.advance(1_000);
    let sentAfter = 0;
    for (let change = 1; sidecar.received.length < 3 && change < 100; change++) {
      await plane.store.put(service('a', `127.0.0.1:${change}`));
      if (sidecar.received.length === 2 && change === 1) sidecar.ack();
      plane.clock.advance(20);
      sentAfter = change * 20;
    }
    expect(sentAfter).toBeGreaterThanOrEqual(500);
    expect(sentAfter).toBeLessThanOrEqual(540);
  });

  it('sends nothing to who is not concerned', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const sidecar = await plane.sidecar('s1', { hosts: ['a'] }).hello();
    sidecar.ack();
    await plane.store.put(service('b'), route('b', 'b', ['a']));
    plane.clock.advance(1_000);
    expect(sidecar.received).toHaveLength(1);
  });

  it('after a nack is silent until something in its scope changes, and builds on what is still held', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const sidecar = await plane.sidecar('s1', { hosts: ['a'] }).hello();
    sidecar.ack();
    await plane.store.put(service('a', '127.0.0.1:1'), route('a', 'a', []));
    sidecar.nack('it does not compile');
    expect(plane.fleet.list()[0]).toMatchObject({ state: 'refused', reason: 'it does not compile', revision: 1 });
    plane.clock.advance(1_000);
    await plane.store.put(service('elsewhere'));
    plane.clock.advance(1_000);
    expect(sidecar.received).toHaveLength(2);
    await plane.store.put('HTTPRoute/default/a');
    expect(sidecar.last).toMatchObject({ sequence: 3, base: 1, keys: ['Service/default/a'] });
    sidecar.ack();
    expect(plane.fleet.list()[0]).toMatchObject({ state: 'synced', reason: null, revision: 4 });
  });

  it('is one encoding for all sidecars that hold the same', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const sent: Uint8Array[] = [];
    for (let n = 0; n < 3; n++) {
      const sidecar = plane.sidecar(`s${n}`, { hosts: ['a'] });
      const send = sidecar.send.bind(sidecar);
      sidecar.send = (bytes) => {
        sent.push(bytes);
        send(bytes);
      };
      (await sidecar.hello()).ack();
    }
    await plane.store.put(service('a', '127.0.0.1:1'));
    expect(sent).toHaveLength(6);
    expect(new Set(sent.slice(3).map((bytes) => Buffer.from(bytes).toString('hex'))).size).toBe(1);
  });
});

describe('subscriptions', () => {
  it('are answered with a unit or with nothing, which is remembered and pushed when it changes', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const sidecar = await plane.sidecar('s1').hello();
    sidecar.ack();
    sidecar.say({ tag: 'subscribe', add: ['a', 'later', 'x.example.com'], remove: [] });
    expect(sidecar.last).toMatchObject({
      keys: ['Service/default/a'],
      hosts: { a: 'a.default', later: '', 'x.example.com': '' },
    });
    sidecar.ack();
    await plane.store.put(service('later'));
    expect(sidecar.last).toMatchObject({ keys: ['Service/default/later'], hosts: { later: 'later.default' } });
    sidecar.ack();
    plane.clock.advance(1_000);
    await plane.store.put(route('wild', 'a', [], ['*.example.com']));
    expect(sidecar.last).toMatchObject({ keys: ['HTTPRoute/default/wild'], hosts: { 'x.example.com': 'a.default' } });
    sidecar.ack();
    plane.clock.advance(1_000);
    await plane.store.put('Service/default/later');
    expect(sidecar.last).toMatchObject({ keys: ['-Service/default/later'], hosts: { later: '' } });
  });

  it('that end take along what only they reached', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const sidecar = await plane.sidecar('s1', { hosts: ['a', 'b'] }).hello();
    sidecar.ack();
    sidecar.say({ tag: 'subscribe', add: [], remove: ['b'] });
    expect(sidecar.last.keys).toEqual(['-Service/default/b']);
    sidecar.ack();
    await plane.store.put(service('b', '127.0.0.1:1'));
    plane.clock.advance(1_000);
    expect(sidecar.received).toHaveLength(2);
  });

  it('that end and begin again are answered again, also while a ChangeSet is on its way', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'));
    const sidecar = await plane.sidecar('s1', { hosts: ['a', 'none'] }).hello();
    sidecar.ack();
    sidecar.say({ tag: 'subscribe', add: ['a', 'none'], remove: ['a', 'none'] });
    expect(sidecar.last).toMatchObject({ keys: [], hosts: { a: 'a.default', none: '' } });
    sidecar.say({ tag: 'subscribe', add: [], remove: ['a'] });
    sidecar.say({ tag: 'subscribe', add: ['a'], remove: [] });
    sidecar.ack();
    expect(sidecar.last).toMatchObject({ sequence: 3, keys: [], hosts: { a: 'a.default' } });
    sidecar.ack();
    expect(sidecar.received).toHaveLength(3);
    expect(plane.fleet.list()).toMatchObject([{ state: 'synced' }]);
  });

  it('never take a sidecar back to older objects, when a publish is held at that moment', async () => {
    const plane = new Plane();
    await plane.store.put(service('a'), service('b'));
    const ahead = await plane.sidecar('s1', { hosts: ['a'] }).hello();
    const other = await plane.sidecar('s2', { hosts: ['a', 'b'] }).hello();
    ahead.ack();
    other.ack();
    await plane.store.put(service('a', '127.0.0.1:1'));
    ahead.ack();
    other.ack();
    await plane.store.put(service('a', '127.0.0.1:2'));
    ahead.say({ tag: 'subscribe', add: ['b'], remove: [] });
    expect(ahead.last).toMatchObject({ revision: 3, keys: ['Service/default/a', 'Service/default/b'] });
    plane.clock.advance(50);
    expect(other.last).toMatchObject({ revision: 3, keys: ['Service/default/a'] });
  });

  it('are limited', async () => {
    const sidecar = await new Plane().sidecar('s1').hello();
    const hosts = (from: number) => Array.from({ length: 6_000 }, (_, n) => `h${from + n}`);
    sidecar.say({ tag: 'subscribe', add: hosts(0), remove: [] });
    expect(sidecar.refusal).toBeNull();
    sidecar.say({ tag: 'subscribe', add: hosts(6_000), remove: [] });
    expect(sidecar.refusal).toBe('too-many-subscriptions');
  });
});

describe('registrations', () => {
  const key = 'EndpointSet/default/cart';

  it('write an empty Service for a name that is not known, once', async () => {
    const plane = new Plane();
    const sidecars = ['s1', 's2', 's3'].map((id, n) =>
      plane.sidecar(id, { service: 'cart', registration: at(`127.0.0.1:${n + 1}`) }),
    );
    await Promise.all(sidecars.map((sidecar) => sidecar.hello()));
    expect(plane.store.commits.map(({ who }) => who)).toEqual(['registration']);
    expect(JSON.parse(plane.store.get('Service/default/cart')?.value ?? '')).toMatchObject({
      kind: 'Service',
      spec: {},
    });
    await plane.store.put('Service/default/cart');
    sidecars[0]?.say({ tag: 'renew', trouble: '' });
    await settle();
    expect(plane.store.get('Service/default/cart')).toBeNull();
  });

  it('are pushed to who calls the Service, without a revision', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    const caller = await plane.sidecar('caller', { hosts: ['cart'] }).hello();
    caller.ack();
    const callee = await plane.sidecar('callee', { service: 'cart' }).hello();
    callee.say({ tag: 'register', registration: at('127.0.0.1:9') });
    await settle();
    plane.clock.advance(50);
    expect(caller.last).toMatchObject({ revision: 1, keys: [key] });
    expect(endpointsIn(caller.last.objects, key)).toEqual(['127.0.0.1:9']);
    caller.ack();
    expect(plane.fleet.list().find(({ sidecar }) => sidecar === 'caller')).toMatchObject({
      state: 'synced',
      revision: 1,
    });
    callee.say({ tag: 'register', registration: null });
    await settle();
    plane.clock.advance(50);
    expect(caller.last.keys).toEqual([`-${key}`]);
  });

  it('outlive the connection until the lease ends', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    const caller = await plane.sidecar('caller', { hosts: ['cart'] }).hello();
    const callee = await plane.sidecar('callee', { service: 'cart', registration: at('127.0.0.1:9') }).hello();
    plane.clock.advance(50);
    caller.ack();
    expect(endpointsIn(caller.ack().objects, key)).toEqual(['127.0.0.1:9']);
    const before = caller.received.length;
    callee.drop();
    plane.clock.advance(14_000);
    caller.say({ tag: 'renew', trouble: '' });
    await settle();
    expect(caller.received).toHaveLength(before);
    expect(plane.fleet.list().find(({ sidecar }) => sidecar === 'callee')).toMatchObject({ state: 'lost' });
    plane.clock.advance(1_500);
    expect(caller.last.keys).toEqual([`-${key}`]);
    expect(plane.fleet.list().map(({ sidecar }) => sidecar)).toEqual(['caller']);
  });

  it('say which HTTP core they run on, as far as they know the question', async () => {
    const plane = new Plane();
    await plane.sidecar('old', { olderUwsCore: true }).hello();
    await plane.sidecar('silent').hello();
    expect(plane.fleet.list().map(({ sidecar, hasOlderUwsCore }) => [sidecar, hasOlderUwsCore])).toEqual([
      ['old', true],
      ['silent', false],
    ]);
  });

  it('say why nobody is sent to their app, until it passes', async () => {
    const plane = new Plane();
    const waiting = await plane.sidecar('waiting', { service: 'cart' }).hello();
    waiting.ack();
    const reason = () => plane.fleet.list()[0]?.reason;
    const trouble = 'app 127.0.0.1:9 accepts no connections';
    expect(reason()).toBeNull();
    waiting.say({ tag: 'renew', trouble });
    expect(reason()).toBe(trouble);
    waiting.say({ tag: 'renew', trouble: 'x'.repeat(100_000) });
    expect(reason()).toHaveLength(limits.nackReasonCharsMax);
    waiting.say({ tag: 'renew', trouble: '' });
    expect(reason()).toBeNull();
  });

  it('come back when a lease that ended is renewed on the same connection', async () => {
    const plane = new Plane();
    const callee = await plane.sidecar('callee', { service: 'cart', registration: at('127.0.0.1:9') }).hello();
    callee.ack();
    plane.clock.advance(15_000);
    expect([...plane.store.leases()]).toEqual([]);
    callee.say({ tag: 'renew', trouble: '' });
    await settle();
    plane.clock.advance(500);
    expect([...plane.store.leases()]).toHaveLength(1);
    expect(plane.fleet.list()).toMatchObject([{ sidecar: 'callee', connected: true, leaseEndsInMs: 14_500 }]);
  });

  it('end at once with a withdrawal, which closes the connection when it is in the store', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    const caller = await plane.sidecar('caller', { hosts: ['cart'] }).hello();
    const callee = await plane.sidecar('callee', { service: 'cart', registration: at('127.0.0.1:9') }).hello();
    plane.clock.advance(50);
    caller.ack();
    caller.ack();
    plane.clock.advance(1_000);
    callee.say({ tag: 'renew', trouble: '' });
    callee.say({ tag: 'withdraw' });
    callee.say({ tag: 'renew', trouble: '' });
    await settle();
    expect(caller.last.keys).toEqual([`-${key}`]);
    expect(callee.isOpen).toBe(false);
    expect(plane.fleet.list().map(({ sidecar }) => sidecar)).toEqual(['caller']);
    plane.clock.advance(60_000);
    expect([...plane.store.leases()].map(({ id }) => id)).not.toContain('callee');
  });

  it('are pushed again when their link changes', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    const callee = await plane.sidecar('callee', { service: 'cart', registration: at('127.0.0.1:9', 'a:1') }).hello();
    const caller = await plane.sidecar('caller', { hosts: ['cart'] }).hello();
    expect(caller.ack().objects.get(key)?.object).toMatchObject({ endpoints: [at('127.0.0.1:9', 'a:1')] });
    const before = caller.received.length;
    callee.say({ tag: 'register', registration: at('127.0.0.1:9', 'a:1', 'a:2') });
    await settle();
    plane.clock.advance(500);
    expect(caller.received).toHaveLength(before + 1);
    expect(caller.last.objects.get(key)?.object).toMatchObject({ endpoints: [at('127.0.0.1:9', 'a:1', 'a:2')] });
  });

  it('of a lease that says nothing of links have none', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    const registration = { address: '127.0.0.1:9', zone: '', labels: {}, weight: 1 };
    const lease = { sidecar: 'old', service: 'cart', namespace: 'default', subscriptions: [], registration };
    await plane.store.putLease('old', JSON.stringify(lease), 15_000);
    const caller = await plane.sidecar('caller', { hosts: ['cart'] }).hello();
    expect(caller.last.objects.get(key)?.object).toMatchObject({ endpoints: [at('127.0.0.1:9')] });
    expect(plane.fleet.list()[0]).toMatchObject({ sidecar: 'old', isLinkInsecure: false });
  });

  it('of one address count once', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    await plane.sidecar('old', { service: 'cart', registration: at('127.0.0.1:9') }).hello();
    await plane.sidecar('new', { service: 'cart', registration: at('127.0.0.1:9') }).hello();
    const caller = await plane.sidecar('caller', { hosts: ['cart'] }).hello();
    expect(endpointsIn(caller.last.objects, key)).toEqual(['127.0.0.1:9']);
  });

  it('are there at once after a restart, under the same version', async () => {
    const plane = new Plane();
    await plane.store.put(service('cart'));
    await plane.sidecar('callee', { service: 'cart', registration: at('127.0.0.1:9') }).hello();
    const caller = await plane.sidecar('caller', { hosts: ['cart'] }).hello();
    caller.ack();
    const after = await plane
      .restart()
      .sidecar('caller', { hosts: ['cart'], held: caller.held })
      .hello();
    expect(caller.held.has(key)).toBe(true);
    expect(after.last.keys).toEqual([]);
  });
});

describe('two connections under one name', () => {
  it('the later one has it', async () => {
    const plane = new Plane();
    const before = await plane.sidecar('s1').hello();
    const after = await plane.sidecar('s1').hello();
    expect(before.refusal).toBe('replaced');
    expect(after.refusal).toBeNull();
    expect(plane.fleet.list()).toMatchObject([{ sidecar: 's1', connected: true }]);
  });

  it.each([
    ['Service', { service: 'evil' }],
    ['namespace', { namespace: 'evil' }],
  ])('the later one is refused where it is of another %s', async (_what, other) => {
    const plane = new Plane();
    const victim = await plane.sidecar('s1', { registration: at('127.0.0.1:1') }).hello();
    const evil = await plane.sidecar('s1', { ...other, registration: at('127.0.0.1:2') }).hello();
    expect(evil.refusal).toBe('wrong-identity');
    expect(victim.refusal).toBeNull();
    expect(plane.fleet.list()).toMatchObject([{ service: 'app', connected: true }]);
    // Neither while it is away.
    victim.drop();
    expect((await plane.sidecar('s1', other).hello()).refusal).toBe('wrong-identity');
    expect((await plane.restart().sidecar('s1', other).hello()).refusal).toBe('wrong-identity');
  });

  it('the later one is refused where it is of another Service, also before the earlier one is in the store', async () => {
    const plane = new Plane();
    const victim = plane.sidecar('s1');
    const both = [victim.hello(), plane.sidecar('s1', { service: 'evil' }).hello()];
    const [, evil] = await Promise.all(both);
    expect(evil?.refusal).toBe('wrong-identity');
    expect(victim.refusal).toBeNull();
  });

  it('a name is free again when its lease has ended, or could not be written', async () => {
    const plane = new Plane();
    (await plane.sidecar('s1').hello()).drop();
    plane.clock.advance(limits.leaseMs);
    expect((await plane.sidecar('s1', { service: 'other' }).hello()).refusal).toBeNull();
    plane.store.leaseFault = new Error('the disk is full');
    expect((await plane.sidecar('s2').hello()).refusal).toBe('store-failed');
    plane.store.leaseFault = null;
    expect((await plane.sidecar('s2', { service: 'other' }).hello()).refusal).toBeNull();
  });
});
