/** What must not hurt traffic: changes, restarts and kills of the control plane, its absence at a sidecar's start. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load, type Running, until } from './harness.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** How often each failure, without what differs from request to request. */
const summary = (failed: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const text of failed) {
    const kind = text.replace(/"requestId.*/, '');
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
};

/** Whether the state that a sidecar starts from holds this text by now: a file that is still being written does not count. */
const isSaved = (directory: string, text: string): boolean => {
  const path = join(directory, 'sidecar-state.jsonl');
  return existsSync(path) && readFileSync(path, 'utf8').includes(text);
};

const loopback = ['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'];

describe('a control plane that comes and goes', () => {
  it('10,000 requests under 20 changes, a restart and a kill -9: none fails', async () => {
    const start = (api: string, push: string) =>
      bench.weft(['control-plane', '--listen', api, '--push', push, '--store', `embedded:${bench.path('store')}`]);
    let control: Running = await start('127.0.0.1:0', '127.0.0.1:0');
    const { api, push } = control.ready;
    const sidecar = (name: string, ...more: string[]) =>
      bench.weft(['sidecar', '--service', name, '--control-plane', `http://${api}`, ...loopback, ...more]);
    const apply = async (text: string) => {
      const result = await bench.run(['apply', '-f', '-', '--server', `http://${api}`, '--wait', 'applied'], text);
      expect(result.code, result.stderr + result.stdout).toBe(0);
    };

    const apps = await Promise.all(
      ['one', 'two', 'written'].map((name) => bench.app((_request, response) => response.end(name))),
    );
    await sidecar('cart', '--app', apps[0]!.address, '--inbound', '127.0.0.1:0');
    await sidecar('cart', '--app', apps[1]!.address, '--inbound', '127.0.0.1:0');
    const web = await sidecar('web');
    await until('cart is registered', async () => (await call(web.ready.outbound, 'cart')).status === 200);

    const traffic = load(web.ready.outbound, 'cart', 4);
    for (let change = 0; change < 20; change++) {
      if (change === 7) {
        await control.kill('SIGTERM');
        control = await start(api, push);
      }
      if (change === 14) {
        await control.kill('SIGKILL');
        control = await start(api, push);
      }
      const endpoints = change % 2 === 0 ? `[${apps[2]!.address}]` : '[]';
      await apply(`apiVersion: weft.mesh/v1
kind: Service
metadata: { name: cart }
spec: { endpoints: ${endpoints}, loadBalancer: { policy: ${['RoundRobin', 'LeastRequest', 'PeakEwma', 'Random'][change % 4]} } }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [{ group: weft.mesh, kind: Service, name: cart }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /${change % 3 === 0 ? '' : `only-${change}`} } }, { path: { type: PathPrefix, value: / } }]
      backendRefs: [{ name: cart, port: 80, weight: ${1 + change} }]
`);
    }
    await until('10,000 requests', () => traffic.sent >= 10_000, 120_000);
    const result = await traffic.stop();
    expect(summary(result.failed)).toEqual({});
    // Both registered endpoints are still there: neither restart nor kill lost them.
    const after = await load(web.ready.outbound, 'cart', 4, 400).done;
    expect(after.failed).toEqual([]);
    expect(after.byBody.get('one')).toBeGreaterThan(0);
    expect(after.byBody.get('two')).toBeGreaterThan(0);
  });

  it('its absence: traffic goes on, and a sidecar restarts from its disk', async () => {
    const control = await bench.weft([
      'control-plane',
      '--listen',
      '127.0.0.1:0',
      '--push',
      '127.0.0.1:0',
      '--store',
      `embedded:${bench.path('store')}`,
    ]);
    const app = await bench.app((_request, response) => response.end('here'));
    const args = [
      'sidecar',
      '--service',
      'web',
      '--control-plane',
      `http://${control.ready.api}`,
      '--state-dir',
      bench.path('state'),
      ...loopback,
    ];
    await bench.run(
      ['apply', '-f', '-', '--server', `http://${control.ready.api}`],
      `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: { endpoints: ['${app.address}'] }\n`,
    );
    const web = await bench.weft(args);
    expect((await call(web.ready.outbound, 'cart')).body).toBe('here');
    await control.kill('SIGKILL');
    expect((await load(web.ready.outbound, 'cart', 2, 200).done).failed).toEqual([]);
    await until('the configuration is on disk', () => isSaved(bench.path('state'), app.address));
    await web.kill('SIGKILL');
    const again = await bench.weft(args);
    expect((await call(again.ready.outbound, 'cart')).body).toBe('here');
    const unknown = await call(again.ready.outbound, 'nobody');
    expect(unknown.status).toBe(503);
    expect(unknown.headers['weft-failure']).toBe('discovery-timeout');
  });

  it('without any configuration a sidecar says so, and prints its ready line when there is one', async () => {
    const control = await bench.weft([
      'control-plane',
      '--listen',
      '127.0.0.1:0',
      '--push',
      '127.0.0.1:0',
      '--store',
      `embedded:${bench.path('store')}`,
    ]);
    await control.kill('SIGKILL');
    const { api, push } = control.ready;
    const port = String((await bench.app(() => {})).port);
    const starting = bench.weft([
      'sidecar',
      '--service',
      'web',
      '--control-plane',
      `http://${api}`,
      '--outbound',
      '127.0.0.1:0',
      '--admin',
      `127.0.0.1:${Number(port) === 65_535 ? 65_534 : 0}`,
    ]);
    await bench.weft(['control-plane', '--listen', api, '--push', push, '--store', `embedded:${bench.path('store')}`]);
    const web = await starting;
    expect((await call(web.ready.outbound, 'nobody')).headers['weft-failure']).toBe('unknown-service');
  });
});

describe('ports', () => {
  it('are free again at once after a kill -9 of the control plane and of a sidecar', async () => {
    const controlArgs = (api: string, push: string) => [
      'control-plane',
      '--listen',
      api,
      '--push',
      push,
      '--store',
      `embedded:${bench.path('store')}`,
    ];
    let control = await bench.weft(controlArgs('127.0.0.1:0', '127.0.0.1:0'));
    const { api, push } = control.ready;
    const app = await bench.app((_request, response) => response.end('here'));
    const sidecarArgs = (outbound: string, inbound: string, admin: string) => [
      'sidecar',
      '--service',
      'cart',
      '--app',
      app.address,
      '--control-plane',
      `http://${api}`,
      '--outbound',
      outbound,
      '--inbound',
      inbound,
      '--admin',
      admin,
    ];
    let cart = await bench.weft(sidecarArgs('127.0.0.1:0', '127.0.0.1:0', '127.0.0.1:0'));
    const { outbound, inbound, admin } = cart.ready;
    for (let round = 0; round < 3; round++) {
      await until('a call works', async () => (await call(outbound, 'cart')).status === 200);
      await Promise.all([control.kill('SIGKILL'), cart.kill('SIGKILL')]);
      control = await bench.weft(controlArgs(api, push));
      cart = await bench.weft(sidecarArgs(outbound, inbound, admin));
      expect(cart.ready).toMatchObject({ outbound, inbound, admin });
    }
  });

  it('that are taken are explained', async () => {
    const taken = await bench.tcp(() => {});
    for (const flag of ['--outbound', '--admin', '--inbound']) {
      const args = {
        '--outbound': '127.0.0.1:0',
        '--admin': '127.0.0.1:0',
        '--inbound': '127.0.0.1:0',
        [flag]: taken.address,
      };
      const file = bench.file('empty.yaml', '');
      const result = await bench.run([
        'sidecar',
        '--service',
        'cart',
        '--app',
        '127.0.0.1:1',
        '--config',
        file,
        ...Object.entries(args).flat(),
      ]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(taken.address);
      // One sentence for a person, with the flag: no line of a log, and no stack in any form.
      expect(result.stderr).toMatch(
        new RegExp(`^The sidecar could not start: ${flag === '--admin' ? '' : `${flag}: `}.*another process.*\\n$`),
      );
    }
    for (const flag of ['--listen', '--push']) {
      const args = { '--listen': '127.0.0.1:0', '--push': '127.0.0.1:0', [flag]: taken.address };
      const result = await bench.run([
        'control-plane',
        '--store',
        `embedded:${bench.path(`s${flag}`)}`,
        ...Object.entries(args).flat(),
      ]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain(taken.address);
      expect(result.stderr).toMatch(/^The control plane could not start: .*another process.*\n$/);
    }
  });
});
