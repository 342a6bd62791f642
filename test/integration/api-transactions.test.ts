/** Transactions of the REST API over real HTTP. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { buildDecisionWorker } from '../fixtures/decision-worker.ts';
import { ApiUnderTest, expectProblem, route, service } from './api-harness.ts';

let worker: Awaited<ReturnType<typeof buildDecisionWorker>>;
let api: ApiUnderTest;

beforeAll(async () => {
  worker = await buildDecisionWorker();
});
afterAll(() => worker.remove());
beforeEach(async () => {
  api = await ApiUnderTest.start({ workerFile: worker.file });
});
afterEach(() => api.stop());

const cart = '/v1/services/default/cart';
const revision = async (): Promise<number> => (await api.get('/v1/status')).body.revision;

describe('a transaction', () => {
  it('is several objects that are valid only together, or nothing', async () => {
    const apply = [route('r', 'cart', 'next'), service('cart'), service('next')];
    for (const without of [1, 2]) {
      const refused = await api.transact({ apply: apply.filter((_, i) => i !== without) });
      expectProblem(refused, 422, 'invalid');
      expect(refused.body.problems[0]).toMatchObject({
        object: 'HTTPRoute default/r',
        message: expect.stringMatching(/does not exist/),
      });
    }
    expect(await revision()).toBe(1);
    const made = await api.transact({ apply, message: 'first' }, '', { 'weft-actor': 'ann' });
    expect(made.body).toMatchObject({ revision: 2, results: [{ action: 'created', revision: 2 }, {}, {}] });
    const swap = await api.transact({
      apply: [service('newer'), route('r', 'cart', 'newer')],
      delete: [{ kind: 'Service', name: 'next' }],
    });
    expect(swap.body.results.map(({ action }: { action: string }) => action)).toEqual([
      'created',
      'replaced',
      'deleted',
    ]);
    expectProblem(await api.delete('/v1/services/default/newer'), 422, 'invalid');
    const { items } = (await api.get('/v1/revisions?limit=2')).body;
    expect(items[0].changes).toContainEqual({ object: 'Service/default/next', action: 'deleted' });
    expect(items[1]).toMatchObject({ revision: 2, who: 'ann', message: 'first' });
  });

  it('is refused with the place of each problem', async () => {
    const { body, ...answer } = await api.transact({
      apply: [service('ok'), service('bad', { port: 'x' }), 7, service('UP')],
      delete: [
        7,
        { kind: 'Pod', name: 'x' },
        { kind: 'Service', name: 'a', resourceVersoin: '1' },
        { kind: 'Service', name: 'x'.repeat(1000) },
        { kind: 'Service' },
        { kind: 'Service', name: 'a', resourceVersion: [1] },
      ],
      dryrun: true,
      message: 'x'.repeat(2000),
    });
    expectProblem({ ...answer, body }, 422, 'invalid');
    const paths = body.problems.map(({ path }: { path: string }) => path);
    expect(paths).toEqual([
      'dryrun',
      'message',
      'apply[1].spec.port',
      'apply[2]',
      'apply[3].metadata.name',
      'delete[0]',
      'delete[1].kind',
      'delete[2].resourceVersoin',
      'delete[3].name',
      'delete[4].name',
      'delete[5].resourceVersion',
    ]);
    expectProblem(await api.transact({}), 400, 'bad-request', /no objects/);
    expectProblem(await api.transact({ apply: {} }), 422, 'invalid');
    expectProblem(await api.transact([]), 400, 'bad-request');
    expectProblem(await api.transact({ apply: [service('a'), service('a')] }), 422, 'invalid');
    expectProblem(
      await api.transact({ apply: [service('a')], delete: [{ kind: 'Service', name: 'b' }] }),
      404,
      'not-found',
    );
    const tooMany = Array.from({ length: limits.transactionObjectsMax + 1 }, (_, i) => ({
      kind: 'Service',
      name: `s${i}`,
    }));
    expectProblem(await api.transact({ delete: tooMany }), 413, 'too-large', /5000 objects, this one has 5001/);
    expect(await revision()).toBe(1);
  });

  it('holds to the revision of each object', async () => {
    await api.transact({ apply: [service('a'), service('b')] });
    const stale = await api.transact({
      apply: [service('a', { port: 1 }), service('b', { port: 1 }, { resourceVersion: '7' })],
    });
    expectProblem(stale, 412, 'conflict');
    expect(stale.body).toMatchObject({ object: 'Service default/b', expected: 7, actual: 2 });
    expectProblem(
      await api.transact({ delete: [{ kind: 'Service', name: 'a', resourceVersion: '3' }] }),
      412,
      'conflict',
    );
    expect((await api.get('/v1/services/default/a')).body.spec).toEqual({});
    expect((await api.transact({ delete: [{ kind: 'Service', name: 'a', resourceVersion: '2' }] })).status).toBe(200);
  });

  it('that is a dry run is judged and writes nothing; a misspelt one is refused', async () => {
    await api.put(cart, service('cart'));
    for (const dryRun of ['1', 'true']) {
      const dry = await api.transact(
        { apply: [service('cart', { port: 1 }), service('b')] },
        `?dryRun=${dryRun}&wait=applied`,
      );
      expect(dry.body).toMatchObject({
        revision: 2,
        results: [
          { action: 'replaced', revision: 2 },
          { action: 'created', revision: 0 },
        ],
      });
    }
    const shown = await api.put(`${cart}?dryRun=1`, service('cart', { port: 1 }));
    expect([shown.status, shown.headers.get('etag'), shown.body.spec]).toEqual([200, null, { port: 1 }]);
    expectProblem(await api.transact({ apply: [route('r', 'cart', 'nobody')] }, '?dryRun=1'), 422, 'invalid');
    expectProblem(await api.delete(`${cart}?dryRun=1`, { 'if-match': '7' }), 412, 'conflict');
    expect((await api.delete(`${cart}?dryRun=1`)).status).toBe(200);
    for (const query of [
      '?dryrun=1',
      '?dryRun=yes',
      '?dryRun=0',
      '?dryRun',
      '?wait=yes',
      '?timeoutMs=-1',
      '?timeoutMs=600001',
      '?timeoutMs=99999999',
      '?timeoutMs=1e3',
    ])
      expectProblem(await api.delete(cart + query), 400, 'bad-request', /dryrun is not|must|600000/);
    expect(await revision()).toBe(2);
  });

  it('that arrives twice has one outcome, after a restart too; another one under its key is refused', async () => {
    const key = { 'idempotency-key': 'k-1' };
    await api.put(cart, service('cart'));
    const body = {
      apply: [service('a', {}, { resourceVersion: '0' })],
      delete: [{ kind: 'Service', name: 'cart', resourceVersion: '2' }],
    };
    const first = await api.transact(body, '', key);
    expect(first.status).toBe(200);
    await api.put('/v1/services/default/a', service('a', { port: 9 }));
    expect((await api.transact(body, '', key)).body).toEqual(first.body);
    await api.restart();
    expect((await api.transact(body, '', key)).body).toEqual(first.body);
    const reused = await api.transact({ apply: [service('z')] }, '', key);
    expectProblem(reused, 422, 'idempotency-key-reused', /made revision 3/);
    expect(await revision()).toBe(4);

    const created = await api.put(cart, service('cart'), { 'idempotency-key': 'k-2', 'if-none-match': '*' });
    const again = await api.put(cart, service('cart'), { 'idempotency-key': 'k-2', 'if-none-match': '*' });
    expect([again.status, again.headers.get('etag'), again.body]).toEqual([201, '"5"', created.body]);
    for (const name of ['idempotency-key', 'weft-actor'])
      expectProblem(await api.put(cart, service('cart'), { [name]: 'x'.repeat(257) }), 400, 'bad-request');
  });

  it('that cannot be compiled is refused', async () => {
    // Valid between ^(?: and )$, where patterns are tried at first, and nowhere else.
    const rules = [
      { matches: [{ path: { type: 'RegularExpression', value: '/a)(?:b' } }], backendRefs: [{ name: 'cart' }] },
    ];
    const refused = await api.transact({ apply: [service('cart'), route('r', 'cart', 'cart', { rules })] });
    expectProblem(refused, 422, 'invalid');
    expect(JSON.stringify(refused.body.problems)).toMatch(/r.*regular expression/);
    const catastrophic = [{ matches: [{ path: { type: 'RegularExpression', value: '/(a+)+b' } }] }];
    expect(
      (await api.transact({ apply: [service('cart'), route('r', 'cart', 'cart', { rules: catastrophic })] })).status,
    ).toBe(200);
    const loadBalancer = {
      policy: 'RingHash',
      hashOn: [{ sourceAddress: true }],
      ringEntries: limits.ringEntriesMax + 1,
    };
    expectProblem(await api.put(cart, service('cart', { loadBalancer })), 422, 'invalid');
  });
});

it('a thousand Services and routes are one transaction, and the next change is quick', async () => {
  const names = Array.from({ length: 1_000 }, (_, i) => `s${i}`);
  const apply = [
    ...names.map((name) => service(name, { endpoints: ['127.0.0.1:1', '127.0.0.1:2'] })),
    ...names.map((name) => route(name, name, name, { hostnames: [`${name}.example`, `${name}.other.example`] })),
  ];
  const startedMs = performance.now();
  expect((await api.transact({ apply })).status).toBe(200);
  const transactionMs = performance.now() - startedMs;

  // The loop's longest turn, as a timer of 1 ms sees it.
  let longestMs = 0;
  let lastMs = performance.now();
  const timer = setInterval(() => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
  }, 1);
  for (let port = 1; port <= 5; port++)
    expect((await api.put('/v1/services/default/s7', service('s7', { port }))).status).toBe(200);
  clearInterval(timer);
  expect(transactionMs).toBeLessThan(10_000);
  expect(longestMs).toBeLessThan(500);
});
