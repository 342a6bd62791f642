/** The REST API over real HTTP: objects, and what it says when it says no. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { buildDecisionWorker } from '../fixtures/decision-worker.ts';
import { type Answer, ApiUnderTest, expectProblem, service } from './api-harness.ts';

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

describe('bodies that cannot be read', () => {
  it.each([
    ['a token that cannot be there', '{"a":\n  aaa}', /: Unexpected token 'a' \(line 2, column 3\)\.$/],
    ['a comma too many', '{"a":1,}', /double-quoted property name \(line 1, column 8\)/],
    ['an end too early', '{"a":[1,2', /\(line 1, column 10\)/],
    ['an end in a word', 'nul', /Unexpected end of JSON input \(line 1, column 4\)/],
    ['text behind it', '{}\n\n{}', /non-whitespace character after JSON \(line 3, column 1\)/],
    ['a control character', '{"a":"x\ty"}', /control character in string literal \(line 1, column 8\)/],
    ['nothing', '', /The body is empty/],
    ['a byte order mark', '\ufeff{}', /not valid JSON/],
    ['a field __proto__', '{"__proto__":{"polluted":1}}', /a field __proto__/],
    ['one deep down', '{"metadata":{"labels":{"__proto__":"x"}}}', /a field __proto__/],
    ['one with escapes', '{"metadata":{"annotations":[{"\\u005f_prot\\u006f__":1}]}}', /a field __proto__/],
  ])('%s', async (_name, body, detail) => {
    const headers = { 'content-type': 'application/json' };
    for (const [method, path] of [
      ['PUT', cart],
      ['POST', '/v1/transactions'],
    ] as const)
      expectProblem(await api.call(method, path, { headers, body }), 400, 'bad-request', detail);
    expect(({} as { polluted?: number }).polluted).toBe(undefined);
  });

  it('finds the place in a body of many lines, and gives up on an enormous one', async () => {
    const text = JSON.stringify(Array.from({ length: 5_000 }, (_, i) => i)).replaceAll(',', ',\n');
    expectProblem(await api.put(cart, text.replace('\n4321,', '\n43x21,')), 400, 'bad-request', /line 4322, column 3/);
    expectProblem(await api.put(cart, `[${'1234567,'.repeat(120_000)}x]`), 400, 'bad-request', /Unexpected token 'x'/);
    expectProblem(await api.put(cart, '['.repeat(500_000)), 400, 'bad-request');
  });

  it('a type that is not JSON, or none', async () => {
    for (const type of [
      'text/plain',
      'application/yaml',
      'application/x-www-form-urlencoded',
      'application/merge-patch+json',
      'x',
    ])
      expectProblem(
        await api.put(cart, JSON.stringify(service('cart')), { 'content-type': type }),
        415,
        'unsupported-media-type',
      );
    const text = await api.raw(
      `PUT ${cart} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 415 .*"unsupported-media-type"/s);
    const utf8 = await api.put(cart, service('cart'), { 'content-type': 'application/json; charset=utf-8' });
    expect(utf8.status).toBe(201);
  });

  it('too many bytes, told by length or not', async () => {
    const note = (chars: number) => service('cart', {}, { annotations: { note: 'x'.repeat(chars) } });
    expectProblem(await api.put(cart, note(limits.objectBytesMax)), 413, 'too-large');
    const chunked = await api.raw(
      `PUT ${cart} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n` +
        `100001\r\n${' '.repeat(0x100001)}\r\n0\r\n\r\n`,
    );
    expect(chunked).toMatch(/^HTTP\/1\.1 413 .*"too-large"/s);
    const apply = Array.from({ length: 17 }, (_, i) => ({ ...note(1_000_000), metadata: { name: `s${i}` } }));
    expectProblem(await api.transact({ apply, message: 'x'.repeat(limits.manifestBytesMax) }), 413, 'too-large');
    // A transaction has room for more, but no object of it has.
    const refused = await api.transact({ apply: [note(limits.objectBytesMax)] });
    expectProblem(refused, 422, 'invalid');
    expect(refused.body.problems[0].message).toContain('larger than');
    expect(await revision()).toBe(1);
  });

  it('what is no HTTP', async () => {
    expect(await api.raw('HELO\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 .*application\/problem\+json.*"bad-request"/s);
    expect(await api.raw(`GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ${'y'.repeat(70_000)}\r\n\r\n`)).toMatch(
      /^HTTP\/1\.1 431 /,
    );
  });
});

describe('addresses', () => {
  it.each([
    ['/v1/nothing', 404],
    ['/v1/services/default', 404],
    ['/v1/services/default/cart/more', 404],
    ['/v1/services/default/..%2f..%2fcart', 404],
    ['/v1/services/default%2Fcart/x', 404],
    ['/v1/services/__proto__/constructor', 404],
    ['/v1/services/default/%00', 404],
    [`/v1/services/default/${'x'.repeat(99)}`, 404],
    ['/v1/services/default/%zz', 400],
    ['/v1/services?from=x', 400],
    ['/v1/services?watch=maybe', 400],
    ['/v1/services?namspace=default', 400],
    ['/v1/services?namespace=a&namespace=b', 400],
    ['/v1/revisions?limit=0', 400],
    ['/v1/revisions?limit=99999', 400],
  ])('GET %s is %i', async (path, status) => {
    expectProblem(await api.get(path), status, status === 404 ? 'not-found' : 'bad-request');
  });

  it.each(['..%2Fcart', 'Cart', 'a_b', '__proto__', 'x'.repeat(64), '%00', 'a%2Fb', '-'])(
    'PUT to the name %s writes nothing',
    async (name) => {
      const named = service(decodeURIComponent(name));
      expectProblem(await api.put(`/v1/services/default/${name}`, named), 422, 'invalid');
      expectProblem(await api.put(`/v1/services/${name}/cart`, service('cart')), 422, 'invalid');
      expect(await revision()).toBe(1);
    },
  );

  it('may be long, and are not said again in full', async () => {
    for (const chars of [250, 5_000]) {
      const answer = await api.get(`/v1/services/default/${'x'.repeat(chars)}`);
      expectProblem(answer, 404, 'not-found');
      expect(answer.body.detail.length).toBeLessThan(400);
    }
  });

  it('are those of this machine: a page that has rebound its name to it gets nothing', async () => {
    const ask = (host: string) => api.raw(`GET /v1/status HTTP/1.1\r\n${host}connection: close\r\n\r\n`);
    for (const host of [
      'evil.example',
      'evil.example:7070',
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '192.0.2.1',
      '[::2]:1',
      '@',
      'a b',
    ])
      expect(await ask(`host: ${host}\r\n`)).toMatch(/^HTTP\/1\.1 421 .*"misdirected"/s);
    for (const host of ['localhost', 'localhost:7070', '127.0.0.1:1', '127.1.2.3', '[::1]', '[::1]:7070'])
      expect(await ask(`host: ${host}\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
    expect(await ask('')).toMatch(/^HTTP\/1\.1 400 /);
    expect(await api.raw('GET /v1/status HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 /);
    expect(await api.raw('GET /nowhere HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 421 /,
    );
  });

  it('take some methods, and say which', async () => {
    const cases = [
      ['POST', cart, 'GET, HEAD, PUT, DELETE'],
      ['PATCH', cart, 'GET, HEAD, PUT, DELETE'],
      ['DELETE', '/v1/services', 'GET, HEAD'],
      ['GET', '/v1/transactions', 'POST'],
      ['PUT', '/healthz', 'GET, HEAD'],
      ['OPTIONS', '/v1/status?x=1', 'GET, HEAD'],
    ] as const;
    for (const [method, path, allow] of cases) {
      const answer = await api.call(method, path);
      expectProblem(answer, 405, 'method-not-allowed');
      expect(answer.headers.get('allow')).toBe(allow);
    }
    expect((await api.call('HEAD', '/v1/services')).status).toBe(200);
    expect((await api.call('HEAD', cart)).status).toBe(404);
    expectProblem(
      await api.call('POST', '/nowhere', { body: 'x', headers: { 'content-type': 'text/plain' } }),
      404,
      'not-found',
    );
  });
});

describe('one object', () => {
  it('is created, read, replaced, listed and deleted', async () => {
    const created = await api.put(cart, service('cart', { endpoints: ['127.0.0.1:1'] }));
    expect([created.status, created.headers.get('etag')]).toEqual([201, '"2"']);
    expect(created.body.metadata).toMatchObject({ name: 'cart', namespace: 'default', resourceVersion: '2' });
    const { creationTimestamp } = created.body.metadata;
    expect(Math.abs(Date.now() - Date.parse(creationTimestamp))).toBeLessThan(60_000);
    expect((await api.get(cart)).body).toEqual(created.body);

    // What was read can be sent back as it is, and changes nothing.
    const same = await api.put(cart, created.body);
    expect([same.status, same.headers.get('etag'), same.body]).toEqual([200, '"2"', created.body]);
    const replaced = await api.put(cart, { ...created.body, spec: { port: 8080 } });
    expect([replaced.status, replaced.headers.get('etag')]).toEqual([200, '"3"']);
    expect(replaced.body).toMatchObject({
      metadata: { creationTimestamp, resourceVersion: '3' },
      spec: { port: 8080 },
    });
    expect(replaced.body.spec.endpoints).toBe(undefined);

    await api.put('/v1/services/shop/cart', service('cart'));
    await api.put('/v1/services/default/b', service('b'));
    const names = (answer: Answer) =>
      answer.body.items.map(
        ({ metadata }: { metadata: { namespace: string; name: string } }) => `${metadata.namespace}/${metadata.name}`,
      );
    expect(names(await api.get('/v1/services'))).toEqual(['default/b', 'default/cart', 'shop/cart']);
    expect(names(await api.get('/v1/services?namespace=shop'))).toEqual(['shop/cart']);
    expect(names(await api.get('/v1/services?namespace=shop%2Fcart'))).toEqual([]);
    expect((await api.get('/v1/httproutes')).body).toEqual({ items: [], revision: 5 });
    expect((await api.get('/v1/services')).body.items[1]).toEqual(replaced.body);

    const deleted = await api.call('DELETE', cart, { headers: { 'content-type': 'application/json' } });
    expect(deleted.body).toEqual({
      revision: 6,
      results: [{ kind: 'Service', namespace: 'default', name: 'cart', action: 'deleted', revision: 6 }],
    });
    expectProblem(await api.get(cart), 404, 'not-found', /Service default\/cart does not exist/);
    expectProblem(await api.delete(cart), 404, 'not-found');
    expect((await api.get('/v1/services/shop/cart')).status).toBe(200);
  });

  it('is judged whole: every problem, with its path and what was meant', async () => {
    const { body, ...answer } = await api.put(cart, {
      ...service('cart', { endpoint: ['x'], port: 0, loadBalancer: { policy: 'Roundrobin' } }),
      metadata: { name: 'cart', label: {} },
    });
    expectProblem({ ...answer, body }, 422, 'invalid');
    const problems = new Map<string, string>(
      body.problems.map(({ path, message }: { path: string; message: string }) => [path, message]),
    );
    expect(problems.get('spec.endpoint')).toMatch(/unknown field, did you mean endpoints\?/);
    expect(problems.get('metadata.label')).toMatch(/did you mean labels\?/);
    expect([...problems.keys()].sort()).toEqual([
      'metadata.label',
      'spec.endpoint',
      'spec.loadBalancer.policy',
      'spec.port',
    ]);
  });

  it('must be what the address says', async () => {
    const problemOf = async (path: string, body: unknown) => {
      const answer = await api.put(path, body);
      expectProblem(answer, 422, 'invalid');
      return answer.body.problems[0];
    };
    expect(await problemOf(cart, service('other'))).toEqual({
      path: 'metadata.name',
      message: 'is other, but the address says cart',
    });
    expect((await problemOf(cart, service('cart', {}, { namespace: 'shop' }))).path).toBe('metadata.namespace');
    expect((await problemOf('/v1/httproutes/default/cart', service('cart'))).path).toBe('kind');
    expect((await problemOf(cart, { ...service('cart'), kind: 'Gateway' })).message).toMatch(/must be one of Service/);
    expect((await problemOf(cart, { ...service('cart'), apiVersion: 'v1' })).path).toBe('apiVersion');
    for (const body of [[], 7, 'null', '"text"', {}]) await problemOf(cart, body);
    for (const kind of ['__proto__', 'constructor', 'toString', 'x'.repeat(9_999)])
      expect((await problemOf(cart, { ...service('cart'), kind })).message.length).toBeLessThan(200);
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const expectTooDeep = async (body: string) =>
      expectProblem(await api.put(cart, body), 400, 'bad-request', /nests deeper/);
    await expectTooDeep(`{"kind":${deep}}`);
    await expectTooDeep(`{"kind":"Service","apiVersion":${deep}}`);
    await expectTooDeep(JSON.stringify({ ...service('cart'), spec: 'deep' }).replace('"deep"', deep));
    await expectTooDeep(JSON.stringify(service('cart', { endpoints: 'deep' })).replace('"deep"', deep));
  });

  it('keeps odd but harmless names as they are', async () => {
    const metadata = {
      labels: { constructor: 'a', toString: 'b', 'x/y': 'c' },
      annotations: { prototype: 'd', hasOwnProperty: 'e' },
    };
    expect((await api.put(cart, service('cart', {}, metadata))).status).toBe(201);
    await api.restart();
    expect((await api.get(cart)).body.metadata).toMatchObject(metadata);
  });

  it('is written only if it is what was expected', async () => {
    await api.put(cart, service('cart'));
    const next = (port: number) => service('cart', { port });
    const stale = await api.put(cart, next(1), { 'if-match': '"9"' });
    expectProblem(stale, 412, 'conflict', /Service default\/cart is at revision 2, not at 9/);
    expect(stale.body).toMatchObject({ object: 'Service default/cart', expected: 9, actual: 2 });
    const late = await api.put(cart, next(1), { 'if-none-match': '*' });
    expectProblem(late, 412, 'conflict', /is at revision 2, not absent/);
    const absent = await api.put('/v1/services/default/b', service('b'), { 'if-match': '"1"' });
    expectProblem(absent, 412, 'conflict', /does not exist, not at 1/);
    expect(absent.body).toMatchObject({ expected: 1, actual: 0 });
    expectProblem(await api.put(cart, service('cart', { port: 1 }, { resourceVersion: '7' })), 412, 'conflict');
    expectProblem(await api.delete(cart, { 'if-match': '3' }), 412, 'conflict');
    for (const match of ['x', '', '"1', '1"', 'W/"1"', '*', '"1", "2"', '-1', '1.5', '9'.repeat(16)])
      expectProblem(await api.put(cart, next(1), { 'if-match': match }), 400, 'bad-request', /If-Match/);
    expectProblem(await api.put(cart, next(1), { 'if-none-match': '"1"' }), 400, 'bad-request');
    expectProblem(await api.put(cart, next(1), { 'if-match': '1', 'if-none-match': '*' }), 400, 'bad-request');
    expectProblem(
      await api.put(cart, service('cart', {}, { resourceVersion: '1' }), { 'if-match': '2' }),
      400,
      'bad-request',
      /headers expect revision 2, but metadata.resourceVersion is 1/,
    );
    expect(await revision()).toBe(2);

    expect((await api.put(cart, next(2), { 'if-match': '"2"' })).headers.get('etag')).toBe('"3"');
    expect((await api.put(cart, service('cart', { port: 3 }, { resourceVersion: '3' }))).status).toBe(200);
    expect((await api.put('/v1/services/default/b', service('b'), { 'if-none-match': '*' })).status).toBe(201);
    expect((await api.delete(cart, { 'if-match': '4' })).status).toBe(200);
  });

  it('with fifty writers of one revision is written by one of them', async () => {
    await api.put(cart, service('cart'));
    for (let round = 1; round <= 3; round++) {
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          api.put(cart, service('cart', { port: 1000 * round + i }), { 'if-match': `"${round + 1}"` }),
        ),
      );
      const won = answers.filter(({ status }) => status === 200);
      expect(won).toHaveLength(1);
      expect(answers.filter(({ status }) => status === 412)).toHaveLength(49);
      expect((await api.get(cart)).body).toEqual(won[0]!.body);
    }
    expect(await revision()).toBe(5);
  });
});
