/** The command line's client, held against /openapi.json: it asks for nothing that is not there, and gets what is promised. */
import { once } from 'node:events';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Ajv } from 'ajv';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ControlPlaneClient } from '../../src/cli/client.ts';
import type { Resource } from '../../src/model/resources.ts';
import { buildDecisionWorker } from '../fixtures/decision-worker.ts';
import { ApiUnderTest, service } from './api-harness.ts';

interface Operation {
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema: object;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

const ajv = new Ajv({ strict: false, allErrors: true });
let worker: Awaited<ReturnType<typeof buildDecisionWorker>>;
let api: ApiUnderTest;
/** In front of the API: passes on what the client asks, and keeps it. */
let front: Server;
let server: string;
const seen: { readonly method: string; readonly url: string; readonly body: string; status: number }[] = [];
beforeAll(async () => {
  worker = await buildDecisionWorker();
});
afterAll(() => worker.remove());
beforeEach(async () => {
  api = await ApiUnderTest.start({ workerFile: worker.file });
  seen.length = 0;
  front = createServer(async (asked, reply) => {
    const chunks: Buffer[] = [];
    for await (const chunk of asked) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const { method = '', url = '', headers } = asked;
    const entry = { method, url, body: body.toString(), status: 0 };
    seen.push(entry);
    const passed = request(api.url(url), { method, headers, agent: false }, (answer) => {
      entry.status = answer.statusCode ?? 0;
      reply.writeHead(entry.status, answer.headers);
      answer.pipe(reply);
    });
    reply.once('close', () => passed.destroy());
    passed.on('error', () => reply.destroy());
    passed.end(body);
  }).listen(0, '127.0.0.1');
  await once(front, 'listening');
  server = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
});
afterEach(async () => {
  front.close();
  front.closeAllConnections();
  await api.stop();
});

const cart = service('cart') as Resource;
const now = { waitAppliedMs: 0, isDryRun: false };
const cartName = { kind: 'Service', namespace: 'default', name: 'cart' } as const;

let admin = '';
const asAdmin = () => new ControlPlaneClient({ server, token: admin });

/** Every method of the client, in an order in which each has something to find. */
const asks: Readonly<Record<string, (client: ControlPlaneClient) => Promise<unknown>>> = {
  transact: async (client) => {
    await client.transact({ apply: [cart], delete: [], message: 'why' }, { waitAppliedMs: 1_000, isDryRun: false });
    await client.transact({ apply: [cart], delete: [], message: '' }, { waitAppliedMs: 0, isDryRun: true });
  },
  list: (client) => client.list('Service', 'default'),
  get: (client) => client.get(cartName),
  revisions: async (client) => {
    await client.revisions({ limit: 5 });
    await client.revisions({ limit: 5, before: 9, object: cartName });
  },
  revision: (client) => client.revision(2),
  diff: async (client) => {
    await client.diff(1);
    await client.diff(2, 1);
  },
  rollBack: (client) => client.rollBack(1, 'back', now),
  watch: async (client) => {
    for await (const { event } of client.watch('Service', 'default', 1)) if (event === 'revision') return;
  },
  sidecars: (client) => client.sidecars(),
  stats: async (client) => {
    await client.stats();
    await client.stats({ service: 'cart', seconds: 15 });
  },
  latency: async (client) => {
    await client.latency({ service: 'cart', route: null, isByRoute: false, depth: 16 });
    await client.latency({ service: 'cart', route: 'default/cart/0', isByRoute: true, depth: 0 });
  },
  fleet: async (client) => expect((await client.fleet()).gone).toEqual([]),
  status: (client) => client.status(),
  createJoinToken: (client) => client.createJoinToken('cart', 'default', 60),
  authority: (client) => client.authority(),
  rotateAuthority: (client) => client.rotateAuthority(5_000),
  // From here on every request needs a token.
  createToken: async (client) => {
    admin = (await client.createToken({ role: 'admin', name: 'alice', ttlSeconds: 60 })).token;
    await asAdmin().createToken({ role: 'editor', namespaces: ['shop'], name: 'shop-ci', ttlSeconds: null });
  },
  tokens: () => asAdmin().tokens(),
  revokeToken: () => asAdmin().revokeToken('shop-ci'),
};

describe('the client of the command line', () => {
  it('asks for what the document has, in its words, and is answered as the document says', async () => {
    const { paths } = (await api.get('/openapi.json')).body as { readonly paths: Paths };
    const client = new ControlPlaneClient({ server });
    for (const ask of Object.values(asks)) await ask(client);

    expect(seen.length).toBeGreaterThan(Object.keys(asks).length);
    for (const { method: asked, url, body, status } of seen) {
      const { pathname, searchParams } = new URL(url, server);
      const method = asked.toLowerCase();
      const [form, methods] = Object.entries(paths).find(([path]) => formOf(path).test(pathname)) ?? [];
      const operation = methods?.[method];
      const where = `${method} ${pathname} (${form})`;
      expect(operation, where).toBeDefined();
      const { parameters = [], requestBody, responses } = operation!;
      const query = parameters.filter((each) => each.in === 'query');
      for (const [name, value] of searchParams) {
        const parameter = query.find((each) => each.name === name);
        expect(parameter, `${where} ?${name}`).toBeDefined();
        expect(ajv.validate(parameter!.schema, value), `${where} ?${name}=${value}`).toBe(true);
      }
      for (const { name, required } of query)
        if (required === true) expect(searchParams.has(name), `${where} needs ${name}`).toBe(true);
      if (body !== '') {
        const schema = requestBody?.content['application/json']?.schema;
        expect(ajv.validate(schema!, JSON.parse(body)), `${where} ${ajv.errorsText()}`).toBe(true);
      }
      expect(Object.keys(responses), where).toContain(String(status));
    }
  });

  it('has no method that is not tried here', () => {
    const methods = Object.getOwnPropertyNames(ControlPlaneClient.prototype);
    expect(methods.filter((name) => name !== 'constructor' && name !== 'server').sort()).toEqual(
      Object.keys(asks).sort(),
    );
  });
});

const formOf = (path: string): RegExp => new RegExp(`^${path.replace(/\{[^}]+\}/g, '[^/]+')}$`);
