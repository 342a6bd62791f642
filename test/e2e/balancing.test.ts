/** Which endpoint gets a request, what happens when it cannot be had, and how endpoints leave: through real sidecars. */
import { Agent, request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running, until } from './harness.ts';
import { echo, type Resource, seenIn, service, startCart, startWeb } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

interface Ask {
  readonly host: string;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly localAddress?: string;
}

/** `count` requests over `connections` kept connections. Answers by body, with every outcome but 200 spelled out. */
async function shares(
  at: string,
  count: number,
  connections: number,
  ask: (i: number) => Ask,
): Promise<Record<string, number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const by: Record<string, number> = {};
  let sent = 0;
  const worker = async () => {
    while (sent < count) {
      const outcome = await send(at, ask(sent++), agent);
      by[outcome] = (by[outcome] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  agent.destroy();
  return by;
}

function send(
  at: string,
  { host, path = '/', method = 'GET', headers = {}, body, localAddress }: Ask,
  agent: Agent,
): Promise<string> {
  const [hostname, port] = at.split(':');
  return new Promise((resolve) => {
    const outgoing = httpRequest(
      {
        hostname,
        port,
        path,
        method,
        agent,
        headers: { host, ...headers },
        ...(localAddress === undefined ? {} : { localAddress }),
      },
      (incoming) => {
        let text = '';
        incoming.on('data', (chunk) => {
          text += chunk;
        });
        incoming.once('error', (error) => resolve(`error ${String(error)}`));
        incoming.once('end', () =>
          resolve(
            incoming.statusCode === 200 ? text : `${incoming.statusCode} ${incoming.headers['weft-failure'] ?? text}`,
          ),
        );
      },
    );
    outgoing.setTimeout(10_000, () => outgoing.destroy(new Error('the test gave up waiting')));
    outgoing.once('error', (error) => resolve(`error ${String(error)}`));
    outgoing.end(body);
  });
}

describe('a balancer', () => {
  let web: Running;
  let resources: readonly Resource[];
  /** `slow` takes 60 ms; `busy` answers 503 at once; the others are quick. */
  const named = async (name: string) => {
    const { address } = await bench.app((request, response) => {
      request.resume();
      if (name === 'busy') response.statusCode = 503;
      if (name === 'slow') setTimeout(() => response.end(name), 60);
      else response.end(name);
    });
    return address;
  };

  beforeEach(async () => {
    const [a, b, c, slow, busy] = await Promise.all(['a', 'b', 'c', 'slow', 'busy'].map(named));
    const loadBalancer = (policy: string, more = {}) => ({ loadBalancer: { policy, ...more } });
    const hashed = ['RingHash', 'Maglev'].flatMap((policy) =>
      Object.entries({
        header: { header: 'X-User' },
        cookie: { cookie: 'sid' },
        query: { query: 'user' },
        path: { pathSegment: 1 },
        address: { sourceAddress: true },
      }).map(([from, on]) =>
        service(`${policy.toLowerCase()}-${from}`, [a, b, c], loadBalancer(policy, { hashOn: [on] })),
      ),
    );
    resources = [
      service('round', [a, b, c], loadBalancer('RoundRobin')),
      service(
        'weighted',
        [{ address: a, weight: 5 }, b, c, { address: busy, weight: 0 }],
        loadBalancer('WeightedRoundRobin'),
      ),
      service('random', [{ address: a, weight: 8 }, b, c], loadBalancer('Random')),
      service('least', [a, b, slow], loadBalancer('LeastRequest')),
      service('ewma', [a, b, slow], loadBalancer('PeakEwma')),
      service('ewma-busy', [a, b, busy], loadBalancer('PeakEwma')),
      ...hashed,
      service(
        'bounded',
        [a, b, slow],
        loadBalancer('Maglev', { hashOn: [{ header: 'x-user' }], boundedLoadPercent: 125 }),
      ),
      service('fallback', [a, b, c], loadBalancer('RingHash', { hashOn: [{ header: 'x-user' }, { cookie: 'sid' }] })),
    ];
    web = await startWeb(bench, resources);
  });
  const share = (host: string, count: number, connections: number) =>
    shares(web.ready.outbound, count, connections, () => ({ host }));

  it('in turn, or by weight, is exact however many clients there are', async () => {
    expect(await share('round', 300, 10)).toEqual({ a: 100, b: 100, c: 100 });
    expect(await share('weighted', 700, 10)).toEqual({ a: 500, b: 100, c: 100 });
    const order: string[] = [];
    for (let i = 0; i < 21; i++) order.push((await call(web.ready.outbound, 'weighted')).body);
    expect(order.join('')).not.toContain('aaaaa');
    for (let i = 0; i < 21; i += 7)
      expect(
        order
          .slice(i, i + 7)
          .sort()
          .join(''),
      ).toBe('aaaaabc');
    const random = await share('random', 600, 10);
    // 480 of 600 are expected, with a standard deviation of 10.
    expect(random.a).toBeGreaterThan(420);
    expect(random.a).toBeLessThan(540);
  });

  it('by load spares an endpoint that is slow or busy', async () => {
    const least = await share('least', 400, 8);
    expect(least.slow).toBeLessThan(60);
    expect(Math.abs(least.a! - least.b!)).toBeLessThan(120);
    const ewma = await share('ewma', 400, 8);
    expect(ewma.slow ?? 0).toBeLessThan(40);
    // Quick refusals must not attract load.
    const busy = await share('ewma-busy', 400, 8);
    expect(busy['503 busy'] ?? 0).toBeLessThan(40);
  });

  it.each<[from: string, ask: (user: number) => Omit<Ask, 'host'>]>([
    ['header', (user) => ({ headers: { 'x-user': `${user}` } })],
    ['cookie', (user) => ({ headers: { cookie: `other=1; sid=${user}` } })],
    ['query', (user) => ({ path: `/?x=1&user=${user}` })],
    ['path', (user) => ({ path: `/users/${user}/cart` })],
    ['address', (user) => ({ localAddress: `127.0.1.${user + 1}` })],
  ])('with a key from the %s sends each key to one endpoint, and keys to all', async (from, ask) => {
    const users = 40;
    // To uWS on 127.0.0.1 all callers are this machine.
    if (from === 'address') web = await startWeb(bench, resources, '--outbound-http', 'node');
    for (const policy of ['ringhash', 'maglev']) {
      const host = `${policy}-${from}`;
      const chosen = new Set<string>();
      const keyed = Array.from({ length: users }, async (_, user) => {
        const got = await shares(web.ready.outbound, 4, 2, () => ({ host, ...ask(user) }));
        expect([host, user, Object.keys(got).length]).toEqual([host, user, 1]);
        chosen.add(Object.keys(got)[0]!);
      });
      await Promise.all(keyed);
      expect([...chosen].sort()).toEqual(['a', 'b', 'c']);
    }
  });

  it('without a key picks at random, takes the second source, and a bounded load spills over', async () => {
    expect(Object.keys(await share('fallback', 60, 4)).sort()).toEqual(['a', 'b', 'c']);
    const bySecond = await shares(web.ready.outbound, 20, 4, () => ({
      host: 'fallback',
      headers: { cookie: 'sid=7' },
    }));
    expect(Object.keys(bySecond).length).toBe(1);
    // A user of the slow endpoint: one at a time all go there, many at once do not.
    let user = 0;
    const ask = () => ({ host: 'bounded', headers: { 'x-user': `${user}` } });
    while (!('slow' in (await shares(web.ready.outbound, 1, 1, ask)))) user++;
    expect(await shares(web.ready.outbound, 4, 1, ask)).toEqual({ slow: 4 });
    const many = await shares(web.ready.outbound, 120, 12, ask);
    expect(many.slow).toBeGreaterThan(0);
    expect((many.a ?? 0) + (many.b ?? 0)).toBeGreaterThan(40);
  });
});

describe('another attempt', () => {
  const deadAddresses = (count: number) =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const gone = await bench.tcp(() => {});
        await new Promise((resolve) => gone.server.close(resolve));
        return gone.address;
      }),
    );

  it('is made elsewhere after a refused connection, also of a POST with its body, and a bounded number of times', async () => {
    const app = await bench.app(echo('alive'));
    const [one, two] = await deadAddresses(2);
    const round = { loadBalancer: { policy: 'RoundRobin' } };
    const web = await startWeb(bench, [
      service('cart', [one, app.address, two], round),
      service('gone', await deadAddresses(5), round),
    ]);
    const body = 'b'.repeat(60_000);
    for (let i = 0; i < 30; i++) {
      const reply = await call(web.ready.outbound, 'cart', '/', { method: 'POST', body });
      expect([reply.status, seenIn(reply.body).body.length]).toEqual([200, body.length]);
    }
    const reply = await call(web.ready.outbound, 'gone');
    expect([reply.status, reply.headers['weft-failure']]).toEqual([503, 'connect-refused']);
    const metrics = (await call(web.ready.admin, 'admin', '/metrics')).body;
    expect(metrics).toMatch(/weft_retries_total\{[^}]*\} \d+/);
  });

  it('is made after a kept connection was found closed, but never of a POST', async () => {
    const requests: string[] = [];
    // Answers the first request of a connection, and closes it when it sees a second one.
    const app = await bench.tcp((socket: Socket) => {
      let isUsed = false;
      socket.on('data', (chunk) => {
        requests.push(chunk.toString('latin1').split(' ', 1)[0]!);
        if (isUsed) socket.destroy();
        else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        isUsed = true;
      });
    });
    const web = await startWeb(bench, [service('cart', [app.address])]);
    const outcome = async (method: string) => {
      const reply = await call(web.ready.outbound, 'cart', '/', { method });
      return `${reply.status} ${reply.headers['weft-failure'] ?? ''}`.trim();
    };
    expect(await outcome('GET')).toBe('200');
    expect(await outcome('GET')).toBe('200');
    expect(requests).toEqual(['GET', 'GET', 'GET']);
    expect(await outcome('PUT')).toBe('200');
    expect(await outcome('POST')).toBe('502 stale-connection');
    expect(requests.filter((method) => method === 'POST').length).toBe(1);
  });
});

describe('an endpoint that leaves', () => {
  /** Three apps that take 5 ms for an answer. */
  const startApps = () =>
    Promise.all(
      ['one', 'two', 'three'].map((name) =>
        bench.app((request, response) => {
          request.resume();
          request.once('end', () => setTimeout(() => response.end(name), 5));
        }),
      ),
    );
  /** POST and GET in turn until told to stop: a POST can hide nothing behind another attempt. */
  function traffic(at: string) {
    let isStopped = false;
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    const by: Record<string, number> = {};
    let sent = 0;
    const worker = async () => {
      while (!isStopped) {
        const method = sent++ % 2 === 0 ? 'POST' : 'GET';
        const outcome = await send(at, { host: 'cart', method, ...(method === 'POST' ? { body: 'x' } : {}) }, agent);
        by[outcome] = (by[outcome] ?? 0) + 1;
      }
    };
    const workers = Array.from({ length: 8 }, worker);
    return {
      by,
      stop: async () => {
        isStopped = true;
        await Promise.all(workers);
        agent.destroy();
        return Object.keys(by).sort();
      },
    };
  }
  const served = async (by: Record<string, number>, name: string) => {
    const before = by[name] ?? 0;
    await until(`${name} serves`, () => (by[name] ?? 0) > before + 5);
  };

  it('by POST /drain or SIGTERM, and comes back on its port, costs no request: endpoints rolled one by one', async () => {
    const apps = await startApps();
    const carts = await Promise.all(apps.map((app) => startCart(bench, app.address)));
    const web = await startWeb(bench, [
      service(
        'cart',
        carts.map(({ ready }) => ready.inbound),
      ),
    ]);
    const running = traffic(web.ready.outbound);
    for (const name of ['one', 'two', 'three']) await served(running.by, name);

    for (const [i, cart] of carts.entries()) {
      if (i === 0) {
        expect((await call(cart.ready.admin, 'admin', '/drain', { method: 'POST' })).status).toBe(202);
        const ready = await call(cart.ready.admin, 'admin', '/ready');
        expect([ready.status, JSON.parse(ready.body)]).toEqual([503, { ready: false, reason: 'draining' }]);
        // Nobody comes any more, and those who were there have left: what is left of it may go.
        await until('it refuses connections', () =>
          call(cart.ready.inbound, 'cart').then(
            () => false,
            () => true,
          ),
        );
      }
      await cart.kill('SIGTERM');
      expect((await cart.exited).code).toBe(0);
      await startCart(bench, apps[i]!.address, [], cart.ready.inbound);
      await served(running.by, ['one', 'two', 'three'][i]!);
    }
    expect(await running.stop()).toEqual(['one', 'three', 'two']);
  });

  it('says Connection: close, and finishes what runs', async () => {
    let finish: (() => void) | null = null;
    const app = await bench.app((request, response) => {
      if (request.url === '/quick') {
        response.end('quick');
        return;
      }
      response.write('begun, ');
      finish = () => response.end('finished');
    });
    const cart = await startCart(bench, app.address);
    const agent = new Agent({ keepAlive: true, maxSockets: 2 });
    const slow = call(cart.ready.inbound, 'cart', '/slow', { agent });
    const first = await call(cart.ready.inbound, 'cart', '/quick', { agent });
    expect(first.headers.connection).toBe('keep-alive');
    await until('the slow request runs', () => finish !== null);
    const stopped = cart.kill('SIGTERM');
    await until('it drains', () => cart.logs().includes('draining'));
    // On the connection that was kept: a request that was on its way when the drain began.
    const last = await call(cart.ready.inbound, 'cart', '/quick', { agent });
    expect([last.status, last.headers.connection]).toEqual([200, 'close']);
    finish!();
    expect((await slow).body).toBe('begun, finished');
    await stopped;
    expect((await cart.exited).code).toBe(0);
    agent.destroy();
  });

  it('registered with a control plane, costs no request, nor does one whose app is gone', async () => {
    const control = await bench.weft([
      ...['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
      ...['--store', `embedded:${bench.path('store')}`],
    ]);
    const sidecar = (name: string, ...more: readonly string[]) =>
      bench.weft([
        ...['sidecar', '--service', name, '--control-plane', `http://${control.ready.api}`],
        ...['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', ...more],
      ]);
    const apps = await startApps();
    const carts = await Promise.all(
      apps.map((app) => sidecar('cart', '--app', app.address, '--inbound', '127.0.0.1:0')),
    );
    const web = await sidecar('web');
    await until('cart is registered', async () => (await call(web.ready.outbound, 'cart')).status === 200);
    const running = traffic(web.ready.outbound);
    for (const name of ['one', 'two', 'three']) await served(running.by, name);

    expect((await call(carts[0]!.ready.admin, 'admin', '/drain', { method: 'POST' })).status).toBe(202);
    await served(running.by, 'two');
    await carts[1]!.kill('SIGTERM');
    await served(running.by, 'three');
    expect(await running.stop()).toEqual(['one', 'three', 'two']);

    const back = await sidecar('cart', '--app', apps[0]!.address, '--inbound', '127.0.0.1:0');
    expect(back.ready.inbound).toBeDefined();
    const again = traffic(web.ready.outbound);
    await served(again.by, 'one');
    // The app of the third goes; its sidecar says that nothing was acted upon, and is believed.
    apps[2]!.server.closeAllConnections();
    const before = { ...again.by };
    apps[2]!.server.close();
    await until('traffic goes on', () => (again.by.one ?? 0) > (before.one ?? 0) + 100);
    const outcomes = await again.stop();
    expect(outcomes.filter((outcome) => !['one', 'three'].includes(outcome) && !/reset|stale/.test(outcome))).toEqual(
      [],
    );
  });
});
