import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { RefusedHeadRecord } from '../../../src/model/decision.ts';
import { limits } from '../../../src/model/limits.ts';
import { type Admin, AdminError, type AdminOptions, createAdmin } from '../../../src/sidecar/admin.ts';

const open: Admin[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((admin) => admin.close()));
});

async function start(changes: Partial<AdminOptions> = {}) {
  const errors: { error: unknown; path: string }[] = [];
  const admin = await createAdmin({
    host: '127.0.0.1',
    port: 0,
    readiness: () => ({ isReady: true, reason: '' }),
    renderMetrics: async () => 'weft_config_revision 7\n',
    config: () => ({}),
    stats: () => ({ windowMs: 0, series: [] }),
    requests: async () => ({ recorded: 0, keptOneIn: 1, requests: [], loopsMissing: 0 }),
    describe: async () => ({ failure: null, detail: '', location: '', decision: null, stale: null }),
    latency: async () => ({ hops: [], loopsMissing: 0 }),
    drain: () => {},
    onError: (error, path) => errors.push({ error, path }),
    ...changes,
  });
  open.push(admin);
  const ask = (path: string, init?: RequestInit) => fetch(`http://${admin.address}${path}`, init);
  return { admin, ask, errors };
}

describe('createAdmin', () => {
  it('says that a port is taken, and by which flag to choose another', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    await once(squatter, 'listening');
    const address = squatter.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const refusal = await start({ port }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(AdminError);
    expect(refusal).toMatchObject({ code: 'port-taken', message: expect.stringContaining(`127.0.0.1:${port}`) });
    expect(String(refusal)).toContain('--admin HOST:PORT');
    squatter.close();
  });

  it.each(['0.0.0.0', '::', '10.0.0.1', 'example.com', '127.0.0.1.example.com', ''])(
    'refuses to listen on %j, which is not loopback',
    async (host) => {
      await expect(start({ host })).rejects.toMatchObject({ code: 'not-loopback' });
    },
  );

  it('answers 404 and 405 in JSON, with what would be right', async () => {
    const { ask } = await start();
    const missing = await ask('/nothing?x=1');
    expect(missing.status).toBe(404);
    expect(await missing.json()).toEqual({ error: 'not-found', message: expect.stringContaining('/nothing') });
    for (const [path, method, allow] of [
      ['/ready', 'POST', 'GET, HEAD'],
      ['/drain', 'GET', 'POST'],
      ['/drain', 'HEAD', 'POST'],
      ['/metrics', 'DELETE', 'GET, HEAD'],
    ] as const) {
      const wrong = await ask(path, { method });
      expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, allow]);
      if (method !== 'HEAD') expect(await wrong.json()).toMatchObject({ error: 'method-not-allowed' });
    }
    // Not on the prototype of anything.
    for (const path of ['/constructor', '/__proto__', '//']) expect((await ask(path)).status).toBe(404);
  });

  it('answers 500 when a question fails, tells its owner, and goes on', async () => {
    const fail = () => {
      throw new Error('no');
    };
    const { ask, errors } = await start({ config: fail, stats: () => 1n, renderMetrics: () => Promise.reject(fail) });
    for (const path of ['/config', '/stats', '/metrics']) {
      const response = await ask(path);
      expect(response.status).toBe(500);
      expect(await response.json()).toMatchObject({ error: 'internal-error' });
    }
    expect(errors.map(({ path }) => path)).toEqual(['/config', '/stats', '/metrics']);
    expect((await ask('/live')).status).toBe(200);
  });

  it('gives up on metrics at the deadline, and begins anew with the next scrape', async () => {
    let renders = 0;
    const { ask } = await start({
      metricsDeadlineMs: 20,
      renderMetrics: () => (++renders === 1 ? new Promise<string>(() => {}) : Promise.resolve('late 1\n')),
    });
    const late = await ask('/metrics');
    expect(late.status).toBe(503);
    expect(await late.json()).toMatchObject({ error: 'metrics-timeout' });
    expect(await (await ask('/metrics')).text()).toBe('late 1\n');
    expect(renders).toBe(2);
  });

  it('passes on what is asked of the last requests, and says what cannot be asked', async () => {
    const asked: unknown[] = [];
    const { ask } = await start({
      requests: async (query) => {
        asked.push(query);
        return { recorded: 3, keptOneIn: 4, requests: [], loopsMissing: 0 };
      },
    });
    const answer = await ask('/requests?service=cart&route=default/cart/0&status=5xx&min-ms=2.5&failed=1&limit=7');
    expect(await answer.json()).toEqual({ recorded: 3, keptOneIn: 4, requests: [], loopsMissing: 0 });
    const id = 'a'.repeat(32);
    const gone = await ask(`/requests/${id}`);
    expect([gone.status, ((await gone.json()) as { message: string }).message]).toEqual([
      404,
      expect.stringContaining(id),
    ]);
    expect(asked).toEqual([
      { service: 'cart', route: 'default/cart/0', status: '5xx', minMs: 2.5, isFailed: true, id: '', limit: 7 },
      { service: '', route: '', status: '', minMs: 0, isFailed: false, id, limit: limits.recentAnswerMax },
    ]);
    for (const [path, reason] of [
      ['/requests?status=6xx', 'status'],
      ['/requests?min-ms=soon', 'min-ms'],
      ['/requests?failed=yes', 'failed'],
      ['/requests?limit=0', '1 to 256'],
      ['/requests?limit=257', '1 to 256'],
      ['/requests?servise=cart', 'servise'],
      ['/requests/A', 'hexadecimal'],
    ] as const) {
      const refused = await ask(path);
      expect([path, refused.status]).toEqual([path, 400]);
      expect(((await refused.json()) as { message: string }).message).toContain(reason);
    }
    expect(asked).toHaveLength(2);
  });

  it('passes on a request that is described, and says what is wrong with a description', async () => {
    const asked: unknown[] = [];
    const dry = { failure: 'no-route', detail: 'x', location: '', decision: null, stale: null };
    const { ask } = await start({
      describe: async (described) => {
        asked.push(described);
        return dry;
      },
    });
    const answer = await ask('/decision?method=PUT&host=cart&path=%2Fa%3Fb%3D1&header=tenant:%20a:b&header=x:');
    expect(await answer.json()).toEqual(dry);
    await ask('/decision?host=cart');
    expect(asked).toEqual([
      {
        method: 'PUT',
        host: 'cart',
        path: '/a?b=1',
        headers: [
          ['tenant', 'a:b'],
          ['x', ''],
        ],
      },
      { method: 'GET', host: 'cart', path: '/', headers: [] },
    ]);
    for (const [query, reason] of [
      ['', 'host'],
      ['host=cart&path=x', 'path'],
      ['host=cart&header=x', 'name: value'],
      ['host=cart&heder=x:1', 'heder'],
      [`host=cart${'&header=x:1'.repeat(201)}`, 'at most 200'],
    ] as const) {
      const refused = await ask(`/decision?${query}`);
      expect([query, refused.status]).toEqual([query, 400]);
      expect(((await refused.json()) as { message: string }).message).toContain(reason);
    }
    expect(asked).toHaveLength(2);
  });

  it('finds a refused head by its id, though there is no request of it', async () => {
    const refusal = { requestId: 'a'.repeat(32), failure: 'headers-too-large' } as RefusedHeadRecord;
    const { ask } = await start({
      requests: async () => ({ recorded: 0, keptOneIn: 1, requests: [], loopsMissing: 0, refusals: [refusal] }),
    });
    const answer = await ask(`/requests/${refusal.requestId}`);
    expect([answer.status, await answer.json()]).toMatchObject([200, { refusals: [refusal] }]);
  });

  it('is not drained by a page in a browser', async () => {
    let drains = 0;
    const { ask } = await start({ drain: () => drains++ });
    const refused = await ask('/drain', { method: 'POST', headers: { Origin: 'http://evil.example' } });
    expect(refused.status).toBe(403);
    expect(drains).toBe(0);
    const accepted = await ask('/drain', { method: 'POST', body: 'whatever' });
    expect(accepted.status).toBe(202);
    expect(await accepted.json()).toEqual({ draining: true });
    expect(drains).toBe(1);
  });

  it('says why it is not ready', async () => {
    let reason = 'no-configuration';
    const { ask } = await start({ readiness: () => ({ isReady: reason === '', reason }) });
    const waiting = await ask('/ready');
    expect(waiting.status).toBe(503);
    expect(await waiting.json()).toEqual({ ready: false, reason: 'no-configuration' });
    reason = '';
    const ready = await ask('/ready');
    expect([ready.status, await ready.json()]).toEqual([200, { ready: true }]);
  });

  it('renders once for all scrapes that come meanwhile', async () => {
    let renders = 0;
    let finish = (_text: string) => {};
    let begun = () => {};
    const isBegun = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const { admin, ask } = await start({
      renderMetrics: () => {
        renders++;
        begun();
        return new Promise<string>((resolve) => {
          finish = resolve;
        });
      },
    });
    const first = ask('/metrics');
    await isBegun;
    const others = [ask('/metrics'), ask('/metrics')];
    // Sent behind the others on connections of their own; when this one was answered they had been read.
    for (let i = 0; i < 3; i++) await ask('/live');
    finish('a 1\n');
    for (const response of await Promise.all([first, ...others])) {
      expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
      expect(await response.text()).toBe('a 1\n');
    }
    expect(renders).toBe(1);
    expect(admin.address).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it('shows Maps and Sets of the configuration, and lists its endpoints', async () => {
    const { ask } = await start({
      config: () => ({ revision: 7, units: new Map([['cart.default', { hosts: new Set(['cart']) }]]) }),
    });
    expect(await (await ask('/config')).json()).toEqual({
      revision: 7,
      units: { 'cart.default': { hosts: ['cart'] } },
    });
    expect(await (await ask('/stats')).json()).toEqual({ windowMs: 0, series: [] });
    const { endpoints } = (await (await ask('/')).json()) as { endpoints: { path: string }[] };
    expect(endpoints.map(({ path }) => path)).toEqual([
      '/',
      '/ready',
      '/live',
      '/metrics',
      '/config',
      '/stats',
      '/requests',
      '/requests/ID',
      '/decision',
      '/latency',
      '/drain',
    ]);
    const head = await ask('/ready', { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
  });

  it('cuts what is open when it closes, and frees its port', async () => {
    const { admin } = await start({ renderMetrics: () => new Promise(() => {}) });
    const url = new URL(`http://${admin.address}/metrics`);
    const hanging = httpRequest(url);
    const ended = once(hanging, 'error');
    hanging.end();
    await once(hanging, 'finish');
    await admin.close();
    expect((await ended)[0]).toMatchObject({ code: 'ECONNRESET' });
    const again = createServer().listen(Number(url.port), '127.0.0.1');
    await once(again, 'listening');
    again.close();
  });
});
