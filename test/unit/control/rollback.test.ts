import { describe, expect, it } from 'vitest';
import { Changes, type WantedChange, type WantedObject } from '../../../src/control/change.ts';
import { wayBackTo } from '../../../src/control/rollback.ts';
import { World } from '../../../src/control/world.ts';
import { limits } from '../../../src/model/limits.ts';
import type { Kind, Resource } from '../../../src/model/resources.ts';
import { ManualClock, MemoryStore, service, route as unattachedRoute } from './memory-store.ts';

let nextRequest = 0;

/** As a real store, it may have forgotten. */
class ForgetfulStore extends MemoryStore {
  forgotten = 0;
  override revisionsAfter(from: number) {
    return from < this.forgotten ? (null as never) : super.revisionsAfter(from);
  }
  override history(limit: number) {
    return super.history(limit).filter(({ revision }) => revision > this.forgotten);
  }
}

class Mesh {
  readonly clock = new ManualClock();
  readonly store = new ForgetfulStore(this.clock);
  readonly world = new World(this.store);
  readonly changes = new Changes({
    store: this.store,
    world: this.world,
    clock: this.clock,
    compile: async () => undefined,
  });

  make(objects: WantedChange['objects'], more: Partial<WantedChange> = {}) {
    const requestId = `request-${++nextRequest}`;
    return this.changes.make({
      objects,
      who: 'ann',
      mayWrite: () => true,
      message: '',
      requestId,
      isDryRun: false,
      ...more,
    });
  }

  async apply(...objects: readonly (Resource | WantedObject)[]): Promise<number> {
    this.clock.advance(1_000);
    const wanted = objects.map((each) => ('kind' in each ? { resource: each, expected: null } : each));
    const outcome = await this.make(wanted);
    if (outcome.tag !== 'done') throw new Error(JSON.stringify(outcome));
    return outcome.revision;
  }

  back(revision: number, more: Partial<WantedChange> = {}) {
    return this.make(wayBackTo(revision, this.store), more);
  }

  state(): Record<string, Resource> {
    return Object.fromEntries(Array.from(this.world.all(), (each) => [`${each.kind}/${each.metadata.name}`, each]));
  }
}

const remove = (kind: Kind, name: string): WantedObject => ({
  remove: { kind, namespace: 'default', name },
  expected: null,
});
function route(...like: Parameters<typeof unattachedRoute>): Resource {
  const made = unattachedRoute(...like);
  if (made.kind === 'HTTPRoute') made.spec.parentRefs = [{ kind: 'Service', group: '', name: like[1] }];
  return made;
}

describe('a rollback', () => {
  it('is refused when the revision is no longer kept, with the oldest that can be returned to', async () => {
    const mesh = new Mesh();
    for (const endpoint of ['h:1', 'h:2', 'h:3', 'h:4']) await mesh.apply(service('cart', endpoint));
    mesh.store.forgotten = 2;
    expect(await mesh.back(1)).toEqual({ tag: 'gone', revision: 1, oldest: 2 });
    // The record of revision 2 is gone too, but its state is known from what revision 3 has replaced.
    expect(await mesh.back(2)).toMatchObject({ tag: 'done', revision: 5 });
    expect(mesh.state()['Service/cart']).toMatchObject({ spec: { endpoints: ['h:2'] } });
  });

  it('brings everything back as it was, with its time of creation, in one revision', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('cart', 'h:1'), service('next'), route('r', 'cart', ['cart']));
    const revision = await mesh.apply(service('other', 'h:9'));
    const before = mesh.state();
    await mesh.apply(route('r', 'cart', ['next']));
    await mesh.apply(remove('HTTPRoute', 'r'), remove('Service', 'cart'), service('added'));
    await mesh.apply(service('other', 'h:8'));
    const outcome = await mesh.back(revision, { message: 'as before' });
    expect(outcome).toMatchObject({ tag: 'done', revision: 6 });
    expect(outcome.tag === 'done' && outcome.results.map(({ name, action }) => `${name} ${action}`)).toEqual([
      'r created',
      'added deleted',
      'cart created',
      'other replaced',
    ]);
    expect(mesh.state()).toEqual(before);
    expect(mesh.store.history(1)[0]).toMatchObject({ revision: 6, who: 'ann', message: 'as before' });
    // A rollback is a revision like any other: it can be rolled back.
    expect(await mesh.back(5)).toMatchObject({ tag: 'done', revision: 7 });
    expect(Object.keys(mesh.state()).sort()).toEqual(['Service/added', 'Service/next', 'Service/other']);
  });

  it('is refused whole when it would change what its author may not', async () => {
    const mesh = new Mesh();
    const revision = await mesh.apply(service('cart', 'h:1'));
    await mesh.apply(service('cart', 'h:2'));
    const outcome = await mesh.back(revision, { mayWrite: (namespace) => namespace === 'shop' });
    expect(outcome).toMatchObject({ tag: 'forbidden', objects: [{ name: 'cart', forbidden: 'default' }] });
    expect(mesh.state()['Service/cart']).toMatchObject({ spec: { endpoints: ['h:2'] } });
  });

  it('to what is there makes no revision', async () => {
    const mesh = new Mesh();
    const revision = await mesh.apply(service('cart'));
    await mesh.apply(service('cart', 'h:1'));
    await mesh.apply(service('cart'));
    expect(await mesh.back(revision)).toMatchObject({ tag: 'done', revision: 3, results: [] });
  });

  it('shows what it would do, and does it not, in a dry run', async () => {
    const mesh = new Mesh();
    const revision = await mesh.apply(service('cart', 'h:1'));
    await mesh.apply(service('cart', 'h:2'));
    const outcome = await mesh.back(revision, { isDryRun: true });
    expect(outcome).toMatchObject({
      results: [{ name: 'cart', action: 'replaced', revision: 2 }],
      replaced: [{ spec: { endpoints: ['h:2'] } }],
      resources: [{ spec: { endpoints: ['h:1'] } }],
    });
    expect(mesh.store.revision).toBe(2);
  });

  it('leaves alone what is no resource, and Services that a registration has made', async () => {
    const mesh = new Mesh();
    const revision = await mesh.apply(service('cart', 'h:1'));
    const commit = (key: string, after: string, who: string) =>
      mesh.store.commit({
        expect: new Map(),
        changes: new Map([[key, after]]),
        who,
        message: '',
        requestId: '',
        atMs: 0,
      });
    await commit('TrustBundle/mesh', 'roots', 'certificate-authority');
    await commit('Service/default/pay', JSON.stringify(service('pay')), 'registration');
    await mesh.apply(service('cart', 'h:2'));
    const outcome = await mesh.back(revision);
    expect(outcome.tag === 'done' && outcome.results.map(({ name }) => name)).toEqual(['cart']);
    expect(mesh.store.get('TrustBundle/mesh')?.value).toBe('roots');
    expect(mesh.state()['Service/pay']).toBeDefined();
  });

  it('is judged as a whole, with what stays', async () => {
    const mesh = new Mesh();
    const revision = await mesh.apply(service('cart'), route('r', 'cart', ['cart'], ['pay']));
    await mesh.apply(route('r', 'cart', ['cart']));
    // Since then there is a Service of that name, which a registration has made.
    await mesh.store.commit({
      expect: new Map(),
      changes: new Map([['Service/default/pay', JSON.stringify(service('pay'))]]),
      who: 'registration',
      message: '',
      requestId: '',
      atMs: 0,
    });
    expect(await mesh.back(revision)).toMatchObject({
      tag: 'invalid',
      problems: [{ object: 'HTTPRoute default/r', path: 'spec.hostnames[0]' }],
    });
    expect(mesh.store.revision).toBe(3);
  });

  it('is refused when what it would bring back is no longer valid by itself', async () => {
    const mesh = new Mesh();
    await mesh.store.put({ ...service('cart'), spec: { port: 0 } } as Resource);
    await mesh.apply(service('cart', 'h:1'));
    expect(await mesh.back(1)).toMatchObject({
      tag: 'invalid',
      problems: [{ object: 'Service default/cart', path: 'spec.port' }],
    });
  });

  it('that arrives twice is answered as the first time, though others have written since', async () => {
    const mesh = new Mesh();
    const revision = await mesh.apply(service('cart', 'h:1'), service('pay'));
    await mesh.apply(service('cart', 'h:2'), remove('Service', 'pay'));
    const first = await mesh.back(revision, { requestId: 'same' });
    expect(first).toMatchObject({ tag: 'done', revision: 3 });
    await mesh.apply(service('cart', 'h:5'));
    expect(await mesh.back(revision, { requestId: 'same' })).toMatchObject({
      tag: 'done',
      revision: 3,
      results: [
        { name: 'cart', action: 'replaced' },
        { name: 'pay', action: 'created' },
      ],
    });
    expect(mesh.store.revision).toBe(4);
    expect(await mesh.back(2, { requestId: 'same' })).toEqual({ tag: 'reused-id', revision: 3 });
    // Its own record is still there, but no longer what it went back to.
    mesh.store.forgotten = 2;
    expect(await mesh.back(revision)).toMatchObject({ tag: 'gone' });
    expect(await mesh.back(revision, { requestId: 'same' })).toMatchObject({
      tag: 'done',
      revision: 3,
      results: [
        { name: 'cart', action: 'replaced' },
        { name: 'pay', action: 'created' },
      ],
    });
  });

  it('takes back what was written while it waited for its turn', async () => {
    const mesh = new Mesh();
    const revision = await mesh.apply(service('cart', 'h:1'));
    const [written, back] = await Promise.all([
      mesh.make([{ resource: service('late'), expected: null }]),
      mesh.back(revision),
    ]);
    expect([written.tag, back.tag]).toEqual(['done', 'done']);
    expect(Object.keys(mesh.state())).toEqual(['Service/cart']);
  });

  it('is refused when it would change more than a transaction may', async () => {
    const mesh = new Mesh();
    await mesh.apply(service('cart'));
    const half = limits.transactionObjectsMax / 2 + 1;
    for (const part of ['a', 'b'])
      await mesh.store.put(...Array.from({ length: half }, (_, i) => service(`${part}${i}`)));
    const outcome = await mesh.back(1);
    expect(outcome).toMatchObject({ tag: 'invalid' });
    expect(outcome.tag === 'invalid' && outcome.problems[0]?.message).toMatch(/go back to a revision in between first/);
  });
});
