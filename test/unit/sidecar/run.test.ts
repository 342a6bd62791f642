import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type AppSidecar, type RunHost, type RunOptions, runBesideApp } from '../../../src/sidecar/run.ts';

/** Everything outside of the runner, in the test's hands: what happened is in `events`, in order. */
class World {
  readonly events: string[] = [];
  readonly timers: { readonly ms: number; readonly run: () => void }[] = [];
  #signal: (signal: NodeJS.Signals) => void = () => {};
  finishDrain: () => void = () => {};
  drainTakesTime = false;
  lastError: string | null = null;

  readonly host: RunHost = {
    onSignal: (listener) => {
      this.#signal = listener;
      return () => this.events.push('signals unheard');
    },
    say: (line) => void this.events.push(`say ${line}`),
    after: (ms, run) => {
      const timer = { ms, run };
      this.timers.push(timer);
      return () => void this.timers.splice(this.timers.indexOf(timer), 1);
    },
  };

  sidecar(ready: Promise<void> = Promise.resolve()): AppSidecar {
    return {
      outbound: '127.0.0.1:4001',
      ready,
      lastError: () => this.lastError,
      drain: () => {
        this.events.push('drain');
        return new Promise((resolve) => {
          this.finishDrain = () => {
            this.events.push('drained');
            resolve();
          };
          if (!this.drainTakesTime) this.finishDrain();
        });
      },
      close: async () => void this.events.push('close'),
    };
  }

  signal(signal: NodeJS.Signals): void {
    this.#signal(signal);
  }

  runTimer(ms: number): void {
    const timer = this.timers.find((each) => each.ms === ms);
    if (timer === undefined) throw new Error(`nobody waits ${ms} ms`);
    timer.run();
  }
}

const options = (script: string, changes: Partial<RunOptions> = {}): RunOptions => ({
  command: process.execPath,
  args: ['-e', script],
  env: { PATH: process.env.PATH },
  service: 'cart',
  app: { host: '127.0.0.1', port: 8080 },
  readyMs: 60_000,
  stopMs: 30_000,
  isInteractive: false,
  ...changes,
});

/** Starts an app that says over a socket that it is up, so that no test has to guess when. */
async function appThatSaysWhenUp(world: World, body: string, changes: Partial<RunOptions> = {}) {
  const { createServer } = await import('node:net');
  const server = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : 0;
  const up = new Promise<void>((resolve) => server.once('connection', () => resolve()));
  const script = `${body}; const socket = require('net').connect(${port}, '127.0.0.1'); socket.on('error', () => {}); setInterval(() => {}, 1000)`;
  const code = runBesideApp(async () => world.sidecar(), options(script, changes), world.host);
  await Promise.race([up, code]);
  return { code };
}

describe('weft run', () => {
  it.each<[string, Partial<RunOptions>, string]>([
    ['at a port', {}, '8080 undefined'],
    ['at a port, with one that was set', { env: { PATH: process.env.PATH, PORT: '7' } }, '7 undefined'],
    ['at a socket', { app: { path: '/run/app.sock' } }, 'undefined /run/app.sock'],
  ])('tells the app where it is to listen: %s', async (_where, changes, expected) => {
    const world = new World();
    const script = `
      const { PORT, WEFT_APP_SOCKET } = process.env;
      process.exit(\`\${PORT} \${WEFT_APP_SOCKET}\` === '${expected}' ? 0 : 3)`;
    expect(await runBesideApp(async () => world.sidecar(), options(script, changes), world.host)).toBe(0);
  });

  it.each([
    ['no-such-program', ' (looked for in PATH)'],
    ['./no-such-program', ''],
  ])('answers 127 for a program that does not exist, before anything is opened: %s', async (command, where) => {
    const world = new World();
    const code = await runBesideApp(
      async () => expect.unreachable('nothing is started'),
      options('', { command }),
      world.host,
    );
    expect(code).toBe(127);
    expect(world.events).toEqual([`say There is no program "${command}" to run${where}.`]);
  });

  it('answers 127 for a program whose interpreter does not exist, and leaves the mesh', async () => {
    const world = new World();
    const command = join(mkdtempSync(join(tmpdir(), 'weft-run-')), 'app');
    onTestFinished(() => rmSync(dirname(command), { recursive: true }));
    writeFileSync(command, '#!/no/such/interpreter\n', { mode: 0o755 });
    const code = await runBesideApp(async () => world.sidecar(), options('', { command }), world.host);
    expect(code).toBe(127);
    expect(world.events).toEqual([
      `say There is no program "${command}" to run.`,
      'drain',
      'drained',
      'close',
      'signals unheard',
    ]);
  });

  it('answers 126 for a file that cannot be run', async () => {
    const code = await runBesideApp(
      async () => new World().sidecar(),
      options('', { command: fileURLToPath(import.meta.url) }),
      new World().host,
    );
    expect(code).toBe(126);
  });

  it('answers 1 and starts nothing when the sidecar is not ready in time', async () => {
    const world = new World();
    const never = new Promise<void>(() => {});
    const code = runBesideApp(async () => world.sidecar(never), options('process.exit(9)'), world.host);
    await new Promise((resolve) => setImmediate(resolve));
    world.runTimer(5_000);
    world.runTimer(60_000);
    expect(await code).toBe(1);
    expect(world.events).toEqual([
      'say The sidecar has no configuration yet; the app starts when it has one.',
      'say The sidecar had no configuration after 60 s, so the app was not started.',
      'close',
      'signals unheard',
    ]);
    expect(world.timers).toEqual([]);
  });

  it('says what the sidecar failed with last when it gives up', async () => {
    const world = new World();
    const never = new Promise<void>(() => {});
    const code = runBesideApp(async () => world.sidecar(never), options('process.exit(9)'), world.host);
    await new Promise((resolve) => setImmediate(resolve));
    world.lastError = 'this sidecar has no token';
    world.runTimer(60_000);
    expect(await code).toBe(1);
    expect(world.events[0]).toMatch(/so the app was not started\. Last error: this sidecar has no token$/);
  });

  it('starts nothing when it is told to stop before the sidecar is ready', async () => {
    const world = new World();
    const never = new Promise<void>(() => {});
    const code = runBesideApp(async () => world.sidecar(never), options('process.exit(9)'), world.host);
    world.signal('SIGTERM');
    expect(await code).toBe(143);
    expect(world.events).toEqual(['close', 'signals unheard']);
  });

  it('passes on what the sidecar could not start with', async () => {
    const world = new World();
    await expect(runBesideApp(() => Promise.reject(new Error('port taken')), options(''), world.host)).rejects.toThrow(
      'port taken',
    );
    expect(world.events).toEqual(['signals unheard']);
  });

  it.each([0, 7])("answers the app's exit code %d", async (code) => {
    expect(
      await runBesideApp(async () => new World().sidecar(), options(`process.exit(${code})`), new World().host),
    ).toBe(code);
  });

  it('answers 128 + n for an app that signal n ended', async () => {
    const world = new World();
    const { code } = await appThatSaysWhenUp(world, 'process.kill(process.pid, "SIGKILL")');
    expect(await code).toBe(137);
  });

  it('tells the app where its way out is', async () => {
    const script = `const { WEFT_OUTBOUND, WEFT_SERVICE, PORT } = process.env;
      process.exit([WEFT_OUTBOUND, WEFT_SERVICE, PORT].join() === 'http://127.0.0.1:4001,cart,8080' ? 0 : 3)`;
    expect(await runBesideApp(async () => new World().sidecar(), options(script), new World().host)).toBe(0);
  });

  it('keeps a PORT that was set', async () => {
    const env = { PATH: process.env.PATH, PORT: '1' };
    const script = 'process.exit(Number(process.env.PORT))';
    expect(await runBesideApp(async () => new World().sidecar(), options(script, { env }), new World().host)).toBe(1);
  });

  it('drains first, and then hands the signal to the app', async () => {
    const world = new World();
    world.drainTakesTime = true;
    const { code } = await appThatSaysWhenUp(world, 'process.on("SIGTERM", () => process.exit(5))');
    world.signal('SIGTERM');
    expect(world.events).toEqual(['drain']);
    world.finishDrain();
    expect(await code).toBe(5);
    expect(world.events).toEqual(['drain', 'drained', 'close', 'signals unheard']);
    expect(world.timers).toEqual([]);
  });

  it('does not wait for the drain after a second signal', async () => {
    const world = new World();
    world.drainTakesTime = true;
    const { code } = await appThatSaysWhenUp(world, 'process.on("SIGINT", () => process.exit(6))');
    world.signal('SIGINT');
    world.signal('SIGINT');
    await expect.poll(() => world.timers.length).toBe(1);
    // The app ends, and withdrawing has a deadline of its own.
    await expect.poll(() => world.timers.map(({ ms }) => ms)).toEqual([2_000]);
    world.runTimer(2_000);
    expect(await code).toBe(6);
  });

  it('kills the app after a third signal, and after the stop timeout', async () => {
    const stubborn = 'process.on("SIGTERM", () => {})';
    const impatient = new World();
    const first = await appThatSaysWhenUp(impatient, stubborn);
    for (let i = 0; i < 3; i++) impatient.signal('SIGTERM');
    expect(await first.code).toBe(137);

    const patient = new World();
    const second = await appThatSaysWhenUp(patient, stubborn);
    patient.signal('SIGTERM');
    await expect.poll(() => patient.timers.length).toBe(1);
    patient.runTimer(30_000);
    expect(await second.code).toBe(137);
    expect(patient.events).toContain('say The app did not end within 30 s after SIGTERM; it is killed.');
  });

  it('hands SIGHUP on without draining', async () => {
    const world = new World();
    const { code } = await appThatSaysWhenUp(world, 'process.on("SIGHUP", () => process.exit(8))');
    world.signal('SIGHUP');
    expect(await code).toBe(8);
    // The drain is the one after the app's end.
    expect(world.events).toEqual(['drain', 'drained', 'close', 'signals unheard']);
  });

  it('reaches what a shell started, too', async () => {
    const world = new World();
    const { createServer } = await import('node:net');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const child = `require("net").connect(${port}, "127.0.0.1"); setInterval(() => {}, 1000)`;
    const connected = new Promise<import('node:net').Socket>((resolve) => server.once('connection', resolve));
    const code = runBesideApp(
      async () => world.sidecar(),
      options('', { command: '/bin/sh', args: ['-c', `'${process.execPath}' -e '${child}' & wait`] }),
      world.host,
    );
    const socket = await connected;
    socket.on('error', () => {});
    const childEnded = new Promise((resolve) => socket.once('close', resolve));
    world.signal('SIGTERM');
    expect(await code).toBe(143);
    await childEnded;
  });

  it('leaves Ctrl-C to the terminal, which gives it to the app itself', async () => {
    const world = new World();
    const { code } = await appThatSaysWhenUp(
      world,
      'process.on("SIGINT", () => process.exit(3)); process.on("SIGTERM", () => process.exit(4))',
      { isInteractive: true },
    );
    world.signal('SIGINT');
    await expect.poll(() => world.timers.length).toBe(1);
    world.signal('SIGTERM');
    expect(await code).toBe(4);
  });
});
