/** Objects that are only valid together: applied, renamed and removed under traffic, with no failed request and no state in between. */
import { setTimeout as rest } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load, type Running, until } from './harness.ts';
import { steadyApp, steadyLoad } from './steady-load.ts';

const renames = 6;
const host = 'shop.example';
const loopback = ['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'];

let bench: Bench;
let control: Running;
beforeEach(async () => {
  bench = new Bench();
  control = await bench.weft([
    ...['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
    ...['--store', `embedded:${bench.path('store')}`],
  ]);
});
afterEach(() => bench.close());

const weft = async (args: readonly string[], input = ''): Promise<string> => {
  const { code, stdout, stderr } = await bench.run([...args, '--server', control.ready.api], input);
  expect(code, stderr).toBe(0);
  return stdout;
};
const sidecar = (name: string, ...more: string[]) =>
  bench.weft(['sidecar', '--service', name, '--control-plane', `http://${control.ready.api}`, ...loopback, ...more]);

/** A Service, and the route that gives it its host name: neither is any use without the other. `backend` null: the Service itself. */
const pair = (name: string, endpoint: string | null, backend: string | null) => `apiVersion: weft.mesh/v1
kind: Service
metadata: { name: ${name} }
spec: { endpoints: [${endpoint ?? ''}] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name} }
spec:
  parentRefs: [{ group: weft.mesh, kind: Service, name: ${name} }]
  hostnames: [${host}]
  rules: [{ backendRefs: [{ name: ${backend ?? name} }] }]
`;

interface Unit {
  readonly name: string;
  readonly hosts: readonly string[];
  readonly actions: readonly unknown[];
}

/** What a sidecar has in force for the host name, look after look, until it is stopped. */
function watchState(caller: Running): { stop(): Promise<ReadonlySet<string>> } {
  const seen = new Set<string>();
  let isStopped = false;
  const looking = (async () => {
    while (!isStopped) {
      const { units } = JSON.parse((await call(caller.ready.admin, 'admin', '/config')).body) as {
        units: Record<string, Unit>;
      };
      const leading = Object.values(units).filter(({ hosts }) => hosts.includes(host));
      seen.add(leading.map(({ name, actions }) => `${name} with ${actions.length} route`).join(' and ') || 'nothing');
      await rest(5);
    }
  })();
  return {
    stop: async () => {
      isStopped = true;
      await looking;
      return seen;
    },
  };
}

describe('a Service and the route that refers to it', () => {
  it.each([
    ['whose endpoints are its own', false],
    ['whose route leads to the sidecar of another', true],
  ])('%s are renamed under load, and no request fails', async (_what, isBehindLink) => {
    const app = await bench.app(steadyApp);
    if (isBehindLink) await sidecar('cart', '--app', app.address, '--inbound', '127.0.0.1:0');
    const callers = [await sidecar('web'), await sidecar('other')];
    const form = (name: string) => (isBehindLink ? pair(name, null, 'cart') : pair(name, app.address, null));
    if (isBehindLink)
      await until('cart is registered', async () => (await call(callers[0]!.ready.outbound, 'cart')).status === 200);
    await weft(['apply', '-f', '-', '--wait', 'applied'], form('front'));
    for (const { ready } of callers) expect((await call(ready.outbound, host)).body).toBe('ok');

    const loads = callers.map(({ ready }) => steadyLoad(ready.outbound, host, { gets: 2, posts: 1 }));
    const states = callers.map(watchState);
    for (let i = 0; i < renames; i++) {
      const [old, name] = i % 2 === 0 ? ['front', 'face'] : ['face', 'front'];
      const flags = ['--delete', `service/${old}`, '--delete', `httproute/${old}`, '--wait', 'applied'];
      const said = await weft(['apply', '-f', '-', ...flags], form(name!));
      expect(said).toMatch(/in force on \d sidecars?\n$/);
      for (const { ready } of callers) {
        const { units } = JSON.parse((await call(ready.admin, 'admin', '/config')).body) as {
          units: Record<string, Unit>;
        };
        expect(Object.keys(units)).toContain(`${name}.default`);
        expect(Object.keys(units)).not.toContain(`${old}.default`);
      }
    }
    for (const steady of loads) {
      const { sent, failed } = await steady.stop();
      expect(failed).toEqual([]);
      expect(sent).toBeGreaterThan(10 * renames);
    }
    for (const state of states)
      expect([...(await state.stop())].sort()).toEqual(['face.default with 1 route', 'front.default with 1 route']);
  });

  it('come and go together: each answer is that of both, or of none', async () => {
    const app = await bench.app((_request, response) => response.end('ok'));
    const callers = [await sidecar('web'), await sidecar('other')];
    const file = bench.file('shop.yaml', pair('front', app.address, null));
    await weft(['apply', '-f', '-'], pair('front', app.address, null).split('---')[0]!.replaceAll('front', 'steady'));
    for (const { ready } of callers) {
      expect((await call(ready.outbound, 'steady')).status).toBe(200);
      expect((await call(ready.outbound, host)).headers['weft-failure']).toBe('unknown-service');
    }
    const beside = callers.map(({ ready }) => load(ready.outbound, 'steady', 2));
    const states = callers.map(watchState);
    /** Each different answer once, in order of their coming, until there are so many. */
    const turns = callers.map(async ({ ready }) => {
      const seen: string[] = [];
      while (seen.length < 3) {
        const { status, headers } = await call(ready.outbound, host);
        const answer = `${status} ${headers['weft-failure'] ?? ''}`.trim();
        if (seen.at(-1) !== answer) seen.push(answer);
      }
      return seen;
    });
    await weft(['apply', '-f', file, '--wait', 'applied']);
    for (const { ready } of callers) expect((await call(ready.outbound, host)).status).toBe(200);
    await weft(['delete', '-f', file, '--wait', 'applied']);
    for (const seen of await Promise.all(turns))
      expect(seen).toEqual(['404 unknown-service', '200', '404 unknown-service']);
    for (const running of beside) expect((await running.stop()).failed).toEqual([]);
    for (const state of states)
      expect([...(await state.stop())].sort()).toEqual(['front.default with 1 route', 'nothing']);
  });
});
