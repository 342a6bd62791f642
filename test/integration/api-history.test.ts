/** The past over real HTTP: revisions, what differs between them, and the way back. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ObjectChange } from '../../src/cli/client.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { buildDecisionWorker } from '../fixtures/decision-worker.ts';
import { ApiUnderTest, expectProblem, muteSidecar, route, service } from './api-harness.ts';

let worker: Awaited<ReturnType<typeof buildDecisionWorker>>;
let api: ApiUnderTest;
/** What the wall clock of the control plane is ahead of the real one, ms. */
let aheadMs = 0;

beforeAll(async () => {
  worker = await buildDecisionWorker();
});
afterAll(() => worker.remove());
beforeEach(async () => {
  aheadMs = 0;
  const clock = { ...systemClock, after: systemClock.after.bind(systemClock), nowMs: () => Date.now() + aheadMs };
  api = await ApiUnderTest.start({
    workerFile: worker.file,
    clock,
    retention: { countMax: 5, ageMsMax: 3_600_000 },
  });
});
afterEach(() => api.stop());

const write = async (apply: readonly object[], remove: readonly object[] = [], message = ''): Promise<number> => {
  const { status, body } = await api.transact({ apply, delete: remove, message }, '', { 'weft-actor': 'ann' });
  expect(status, JSON.stringify(body)).toBe(200);
  return body.revision;
};
const rollback = (body: unknown, query = '', headers = {}) =>
  api.call('POST', `/v1/rollback${query}`, { body, headers });
const named = (name: string) => ({ kind: 'Service', name });

describe('revisions', () => {
  it('are refused when they are gone, to come, or no numbers', async () => {
    for (let port = 1; port <= 6; port++) await write([service('cart', { port })]);
    const gone = await api.get('/v1/revisions/2');
    expectProblem(gone, 410, 'revision-gone', /Revision 2 is no longer kept.* 3\./);
    expect(gone.body.oldest).toBe(3);
    expectProblem(await api.get('/v1/revisions/99'), 404, 'not-found', /newest is 7/);
    expectProblem(await api.get('/v1/revisions/x'), 400, 'bad-request');
    expectProblem(await api.get('/v1/revisions?kind=Service'), 400, 'bad-request', /belong together/);
    expectProblem(await api.get('/v1/revisions?kind=Pod&namespace=a&name=b'), 400, 'bad-request');
    expectProblem(await api.call('DELETE', '/v1/revisions/7'), 405, 'method-not-allowed');
  });

  it('say who, when, why, and of each object what it was and became; of what is no resource only the name', async () => {
    const revision = await write([service('cart', { port: 81 })], [], 'more room');
    const { body } = await api.get(`/v1/revisions/${revision}`);
    expect(body).toMatchObject({ revision, who: 'ann', message: 'more room', at: expect.stringMatching(/^20.*Z$/) });
    expect(body.changes).toEqual([
      {
        object: 'Service/default/cart',
        action: 'created',
        before: null,
        after: expect.objectContaining({ spec: { port: 81 } }),
      },
    ]);
    const bundle = (await api.get('/v1/revisions/1')).body;
    expect(bundle.changes).toEqual([{ object: 'TrustBundle/mesh', action: 'created' }]);
  });

  it('are listed newest first, of all or of one object, page by page', async () => {
    await write([service('cart'), service('pay')]);
    await write([service('pay', { port: 81 })]);
    await write([service('cart', { port: 81 })]);
    const list = async (query: string) =>
      (await api.get(`/v1/revisions${query}`)).body.items.map((each: { revision: number }) => each.revision);
    expect(await list('')).toEqual([4, 3, 2, 1]);
    expect(await list('?limit=2')).toEqual([4, 3]);
    expect(await list('?limit=2&before=3')).toEqual([2, 1]);
    expect(await list('?before=99')).toEqual([4, 3, 2, 1]);
    const ofCart = '?kind=Service&namespace=default&name=cart';
    expect(await list(ofCart)).toEqual([4, 2]);
    expect(await list(`${ofCart}&before=4`)).toEqual([2]);
    const { items, oldest } = (await api.get(`/v1/revisions${ofCart}&before=4`)).body;
    expect(items[0].changes).toEqual([{ object: 'Service/default/cart', action: 'created' }]);
    expect(oldest).toBe(0);
  });

  it('are forgotten by count and by age, also after a restart', async () => {
    for (let port = 1; port <= 6; port++) await write([service('cart', { port })]);
    const oldest = async () => (await api.get('/v1/revisions')).body.oldest;
    expect(await oldest()).toBe(2);
    aheadMs = 2 * 3_600_000;
    await api.restart();
    expect(await oldest()).toBe(2);
    expect(await write([service('cart', { port: 7 })])).toBe(8);
    expect(await oldest()).toBe(7);
    await api.restart();
    expect(await oldest()).toBe(7);
    expect((await rollback({ revision: 7 })).body).toMatchObject({ revision: 9 });
    expect((await api.get('/v1/services/default/cart')).body.spec).toEqual({ port: 6 });
  });
});

describe('what differs between two revisions', () => {
  it('is refused where one of them is gone or to come', async () => {
    for (let port = 1; port <= 6; port++) await write([service('cart', { port })]);
    expectProblem(await api.get('/v1/diff?from=1'), 410, 'revision-gone');
    expectProblem(await api.get('/v1/diff?from=7&to=1'), 410, 'revision-gone');
    expectProblem(await api.get('/v1/diff?from=3&to=8'), 404, 'not-found');
    expectProblem(await api.get('/v1/diff'), 400, 'bad-request');
    expectProblem(await api.get('/v1/diff?from=3&too=4'), 400, 'bad-request', /too is not known/);
  });

  it('is asked for in numbers, which a refusal says in words', async () => {
    for (const [path, said] of [
      ['/v1/diff?from=-1', 'The query: from must be a whole number, 0 or more.'],
      ['/v1/revisions?limit=0', 'The query: limit must be a whole number, 1 to 9999.'],
      ['/v1/stats?seconds=x', 'The query: seconds must be a whole number, 1 to 99.'],
      ['/v1/latency?service=a&depth=-1', 'The query: depth must be a whole number, 0 to 99.'],
      ['/v1/revisions/x', 'The address: revision must be a whole number, 0 or more.'],
    ] as const) {
      const refused = await api.get(path);
      expectProblem(refused, 400, 'bad-request');
      expect(refused.body.detail).toBe(said);
    }
  });

  it('is told either way, of what still differs in the end', async () => {
    const from = await write([service('cart'), service('pay')]);
    await write([service('cart', { port: 81 }), service('passing')]);
    const to = await write([service('new')], [named('passing'), named('pay')]);
    const { body } = await api.get(`/v1/diff?from=${from}&to=${to}`);
    const told = ({ object, action, before, after }: ObjectChange) => [object, action, before?.spec, after?.spec];
    expect(body.changes.map(told)).toEqual([
      ['Service/default/cart', 'replaced', {}, { port: 81 }],
      ['Service/default/new', 'created', undefined, {}],
      ['Service/default/pay', 'deleted', {}, undefined],
    ]);
    expect((await api.get(`/v1/diff?from=${from}`)).body).toEqual(body);
    const back = (await api.get(`/v1/diff?from=${to}&to=${from}`)).body;
    expect(back.changes.map(told)).toEqual([
      ['Service/default/cart', 'replaced', { port: 81 }, {}],
      ['Service/default/new', 'deleted', {}, undefined],
      ['Service/default/pay', 'created', undefined, {}],
    ]);
    expect((await api.get(`/v1/diff?from=${to}&to=${to}`)).body).toEqual({ from: to, to, changes: [] });
  });
});

describe('a dry run', () => {
  it('says of each object what it is and would be', async () => {
    await write([service('cart'), service('pay'), service('same')]);
    const { body } = await api.transact(
      { apply: [service('cart', { port: 81 }), service('new'), service('same')], delete: [named('pay')] },
      '?dryRun=1',
    );
    expect(body.results).toMatchObject([
      { name: 'cart', action: 'replaced', before: { spec: {} }, after: { spec: { port: 81 } } },
      { name: 'new', action: 'created', before: null, after: { spec: {} } },
      { name: 'same', action: 'unchanged' },
      { name: 'pay', action: 'deleted', before: { spec: {} }, after: null },
    ]);
    expect(body.results[2]).not.toHaveProperty('before');
    // What is written is known to whoever writes it.
    expect((await api.transact({ apply: [service('new')] })).body.results[0]).not.toHaveProperty('after');
  });
});

describe('a rollback', () => {
  it('is refused with what is wrong about it, and changes nothing', async () => {
    for (let port = 1; port <= 6; port++) await write([service('cart', { port })]);
    expectProblem(await rollback({ revision: 1 }), 410, 'revision-gone', /the oldest one that is known is 2/);
    expectProblem(await rollback({ revision: 8 }), 404, 'not-found');
    expectProblem(await rollback({ revision: 0 }), 422, 'invalid');
    expectProblem(await rollback({ revision: '3' }), 422, 'invalid');
    expectProblem(await rollback({ revison: 3 }), 422, 'invalid');
    expectProblem(await rollback({ revision: 3, message: 'x'.repeat(2000) }), 422, 'invalid');
    expectProblem(await rollback([]), 400, 'bad-request');
    expectProblem(await rollback({ revision: 3 }, '?dryrun=1'), 400, 'bad-request', /dryrun is not known/);
    expectProblem(await api.get('/v1/rollback'), 405, 'method-not-allowed');
    expect((await api.get('/v1/status')).body.revision).toBe(7);
  });

  it('brings back what was deleted and changed, with everything that hangs together, under a new revision', async () => {
    const revision = await write([service('cart'), service('next'), route('r', 'cart', 'next')]);
    const before = (await api.get('/v1/httproutes/default/r')).body;
    await write([service('newer'), route('r', 'cart', 'newer')], [named('next')]);
    const preview = await rollback({ revision }, '?dryRun=1');
    expect(preview.body.results.map(({ kind, name, action }: Record<string, string>) => [kind, name, action])).toEqual([
      ['HTTPRoute', 'r', 'replaced'],
      ['Service', 'newer', 'deleted'],
      ['Service', 'next', 'created'],
    ]);
    expect((await api.get('/v1/status')).body.revision).toBe(3);
    const { status, body } = await rollback({ revision }, '', { 'weft-actor': 'bob' });
    expect([status, body.revision]).toEqual([200, 4]);
    const after = (await api.get('/v1/httproutes/default/r')).body;
    expect(after).toEqual({ ...before, metadata: { ...before.metadata, resourceVersion: '4' } });
    expect((await api.get('/v1/revisions?limit=1')).body.items[0]).toMatchObject({
      revision: 4,
      who: 'bob',
      message: 'back to revision 2',
    });
  });

  it('is known again by its key, and waits for the sidecars if it is told to', async () => {
    const revision = await write([service('cart')]);
    await write([service('cart', { port: 81 })]);
    const sidecar = await muteSidecar(api, 'one', ['cart']);
    sidecar.ack(await sidecar.next());
    const headers = { 'idempotency-key': 'once' };
    const waiting = rollback({ revision }, '?wait=applied&timeoutMs=20000', headers);
    sidecar.ack(await sidecar.next());
    expect((await waiting).body).toMatchObject({ revision: 4, applied: { applied: [{ sidecar: 'one' }] } });
    await write([service('cart', { port: 82 })]);
    expect((await rollback({ revision }, '', headers)).body).toMatchObject({
      revision: 4,
      results: [{ name: 'cart', action: 'replaced', revision: 4 }],
    });
    expectProblem(await rollback({ revision: 3 }, '', headers), 422, 'idempotency-key-reused');
    sidecar.end();
  });
});
