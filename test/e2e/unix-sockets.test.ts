/** App and sidecar that meet at unix sockets, with both HTTP cores. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load, type Running, until } from './harness.ts';
import { echo, manifest, type Resource, seenIn, service, valuesOf } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const admin = ['--admin', '127.0.0.1:0'];
const executable = fileURLToPath(new URL('../../dist/bin/weft.js', import.meta.url));

const web = (resources: readonly Resource[], ...more: readonly string[]): Promise<Running> =>
  bench.weft([
    ...['sidecar', '--service', 'web', '--outbound', `unix:${bench.path('out.sock')}`, ...admin],
    ...['--config', bench.file('web.yaml', manifest(resources)), ...more],
  ]);

/** Beside the app, which is called over the link. */
const cart = (app: string, ...more: readonly string[]): Promise<Running> =>
  bench.weft([
    ...['sidecar', '--service', 'cart', '--app', app, '--inbound', '127.0.0.1:0', '--link', '127.0.0.1:0'],
    ...['--insecure-link', '--outbound', '127.0.0.1:0', ...admin],
    ...['--config', bench.file('cart.yaml', manifest([])), ...more],
  ]);

const linkTo = ({ ready }: Running): Resource => service('cart', [{ address: ready.inbound, link: ready.link }]);

describe.each(['uws', 'node'])('unix sockets with the core %s', (core) => {
  const withCore = ['--outbound-http', core, '--insecure-link'];

  it('carry requests from app to app, and are gone when the sidecar is', async () => {
    const app = await bench.appAt(bench.path('app.sock'), echo('cart'));
    const caller = await web([linkTo(await cart(app.address))], ...withCore);
    const { outbound } = caller.ready;
    expect(outbound).toBe(`unix:${bench.path('out.sock')}`);
    expect(statSync(bench.path('out.sock')).mode & 0o777).toBe(0o600);
    expect(seenIn((await call(outbound, 'cart', '/a?b=c')).body)).toMatchObject({ app: 'cart', url: '/a?b=c' });
    const { failed, sent } = await load(outbound, 'cart', 16, 400).done;
    expect({ failed, sent }).toEqual({ failed: [], sent: 400 });
    await caller.kill('SIGTERM');
    expect(await caller.exited).toEqual({ code: 0, signal: null });
    expect(existsSync(bench.path('out.sock'))).toBe(false);
  });

  it('carry large bodies both ways', async () => {
    const app = await bench.appAt(bench.path('app.sock'), (request, response) => request.pipe(response));
    const caller = await web([linkTo(await cart(app.address))], ...withCore);
    const body = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251));
    const reply = await call(caller.ready.outbound, 'cart', '/', { method: 'POST', body });
    const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    expect(hash(Buffer.from(reply.body, 'latin1'))).toBe(hash(body));
  });

  it('have no address to tell, and say so', async () => {
    const app = await bench.app(echo('cart'));
    const said = ['--x-forwarded', 'outbound=append', '--forwarded', 'outbound=append', '--access-log'];
    const caller = await web([service('cart', [app.address])], ...withCore, ...said);
    const { headers } = seenIn((await call(caller.ready.outbound, 'cart')).body);
    expect(valuesOf(headers, 'x-forwarded-for')).toEqual(['unknown']);
    expect(valuesOf(headers, 'forwarded')).toEqual(['for=unknown;host=cart;proto=http']);
    await until('the line is there', () => caller.logs().includes('"sourceAddress":"unknown"'));
  });

  it('take the place of the file of a sidecar that was killed, and not that of one that lives', async () => {
    const first = await web([], ...withCore);
    const second = await bench.run([
      ...['sidecar', '--service', 'web', '--outbound', first.ready.outbound, ...admin, ...withCore],
      ...['--config', bench.path('web.yaml')],
    ]);
    expect(second.code).not.toBe(0);
    expect(second.stderr).toMatch(/--outbound: cannot listen on unix:.*another process listens there/);
    expect((await call(first.ready.outbound, 'nobody')).status).toBe(404);
    await first.kill('SIGKILL');
    expect(existsSync(bench.path('out.sock'))).toBe(true);
    const third = await web([], ...withCore, '--outbound-mode', '660');
    expect((await call(third.ready.outbound, 'nobody')).status).toBe(404);
    expect(statSync(bench.path('out.sock')).mode & 0o777).toBe(0o660);
  });

  it('are not opened where this user may not', async () => {
    const directory = bench.path('closed');
    mkdirSync(directory);
    chmodSync(directory, 0o555);
    chmodSync(bench.directory, 0o755);
    const config = bench.file('web.yaml', manifest([]));
    const flags = ['--service', 'web', '--outbound', `unix:${directory}/out.sock`, ...admin, ...withCore];
    const { code, stderr } = await runAsNobody(['sidecar', ...flags, '--config', config]);
    expect(stderr).toMatch(/--outbound: cannot listen on unix:.*this user may not make or replace it/);
    expect(code).not.toBe(0);
  });
});

/** Root may do everything, so it has to be somebody else. */
function runAsNobody(args: readonly string[]): Promise<{ code: number | null; stderr: string }> {
  return new Promise((resolve) => {
    const nobody = process.getuid!() === 0 ? { uid: 65_534, gid: 65_534 } : {};
    const child = spawn(process.execPath, [executable, ...args], { stdio: ['ignore', 'ignore', 'pipe'], ...nobody });
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.once('close', (code) => resolve({ code, stderr }));
    bench.onClose(() => void child.kill('SIGKILL'));
  });
}

describe('an app at a unix socket', () => {
  it('that is not there yet answers 503, and is called once it is', async () => {
    const sidecar = await cart(`unix:${bench.path('app.sock')}`);
    expect(await call(sidecar.ready.inbound, 'cart')).toMatchObject({
      status: 503,
      headers: { 'weft-failure': 'connect-refused' },
    });
    await bench.appAt(bench.path('app.sock'), echo('cart'));
    expect((await call(sidecar.ready.inbound, 'cart')).status).toBe(200);
  });

  it('that breaks off its answer is not taken for one that has ended', async () => {
    const server = createServer((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhalf')),
    );
    await new Promise<void>((resolve) => server.listen(bench.path('app.sock'), resolve));
    bench.onClose(() => void server.close());
    const sidecar = await cart(`unix:${bench.path('app.sock')}`);
    const answer = await call(sidecar.ready.inbound, 'cart').catch(String);
    expect(typeof answer === 'string' ? 'cut' : answer.headers['weft-failure']).toMatch(/^(cut|answer-cut)$/);
  });

  it('is called on every event loop', async () => {
    const app = await bench.appAt(bench.path('app.sock'), echo('cart'));
    const callee = await cart(app.address, '--loops', '2');
    const caller = await web([linkTo(callee)], '--insecure-link', '--loops', '2', '--upstream', 'cart=127.0.0.1:0');
    const { failed } = await load(caller.ready.outbound, 'cart', 8, 200).done;
    expect(failed).toEqual([]);
  });
});

describe('weft run with unix sockets', () => {
  it('tells the app where to listen and to call, and registers it', async () => {
    const control = await bench.weft([
      ...['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
      ...['--store', `embedded:${bench.path('store')}`],
    ]);
    const script = `
      const { WEFT_OUTBOUND, WEFT_APP_SOCKET, PORT } = process.env;
      require('http').createServer((q, r) => r.end(['app', PORT, WEFT_OUTBOUND].join(' '))).listen(WEFT_APP_SOCKET);`;
    await bench.weft(
      [
        ...['run', '--service', 'cart', '--app', `unix:${bench.path('app.sock')}`, ...admin],
        ...['--outbound', `unix:${bench.path('cart-out.sock')}`, '--control-plane', `http://${control.ready.api}`],
        ...['--', process.execPath, '-e', script],
      ],
      { PORT: undefined },
    );
    const caller = await bench.weft([
      ...['sidecar', '--service', 'web', '--outbound', `unix:${bench.path('out.sock')}`, ...admin],
      ...['--control-plane', `http://${control.ready.api}`],
    ]);
    await until('cart is called', async () => (await call(caller.ready.outbound, 'cart')).status === 200);
    const { body } = await call(caller.ready.outbound, 'cart');
    expect(body).toBe(`app  unix:${bench.path('cart-out.sock')}`);
  });

  it('wants to know where the app listens, once', async () => {
    for (const where of [[], ['--app-port', '80', '--app', 'unix:app.sock']]) {
      const { code, stderr } = await bench.run(['run', '--service', 'cart', ...where, '--', 'true']);
      expect(code).toBe(2);
      expect(stderr).toMatch(/Say where the app will listen: --app-port PORT|--app-port and --app exclude each other/);
    }
  });
});
