/** The way of a change as a person goes it: preview, apply, look at it, take it back; with a real control plane and sidecar. */
import { chmodSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, type CommandResult, call, type Running, until } from './harness.ts';

let bench: Bench;
let control: Running;
beforeEach(async () => {
  bench = new Bench();
  control = await startControl('127.0.0.1:0', '127.0.0.1:0');
});
afterEach(() => bench.close());

const startControl = (api: string, push: string, ...more: string[]) =>
  bench.weft(['control-plane', '--listen', api, '--push', push, '--store', `embedded:${bench.path('store')}`, ...more]);
const weft = (args: readonly string[], input = '', environment = {}): Promise<CommandResult> =>
  bench.run(args, input, { WEFT_SERVER: `http://${control.ready.api}`, ...environment });
const cart = (...endpoints: string[]) =>
  `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart, labels: { app: shop } }\nspec: { endpoints: [${endpoints.join(', ')}] }\n`;

/** Of the process, until it is killed: what it has said so far. */
function follow(running: ReturnType<Bench['begin']>): () => string[] {
  let text = '';
  running.process.stdout?.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  return () => text.split('\n').filter((line) => line !== '');
}

describe('a change', () => {
  it('is previewed, applied, looked up and taken back within two seconds on a sidecar', async () => {
    const apps = [
      await bench.app((_request, response) => response.end('old')),
      await bench.app((_request, response) => response.end('new')),
    ] as const;
    const web = await bench.weft([
      ...['sidecar', '--service', 'web', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'],
      ...['--control-plane', `http://${control.ready.api}`],
    ]);
    const answer = async () => (await call(web.ready.outbound, 'cart')).body;
    await weft(['apply', '-f', '-', '-m', 'first'], cart(apps[0].address));
    expect(await answer()).toBe('old');
    const file = bench.file('cart.yaml', cart(apps[1].address));

    const preview = await weft(['diff', '-f', file]);
    expect(preview).toMatchObject({ code: 1, stderr: '' });
    expect(preview.stdout).toContain(`-    - ${apps[0].address}\n+    - ${apps[1].address}\n`);
    expect(preview.stdout).not.toContain('\u001b');
    expect((await weft(['apply', '-f', file, '--dry-run'])).stdout).toContain(`+    - ${apps[1].address}\n`);
    expect((await weft(['apply', '-f', file, '--wait', 'applied', '-m', 'to the new app'])).stdout).toMatch(
      /replaced\nrevision 3, in force on 1 sidecar\n$/,
    );
    expect(await answer()).toBe('new');
    expect(await weft(['diff', '-f', file])).toMatchObject({ code: 0, stdout: '' });

    expect((await weft(['history'])).stdout).toMatch(
      /^REVISION .*\n +3 .* Service\/default\/cart replaced +to the new app\n +2 .* created +first\n +1 .*TrustBundle\/mesh created/,
    );
    const one = await weft(['history', '--revision', '3']);
    expect(one.stdout).toMatch(/^revision 3 by .*\nto the new app\n\n--- Service\/default\/cart \(revision 2\)/);
    expect((await weft(['diff', '2'])).stdout).toContain(`+    - ${apps[1].address}\n`);

    expect((await weft(['rollback', '2', '-m', 'the new one is slow', '--wait', 'applied'])).stdout).toBe(
      'Service/default/cart replaced\nrevision 4, in force on 1 sidecar\n',
    );
    expect(await answer()).toBe('old');
    expect((await weft(['diff', '2', '4'])).code).toBe(0);
    expect((await weft(['rollback', '2'])).stdout).toContain('nothing to change');
    expect((await weft(['describe', 'service', 'cart'])).stdout).toMatch(/web\.default .*calls it +synced +4/);

    // Asked for at the API, without the start of a command.
    const startedAtMs = performance.now();
    const body = JSON.stringify({ revision: 3 });
    const headers = { 'content-type': 'application/json' };
    const asked = call(control.ready.api, '127.0.0.1', '/v1/rollback', { method: 'POST', headers, body });
    await until('the new app answers again', async () => (await answer()) === 'new', 10_000);
    const inForceMs = performance.now() - startedAtMs;
    expect((await asked).status).toBe(200);
    expect(inForceMs).toBeLessThan(2_000);
    console.log(`a rollback was in force on a sidecar ${Math.round(inForceMs)} ms after it was asked for`);
  });

  it('that went too far back to be taken back is told how far one can go', async () => {
    await control.kill('SIGTERM');
    control = await startControl(control.ready.api, control.ready.push, '--history-count', '2');
    for (const port of [1, 2, 3, 4]) await weft(['apply', '-f', '-'], cart(`127.0.0.1:${port}`));
    const refused = await weft(['rollback', '2']);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/Revision 2 is no longer kept: the oldest one that is known is 3\./);
    expect((await weft(['diff', '2'])).code).toBe(2);
    expect((await weft(['rollback', '3', '--dry-run'])).stdout).toMatch(
      /- {4}- 127\.0\.0\.1:4\n\+ {4}- 127\.0\.0\.1:2\n/,
    );
    expect((await weft(['control-plane', '--history-count', '0'])).stderr).toMatch(/1 to 100000/);
    expect((await weft(['control-plane', '--history-age', '1s'])).stderr).toMatch(/1m to 87600h/);
  });

  it('of a folder removes what is no longer in it, by its label', async () => {
    const other = cart().replace('cart', 'other');
    await weft(
      ['apply', '-f', '-'],
      `${cart()}---\n${other}---\n${cart().replace('cart', 'free').replace('shop', 'x')}`,
    );
    const file = bench.file('cart.yaml', cart());
    expect((await weft(['diff', '-f', file, '--prune', '-l', 'app=shop'])).stdout).toContain(
      '--- Service/default/other (now)\n+++ /dev/null\n',
    );
    expect((await weft(['apply', '-f', file, '--prune', '-l', 'app=shop'])).stdout).toBe(
      'Service/default/cart unchanged\nService/default/other deleted\nrevision 3\n',
    );
  });
});

describe('weft get -w', () => {
  it('shows every change, also across a restart of the control plane', async () => {
    await weft(['apply', '-f', '-'], cart('127.0.0.1:1'));
    const watch = bench.begin(['get', 'services', '-w', '-o', 'json', '--server', control.ready.api]);
    const lines = follow(watch);
    const said = () => lines().map((line) => JSON.parse(line) as { event: string; object: { spec: object } });
    await until('it shows what there is', () => lines().length === 1);
    await weft(['apply', '-f', '-'], cart('127.0.0.1:2'));
    await until('it shows the change', () => lines().length === 2);
    await control.kill('SIGKILL');
    await until('it says that nobody answers', () => /No control plane answers.*Trying again/.test(watch.logs()));
    control = await startControl(control.ready.api, control.ready.push);
    await weft(['apply', '-f', '-'], cart('127.0.0.1:3'));
    await weft(['delete', 'service', 'cart']);
    await until('it shows what came then', () => lines().length === 4);
    expect(said().map(({ event, object }) => [event, object.spec])).toEqual([
      ['is', { endpoints: ['127.0.0.1:1'] }],
      ['put', { endpoints: ['127.0.0.1:2'] }],
      ['put', { endpoints: ['127.0.0.1:3'] }],
      ['deleted', { endpoints: ['127.0.0.1:3'] }],
    ]);
    expect(watch.logs()).toContain('answers again');
  });
});

describe('weft edit', () => {
  it('applies what was saved, once it is right', async () => {
    await weft(['apply', '-f', '-'], cart('127.0.0.1:1'));
    const editor = bench.file(
      'editor.sh',
      `#!/bin/sh\nif grep -q refused "$1"; then sed -i 's/:99999/:9/' "$1"; else sed -i 's/127.0.0.1:1/127.0.0.1:99999/' "$1"; fi\n`,
    );
    chmodSync(editor, 0o755);
    const edited = await weft(['edit', 'service', 'cart', '-m', 'by hand'], '', { EDITOR: editor, VISUAL: '' });
    expect(edited).toMatchObject({ code: 0, stdout: 'Service/default/cart replaced\nrevision 3\n', stderr: '' });
    expect(JSON.parse((await weft(['get', 'svc', 'cart', '-o', 'json'])).stdout).spec).toEqual({
      endpoints: ['127.0.0.1:9'],
    });
  });
});
