/** `apply --wait applied` tells the truth: about sidecars that hang, died, or were not heard since the control plane restarted. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, type CommandResult, call, type Running, until } from './harness.ts';

let bench: Bench;
let control: Running;
let web: Running;
beforeEach(async () => {
  bench = new Bench();
  control = await startControl('127.0.0.1:0', '127.0.0.1:0');
  web = await bench.weft([
    'sidecar',
    '--service',
    'web',
    '--control-plane',
    `http://${control.ready.api}`,
    '--outbound',
    '127.0.0.1:0',
    '--admin',
    '127.0.0.1:0',
  ]);
});
afterEach(() => bench.close());

const startControl = (api: string, push: string) =>
  bench.weft(['control-plane', '--listen', api, '--push', push, '--store', `embedded:${bench.path('store')}`]);

/** Leads cart to this address, and waits for it. */
const leadTo = (address: string, timeout: string): Promise<CommandResult> =>
  bench.run(
    ['apply', '-f', '-', '--server', `http://${control.ready.api}`, '--wait', 'applied', '--timeout', timeout],
    `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: { endpoints: ['${address}'] }\n`,
  );
const answer = async () => (await call(web.ready.outbound, 'cart')).body;

describe('apply --wait applied', () => {
  it('holds at the moment it returns, time after time', async () => {
    const apps = [
      await bench.app((_request, response) => response.end('a')),
      await bench.app((_request, response) => response.end('b')),
    ];
    for (let change = 0; change < 10; change++) {
      const app = apps[change % 2]!;
      expect((await leadTo(app.address, '10s')).code).toBe(0);
      expect(await answer()).toBe('ab'[change % 2]);
    }
  });

  it('counts a sidecar that only a lease remembers: named while it is silent, waited for when it comes back', async () => {
    const apps = [
      await bench.app((_request, response) => response.end('a')),
      await bench.app((_request, response) => response.end('b')),
    ];
    expect((await leadTo(apps[0]!.address, '10s')).code).toBe(0);
    expect(await answer()).toBe('a');

    web.process.kill('SIGSTOP');
    await control.kill('SIGKILL');
    control = await startControl(control.ready.api, control.ready.push);
    const silent = await leadTo(apps[1]!.address, '1s');
    expect(silent.code).toBe(1);
    expect(silent.stderr).toMatch(/committed, but within 1 s .*\n +web\.default .* has not answered/);

    const waiting = leadTo(apps[1]!.address, '20s');
    web.process.kill('SIGCONT');
    expect((await waiting).code).toBe(0);
    expect(await answer()).toBe('b');
  });

  it('does not wait for a sidecar that left, nor for one that does not call the Service', async () => {
    const app = await bench.app((_request, response) => response.end('a'));
    const other = await bench.weft([
      'sidecar',
      '--service',
      'other',
      '--control-plane',
      `http://${control.ready.api}`,
      '--outbound',
      '127.0.0.1:0',
      '--admin',
      '127.0.0.1:0',
    ]);
    expect((await leadTo(app.address, '10s')).code).toBe(0);
    expect(await answer()).toBe('a');
    other.process.kill('SIGSTOP');
    await web.kill('SIGTERM');
    const result = await leadTo('127.0.0.1:1', '3s');
    other.process.kill('SIGCONT');
    expect(result.code, result.stderr).toBe(0);
  });

  it('names a sidecar that was killed as long as its lease lives', async () => {
    const app = await bench.app((_request, response) => response.end('a'));
    expect((await leadTo(app.address, '10s')).code).toBe(0);
    expect(await answer()).toBe('a');
    await web.kill('SIGKILL');
    const result = await leadTo('127.0.0.1:1', '1s');
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('web.default');
    const status = await bench.run(['status', '--server', `http://${control.ready.api}`]);
    expect(status.stdout).toMatch(/web.*lost/);
  });
});

describe('the registered endpoint of a sidecar', () => {
  it('is withdrawn at its drain, at once', async () => {
    const app = await bench.app((_request, response) => response.end('a'));
    const cart = await bench.weft([
      'sidecar',
      '--service',
      'cart',
      '--app',
      app.address,
      '--inbound',
      '127.0.0.1:0',
      '--control-plane',
      `http://${control.ready.api}`,
      '--outbound',
      '127.0.0.1:0',
      '--admin',
      '127.0.0.1:0',
    ]);
    await until('cart is registered', async () => (await call(web.ready.outbound, 'cart')).status === 200);
    expect((await call(cart.ready.admin, 'admin', '/drain', { method: 'POST' })).status).toBe(202);
    await until(
      'web knows',
      async () => (await call(web.ready.outbound, 'cart')).headers['weft-failure'] === 'no-endpoint',
      2_000,
    );
    expect((await call(cart.ready.admin, 'admin', '/ready')).status).toBe(503);
  });
});
