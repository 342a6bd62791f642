/** A snapshot that the control plane lets through and a real sidecar refuses: traffic goes on as it was, and everybody who looks is told. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HTTPRoute } from '../../src/model/resources.ts';
import { Bench, call, type Running, until } from './harness.ts';
import { behindSpoiltPush, type SpoiltPush } from './spoilt-push.ts';
import { steadyApp, steadyLoad } from './steady-load.ts';

let bench: Bench;
let control: Running;
let push: SpoiltPush;
beforeEach(async () => {
  bench = new Bench();
  const store = ['--store', `embedded:${bench.path('store')}`];
  control = await bench.weft(['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0', ...store]);
  push = await behindSpoiltPush(bench, control);
});
afterEach(() => bench.close());

const sidecar = (service: string, api: string, ...more: string[]) =>
  bench.weft([
    ...['sidecar', '--service', service, '--control-plane', `http://${api}`, '--outbound', '127.0.0.1:0'],
    ...['--admin', '127.0.0.1:0', ...more],
  ]);
const weft = (command: string, args: readonly string[] = [], input = '') =>
  bench.run([command, ...args, '--server', `http://${control.ready.api}`], input);
const apply = (manifest: string, ...more: string[]) =>
  weft('apply', ['-f', '-', '--wait', 'applied', '--timeout', '10s', ...more], manifest);

const service = (name: string, address: string) => `apiVersion: weft.mesh/v1
kind: Service
metadata: { name: ${name} }
spec: { endpoints: ['${address}'] }
---
`;
/** Two rules, of which the first is for few: that every request is answered as before says that none of it is in force. */
const route = (header: string) => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [{ group: weft.mesh, kind: Service, name: cart }]
  rules:
    - matches: [{ headers: [{ name: ${header}, value: 'yes' }], path: { type: RegularExpression, value: '/v[12].*' } }]
      backendRefs: [{ name: other, port: 80 }]
    - backendRefs: [{ name: cart, port: 80 }]
---
`;
/** An expression that no engine takes. */
const withBrokenPattern = (spoilt: HTTPRoute): HTTPRoute =>
  JSON.parse(JSON.stringify(spoilt).replaceAll('/v[12].*', '/v[12'));

interface Listed {
  readonly service: string;
  readonly state: string;
  readonly revision: number;
  readonly reason: string | null;
  readonly stateAgeMs: number;
}
const listed = async (): Promise<readonly Listed[]> => {
  const { body } = await call(control.ready.api, '127.0.0.1', '/v1/sidecars');
  return (JSON.parse(body) as { items: Listed[] }).items.toSorted((a, b) => (a.service < b.service ? -1 : 1));
};
const metric = async (line: string): Promise<number> => {
  const { body } = await call(control.ready.api, '127.0.0.1', '/metrics');
  const found = body.split('\n').find((each) => each.startsWith(`${line} `));
  return Number(found?.slice(line.length + 1));
};

describe('a snapshot that a sidecar refuses', () => {
  it('changes nothing for its traffic, is named by whoever waits, and stays in status until a good one comes', async () => {
    const cart = await bench.app(steadyApp);
    const other = await bench.app((_request, response) => response.end('other'));
    const web = await sidecar('web', push.api);
    const shop = await sidecar('shop', control.ready.api);
    const before = await apply(service('cart', cart.address) + service('other', other.address));
    expect(before.code, before.stderr).toBe(0);
    for (const { ready } of [web, shop])
      await until('cart is served', async () => (await call(ready.outbound, 'cart')).status === 200);
    await until('both are synced', async () => (await listed()).every(({ state }) => state === 'synced'));
    const [, { revision }] = (await listed()) as [Listed, Listed];
    const loads = [web, shop].map(({ ready }) => steadyLoad(ready.outbound, 'cart', { gets: 3, posts: 1 }));
    const wanted = (at: Running) => call(at.ready.outbound, 'cart', '/v1', { headers: { 'x-try': 'yes' } });

    push.spoil = (change) =>
      change.object?.kind === 'HTTPRoute'
        ? { ...change, object: withBrokenPattern(change.object as HTTPRoute) }
        : change;
    const refused = await apply(route('x-try'));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /is committed, but within 10 s .*on 1 sidecar:\n +web\.default \(.*\) refused it: .+/,
    );
    const reason = /refused it: (.+)/.exec(refused.stderr)![1]!;
    // The one beside it has taken it: half of those concerned.
    expect((await wanted(shop)).body).toBe('other');
    const half = await apply(route('x-try-2'), '--percent', '50');
    expect([half.code, half.stderr]).toEqual([0, expect.stringMatching(/not yet on 1 sidecar:\n +web\.default/)]);
    const most = await apply(route('x-try'), '--percent', '51');
    expect([most.code, most.stderr]).toEqual([1, expect.stringContaining('web.default')]);

    const [, stale] = (await listed()) as [Listed, Listed];
    expect(stale).toMatchObject({ service: 'web', state: 'refused', revision, reason });
    const { stdout: table } = await weft('status');
    expect(table).toContain('2 sidecars, 1 not synced');
    expect(table).toMatch(
      new RegExp(`web\\.default +\\S+ +refused +\\d+s +${revision} .*${reason.slice(0, 20).replace(/[^\w ]/g, '.')}`),
    );
    expect(table).toMatch(/shop\.default +\S+ +synced +\d+s/);
    expect(await metric('weft_control_plane_sidecars{state="refused"}')).toBe(1);
    expect(await metric('weft_control_plane_pushes_total{outcome="refused"}')).toBe(3);
    expect(await metric('weft_control_plane_apply_seconds_count')).toBeGreaterThanOrEqual(3);
    // What was in force is, whole: nothing of the refused one.
    expect((await wanted(web)).body).toBe('ok');

    push.spoil = null;
    const mended = await apply(route('x-try-3'));
    expect(mended.code, mended.stderr).toBe(0);
    expect((await listed()).map(({ state, reason: why }) => [state, why])).toEqual([
      ['synced', null],
      ['synced', null],
    ]);
    expect((await call(web.ready.outbound, 'cart', '/v1', { headers: { 'x-try-3': 'yes' } })).body).toBe('other');
    for (const load of loads) {
      const { sent, failed } = await load.stop();
      expect(failed).toEqual([]);
      expect(sent).toBeGreaterThan(100);
    }
  });
});
