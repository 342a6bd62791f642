import { describe, expect, it } from 'vitest';
import {
  type ChangeOutcome,
  Changes,
  type ChangesOptions,
  type WantedChange,
  type WantedObject,
} from '../../../src/control/change.ts';
import { StoreError } from '../../../src/control/store/store-error.ts';
import { World } from '../../../src/control/world.ts';
import { limits } from '../../../src/model/limits.ts';
import type { Kind, Resource } from '../../../src/model/resources.ts';
import type { ServiceUnit } from '../../../src/model/snapshot.ts';
import { ManualClock, MemoryStore, policy, service, route as unattachedRoute } from './memory-store.ts';

let nextRequest = 0;

class Mesh {
  readonly clock = new ManualClock();
  readonly store = new MemoryStore(this.clock);
  readonly world = new World(this.store);
  /** Names of the units that were compiled, change by change. */
  readonly compiled: string[][] = [];
  compile: ChangesOptions['compile'] = async () => undefined;
  readonly changes = new Changes({
    store: this.store,
    world: this.world,
    clock: this.clock,
    compile: (units: readonly ServiceUnit[]) => {
      this.compiled.push(units.map(({ name }) => name));
      return this.compile(units);
    },
  });

  make(objects: readonly WantedObject[], more: Partial<WantedChange> = {}): Promise<ChangeOutcome> {
    const requestId = `request-${++nextRequest}`;
    const author = { who: 'test', mayWrite: () => true };
    return this.changes.make({ objects, ...author, message: '', requestId, isDryRun: false, ...more });
  }

  apply(...resources: Resource[]): Promise<ChangeOutcome> {
    return this.make(resources.map((resource) => put(resource)));
  }
}

const put = (resource: Resource, expected: number | null = null): WantedObject => ({ resource, expected });
const remove = (kind: Kind, name: string, expected: number | null = null): WantedObject => ({
  remove: { kind, namespace: 'default', name },
  expected,
});
/** As validated ones are: attached to a Service in so many words. */
function route(...like: Parameters<typeof unattachedRoute>): Resource {
  const made = unattachedRoute(...like);
  if (made.kind === 'HTTPRoute') made.spec.parentRefs = [{ kind: 'Service', group: '', name: like[1] }];
  return made;
}
const messagesOf = (outcome: ChangeOutcome): string =>
  outcome.tag === 'invalid' ? outcome.problems.map(({ message }) => message).join('\n') : outcome.tag;

describe('a change that is refused', () => {
  it('writes nothing when one of many references leads nowhere', async () => {
    const mesh = new Mesh();
    const outcome = await mesh.apply(service('cart'), route('r', 'cart', ['nobody']));
    expect(messagesOf(outcome)).toContain('Service default/nobody, which does not exist');
    expect([mesh.store.revision, mesh.world.get('Service/default/cart')]).toEqual([0, null]);
    expect(mesh.compiled).toEqual([]);
  });

  it('may not take away what others refer to', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('cart'), service('next'), route('r', 'cart', ['next']), policy('p', 'HTTPRoute', 'r'));
    expect(messagesOf(await mesh.make([remove('Service', 'next')]))).toBe(
      'refers to Service default/next, which is to be deleted; delete HTTPRoute default/r too, or change it before',
    );
    expect(messagesOf(await mesh.make([remove('HTTPRoute', 'r')]))).toBe(
      'targets HTTPRoute default/r, which is to be deleted; delete TrafficPolicy default/p too, or change it before',
    );
    const ported = service('next');
    const route80 = route('r', 'cart', ['next']);
    if (route80.kind === 'HTTPRoute') route80.spec.rules![0]!.backendRefs = [{ name: 'next', port: 80 }];
    await mesh.apply(route80);
    if (ported.kind === 'Service') ported.spec.port = 81;
    expect(messagesOf(await mesh.apply(ported))).toBe('is 80, but Service default/next has port 81');
  });

  it('may not claim a hostname that leads elsewhere', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('cart'), service('next'), route('r', 'cart', ['cart'], ['shop.example']));
    expect(messagesOf(await mesh.apply(route('s', 'next', ['next'], ['shop.example'])))).toContain(
      'HTTPRoute default/r claims it for Service default/cart',
    );
    for (const own of ['cart', 'cart.default', 'cart.default.svc', 'cart.default.svc.cluster.local'])
      expect(messagesOf(await mesh.apply(route('s', 'next', ['next'], [own])))).toContain(
        'is the name of Service default/cart',
      );
    // And the other way round: a Service may not take a name that a route has given away.
    await mesh.apply(route('s', 'next', ['next'], ['later']));
    expect(messagesOf(await mesh.apply(service('later')))).toContain('is the name of Service default/later');
  });

  it('says which object was at which revision', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('a'));
    const object = { kind: 'Service', namespace: 'default', name: 'a' };
    expect(await mesh.make([put(service('a', '127.0.0.1:1'), 7)])).toEqual({
      tag: 'conflict',
      object,
      expected: 7,
      actual: 1,
    });
    expect(await mesh.make([put(service('a', '127.0.0.1:1'), 0)])).toMatchObject({ expected: 0, actual: 1 });
    expect(await mesh.make([put(service('b'), 3)])).toMatchObject({ tag: 'conflict', expected: 3, actual: 0 });
    expect(await mesh.make([remove('Service', 'b')])).toMatchObject({ tag: 'missing', object: { name: 'b' } });
    expect(mesh.store.revision).toBe(1);
  });

  it('has an object twice, or one that is too large', async () => {
    const mesh = new Mesh();
    expect(messagesOf(await mesh.make([put(service('a')), remove('Service', 'a')]))).toBe('missing');
    expect(messagesOf(await mesh.apply(service('a'), service('b'), service('a')))).toBe('is in this transaction twice');
    const huge = service('a');
    huge.metadata.annotations = { note: 'ä'.repeat(limits.objectBytesMax / 2) };
    expect(messagesOf(await mesh.apply(huge))).toBe(`is larger than ${limits.objectBytesMax} bytes`);
    expect(mesh.store.revision).toBe(0);
  });

  it('names the units that cannot be compiled', async () => {
    const mesh = new Mesh();
    mesh.compile = async () => {
      throw new Error('the ring is too large');
    };
    expect(messagesOf(await mesh.apply(service('a')))).toBe(
      'Service default/a cannot be compiled: the ring is too large',
    );
    expect(messagesOf(await mesh.apply(...['a', 'b', 'c', 'd', 'e'].map((name) => service(name))))).toBe(
      'Service default/a, default/b, default/c or one of 2 more cannot be compiled: the ring is too large',
    );
    mesh.compile = async () => {
      throw new DOMException('too long', 'AbortError');
    };
    expect(await mesh.apply(service('a'))).toMatchObject({ tag: 'unavailable' });
    expect(mesh.store.revision).toBe(0);
    mesh.compile = async () => undefined;
    expect(await mesh.apply(service('a'))).toMatchObject({ tag: 'done', revision: 1 });
  });

  it('rejects with the error of a store that cannot write, and goes on with the next', async () => {
    const mesh = new Mesh();
    mesh.store.commitFault = new Error('no room');
    await expect(mesh.apply(service('a'))).rejects.toThrow('no room');
    mesh.store.commitFault = null;
    expect(await mesh.apply(service('a'))).toMatchObject({ tag: 'done', revision: 1 });
  });

  it('does not wait in a line without end', async () => {
    const mesh = new Mesh();
    let go = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    mesh.compile = () => gate;
    const waiting = Array.from({ length: limits.changesPendingMax }, () => mesh.apply(service('a')));
    expect(await mesh.apply(service('a'))).toMatchObject({ tag: 'unavailable' });
    go();
    const outcomes = await Promise.all(waiting);
    expect(outcomes.every(({ tag }) => tag === 'done')).toBe(true);
    expect(await mesh.apply(service('b'))).toMatchObject({ tag: 'done', revision: 2 });
  });
});

describe('a change', () => {
  it('of several objects is judged as a whole, and is one revision', async () => {
    const mesh = new Mesh();
    const outcome = await mesh.apply(
      policy('p', 'HTTPRoute', 'r'),
      route('r', 'cart', ['next']),
      service('cart'),
      service('next'),
    );
    expect(outcome).toMatchObject({ tag: 'done', revision: 1 });
    const swap = await mesh.make([
      remove('Service', 'next'),
      put(service('newer')),
      put(route('r', 'cart', ['newer'])),
    ]);
    expect(swap).toMatchObject({
      revision: 2,
      results: [
        { name: 'next', action: 'deleted', revision: 2 },
        { name: 'newer', action: 'created', revision: 2 },
        { name: 'r', action: 'replaced', revision: 2 },
      ],
    });
    expect(mesh.compiled).toEqual([
      ['cart.default', 'next.default'],
      ['cart.default', 'newer.default'],
    ]);
  });

  it('that changes nothing makes no revision, and keeps the time of creation', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('a', '127.0.0.1:1'));
    const created = mesh.world.get('Service/default/a')?.metadata.creationTimestamp;
    mesh.clock.advance(5_000);
    const again = service('a', '127.0.0.1:1');
    again.metadata.creationTimestamp = '1999-01-01T00:00:00Z';
    again.metadata.resourceVersion = '77';
    expect(await mesh.apply(again)).toMatchObject({ revision: 1, results: [{ action: 'unchanged', revision: 1 }] });
    await mesh.apply(service('b'), service('a', '127.0.0.1:2'));
    expect(mesh.world.get('Service/default/a')?.metadata).toEqual({
      name: 'a',
      namespace: 'default',
      creationTimestamp: created,
    });
    expect(mesh.store.revision).toBe(2);
    expect(await mesh.apply(service('a', '127.0.0.1:2'), service('c'))).toMatchObject({
      revision: 3,
      results: [
        { action: 'unchanged', revision: 2 },
        { action: 'created', revision: 3 },
      ],
    });
  });

  it('is not held up by what was wrong before', async () => {
    const mesh = new Mesh();
    await mesh.store.put(service('cart'), route('broken', 'cart', ['nobody']));
    expect(await mesh.apply(service('other'))).toMatchObject({ tag: 'done' });
    expect(messagesOf(await mesh.apply(route('r', 'cart', ['nobody'])))).toContain('nobody');
  });

  it('that its author may not make is refused whole, and names the objects', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('cart'));
    const inShop = (name: string): Resource => ({ ...service(name), metadata: { name, namespace: 'shop' } });
    const mayWrite = (namespace: string) => namespace === 'shop';
    expect(await mesh.make([put(inShop('a')), put(service('b'))], { mayWrite })).toEqual({
      tag: 'forbidden',
      objects: [{ kind: 'Service', namespace: 'default', name: 'b', forbidden: 'default', hostname: null }],
    });
    expect(mesh.store.revision).toBe(1);
    expect(await mesh.make([put(inShop('a'))], { mayWrite })).toMatchObject({ tag: 'done', revision: 2 });
    // What a repeated request has made is not told to who may not make it.
    const objects = [put(service('b'))];
    expect(await mesh.make(objects, { requestId: 'one' })).toMatchObject({ tag: 'done' });
    expect(await mesh.make(objects, { requestId: 'one', mayWrite })).toMatchObject({ tag: 'forbidden' });
  });

  it('that is a dry run is judged and not written', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('a'));
    const dry = await mesh.make([put(service('a', '127.0.0.1:1')), put(service('b'))], { isDryRun: true });
    expect(dry).toMatchObject({
      tag: 'done',
      revision: 1,
      results: [
        { action: 'replaced', revision: 1 },
        { action: 'created', revision: 0 },
      ],
      resources: [{ spec: { endpoints: ['127.0.0.1:1'] } }, { metadata: { name: 'b' } }],
    });
    expect(await mesh.make([put(route('r', 'a', ['c']))], { isDryRun: true })).toMatchObject({ tag: 'invalid' });
    expect(mesh.compiled.at(-1)).toEqual(['a.default', 'b.default']);
    expect(mesh.store.revision).toBe(1);
  });

  it('is judged anew when somebody else writes before it', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('a'), service('b'));
    // Found by its registration while the route is judged: the hostname has an owner now.
    let isFirst = true;
    mesh.compile = async () => {
      if (isFirst) await mesh.store.put(service('shop'));
      isFirst = false;
    };
    expect(messagesOf(await mesh.apply(route('r', 'a', ['a'], ['shop'])))).toContain(
      'is the name of Service default/shop',
    );
  });

  it('gives up when others write all the time, and right before a commit', async () => {
    const mesh = new Mesh();
    let count = 0;
    mesh.compile = () => mesh.store.put(service(`other-${++count}`));
    expect(await mesh.apply(service('a'))).toMatchObject({ tag: 'unavailable' });
    mesh.compile = async () => undefined;
    mesh.store.beforeCommit = () => mesh.store.put(service('a', '127.0.0.1:1'));
    expect(await mesh.make([put(service('a'), 0)])).toMatchObject({ tag: 'conflict', expected: 0 });
    mesh.store.beforeCommit = () => mesh.store.put(service('a', '127.0.0.1:2'));
    expect(await mesh.apply(service('a', '127.0.0.1:3'))).toMatchObject({ tag: 'done', revision: mesh.store.revision });
  });
});

describe('a change that arrives twice', () => {
  it('gets the answer of the first, though its expectations no longer hold', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('gone'), service('same'));
    const objects = [put(service('a'), 0), remove('Service', 'gone', 1), put(service('same'))];
    const first = await mesh.make(objects, { requestId: 'one' });
    expect(first).toMatchObject({ tag: 'done', revision: 2 });
    await mesh.apply(service('a', '127.0.0.1:9'), service('more'));
    mesh.clock.advance(60_000);
    expect(await mesh.make(objects, { requestId: 'one' })).toEqual(first);
    // After a restart too: the store knows.
    const { store, clock } = mesh;
    const later = new Changes({ store, clock, world: new World(store), compile: async () => undefined });
    const wanted = { objects, who: 'test', mayWrite: () => true, message: '', requestId: 'one', isDryRun: false };
    expect(await later.make(wanted)).toEqual(first);
    expect(store.revision).toBe(3);
  });

  it('gets that answer also where the first is made through another control plane while this one judges', async () => {
    const mesh = new Mesh();
    const { store, clock } = mesh;
    const elsewhere = new Changes({ store, clock, world: new World(store), compile: async () => undefined });
    const objects = [put(service('a'), 0)];
    const wanted = { objects, who: 'test', mayWrite: () => true, message: '', requestId: 'one', isDryRun: false };
    mesh.compile = async () => {
      mesh.compile = async () => undefined;
      expect(await elsewhere.make(wanted)).toMatchObject({ tag: 'done', revision: 1 });
    };
    expect(await mesh.changes.make(wanted)).toMatchObject({
      tag: 'done',
      revision: 1,
      results: [{ action: 'created' }],
    });
    expect(store.revision).toBe(1);
  });

  it('is refused when it asks for something else', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('kept', '127.0.0.1:1'));
    await mesh.make([put(service('a'))], { requestId: 'one' });
    const other: WantedObject[][] = [
      [put(service('a', '127.0.0.1:1'))],
      [put(service('b'))],
      [put(service('a')), put(service('b'))],
      [put(service('a')), put(service('kept', '127.0.0.1:2'))],
      [remove('Service', 'a')],
      [remove('Service', 'kept'), put(service('a'))],
    ];
    for (const objects of other)
      expect(await mesh.make(objects, { requestId: 'one' })).toEqual({ tag: 'reused-id', revision: 2 });
    expect(mesh.store.revision).toBe(2);
  });

  it('is taken anew when the first was refused, or a dry run', async () => {
    const mesh = new Mesh();
    expect(await mesh.make([remove('Service', 'a')], { requestId: 'one' })).toMatchObject({ tag: 'missing' });
    await mesh.make([put(service('a'))], { requestId: 'one', isDryRun: true });
    expect(await mesh.make([put(service('a'))], { requestId: 'one' })).toMatchObject({ tag: 'done', revision: 1 });
  });
});

describe('while the store is away', () => {
  it('all that wait are told at once, and the next one tries again', async () => {
    const mesh = new Mesh();
    let commits = 0;
    mesh.store.beforeCommit = async () => {
      commits++;
    };
    mesh.store.commitFault = new StoreError('store-unavailable', 'etcd is away');
    const waiting = await Promise.allSettled(['a', 'b', 'c'].map((name) => mesh.apply(service(name))));
    expect(waiting.map((one) => one.status === 'rejected' && one.reason.code)).toEqual(
      Array(3).fill('store-unavailable'),
    );
    expect([commits, mesh.compiled.length]).toEqual([1, 1]);
    mesh.store.commitFault = null;
    expect(await mesh.apply(service('d'))).toMatchObject({ tag: 'done' });
  });

  it('nothing is judged before all that was written is known', async () => {
    const mesh = new Mesh();
    mesh.store.sync = () => Promise.reject(new StoreError('store-unavailable', 'etcd is away'));
    await expect(mesh.apply(service('a'))).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(mesh.compiled).toEqual([]);
  });
});
