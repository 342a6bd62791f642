/** What the control plane says of a call over three Services: each hop of its path with parts that add up, out of what their sidecars report. */
import { request as httpRequest, type RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LatencyAnswer } from '../../src/model/recent-request.ts';
import type { MeshHop, MeshLatency, MeshStats } from '../../src/model/report.ts';
import { Bench, call, type Running, until } from './harness.ts';
import { beside, IdentityMesh } from './identity-mesh.ts';
import { manifest, service } from './static-mesh.ts';

const calls = 40;
const delayMs = 20;

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** An app that answers with what the Service behind it says. */
const passOn =
  (outbound: () => string, host: string): RequestListener =>
  (_request, response) => {
    const [hostname, port] = outbound().split(':');
    httpRequest({ hostname, port, headers: { host } }, (answer) => {
      response.writeHead(answer.statusCode ?? 502);
      answer.pipe(response);
    })
      .once('error', () => response.writeHead(502).end())
      .end();
  };

async function startChain(mesh: IdentityMesh): Promise<{ readonly web: Running; readonly cart: Running }> {
  let cartOutbound = '';
  const stockApp = await bench.app((_request, response) => void setTimeout(() => response.end('stock'), delayMs));
  const cartApp = await bench.app(passOn(() => cartOutbound, 'stock'));
  const web = await mesh.sidecar('web');
  const cart = await mesh.sidecar('cart', ...beside(cartApp));
  await mesh.sidecar('stock', ...beside(stockApp));
  cartOutbound = cart.ready.outbound;
  await until('the chain answers', async () => (await call(web.ready.outbound, 'cart')).body === 'stock');
  return { web, cart };
}

/** Of the API itself: a process of the command line for each look would be slow. */
const ask = async <Answer>(mesh: IdentityMesh, path: string): Promise<Answer> =>
  JSON.parse((await call(mesh.control.ready.api, 'localhost', path)).body) as Answer;

const sumOf = (partsMs: Readonly<Record<string, number>>) => Object.values(partsMs).reduce((sum, ms) => sum + ms, 0);

describe('the control plane', () => {
  it('knows each hop of a path, and where the time of its median and of its slow requests went', async () => {
    const mesh = await IdentityMesh.start(bench);
    const { web } = await startChain(mesh);
    for (let i = 0; i < calls; i++) await call(web.ready.outbound, 'cart');
    let hops: readonly MeshHop[] = [];
    await until('all were reported', async () => {
      const answer = await ask<MeshLatency>(mesh, '/v1/latency?service=web');
      // Calls from before a Service was there went nowhere.
      hops = answer.hops.filter(({ destination }) => destination !== 'unknown');
      return hops.length === 4 && hops.every(({ requests }) => requests > calls);
    });
    const names = hops.map(({ depth, direction, source, destination }) =>
      [depth, direction, source, destination].join(' '),
    );
    expect(names).toEqual([
      '1 outbound web.default cart.default',
      '1 inbound web.default cart.default',
      '2 outbound cart.default stock.default',
      '2 inbound cart.default stock.default',
    ]);
    for (const { at, requests } of hops)
      for (const { totalMs, partsMs, percentileMs, fromMs, toMs, requests: averaged } of at) {
        expect(sumOf(partsMs)).toBeCloseTo(totalMs, 1);
        expect(totalMs).toBeGreaterThanOrEqual(delayMs * 0.95);
        expect(percentileMs).toBeGreaterThan(fromMs! * 0.93);
        expect(totalMs).toBeGreaterThanOrEqual(fromMs!);
        expect(totalMs).toBeLessThanOrEqual(toMs!);
        expect(averaged).toBeLessThanOrEqual(requests);
      }
    // The delay is the wait for the last app, and for it alone: whoever is before it waited for that.
    for (const { at } of hops) expect(at[0]!.partsMs.wait! / at[0]!.totalMs).toBeGreaterThan(0.5);
    const own = JSON.parse((await call(web.ready.admin, 'admin', '/latency?service=cart')).body) as LatencyAnswer;
    const [ofSidecar, ofMesh] = [own.hops[0]!.at[0]!, hops[0]!.at[0]!];
    expect(ofMesh.totalMs / ofSidecar.totalMs).toBeGreaterThan(0.75);
    expect(ofMesh.totalMs / ofSidecar.totalMs).toBeLessThan(1.33);
    const table = await mesh.command(['latency', 'web']);
    expect(table).toMatch(
      /== calls that web makes ==[\s\S]*web\.default -> cart\.default[\s\S]*p99[\s\S]*== 1 further on ==/,
    );
    expect(table).not.toContain('note:');
    expect(await mesh.command(['top', '--once'])).toMatch(/cart\.default +stock\.default +- +inbound +100\.00%/);
  });

  it('tells what callers got from what the attempts gave', async () => {
    const mesh = await IdentityMesh.start(bench);
    const web = await mesh.sidecar('web');
    const app = await bench.app((_request, response) => response.end('here'));
    // Nobody listens at port 1.
    await mesh.apply(
      manifest([service('cart', [app.address, '127.0.0.1:1'], { loadBalancer: { policy: 'RoundRobin' } })]),
    );
    await until('cart is known', async () => (await call(web.ready.outbound, 'cart')).status === 200);
    for (let i = 0; i < calls; i++) expect((await call(web.ready.outbound, 'cart')).status).toBe(200);
    let stats: MeshStats | null = null;
    await until('all were reported', async () => {
      stats = await ask<MeshStats>(mesh, '/v1/stats?service=cart');
      return (stats.series[0]?.requests ?? 0) > calls;
    });
    const { requests, failed, attempts, attemptsFailed } = stats!.series[0]!;
    expect([requests, failed, attempts - attemptsFailed]).toEqual([calls + 1, 0, calls + 1]);
    expect(attemptsFailed).toBeGreaterThan(0);
    const expected = { controlPlanes: 1, sidecars: 1, sidecarsElsewhere: 0, requestsWithoutDetail: 0 };
    expect(stats!.scope).toMatchObject(expected);
    expect(await mesh.command(['stat', 'cart'])).toMatch(/100\.00%.*ms +[5-9]\d\.\d\d%/);
  });
});
