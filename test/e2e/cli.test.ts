/** The built executable as a person meets it: what it says, and how it ends. */
import { mkdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running, until } from './harness.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const service = (name: string, spec = '{}') =>
  `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: ${name} }\nspec: ${spec}\n`;

const controlPlane = (): Promise<Running> =>
  bench.weft([
    ...['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
    ...['--store', `embedded:${bench.path('store')}`],
  ]);

describe('weft', () => {
  it.each([
    ['weft aply', ['aply'], 2, /Did you mean apply/],
    ['an unknown flag', ['status', '--sever', 'x'], 2, /Did you mean --server/],
    [
      'a listener that is not there',
      ['sidecar', '--service', 'web', '--paths', 'inbound=raw'],
      2,
      /no inbound listener/,
    ],
    ['an unknown log level', ['control-plane', '--listen', '127.0.0.1:0'], 2, /WEFT_LOG_LEVEL is "loud"/],
    ['no control plane', ['get', 'services', '--server', '127.0.0.1:1'], 1, /No control plane answers at/],
    ['no such file', ['apply', '-f', 'nothing.yaml'], 1, /There is no file or folder nothing\.yaml/],
    [
      'no such file to run',
      [
        'sidecar',
        '--service',
        'web',
        '--config',
        'nothing.yaml',
        '--outbound',
        '127.0.0.1:0',
        '--admin',
        '127.0.0.1:0',
      ],
      1,
      /nothing\.yaml/,
    ],
  ])('explains %s without a stack trace', async (_name, args, code, reason) => {
    const environment = reason.source.includes('loud') ? { WEFT_LOG_LEVEL: 'loud' } : {};
    const result = await bench.run(args, '', environment);
    expect(result.stderr).toMatch(reason);
    expect(result.stderr).not.toMatch(/\n\s+at /);
    expect({ code: result.code, stdout: result.stdout }).toEqual({ code, stdout: '' });
  });

  it('names every mistake of every file, and changes nothing', async () => {
    const { ready } = await controlPlane();
    mkdirSync(bench.path('mesh/deep'), { recursive: true });
    bench.file('mesh/good.yaml', service('good'));
    bench.file('mesh/bad.yml', service('Bad'));
    bench.file(
      'mesh/deep/worse.json',
      '{"kind": "Service", "apiVersion": "weft.mesh/v1", "metadata": {}, "spec": {"prot": 1}}',
    );
    bench.file('mesh/notes.txt', 'not a manifest');
    const result = await bench.run(['apply', '-f', bench.path('mesh'), '--server', ready.api]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/bad\.yml:3:\d+.*name/);
    expect(result.stderr).toMatch(/worse\.json:1:\d+.*prot/);
    expect((await bench.run(['get', 'services', '-o', 'json', '--server', ready.api])).stdout.trim()).toBe('[]');
  });

  it('applies, shows and deletes; what it shows can be applied again', async () => {
    const { ready } = await controlPlane();
    const weft = (args: string[], input = '') => bench.run(args, input, { WEFT_SERVER: `http://${ready.api}` });
    const file = bench.file('cart.yaml', service('cart', '{ endpoints: ["127.0.0.1:9001"] }'));

    expect((await weft(['apply', '-f', file, '--dry-run'])).stdout).toMatch(
      /^Service\/default\/cart created \(dry run\)$/m,
    );
    expect((await weft(['get', 'svc', '-o', 'json'])).stdout.trim()).toBe('[]');
    expect((await weft(['apply', '-f', file])).stdout).toMatch(/^Service\/default\/cart created\nrevision 2$/m);
    expect((await weft(['apply', '-f', file])).stdout).toMatch(/^Service\/default\/cart unchanged$/m);

    const yaml = (await weft(['get', 'service', 'cart', '-o', 'yaml'])).stdout;
    const changed = await weft(['apply', '-f', '-', '--wait', 'applied'], yaml.replace('9001', '9002'));
    expect(changed).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/replaced\nrevision 3, in force on 0 sidecars/),
    });
    // What was read before that change names the revision it is based on, which is no longer the last.
    const stale = await weft(['apply', '-f', '-'], yaml.replace('9001', '9003'));
    expect(stale.code).toBe(1);
    expect(stale.stderr).toContain('Service default/cart is at revision 3, not at 2');

    expect((await weft(['get', 'service', 'cart'])).stdout).toMatch(/default +cart +80 +1 +LeastRequest +3/);
    expect((await weft(['delete', 'service', 'cart'])).stdout).toMatch(/^Service\/default\/cart deleted/);
    const gone = await weft(['delete', 'service', 'cart']);
    expect({ code: gone.code, named: gone.stderr.includes('cart') }).toEqual({ code: 1, named: true });
    expect((await weft(['status'])).stdout).toContain('no sidecars');
    expect((await weft(['stat'])).stdout).toMatch(/no requests/);
  });

  it('says that a name which nobody had was made a Service, in the log and in the status', async () => {
    const control = await controlPlane();
    const app = await bench.app((_request, response) => response.end('ok'));
    const sidecar = await bench.weft([
      ...[
        'sidecar',
        '--service',
        'crat',
        '--app',
        app.address,
        '--inbound',
        '127.0.0.1:0',
        '--outbound',
        '127.0.0.1:0',
      ],
      ...['--admin', '127.0.0.1:0', '--control-plane', `http://${control.ready.api}`],
    ]);
    await until('the log says so', () =>
      /"service":"crat\.default".*created this Service \(it did not exist\)/.test(sidecar.logs()),
    );
    const status = async () => (await bench.run(['status', '--server', control.ready.api])).stdout;
    expect(await status()).not.toContain('note: created');
    sidecar.process.kill('SIGTERM');
    await sidecar.exited;
    expect(await status()).toMatch(/crat\.default .*no sidecar is registered.*`weft delete service crat` removes it$/m);
    await bench.run(['delete', 'service', 'crat', '--server', control.ready.api]);
    expect(await status()).not.toContain('crat');
  });

  it('says why nobody is sent to an app that is not there', async () => {
    const control = await controlPlane();
    await bench.weft([
      ...['sidecar', '--service', 'cart', '--app', '127.0.0.1:1', '--inbound', '127.0.0.1:0'],
      ...['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--control-plane', `http://${control.ready.api}`],
    ]);
    const row = /^cart\.default .* synced .* app 127\.0\.0\.1:1 accepts no connections$/m;
    await until('the status says so', async () =>
      row.test((await bench.run(['status', '--server', control.ready.api])).stdout),
    );
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('stops a control plane and a sidecar on %s, with code 0', async (signal) => {
    const control = await controlPlane();
    const sidecar = await bench.weft([
      ...['sidecar', '--service', 'web', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
      ...['--control-plane', `http://${control.ready.api}`],
    ]);
    await sidecar.kill(signal);
    await control.kill(signal);
    expect(await sidecar.exited).toEqual({ code: 0, signal: null });
    expect(await control.exited).toEqual({ code: 0, signal: null });
  });

  it('ends at once on a second signal, and at its deadline on one, while a request hangs', async () => {
    const app = await bench.app(() => {});
    const file = bench.file('mesh.yaml', service('cart', `{ endpoints: ["${app.address}"] }`));
    const start = (drainTimeout: string) =>
      bench.weft([
        ...['sidecar', '--service', 'web', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
        ...['--config', file, '--drain-timeout', drainTimeout],
      ]);
    const [patient, quick] = await Promise.all([start('1m'), start('200ms')]);
    for (const { ready } of [patient, quick]) {
      const arrived = new Promise((resolve) => app.server.once('request', resolve));
      void call(ready.outbound, 'cart').catch(() => {});
      await arrived;
    }
    patient.process.kill('SIGTERM');
    await until('it drains', () => patient.logs().includes('draining'));
    patient.process.kill('SIGTERM');
    expect(await patient.exited).toEqual({ code: 143, signal: null });
    quick.process.kill('SIGTERM');
    expect(await quick.exited).toEqual({ code: 0, signal: null });
  });
});
