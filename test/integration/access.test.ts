/** Who may ask what of the API, as people with tokens of each role and people without any meet it. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AccessControl } from '../../src/control/access/access-control.ts';
import { knownAddresses, needOf } from '../../src/control/api/permissions.ts';
import { noAccess } from '../../src/control/store/etcd-location.ts';
import { openStore } from '../../src/control/store/open-store.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { type Answer, type ApiUnderTest, EventReader, expectProblem, route, service } from './api-harness.ts';
import { apiRoom } from './api-room.ts';

type Options = Parameters<typeof ApiUnderTest.start>[0];
const { cleanups, start } = apiRoom();

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

async function tokenOf(api: ApiUnderTest, wish: object, by?: string): Promise<string> {
  const headers = by === undefined ? {} : bearer(by);
  const { status, body } = await api.call('POST', '/v1/tokens', { body: wish, headers });
  expect([status, body.detail]).toEqual([200, undefined]);
  return body.token;
}

/** A control plane with a token of each role; the editor's is for `shop` and `pay`. */
async function guarded(options: Options = {}) {
  const api = await start(options);
  const admin = await tokenOf(api, { role: 'admin', name: 'alice' });
  const editor = await tokenOf(api, { role: 'editor', namespaces: ['shop', 'pay'], name: 'shop-ci' }, admin);
  const reader = await tokenOf(api, { role: 'reader', name: 'grafana' }, admin);
  return { api, admin, editor, reader };
}

/** An address with its parameters filled in. */
const pathOf = (url: string): string =>
  url
    .replace('/tokens/:name', '/tokens/nobody')
    .replace('/:revision', '/1')
    .replace(/diff$/, 'diff?from=1')
    .replace(/latency$/, 'latency?service=cart')
    .replace(':namespace', 'default')
    .replace(':name', 'cart');

const inShop = (name: string, spec: object = {}) => service(name, spec, { namespace: 'shop' });

describe('an API with tokens', () => {
  it('asks for one at every address that is not for all, and says which', async () => {
    const { api } = await guarded();
    for (const address of [...knownAddresses(), 'GET /nowhere', 'PATCH /v1/services']) {
      const [method, url] = address.split(' ') as [string, string];
      const need = needOf(method, url) ?? 'reader';
      const answer = await api.call(method, pathOf(url), { body: method === 'GET' ? undefined : {} });
      if (need === 'nothing') {
        expect([200, 400], address).toContain(answer.status);
        continue;
      }
      expectProblem(answer, 401, 'token-required', /--token-file/);
      expect(answer.body, address).toMatchObject({ needs: need });
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
    }
  });

  it.each([
    ['Basic YWxpY2U6c2VjcmV0'],
    ['Bearer'],
    ['Bearer a b'],
    ['Bearer weft_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'],
    ['Bearer eyJhbGciOiJub25lIn0.e30.'],
  ])('takes no %s', async (authorization) => {
    const { api } = await guarded();
    const answer = await api.get('/v1/status', { authorization });
    expectProblem(answer, 401, 'token-invalid');
    expect(answer.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
  });

  it('takes no token that has expired, nor one that was revoked, at once', async () => {
    const clock = { ...systemClock, aheadMs: 0, nowMs: () => Date.now() + clock.aheadMs };
    const { api, admin } = await guarded({ clock });
    const short = await tokenOf(api, { role: 'reader', name: 'short', ttlSeconds: 60 }, admin);
    const long = await tokenOf(api, { role: 'reader', name: 'long', ttlSeconds: null }, admin);
    for (const token of [short, long]) expect((await api.get('/v1/status', bearer(token))).status).toBe(200);
    clock.aheadMs = 60_000;
    expectProblem(await api.get('/v1/status', bearer(short)), 401, 'token-invalid', /short expired at /);
    expect((await api.delete('/v1/tokens/long', bearer(admin))).body).toEqual({ revoked: 'long' });
    expectProblem(await api.get('/v1/status', bearer(long)), 401, 'token-invalid', /revoked/);
  });

  it('lets a reader read all and write nothing', async () => {
    const { api, admin, reader } = await guarded();
    await api.put('/v1/services/default/cart', service('cart'), bearer(admin));
    for (const address of knownAddresses()) {
      const [method, url] = address.split(' ') as [string, string];
      const need = needOf(method, url);
      if (need === 'nothing' || url.endsWith('/watch')) continue;
      const answer = await api.call(method, pathOf(url), {
        body: method === 'GET' ? undefined : {},
        headers: bearer(reader),
      });
      if (need === 'reader')
        // 400: the address wants a question.
        expect([200, 400, 404], address).toContain(answer.status);
      else {
        expectProblem(answer, 403, 'forbidden', /The token grafana is a reader; this needs an (editor|admin)/);
        expect(answer.headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope"');
      }
    }
    const watch = await EventReader.open(api.url('/v1/watch'), bearer(reader));
    cleanups.push(() => watch.close());
    expect((await watch.next())?.event).toBe('revision');
    expect((await api.get('/v1/services/default/cart', bearer(reader))).status).toBe(200);
  });

  it('lets a reader see what a change would do, and writes nothing', async () => {
    const { api, admin, reader } = await guarded();
    await api.put('/v1/services/default/cart', service('cart'), bearer(admin));
    const before = (await api.get('/v1/status', bearer(reader))).body.revision;
    const apply = [service('cart', { port: 81 })];
    const seen = await api.call('POST', '/v1/transactions?dryRun=1', { body: { apply }, headers: bearer(reader) });
    expect(seen).toMatchObject({
      status: 200,
      body: { results: [{ name: 'cart', action: 'replaced', after: { spec: { port: 81 } } }] },
    });
    for (const [method, body] of [
      ['PUT', service('cart', { port: 81 })],
      ['DELETE', undefined],
    ] as const) {
      const answer = await api.call(method, '/v1/services/default/cart?dryRun=1', { body, headers: bearer(reader) });
      expect(answer.status, method).toBe(200);
    }
    expect((await api.get('/v1/status', bearer(reader))).body.revision).toBe(before);
    const written = await api.call('POST', '/v1/transactions', { body: { apply }, headers: bearer(reader) });
    expectProblem(written, 403, 'forbidden', /needs an editor/);
    for (const [method, url] of [
      ['POST', '/v1/tokens'],
      ['POST', '/v1/ca/rotate'],
      ['POST', '/v1/join-tokens'],
    ] as const) {
      const answer = await api.call(method, `${url}?dryRun=1`, { body: {}, headers: bearer(reader) });
      expectProblem(answer, 403, 'forbidden', /needs an admin/);
    }
  });

  it('lets an editor write in its namespaces, and names what lies elsewhere', async () => {
    const { api, admin, editor } = await guarded();
    expect((await api.put('/v1/services/shop/cart', inShop('cart'), bearer(editor))).status).toBe(201);
    const elsewhere = await api.put('/v1/services/default/cart', service('cart'), bearer(editor));
    expectProblem(
      elsewhere,
      403,
      'forbidden',
      /shop-ci is an editor of pay, shop; this needs an editor of default or an admin/,
    );
    expectProblem(await api.delete('/v1/services/default/cart', bearer(editor)), 403, 'forbidden');
    expectProblem(
      await api.call('POST', '/v1/ca/rotate', { headers: bearer(editor) }),
      403,
      'forbidden',
      /needs an admin/,
    );

    const before = (await api.get('/v1/status', bearer(admin))).body.revision;
    const both = { apply: [inShop('a'), service('b')], delete: [{ kind: 'Service', name: 'c', namespace: 'other' }] };
    const refused = await api.transact(both, '', bearer(editor));
    expectProblem(refused, 403, 'forbidden', /editor of default, other, or of an admin/);
    expect(refused.body.objects).toEqual(['Service default/b', 'Service other/c']);
    expect((await api.transact(both, '?dryRun=1', bearer(editor))).status).toBe(403);
    expect((await api.get('/v1/status', bearer(admin))).body.revision).toBe(before);
    expect((await api.transact({ apply: [inShop('a')] }, '', bearer(editor))).status).toBe(200);
  });

  it('lets no editor reach into another namespace with a route', async () => {
    const { api, admin, editor } = await guarded();
    await api.transact({ apply: [service('cart'), inShop('evil')] }, '', bearer(admin));
    const into = (metadata: object) => ({
      ...route('r', 'cart', 'evil', {
        parentRefs: [{ kind: 'Service', group: 'weft.mesh', name: 'cart', namespace: 'default' }],
      }),
      metadata: { name: 'r', namespace: 'shop', ...metadata },
    });
    const refused = await api.put('/v1/httproutes/shop/r', into({}), bearer(editor));
    expectProblem(refused, 403, 'forbidden', /HTTPRoute shop\/r \(attached to a Service in default\)/);
    // What an admin has attached there an editor cannot take away either, nor point elsewhere.
    expect((await api.put('/v1/httproutes/shop/r', into({}), bearer(admin))).status).toBe(201);
    expectProblem(await api.delete('/v1/httproutes/shop/r', bearer(editor)), 403, 'forbidden');
    const own = { ...route('r', 'evil', 'evil'), metadata: { name: 'r', namespace: 'shop' } };
    expectProblem(await api.put('/v1/httproutes/shop/r', own, bearer(editor)), 403, 'forbidden');
    // To call another namespace is what everybody may.
    const calls = { ...route('s', 'evil', 'cart'), metadata: { name: 's', namespace: 'shop' } };
    calls.spec.rules = [{ backendRefs: [{ name: 'cart', namespace: 'default' }] }] as never;
    expect((await api.put('/v1/httproutes/shop/s', calls, bearer(editor))).status).toBe(201);
  });

  it('lets no editor claim a name of another namespace', async () => {
    const { api, admin, editor } = await guarded();
    await api.transact({ apply: [service('t1', {}, { namespace: 'other' }), inShop('mine')] }, '', bearer(admin));
    const claiming = (hostname: string) => ({
      ...route('r', 'mine', 'mine', { hostnames: [hostname] }),
      metadata: { name: 'r', namespace: 'shop' },
    });
    const put = (hostname: string, by: string) => api.put('/v1/httproutes/shop/r', claiming(hostname), bearer(by));
    for (const hostname of ['t2.other', 'other2', '*.other', 't2.other.svc', 't2.new.svc', '*.new.svc.cluster.local']) {
      const refused = await put(hostname, editor);
      expectProblem(refused, 403, 'forbidden', /claims .* a name of the mesh in (other|default|new)\)/);
      expect(refused.body.objects[0]).toContain(`claims ${hostname},`);
    }
    for (const hostname of ['*.svc.cluster.local', '*.local'])
      expectProblem(await put(hostname, editor), 403, 'forbidden', /needs a token of an admin, .*every namespace/);
    for (const hostname of ['www.example', 'a.t2.other', '*.example.com', 'x.shop', '*.pay', 'y.pay.svc.cluster.local'])
      expect((await put(hostname, editor)).status, hostname).toBeLessThan(300);
    // Where an admin has claimed one, no editor changes what it leads to.
    expect((await put('t2.other', admin)).status).toBe(200);
    expectProblem(await put('www.example', editor), 403, 'forbidden');
    expectProblem(await api.delete('/v1/httproutes/shop/r', bearer(editor)), 403, 'forbidden');
  });

  it('keeps the idempotency keys of tokens apart', async () => {
    const { api, admin, editor } = await guarded();
    const key = { 'idempotency-key': 'deploy 1' };
    expect((await api.put('/v1/services/shop/a', inShop('a'), { ...bearer(admin), ...key })).status).toBe(201);
    expect((await api.put('/v1/services/shop/b', inShop('b'), { ...bearer(editor), ...key })).status).toBe(201);
    const again = await api.put('/v1/services/shop/b', inShop('c'), { ...bearer(editor), ...key });
    expect(again.status).toBe(422);
    const reused = await api.put('/v1/services/shop/c', inShop('c'), { ...bearer(editor), ...key });
    expectProblem(reused, 422, 'idempotency-key-reused');
  });

  it('names the token in the history, and beside it what its bearer says', async () => {
    const { api, admin, editor } = await guarded();
    await api.put('/v1/services/shop/a', inShop('a'), bearer(editor));
    await api.put('/v1/services/shop/b', inShop('b'), { ...bearer(editor), 'weft-actor': 'jane' });
    await api.put('/v1/services/shop/c', inShop('c'), { ...bearer(editor), 'weft-actor': 'shop-ci' });
    const { items } = (await api.get('/v1/revisions', bearer(admin))).body;
    expect(items.slice(0, 3).map(({ who }: { who: string }) => who)).toEqual(['shop-ci', 'shop-ci (jane)', 'shop-ci']);
    const made = items.find(({ message }: { message: string }) => message.startsWith('token shop-ci'));
    expect(made).toMatchObject({ who: 'alice', message: 'token shop-ci (editor of pay, shop) made' });
  });

  it('shows no token as an object, in a watch, in the history or in a list', async () => {
    const { api, admin } = await guarded();
    const watch = await EventReader.open(api.url('/v1/watch?from=0'), bearer(admin));
    cleanups.push(() => watch.close());
    const { body } = await api.call('POST', '/v1/tokens', {
      body: { role: 'reader', name: 'new' },
      headers: bearer(admin),
    });
    await api.put('/v1/services/shop/a', inShop('a'), bearer(admin));
    const events: unknown[] = [];
    for (;;) {
      const event = await watch.next();
      events.push(event);
      if (event?.event === 'put') break;
    }
    const said = [
      events,
      ...(await Promise.all(
        ['/v1/tokens', '/v1/revisions', '/v1/services', '/v1/status'].map(
          async (path) => (await api.get(path, bearer(admin))).body,
        ),
      )),
    ];
    const secret = body.token.slice(-43);
    expect(JSON.stringify(said)).not.toContain(secret);
    expect(JSON.stringify(events)).not.toContain('AccessTokens');
    expect(JSON.stringify(said)).not.toContain('sha256');
    expect((await api.get('/v1/tokens', bearer(admin))).body.items.map(({ name }: { name: string }) => name)).toEqual([
      'alice',
      'shop-ci',
      'grafana',
      'new',
    ]);
  });

  it('keeps its tokens over a restart, and asks for them though nobody has one any more', async () => {
    const { api, editor } = await guarded();
    await api.restart();
    expect((await api.get('/v1/status', bearer(editor))).status).toBe(200);
    expectProblem(await api.get('/v1/status'), 401, 'token-required');
  });

  it('answers under any name: no page has the token', async () => {
    const { api, reader } = await guarded();
    const ask = (more: string) =>
      api.raw(`GET /v1/status HTTP/1.1\r\nhost: mesh.example\r\n${more}connection: close\r\n\r\n`);
    expect(await ask('')).toMatch(/^HTTP\/1\.1 401 /);
    expect(await ask(`authorization: Bearer ${reader}\r\n`)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('a web page of another site', () => {
  it('writes nothing as long as nobody needs a token', async () => {
    const api = await start();
    const own = `http://${api.plane.api}`;
    for (const origin of ['https://evil.example', 'null', 'http://localhost:1', `${own}.evil.example`]) {
      const rotated = await api.call('POST', '/v1/ca/rotate', { headers: { origin } });
      expectProblem(rotated, 403, 'foreign-origin', /web page of another site/);
      expectProblem(
        await api.put('/v1/services/default/cart', service('cart'), { origin }),
        403,
        'foreign-origin',
        /./,
      );
      expect((await api.get('/v1/services', { origin })).body.items).toEqual([]);
    }
    expect((await api.get('/v1/ca')).body.roots).toHaveLength(1);
    expect((await api.put('/v1/services/default/cart', service('cart'), { origin: own })).status).toBe(201);
  });

  it('has no token, so that its origin is not looked at afterwards', async () => {
    const { api, admin } = await guarded();
    const headers = { ...bearer(admin), origin: 'https://console.example' };
    expect((await api.put('/v1/services/default/cart', service('cart'), headers)).status).toBe(201);
    const bare = await api.call('POST', '/v1/ca/rotate', { headers: { origin: 'https://evil.example' } });
    expectProblem(bare, 401, 'token-required', /./);
  });
});

describe('POST /v1/tokens', () => {
  it.each([
    [{}, /role must be one of reader, editor, admin/],
    [{ role: 'root' }, /role must be/],
    [{ role: 'editor' }, /An editor needs namespaces/],
    [{ role: 'editor', namespaces: ['Shop'] }, /names of namespaces/],
    [{ role: 'editor', namespaces: 'shop' }, /names of namespaces/],
    [{ role: 'reader', namespaces: ['shop'] }, /namespaces are for an editor/],
    [{ role: 'admin', name: 'a b' }, /name must be/],
    [{ role: 'admin', name: 'anonymous' }, /not anonymous/],
    [{ role: 'admin', ttlSeconds: 0 }, /ttlSeconds must be/],
    [{ role: 'admin', ttlSeconds: 1.5 }, /ttlSeconds must be/],
    [{ role: 'admin', ttl: 60 }, /ttl is not known here/],
    [[], /must be a JSON object/],
  ])('refuses %j', async (body, detail) => {
    const api = await start();
    expectProblem(await api.call('POST', '/v1/tokens', { body }), 400, 'bad-request', detail);
    expect((await api.get('/v1/status')).body.access).toEqual({ requiresToken: false, isInsecure: false });
  });

  it('makes an admin first, and after it nobody comes without', async () => {
    const api = await start();
    expectProblem(await api.call('POST', '/v1/tokens', { body: { role: 'reader' } }), 409, 'admin-needed');
    const open = await EventReader.open(api.url('/v1/watch'));
    cleanups.push(() => open.close());
    const made: Answer = await api.call('POST', '/v1/tokens', { body: { role: 'admin' } });
    expect(made.body).toMatchObject({
      name: expect.stringMatching(/^admin-[0-9a-f]{6}$/),
      role: 'admin',
      namespaces: [],
    });
    expect(Date.parse(made.body.expiresAt) - Date.parse(made.body.createdAt)).toBe(30 * 24 * 3600_000);
    expect(made.headers.get('cache-control')).toBe('no-store');
    expectProblem(await api.call('POST', '/v1/tokens', { body: { role: 'admin' } }), 401, 'token-required');
    expectProblem(
      await api.delete(`/v1/tokens/${made.body.id}`, bearer(made.body.token)),
      409,
      'admin-needed',
      /is the last admin/,
    );
    expectProblem(await api.delete('/v1/tokens/nobody', bearer(made.body.token)), 404, 'not-found');
  });
});

describe('a first admin', () => {
  it('is made in the store, before a control plane that other machines reach', async () => {
    const api = await start();
    await api.plane.close();
    const url = `embedded:${api.directory}`;
    const store = await openStore(url, { etcdAccess: noAccess, clock: systemClock, onBackgroundError: () => {} });
    const access = new AccessControl({ store, clock: systemClock, randomBytes });
    const { text } = await access.create({ name: 'first', role: { tag: 'admin' }, ttlMs: null }, 'root');
    await store.close();
    await api.restart();
    expectProblem(await api.get('/v1/status'), 401, 'token-required');
    expect((await api.get('/v1/status', bearer(text))).body.access).toEqual({ requiresToken: true, isInsecure: false });
  });
});
