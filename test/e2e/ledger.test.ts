/** Time that is planted into one part of a call shows in that part and in no other; and the last requests are there to be asked for. */
import { Agent, request as httpRequest, type RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LatencyAnswer, RecentAnswer, RecentRequest } from '../../src/model/recent-request.ts';
import { Bench, call, type Running, residentMiB, until } from './harness.ts';
import { manifest, type Resource, service } from './static-mesh.ts';
import { TcpProxy } from './tcp-proxy.ts';

const plantedMs = 20;
/** On a busy machine any part of a single call may be long: the least of several tries counts. */
const tries = 8;

interface Mesh {
  readonly web: Running;
  readonly cart: Running;
  /** On the link between them. */
  readonly line: TcpProxy;
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

async function startMesh(handler: RequestListener, more: readonly string[] = []): Promise<Mesh> {
  const app = await bench.app(handler);
  const listeners = ['--admin', '127.0.0.1:0', '--outbound', '127.0.0.1:0', '--insecure-link'];
  const fileOf = (name: string, resources: Resource[]) => ['--config', bench.file(`${name}.yaml`, manifest(resources))];
  const own = ['--app', app.address, '--inbound', '127.0.0.1:0', '--link', '127.0.0.1:0', ...fileOf('cart', [])];
  const cart = await bench.weft(['sidecar', '--service', 'cart', ...own, ...listeners]);
  const line = await TcpProxy.before(cart.ready.link);
  bench.onClose(() => line.close());
  const resources = [service('cart', [{ address: cart.ready.inbound, link: line.address }])];
  const web = await bench.weft(['sidecar', '--service', 'web', ...listeners, ...more, ...fileOf('web', resources)]);
  await until('cart answers', async () => (await call(web.ready.outbound, 'cart')).status === 200);
  return { web, cart, line };
}

async function ask<Answer>(sidecar: Running, path: string): Promise<Answer> {
  return JSON.parse((await call(sidecar.ready.admin, 'admin', path)).body) as Answer;
}

/** Of all requests with this path, the least of each part; those that took no time in one of them are absent. */
async function leastOf(sidecar: Running, path: string): Promise<Record<string, number>> {
  const ended = async () => {
    const { requests } = await ask<RecentAnswer>(sidecar, '/requests?limit=256');
    return requests.filter((each) => each.path === path);
  };
  await until('all have ended', async () => (await ended()).length === tries);
  const requests = await ended();
  for (const { totalMs, partsMs } of requests)
    expect(Object.values(partsMs).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(totalMs, 1);
  const names = new Set(requests.flatMap(({ partsMs }) => Object.keys(partsMs)));
  return Object.fromEntries(
    [...names].map((name) => [name, Math.min(...requests.map((each) => each.partsMs[name] ?? 0))]),
  );
}

function expectOnly(least: Record<string, number>, part: string): void {
  const long = Object.entries(least).filter(([, ms]) => ms > plantedMs / 2);
  expect(
    long.map(([name]) => name),
    JSON.stringify(least),
  ).toEqual([part]);
  // What came late to a busy process was waited for elsewhere.
  expect(least[part]).toBeGreaterThanOrEqual(plantedMs * 0.75);
}

/** Sends the body in two halves, with the planted time between them, on a connection of its own. */
function callSlowly(address: string, path: string): Promise<void> {
  const [hostname, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const headers = { host: 'cart', 'content-length': '10' };
    const outgoing = httpRequest({ hostname, port, path, method: 'POST', headers, agent: false }, (incoming) =>
      incoming.resume().once('end', resolve),
    );
    outgoing.once('error', reject);
    outgoing.write('01234');
    outgoing.once('socket', (socket) =>
      socket.once('connect', () => setTimeout(() => outgoing.end('56789'), plantedMs)),
    );
  });
}

const answer: RequestListener = (request, response) => {
  request.resume();
  request.once('end', () => {
    if (request.url === '/wait') setTimeout(() => response.end('late'), plantedMs);
    else if (request.url === '/transfer') {
      response.write('first');
      setTimeout(() => response.end('last'), plantedMs);
    } else response.end('at once');
  });
};

describe('20 ms', () => {
  it('of the app are its wait, at both hops; of a slow answer transfer; of a slow body send; of the way network', async () => {
    const { web, cart, line } = await startMesh(answer);
    for (const path of ['/wait', '/transfer']) {
      for (let i = 0; i < tries; i++) await call(web.ready.outbound, 'cart', path);
      for (const sidecar of [web, cart]) expectOnly(await leastOf(sidecar, path), path.slice(1));
    }
    for (let i = 0; i < tries; i++) await callSlowly(web.ready.outbound, '/send');
    expectOnly(await leastOf(web, '/send'), 'send');
    line.delayToTargetMs = plantedMs;
    for (let i = 0; i < tries; i++) await call(web.ready.outbound, 'cart', '/network');
    expectOnly(await leastOf(web, '/network'), 'network');
    expect(Object.entries(await leastOf(cart, '/network')).filter(([, ms]) => ms > plantedMs / 2)).toEqual([]);

    const { hops } = await ask<LatencyAnswer>(web, '/latency?service=cart');
    expect(hops).toHaveLength(1);
    expect(hops[0]!.at.map(({ percentile }) => percentile)).toEqual([50, 95, 99]);
    expect(hops[0]!.at[2]!.far).not.toBeNull();
  });
});

describe('the command line', () => {
  it.each([['1'], ['2']])('says why a call failed and draws it, with %s event loops', async (loops) => {
    const { web } = await startMesh(answer, ['--loops', loops]);
    const admin = ['--admin', web.ready.admin];
    const failed = await call(web.ready.outbound, 'basket', '/secret?token=1');
    const id = String(failed.headers['weft-request-id']);
    const why = await bench.run(['why', id, ...admin]);
    expect(why.stderr).toBe('');
    expect(why.stdout).toMatch(
      /^It failed after .* with 404 unknown-service: No Service or route claims this host \(basket\)\./,
    );
    expect(why.stdout).toContain('weft get services');
    expect(why.stdout).not.toContain('token');
    const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
    await call(web.ready.outbound, 'cart', '/wait', { headers: { traceparent } });
    const trace = await bench.run(['trace', traceparent, ...admin]);
    expect(trace.stdout).toMatch(/GET \/wait {2}200[\s\S]*wait +#+[\s\S]*far wait +#+[\s\S]*total/);
    const latency = await bench.run(['latency', 'cart', ...admin]);
    expect(latency.stdout).toMatch(/outbound {2}web\.default -> cart\.default[\s\S]*p50[\s\S]*far[\s\S]*p99/);
    const tap = bench.run(['tap', '--failed', '--limit', '1', '--every', '50ms', '-o', 'json', ...admin]);
    let isOver = false;
    void tap.then(() => {
      isOver = true;
    });
    await until('tap has seen one', async () => {
      await call(web.ready.outbound, 'basket', '/tapped');
      return isOver;
    });
    const seen = JSON.parse((await tap).stdout) as RecentRequest;
    expect(seen).toMatchObject({ path: '/tapped', status: 404, failure: 'unknown-service' });
    expect((await bench.run(['why', 'f'.repeat(32), ...admin])).code).toBe(1);
  });
});

describe('the last requests', () => {
  it('take no memory beyond their bound for 10,000 random paths', async () => {
    const { web } = await startMesh(answer);
    const agent = new Agent({ keepAlive: true, maxSockets: 16 });
    bench.onClose(() => agent.destroy());
    let sent = 0;
    const send = async (count: number) => {
      const path = () => `/${sent++}/${'x'.repeat(1_000)}?${'y'.repeat(8_000)}`;
      const one = async () => {
        while (sent < count) await call(web.ready.outbound, sent % 4 === 0 ? 'basket' : 'cart', path(), { agent });
      };
      await Promise.all(Array.from({ length: 16 }, one));
    };
    await send(3_000);
    const before = residentMiB(web.process.pid!);
    await send(13_000);
    const { recorded, requests } = await ask<RecentAnswer>(web, '/requests?limit=256');
    expect(recorded).toBeGreaterThanOrEqual(13_000);
    expect(requests).toHaveLength(256);
    expect(Math.max(...requests.map(({ path }) => path.length))).toBe(256);
    // Heads of 9 KiB that were kept whole would be 20 MiB more for what is kept, and 90 MiB for all.
    expect(residentMiB(web.process.pid!) - before).toBeLessThan(40);
  });
});
