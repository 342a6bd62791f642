/** /openapi.json, held against the OpenAPI 3.1 specification and against what the API really answers. */
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { buildDecisionWorker } from '../fixtures/decision-worker.ts';
import { type Answer, ApiUnderTest, EventReader, muteSidecar, route, service } from './api-harness.ts';

interface Media {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}
interface Operation {
  readonly summary?: string;
  readonly parameters?: readonly { name: string; in: string; required?: boolean; schema: object }[];
  readonly requestBody?: Media;
  readonly responses: Readonly<Record<string, Media & { readonly description?: string }>>;
}
interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

let worker: Awaited<ReturnType<typeof buildDecisionWorker>>;
let api: ApiUnderTest;
let document: Document;
let sidecar: Awaited<ReturnType<typeof muteSidecar>>;
const ajv = new Ajv({ strict: false, allErrors: true });

beforeAll(async () => {
  worker = await buildDecisionWorker();
  api = await ApiUnderTest.start({ workerFile: worker.file });
  document = (await api.get('/openapi.json')).body;
  await api.put('/v1/services/default/app', service('app'));
  sidecar = await muteSidecar(api, 'one', ['app']);
  sidecar.ack(await sidecar.next());
});
afterAll(async () => {
  sidecar.end();
  await api.stop();
  worker.remove();
});

const operations = (): [string, string, Operation][] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]): [string, string, Operation] => [method, path, operation]),
  );

/** The answer is one that the document promises for this operation. */
function expectPromised(method: string, path: string, answer: Answer): void {
  const media = document.paths[path]?.[method.toLowerCase()]?.responses[String(answer.status)];
  expect(media, `${method} ${path} promises no ${answer.status}`).toBeDefined();
  const type = answer.headers.get('content-type')!.split(';')[0]!;
  const schema = media?.content?.[type]?.schema;
  expect(schema, `${method} ${path} ${answer.status} promises no ${type}`).toBeDefined();
  const validate = ajv.compile(schema!);
  expect(validate(answer.body), JSON.stringify([answer.body, validate.errors])).toBe(true);
}

describe('the document', () => {
  it('has the structure of OpenAPI 3.1', () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: expect.any(String) });
    for (const [method, path, { summary, parameters = [], requestBody, responses }] of operations()) {
      const where = `${method} ${path}`;
      expect(summary, where).toBeTruthy();
      const inPath = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
      const declared = parameters.filter((parameter) => parameter.in === 'path');
      expect(declared.map(({ name }) => name).sort(), where).toEqual(inPath.sort());
      expect(
        declared.every(({ required }) => required === true),
        where,
      ).toBe(true);
      for (const { schema } of parameters) ajv.compile(schema);
      expect(Object.keys(responses).length, where).toBeGreaterThan(0);
      for (const [status, { description, content = {} }] of Object.entries(responses)) {
        expect(status).toMatch(/^[1-5]\d\d$/);
        expect(description, `${where} ${status}`).toBeTypeOf('string');
        for (const { schema } of Object.values(content)) ajv.compile(schema);
      }
      const saysAll = path === '/v1/ca/rotate';
      expect(requestBody !== undefined, where).toBe(!saysAll && (method === 'put' || method === 'post'));
      for (const { schema } of Object.values(requestBody?.content ?? {})) ajv.compile(schema);
    }
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, pointer]) => pointer!);
    for (const pointer of references) {
      let node: unknown = document;
      for (const key of pointer.split('/'))
        node = (node as Record<string, unknown> | undefined)?.[key.replaceAll('~1', '/')];
      expect(node, pointer).toBeDefined();
    }
  });

  it('names every address that the API has', () => {
    expect(Object.keys(document.paths).sort()).toEqual([
      '/healthz',
      '/metrics',
      '/v1/bootstrap',
      '/v1/ca',
      '/v1/ca/rotate',
      '/v1/certificates',
      '/v1/diff',
      '/v1/httproutes',
      '/v1/httproutes/{namespace}/{name}',
      '/v1/join-tokens',
      '/v1/revisions',
      '/v1/revisions/{revision}',
      '/v1/rollback',
      '/v1/services',
      '/v1/services/{namespace}/{name}',
      '/v1/sidecars',
      '/v1/stats',
      '/v1/status',
      '/v1/tokens',
      '/v1/tokens/{name}',
      '/v1/trafficpolicies',
      '/v1/trafficpolicies/{namespace}/{name}',
      '/v1/transactions',
      '/v1/watch',
    ]);
  });
});

describe('the answers', () => {
  const policy = {
    apiVersion: 'weft.mesh/v1',
    kind: 'TrafficPolicy',
    metadata: { name: 'x' },
    spec: { targetRefs: [{ kind: 'Service', name: 'app' }], timeouts: { request: '1s' } },
  };
  const objects = [
    ['services', service('x', { limits: { requestBodyBytes: '10MiB', requestHeadBytes: 1024 } })],
    ['httproutes', route('x', 'app', 'app')],
    ['trafficpolicies', policy],
  ] as const;

  it.each(objects)('of %s are what the document says', async (collection, object) => {
    const path = `/v1/${collection}/default/x`;
    const form = `/v1/${collection}/{namespace}/{name}`;
    const expectPut = async (status: number, body: unknown, headers = {}, query = '') => {
      const answer = await api.put(path + query, body, headers);
      expect(answer.status).toBe(status);
      expectPromised('PUT', form, answer);
    };
    await expectPut(415, 'x', { 'content-type': 'text/plain' });
    await expectPut(400, '{');
    await expectPut(422, {});
    await expectPut(413, 'x'.repeat(limits.objectBytesMax + 1));
    await expectPut(412, object, { 'if-match': '77' });
    await expectPut(400, object, {}, '?dryRun=maybe');
    await expectPut(201, object);
    await expectPut(200, object);
    for (const query of ['', '?namespace=default', '?namespace=none', '?nonsense=1', '?watch=1&from=999999'])
      expectPromised('GET', `/v1/${collection}`, await api.get(`/v1/${collection}${query}`));
    expectPromised('GET', form, await api.get(path));
    expectPromised('DELETE', form, await api.delete(path, { 'if-match': '77' }));
    expectPromised('DELETE', form, await api.delete(path));
    expectPromised('DELETE', form, await api.delete(path));
    expectPromised('GET', form, await api.get(path));
  });

  it('of transactions are, and of waits', async () => {
    const expectTransaction = async (status: number, body: unknown, query = '') => {
      const answer = await api.transact(body, query);
      expect(answer.status).toBe(status);
      expectPromised('POST', '/v1/transactions', answer);
    };
    await expectTransaction(422, { apply: [{}] });
    await expectTransaction(400, {});
    await expectTransaction(404, { delete: [{ kind: 'Service', name: 'nobody' }] });
    await expectTransaction(200, { apply: objects.map(([, object]) => object), message: 'why' });
    await expectTransaction(504, { apply: [service('app', { port: 81 })] }, '?wait=applied&timeoutMs=1');
    await expectTransaction(200, { delete: objects.map(([, { kind }]) => ({ kind, name: 'x' })) }, '?dryRun=1');
  });

  it.each(['sidecars', 'stats', 'bootstrap', 'status', 'revisions'])('of /v1/%s are', async (name) => {
    const answer = await api.get(`/v1/${name}`);
    expect(answer.status).toBe(200);
    expectPromised('GET', `/v1/${name}`, answer);
  });

  it('of the past are, and of the way back', async () => {
    const { revision } = (await api.get('/v1/status')).body;
    await api.put('/v1/services/default/past', service('past'));
    const one = '/v1/revisions/{revision}';
    for (const which of [revision + 1, 1, 99, 'x']) expectPromised('GET', one, await api.get(`/v1/revisions/${which}`));
    for (const query of [`?from=${revision}`, '?from=999', '', `?from=${revision + 1}&to=${revision}`])
      expectPromised('GET', '/v1/diff', await api.get(`/v1/diff${query}`));
    expectPromised('GET', '/v1/revisions', await api.get('/v1/revisions?kind=Service&namespace=default&name=past'));
    for (const [body, query] of [
      [{ revision }, '?dryRun=1'],
      [{ revision }, ''],
      [{ revision: 0 }, ''],
      [{ revision: 999 }, ''],
      ['{', ''],
    ] as const)
      expectPromised('POST', '/v1/rollback', await api.call('POST', `/v1/rollback${query}`, { body }));
    expectPromised('POST', '/v1/transactions', await api.transact({ apply: [service('past')] }, '?dryRun=1'));
  });

  it('say what a client needs to know', async () => {
    expect((await api.get('/healthz')).body).toEqual({ ok: true });
    expectPromised('GET', '/healthz', await api.get('/healthz'));
    expectPromised('GET', '/metrics', await api.get('/metrics'));
    expectPromised('GET', '/v1/revisions', await api.get('/v1/revisions?limit=0'));
    const { revision } = (await api.get('/v1/status')).body;
    expect((await api.get('/v1/status')).body).toMatchObject({ sidecars: 1, store: `embedded:${api.directory}` });
    expect((await api.get('/v1/bootstrap')).body).toEqual({
      push: `ws://${api.plane.push}/v1/push`,
      trustDomain: 'weft.local',
      revision,
      bundle: expect.stringMatching(/^-----BEGIN CERTIFICATE-----/),
      requiresToken: false,
    });
    expect((await api.get('/v1/sidecars')).body.items[0]).toMatchObject({
      sidecar: 'one',
      connected: true,
      subscriptions: ['app'],
    });
    expect((await api.get('/v1/revisions?limit=1')).body.items).toHaveLength(1);
  });

  it('of watches are events', async () => {
    const watchable = operations().filter(([, , { responses }]) => responses[200]?.content?.['text/event-stream']);
    expect(watchable.map(([, path]) => path).sort()).toEqual([
      '/v1/httproutes',
      '/v1/services',
      '/v1/trafficpolicies',
      '/v1/watch',
    ]);
    for (const [, path] of watchable) {
      const reader = await EventReader.open(api.url(path === '/v1/watch' ? path : `${path}?watch=1`));
      expect((await reader.next())?.event).toBe('revision');
      reader.close();
    }
    expectPromised('GET', '/v1/watch', await api.get('/v1/watch?from=999999'));
  });
});
