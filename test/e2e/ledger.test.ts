/** Time that is planted into one part of a call shows in that part and in no other; and the last requests are there to be asked for. */
import { Agent } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { LatencyAnswer, RecentAnswer, RecentRequest } from '../../src/model/recent-request.ts';
import { Bench, call, type Running, residentMiB, until } from './harness.ts';
import { expectWhereItBelongs, leniently, plantedMs, plantings, startPlantedMesh } from './planted-time.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

async function ask<Answer>(sidecar: Running, path: string): Promise<Answer> {
  return JSON.parse((await call(sidecar.ready.admin, 'admin', path)).body) as Answer;
}

describe('20 ms', () => {
  it('of a delay, a blocked loop, a connect, a slow reader, the network or a full pool are where they belong, and nowhere else', async () => {
    const mesh = await startPlantedMesh(bench);
    for (const planting of plantings) await expectWhereItBelongs(mesh, planting, leniently);

    const { hops } = await ask<LatencyAnswer>(mesh.web, '/latency?service=cart');
    expect(hops).toHaveLength(1);
    expect(hops[0]!.at.map(({ percentile }) => percentile)).toEqual([50, 95, 99]);
    expect(hops[0]!.at[2]!.far).not.toBeNull();
  });
});

describe('the command line', () => {
  it.each([['1'], ['2']])('says why a call failed and draws it, with %s event loops', async (loops) => {
    const { web } = await startPlantedMesh(bench, ['--loops', loops]);
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
    await call(web.ready.outbound, 'cart', `/delay/${plantedMs}`, { headers: { traceparent } });
    const trace = await bench.run(['trace', traceparent, ...admin]);
    expect(trace.stdout).toMatch(/GET \/delay\/20 {2}200[\s\S]*wait +#+[\s\S]*far wait +#+[\s\S]*total/);
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
    const { web } = await startPlantedMesh(bench);
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
