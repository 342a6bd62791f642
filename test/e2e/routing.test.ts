/** Routes, filters, splits and timeouts through a real sidecar with a file of resources. */
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load, type Running, until } from './harness.ts';
import {
  echo,
  exchangeBytes,
  manifest,
  policy,
  type Resource,
  route,
  type Seen,
  seenIn,
  service,
  startCart,
  startWeb,
  valuesOf,
} from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** Services `cart` (the parent), `a`, `b`, `c`, each with an app that answers with its own name and what it saw. */
async function meshOf(rules: readonly unknown[], more: readonly Resource[] = []): Promise<Running> {
  const services = await Promise.all(
    ['cart', 'a', 'b', 'c'].map(async (name) => service(name, [(await bench.app(echo(name))).address])),
  );
  return await startWeb(bench, [...services, ...(rules.length === 0 ? [] : [route(rules)]), ...more]);
}

const to = (name: string) => [{ name, port: 80 }];

describe('matches', () => {
  it('choose by path, method, header and query, in the order of precedence of the Gateway API', async () => {
    const web = await meshOf([
      { matches: [{ path: { type: 'PathPrefix', value: '/v2' } }], backendRefs: to('a') },
      { matches: [{ path: { type: 'Exact', value: '/v2/exact' } }], backendRefs: to('b') },
      { matches: [{ path: { type: 'PathPrefix', value: '/v2/deep/' } }], backendRefs: to('c') },
      { matches: [{ path: { type: 'RegularExpression', value: '/re/[0-9]+' } }], backendRefs: to('a') },
      { matches: [{ path: { value: '/m' }, method: 'POST' }], backendRefs: to('b') },
      { matches: [{ path: { value: '/m' }, headers: [{ name: 'X-Kind', value: 'gold' }] }], backendRefs: to('c') },
      {
        matches: [{ path: { value: '/m' }, queryParams: [{ name: 'kind', value: 'gold leaf' }] }],
        backendRefs: to('a'),
      },
      {
        matches: [
          { path: { value: '/p' }, headers: [{ type: 'RegularExpression', name: 'x-user', value: 'u[0-9]{3}' }] },
          { path: { value: '/p' }, queryParams: [{ type: 'RegularExpression', name: 'id', value: '[a-f]+' }] },
        ],
        backendRefs: to('b'),
      },
    ]);
    const cases: [path: string, expected: string, method?: string, headers?: Record<string, string>][] = [
      ['/v2', 'a'],
      ['/v2/', 'a'],
      ['/v2/x', 'a'],
      ['/v2x', '404'],
      ['/V2', '404'],
      ['/v2/exact', 'b'],
      ['/v2/exact/', 'a'],
      ['/v2/deep', 'c'],
      ['/v2/deep/er', 'c'],
      ['/v2/deeper', 'a'],
      ['/x/../v2/deep', 'c'],
      ['/re/12', 'a'],
      ['/re/12/', '404'],
      ['/re/', '404'],
      ['/m', '404'],
      ['/m', 'b', 'POST'],
      ['/m', 'b', 'POST', { 'x-kind': 'gold' }],
      ['/m', 'c', 'GET', { 'X-KIND': 'gold' }],
      ['/m', '404', 'GET', { 'x-kind': 'Gold' }],
      ['/m?kind=gold%20leaf', 'a'],
      ['/m?x=1&kind=gold+leaf&kind=other', 'a'],
      ['/m?kind=other&kind=gold+leaf', '404'],
      ['/m?Kind=gold%20leaf', '404'],
      ['/p', '404'],
      ['/p', 'b', 'GET', { 'x-user': 'u123' }],
      ['/p', '404', 'GET', { 'x-user': 'u1234' }],
      ['/p?id=abc', 'b'],
      ['/p?id=abg', '404'],
    ];
    for (const [path, expected, method = 'GET', headers = {}] of cases) {
      const reply = await call(web.ready.outbound, 'cart', path, { method, headers });
      const got = reply.status === 200 ? seenIn(reply.body).app : `${reply.status}`;
      expect(`${method} ${path} ${got}`).toBe(`${method} ${path} ${expected}`);
      if (expected === '404') expect(reply.headers['weft-failure']).toBe('no-route');
    }
  });

  it('apply to the names that a route claims, exact ones before wildcards', async () => {
    const hosts = ['shop.example.com', '*.example.com'];
    const web = await meshOf([], [route([{ backendRefs: to('a') }], 'named', hosts)]);
    for (const host of [
      'shop.example.com',
      'SHOP.example.com:8080',
      'x.example.com',
      'x.y.example.com',
      'cart',
      'cart.default',
    ])
      expect(seenIn((await call(web.ready.outbound, host)).body).app).toBe('a');
    for (const host of ['example.com', 'notexample.com', 'x.example.com.org'])
      expect((await call(web.ready.outbound, host)).headers['weft-failure']).toBe('unknown-service');
  });

  it('with a catastrophic expression fail alone: others are quick meanwhile', async () => {
    const web = await meshOf([
      { matches: [{ path: { type: 'RegularExpression', value: '/(a+)+b' } }], backendRefs: to('a') },
      { matches: [{ path: { value: '/fine' } }], backendRefs: to('b') },
    ]);
    // Starts the worker.
    expect((await call(web.ready.outbound, 'cart', '/aab')).status).toBe(200);
    const evil = `/${'a'.repeat(40)}!`;
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const evils = Array.from({ length: 24 }, () => call(web.ready.outbound, 'cart', evil, { agent }));
    const timesMs: number[] = [];
    for (let i = 0; i < 300; i++) {
      const startedAtMs = performance.now();
      // Another Service, whose routes hold no expression, on the same loop.
      expect((await call(web.ready.outbound, 'b', '/fine', { agent })).status).toBe(200);
      timesMs.push(performance.now() - startedAtMs);
    }
    timesMs.sort((a, b) => a - b);
    for (const reply of await Promise.all(evils)) {
      expect(reply.status).toBe(503);
      expect(reply.headers['weft-failure']).toBe('pattern-failed');
    }
    expect(timesMs[Math.floor(timesMs.length * 0.99)]).toBeLessThan(100);
    agent.destroy();
    // The expression is shut off, and with it whatever it comes before, until its resource changes.
    expect((await call(web.ready.outbound, 'cart', '/aab')).headers['weft-failure']).toBe('pattern-failed');
    bench.file('web.yaml', readFileSync(bench.path('web.yaml'), 'latin1').replace('(a+)+b', 'a+b'));
    await until('it was mended', async () => (await call(web.ready.outbound, 'cart', '/aab')).status === 200);
    expect((await call(web.ready.outbound, 'cart', '/fine')).status).toBe(200);
    expect((await call(web.ready.outbound, 'cart', evil)).status).toBe(404);
  });

  it('survive reloads while requests wait for expressions', async () => {
    const rules = (version: number) => [
      {
        matches: [{ path: { type: 'RegularExpression', value: '/re/[0-9]+' } }],
        filters: [
          {
            type: 'ResponseHeaderModifier',
            responseHeaderModifier: { set: [{ name: 'X-Version', value: `${version}` }] },
          },
        ],
        backendRefs: to('a'),
      },
    ];
    const app = await bench.app((_request, response) => response.end('ok'));
    const at = (version: number) => [service('cart', []), service('a', [app.address]), route(rules(version))];
    const web = await startWeb(bench, at(0));
    const running = load(web.ready.outbound, 'cart', 8, Number.POSITIVE_INFINITY, '/re/1');
    for (let version = 1; version <= 3; version++) {
      bench.file('web.yaml.new', manifest(at(version)));
      renameSync(bench.path('web.yaml.new'), bench.path('web.yaml'));
      await until(
        `version ${version} is in force`,
        async () => (await call(web.ready.outbound, 'cart', '/re/1')).headers['x-version'] === `${version}`,
      );
    }
    const { failed, sent } = await running.stop();
    expect(failed).toEqual([]);
    expect(sent).toBeGreaterThan(100);
  });
});

describe('filters', () => {
  const filtered = (path: string, filters: readonly unknown[], backendRefs: readonly unknown[] | null = to('a')) => ({
    matches: [{ path: { value: path } }],
    filters,
    ...(backendRefs === null ? {} : { backendRefs }),
  });
  const rewrite = (urlRewrite: Resource) => [{ type: 'URLRewrite', urlRewrite }];
  const redirect = (requestRedirect: Resource) => [{ type: 'RequestRedirect', requestRedirect }];

  it('change header fields of requests and answers, of a rule and of one backend, and no other field', async () => {
    const app = await bench.tcp((socket) =>
      socket.once('data', (chunk) => {
        const body = chunk.toString('latin1');
        socket.end(
          `HTTP/1.1 200 OK\r\nX-First: 1\r\nset-cookie: a=1\r\nX-Gone: 1\r\nSet-Cookie: b=2\r\nX-Set: old\r\nx-LAST: 9\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        );
      }),
    );
    const modifier = (name: string, set: string) => ({
      set: [{ name: 'x-set', value: set }],
      add: [{ name: 'X-First', value: name }],
      remove: ['X-GONE'],
    });
    const web = await startWeb(
      bench,
      [
        service('cart', [app.address]),
        route([
          {
            filters: [
              { type: 'RequestHeaderModifier', requestHeaderModifier: modifier('rule', 'new') },
              { type: 'ResponseHeaderModifier', responseHeaderModifier: modifier('rule', 'new') },
            ],
            backendRefs: [
              {
                name: 'cart',
                port: 80,
                filters: [
                  {
                    type: 'RequestHeaderModifier',
                    requestHeaderModifier: { add: [{ name: 'X-First', value: 'backend' }] },
                  },
                  {
                    type: 'ResponseHeaderModifier',
                    responseHeaderModifier: { set: [{ name: 'X-Set', value: 'last' }] },
                  },
                ],
              },
            ],
          },
        ]),
      ],
      '--outbound-http',
      'node',
    );
    const answer = await exchangeBytes(
      web.ready.outbound,
      'GET /p HTTP/1.1\r\nX-First: 1\r\nHost: cart\r\nx-gone: 1\r\nx-SECOND: 2\r\nX-Set: a\r\nX-Set: b\r\nConnection: close\r\n\r\n',
    );
    const [head, body] = [answer.slice(0, answer.indexOf('\r\n\r\n')), answer.slice(answer.indexOf('\r\n\r\n') + 4)];
    expect(head.split('\r\n').filter((line) => !/^(Date|Connection|Content-Length):/.test(line))).toEqual([
      'HTTP/1.1 200 OK',
      'X-First: 1',
      'set-cookie: a=1',
      'Set-Cookie: b=2',
      'x-LAST: 9',
      'X-First: rule',
      'X-Set: last',
    ]);
    expect(body.split('\r\n').filter((line) => !line.startsWith('traceparent'))).toEqual([
      'GET /p HTTP/1.1',
      'Host: cart',
      'X-First: 1',
      'x-SECOND: 2',
      'x-set: new',
      'X-First: rule',
      'X-First: backend',
      '',
      '',
    ]);
  });

  it('rewrite host and path', async () => {
    const prefix = (replacePrefixMatch: string) =>
      rewrite({ path: { type: 'ReplacePrefixMatch', replacePrefixMatch } });
    const web = await meshOf([
      filtered('/host', rewrite({ hostname: 'other.example.org' })),
      filtered('/full', rewrite({ path: { type: 'ReplaceFullPath', replaceFullPath: '/whole' } })),
      filtered('/empty-full', rewrite({ path: { type: 'ReplaceFullPath', replaceFullPath: '' } })),
      filtered('/foo', prefix('/xyz')),
      filtered('/slash/', prefix('/xyz/')),
      filtered('/none', prefix('')),
      filtered('/root', prefix('/')),
      filtered('/', prefix('/all')),
    ]);
    for (const [path, url, host] of [
      ['/host/x?q=1', '/host/x?q=1', 'other.example.org'],
      ['/full/x?q=1&q=2', '/whole?q=1&q=2', 'cart:80'],
      ['/empty-full', '/', 'cart:80'],
      ['/foo/bar?q=%2F', '/xyz/bar?q=%2F', 'cart:80'],
      ['/foo', '/xyz', 'cart:80'],
      ['/foo/', '/xyz/', 'cart:80'],
      ['/slash/bar', '/xyz/bar', 'cart:80'],
      ['/slash', '/xyz', 'cart:80'],
      ['/none/bar', '/bar', 'cart:80'],
      ['/none', '/', 'cart:80'],
      ['/root/', '/', 'cart:80'],
      ['/root/bar', '/bar', 'cart:80'],
      ['/other/x', '/all/other/x', 'cart:80'],
      ['/', '/all/', 'cart:80'],
    ] as const) {
      const seen = seenIn((await call(web.ready.outbound, 'cart:80', path)).body);
      expect([path, seen.url, ...valuesOf(seen.headers, 'host')]).toEqual([path, url, host]);
    }
  });

  it('redirect, in the cases of the conformance suite', async () => {
    const prefix = (replacePrefixMatch: string) => ({ path: { type: 'ReplacePrefixMatch', replacePrefixMatch } });
    const web = await meshOf([
      filtered('/hostname', redirect({ hostname: 'example.org' }), null),
      filtered('/status', redirect({ hostname: 'example.org', statusCode: 308 }), null),
      filtered('/https', redirect({ scheme: 'https', hostname: 'example.org' }), null),
      filtered('/port', redirect({ port: 8083 }), null),
      filtered('/port-443', redirect({ scheme: 'https', port: 443 }), null),
      filtered('/original', redirect(prefix('/replacement')), null),
      filtered('/gone', redirect(prefix('')), null),
      filtered(
        '/full',
        redirect({ path: { type: 'ReplaceFullPath', replaceFullPath: '/one' }, statusCode: 303 }),
        null,
      ),
    ]);
    for (const [host, path, status, location] of [
      ['cart', '/hostname', 302, 'http://example.org/hostname'],
      ['cart:8080', '/hostname?a=b', 302, 'http://example.org:8080/hostname?a=b'],
      ['cart', '/status', 308, 'http://example.org/status'],
      ['cart:8080', '/https/x', 302, 'https://example.org/https/x'],
      ['cart', '/port', 302, 'http://cart:8083/port'],
      ['cart.:8080', '/port-443', 302, 'https://cart./port-443'],
      ['cart', '/original/lemon', 302, 'http://cart/replacement/lemon'],
      ['cart.', '/gone', 302, 'http://cart./'],
      ['cart', '/full/x?q=1', 303, 'http://cart/one?q=1'],
    ] as const) {
      for (const method of ['GET', 'POST', 'HEAD']) {
        const reply = await call(web.ready.outbound, host, path, {
          method,
          ...(method === 'POST' ? { body: 'x' } : {}),
        });
        expect([method, path, reply.status, reply.headers.location]).toEqual([method, path, status, location]);
        expect(reply.body).toBe('');
      }
    }
  });

  it('mirror a share of requests with their bodies, and no mirror ever harms what it copies', async () => {
    const copies: Seen[] = [];
    const shadow = await bench.app(echo('shadow', (seen) => copies.push(seen)));
    const main = await bench.app(echo('main'));
    const silent = await bench.tcp(() => {});
    const gone = await bench.tcp(() => {});
    await new Promise((resolve) => gone.server.close(resolve));
    const rude = await bench.tcp((socket) => socket.once('data', () => socket.resetAndDestroy()));
    const mirrorTo = (name: string, more: Resource = {}) => ({
      type: 'RequestMirror',
      requestMirror: { backendRef: { name, port: 80 }, ...more },
    });
    const own = [
      {
        name: 'main',
        port: 80,
        filters: [
          { type: 'RequestHeaderModifier', requestHeaderModifier: { set: [{ name: 'X-Backend', value: 'main' }] } },
        ],
      },
    ];
    const web = await startWeb(bench, [
      service('cart', []),
      service('main', [main.address]),
      service('shadow', [shadow.address]),
      service('silent', [silent.address]),
      service('gone', [gone.address]),
      service('rude', [rude.address]),
      service('empty', []),
      route([
        filtered('/all', [mirrorTo('shadow')], own),
        filtered('/some', [mirrorTo('shadow', { percent: 50 })], own),
        filtered('/none', [mirrorTo('shadow', { percent: 0 })], own),
        filtered(
          '/bad',
          ['silent', 'gone', 'rude', 'empty'].map((name) => mirrorTo(name)),
          own,
        ),
      ]),
    ]);
    const body = 'b'.repeat(100_000);
    const reply = await call(web.ready.outbound, 'cart', '/all?q=1', { method: 'POST', body });
    expect(seenIn(reply.body)).toMatchObject({ app: 'main', url: '/all?q=1' });
    await until('the copy arrived', () => copies.length === 1);
    expect(copies[0]).toMatchObject({ method: 'POST', url: '/all?q=1', body });
    expect(valuesOf(copies[0]!.headers, 'host')).toEqual(['cart']);
    expect(valuesOf(copies[0]!.headers, 'x-backend')).toEqual([]);
    expect(valuesOf(seenIn(reply.body).headers, 'x-backend')).toEqual(['main']);

    copies.length = 0;
    expect((await load(web.ready.outbound, 'cart', 8, 400, '/some').done).failed).toEqual([]);
    await until('most copies arrived', () => copies.length > 120);
    expect(copies.length).toBeLessThan(280);
    const some = copies.length;
    await call(web.ready.outbound, 'cart', '/none');
    expect(copies.length).toBe(some);

    const big = 'x'.repeat(2_000_000);
    const startedAtMs = performance.now();
    for (let i = 0; i < 5; i++) {
      const bad = await call(web.ready.outbound, 'cart', '/bad', { method: 'POST', body: big });
      expect(seenIn(bad.body).body.length).toBe(big.length);
    }
    expect((await load(web.ready.outbound, 'cart', 8, 600, '/bad').done).failed).toEqual([]);
    expect(performance.now() - startedAtMs).toBeLessThan(6_000);
    expect(web.process.exitCode).toBeNull();
  });
});

describe('a split', () => {
  it('is exact to 1 in every 100, with clients side by side', async () => {
    const split = (path: string, weights: Readonly<Record<string, number>>) => ({
      matches: [{ path: { value: path } }],
      backendRefs: Object.entries(weights).map(([name, weight]) => ({ name, port: 80, weight })),
    });
    const apps = await Promise.all(
      ['a', 'b', 'c'].map(async (name) =>
        service(name, [(await bench.app((_request, response) => response.end(name))).address]),
      ),
    );
    const web = await startWeb(bench, [
      service('cart', []),
      ...apps,
      route([
        split('/99-1', { a: 99, b: 1 }),
        split('/70-20-10', { a: 70, b: 20, c: 10 }),
        split('/1-0', { a: 1, b: 0 }),
        split('/0-0', { a: 0, b: 0 }),
        { matches: [{ path: { value: '/nobody' } }], backendRefs: [] },
      ]),
    ]);
    const shares = async (path: string, count: number) =>
      Object.fromEntries((await load(web.ready.outbound, 'cart', 10, count, path).done).byBody);
    expect(await shares('/99-1', 500)).toEqual({ a: 495, b: 5 });
    expect(await shares('/70-20-10', 500)).toEqual({ a: 350, b: 100, c: 50 });
    expect(await shares('/1-0', 50)).toEqual({ a: 50 });
    for (const path of ['/0-0', '/nobody']) {
      const reply = await call(web.ready.outbound, 'cart', path);
      expect([reply.status, reply.headers['weft-failure']]).toEqual([500, 'no-backend']);
    }
  });
});

describe('timeouts', () => {
  /** Answers after 900 ms; sends half of `/half` and nothing more. */
  const slowApp = () =>
    bench.app((request, response) => {
      request.resume();
      if (request.url === '/half') {
        response.writeHead(200, { 'content-length': 100 });
        response.write('half');
      } else {
        setTimeout(() => response.end('late'), 900);
      }
    });
  const timed = async (web: Running, path: string) => {
    const startedAtMs = performance.now();
    const { status, headers } = await call(web.ready.outbound, 'cart', path);
    return { outcome: `${status} ${headers['weft-failure'] ?? ''}`.trim(), tookMs: performance.now() - startedAtMs };
  };

  it('of the rule win over a policy on the route, that over one on the Service; 0s is none', async () => {
    const app = await slowApp();
    const services = [service('cart', [app.address])];
    const rule = (path: string, timeouts?: Resource) => ({
      matches: [{ path: { value: path } }],
      backendRefs: to('cart'),
      ...(timeouts === undefined ? {} : { timeouts }),
    });
    const web = await startWeb(bench, [
      ...services,
      route([rule('/plain')], 'plain'),
      route([rule('/policy'), rule('/own', { request: '500ms' }), rule('/off', { request: '0s' })], 'timed'),
      route([rule('/try', { request: '0s', backendRequest: '150ms' })], 'tried'),
      policy('Service', 'cart', { request: '100ms' }),
      policy('HTTPRoute', 'timed', { request: '300ms' }),
    ]);
    const results = await Promise.all(
      ['/plain', '/policy', '/own', '/off', '/try'].map(async (path) => [path, await timed(web, path)] as const),
    );
    for (const [path, { outcome, tookMs }] of results) {
      const [expected, fromMs] = (
        {
          '/plain': ['504 request-timeout', 100],
          '/policy': ['504 request-timeout', 300],
          '/own': ['504 request-timeout', 500],
          '/off': ['200', 900],
          '/try': ['504 per-try-timeout', 150],
        } as const
      )[path as '/plain'];
      expect([path, outcome]).toEqual([path, expected]);
      expect(tookMs).toBeGreaterThanOrEqual(fromMs - 2);
      expect(tookMs).toBeLessThan(fromMs + 180);
    }
  });

  it('of idleness: 408 for a client that stops sending, a cut for an answer that stops', async () => {
    const app = await slowApp();
    const web = await startWeb(bench, [service('cart', [app.address]), policy('Service', 'cart', { idle: '300ms' })]);
    const stalled = await exchangeBytes(
      web.ready.outbound,
      'POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 10\r\n\r\nabc',
      (answer) => answer.includes('}\n'),
    );
    expect(stalled).toMatch(/^HTTP\/1\.1 408 .*Weft-Failure: request-body-timeout/s);
    await expect(call(web.ready.outbound, 'cart', '/half')).rejects.toThrow();
    expect((await timed(web, '/slow')).outcome).toBe('504 idle-timeout');
    const metrics = await call(web.ready.admin, 'admin', '/metrics');
    expect(metrics.body).toMatch(/weft_failures_total\{[^}]*code="idle-timeout"[^}]*\} 2/);
  });

  it('of the Service are kept by its own sidecar too, also after a reload, and end with their policy', async () => {
    const app = await slowApp();
    const at = (request?: string) => [
      service('cart', []),
      ...(request === undefined ? [] : [policy('Service', 'cart', { request })]),
    ];
    const cart = await startCart(bench, app.address, at('200ms'));
    const reply = await call(cart.ready.inbound, 'whatever', '/slow');
    expect([reply.status, reply.headers['weft-failure']]).toEqual([504, 'request-timeout']);
    bench.file('cart.yaml', manifest(at()));
    await until('the policy is gone', async () => (await call(cart.ready.inbound, 'cart', '/slow')).status === 200);
    bench.file('cart.yaml', manifest(at('100ms')));
    await until('the policy is back', async () => (await call(cart.ready.inbound, 'cart', '/slow')).status === 504);
    bench.file('cart.yaml', '');
    await until('there is no Service', async () => (await call(cart.ready.inbound, 'cart', '/slow')).status === 200);
  });
});

describe('a file', () => {
  it('that is deleted, broken, and replaced never leaves a request without an answer', async () => {
    const apps = await Promise.all(['one', 'two'].map((name) => bench.app((_request, response) => response.end(name))));
    const at = (app: number) => manifest([service('cart', [apps[app]!.address])]);
    const web = await startWeb(bench, [service('cart', [apps[0]!.address])]);
    const running = load(web.ready.outbound, 'cart', 4);
    const now = async () => (await call(web.ready.outbound, 'cart')).body;
    const replace = (text: string) => {
      bench.file('web.yaml.new', text);
      renameSync(bench.path('web.yaml.new'), bench.path('web.yaml'));
    };

    rmSync(bench.path('web.yaml'));
    replace(at(1));
    await until('the second app answers', async () => (await now()) === 'two');
    replace('kind: [');
    await until('the log says why', () => web.logs().includes('refused'));
    expect(await now()).toBe('two');
    rmSync(bench.path('web.yaml'));
    expect(await now()).toBe('two');
    replace(at(0));
    await until('the first app answers', async () => (await now()) === 'one');
    expect((await running.stop()).failed).toEqual([]);
  });
});

describe('--upstream', () => {
  it('gives a Service a port of its own, whatever the Host, routes included', async () => {
    const app = await bench.app(echo('cart'));
    const web = await startWeb(
      bench,
      [
        service('cart', [app.address]),
        route([
          { matches: [{ path: { value: '/a' } }], backendRefs: to('cart') },
          {
            matches: [{ path: { value: '/r' } }],
            filters: [
              {
                type: 'RequestRedirect',
                requestRedirect: { path: { type: 'ReplaceFullPath', replaceFullPath: '/a' } },
              },
            ],
          },
        ]),
      ],
      '--upstream',
      'cart=127.0.0.1:0',
    );
    const line = web
      .logs()
      .split('\n')
      .find((text) => text.includes('a port of its own'))!;
    const { address } = JSON.parse(line) as { address: string };
    const seen = seenIn((await call(address, 'anything:1234', '/a')).body);
    expect(valuesOf(seen.headers, 'host')).toEqual(['anything:1234']);
    expect((await call(address, 'x', '/b')).headers['weft-failure']).toBe('no-route');
    expect((await call(address, address, '/r')).headers.location).toBe(`http://${address}/a`);
  });
});
