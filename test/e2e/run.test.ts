/** `weft run` around real apps, in this language and in others. */
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load, type Running, until } from './harness.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const loopback = ['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
/** An app that answers with its name, slowly enough that a stop finds requests under way. */
const app = `require('http').createServer((q, r) => setTimeout(() => r.end(process.argv[1]), 20)).listen(process.env.PORT, '127.0.0.1')`;

let nextPort = 20_000 + (process.pid % 10_000);

/** Below the range out of which the system takes ports for port 0: one of the sidecar's own listeners could be given it first. */
async function freePort(): Promise<string> {
  for (;;) {
    const port = nextPort++;
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return String(port);
  }
}

const controlPlane = (): Promise<Running> =>
  bench.weft([
    ...['control-plane', '--listen', '127.0.0.1:0', '--push', '127.0.0.1:0'],
    ...['--store', `embedded:${bench.path('store')}`],
  ]);

async function runArgs(control: Running, command: (port: string) => readonly string[]): Promise<string[]> {
  const port = await freePort();
  return [
    ...['run', '--service', 'cart', '--app-port', port, ...loopback],
    ...['--control-plane', `http://${control.ready.api}`, '--', ...command(port)],
  ];
}

const webSidecar = (control: Running): Promise<Running> =>
  bench.weft(['sidecar', '--service', 'web', ...loopback, '--control-plane', `http://${control.ready.api}`]);

async function registered(control: Running, count: number): Promise<void> {
  await until(`${count} endpoints are registered`, async () => {
    const { stdout } = await bench.run(['get', 'sidecars', '-o', 'json', '--server', control.ready.api]);
    return (JSON.parse(stdout) as { registration: unknown }[]).filter((each) => each.registration).length === count;
  });
}

describe('weft run', () => {
  it('answers 127 for a program that does not exist, and nothing stays registered', async () => {
    const control = await controlPlane();
    const result = await bench.run(await runArgs(control, () => ['no-such-program']));
    expect(result.code).toBe(127);
    expect(result.stderr).toContain('There is no program "no-such-program" to run');
    await registered(control, 0);
  });

  it("answers the app's code, leaves standard output to it, and keeps its way out until the end", async () => {
    const control = await controlPlane();
    const script = `const { WEFT_OUTBOUND, WEFT_SERVICE, PORT } = process.env;
      require('http').get(WEFT_OUTBOUND, { headers: { host: 'nobody' } }, (answer) => {
        console.log(WEFT_SERVICE, answer.statusCode, PORT === process.argv[1]);
        process.exit(7);
      })`;
    const result = await bench.run(await runArgs(control, (port) => [process.execPath, '-e', script, port]));
    expect(result).toMatchObject({ code: 7, stdout: 'cart 404 true\n' });
    expect(result.stderr).toMatch(/^\{"ready":"sidecar","service":"cart","outbound":"127\.0\.0\.1:\d+","inbound":/m);
  });

  it('waits for a control plane that is not there yet, and gives up at its deadline', async () => {
    const marker = bench.path('started');
    const result = await bench.run([
      ...['run', '--service', 'cart', '--app-port', await freePort(), ...loopback, '--ready-timeout', '300ms'],
      ...['--control-plane', 'http://127.0.0.1:1', '--', 'touch', marker],
    ]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('so the app was not started');
  });

  it('puts a server of another language into the mesh, and takes it out again', async () => {
    const control = await controlPlane();
    bench.file('index.html', 'hello from python');
    const cart = await bench.weft(
      await runArgs(control, (port) => [
        ...['python3', '-m', 'http.server', port, '--bind', '127.0.0.1', '--directory', bench.directory],
      ]),
    );
    const web = await webSidecar(control);
    await registered(control, 1);
    expect(await call(web.ready.outbound, 'cart')).toMatchObject({ status: 200, body: 'hello from python' });

    await cart.kill('SIGTERM');
    expect(await cart.exited).toEqual({ code: 143, signal: null });
    await registered(control, 0);
    await until(
      'callers know',
      async () => (await call(web.ready.outbound, 'cart')).headers['weft-failure'] === 'no-endpoint',
    );
  });

  it('stops one of two under load with no failed request', async () => {
    const control = await controlPlane();
    const start = async (name: string) => bench.weft(await runArgs(control, () => [process.execPath, '-e', app, name]));
    const [first] = await Promise.all([start('first'), start('second')]);
    const web = await webSidecar(control);
    await registered(control, 2);
    const traffic = load(web.ready.outbound, 'cart', 8);
    await until('requests flow', () => traffic.sent > 100);
    await first.kill('SIGTERM');
    const sentAtStop = traffic.sent;
    await until('requests go on', () => traffic.sent > sentAtStop + 100);
    const { failed, byBody } = await traffic.stop();
    expect(failed).toEqual([]);
    expect([...byBody.keys()].sort()).toEqual(['first', 'second']);
    expect((await first.exited).code).toBe(143);
  });

  it('leaves the mesh when its app dies', async () => {
    const control = await controlPlane();
    const script = `${app}; process.on('SIGUSR2', () => process.kill(process.pid, 'SIGKILL'))`;
    const cart = await bench.weft(await runArgs(control, () => [process.execPath, '-e', script, 'cart']));
    await registered(control, 1);
    cart.process.kill('SIGUSR2');
    expect(await cart.exited).toEqual({ code: 137, signal: null });
    await registered(control, 0);
  });
});
