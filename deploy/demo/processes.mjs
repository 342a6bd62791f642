// The processes of the demo: each started with a deadline, watched while it runs, ended by its own id.
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const executable = fileURLToPath(new URL('../../dist/bin/weft.js', import.meta.url));
const readyMs = 20_000;
const stopMs = 5_000;
const linesKept = 20;

/** Long-running Weft processes. `onDeath` hears of one that ends without having been asked to. */
export class Processes {
  #running = [];
  #isStopping = false;
  #onDeath;

  constructor(onDeath) {
    this.#onDeath = onDeath;
  }

  /** Starts `weft ARGS` and resolves with its ready line, which comes on standard output or (weft run) standard error. */
  start(name, args) {
    if (this.#isStopping) return Promise.reject(new Error(`${name} is not started any more`));
    const child = spawn(process.execPath, [executable, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    const lastLines = [];
    this.#running.push({ name, child });
    return new Promise((resolve, reject) => {
      const fail = (reason) => reject(new Error(`${name} ${reason}\n${lastLines.join('\n')}`));
      const deadline = setTimeout(() => fail(`was not ready after ${readyMs / 1000} s`), readyMs);
      for (const stream of [child.stdout, child.stderr])
        createInterface({ input: stream }).on('line', (line) => {
          lastLines.push(line);
          if (lastLines.length > linesKept) lastLines.shift();
          if (!line.startsWith('{"ready":')) return;
          clearTimeout(deadline);
          resolve(JSON.parse(line));
        });
      child.once('error', (error) => fail(`could not be started: ${error.message}`));
      child.once('exit', (code, signal) => {
        clearTimeout(deadline);
        fail(`ended with ${signal ?? code}`);
        if (!this.#isStopping) this.#onDeath(`${name} ended with ${signal ?? code}\n${lastLines.join('\n')}`);
      });
    });
  }

  /** Services first, the control plane last, as they were started in the opposite order. */
  async stop() {
    this.#isStopping = true;
    const [first, ...rest] = this.#running;
    await Promise.all(rest.map(end));
    if (first !== undefined) await end(first);
    this.#running = [];
  }
}

async function end({ name, child }) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => {
    console.error(`${name} did not stop within ${stopMs / 1000} s and was killed`);
    child.kill('SIGKILL');
  }, stopMs);
  await ended;
  clearTimeout(timer);
}

/** Runs one `weft` command to its end and resolves with what it printed; rejects with what it complained about. */
export function weft(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [executable, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(out.trimEnd()) : reject(new Error(`weft ${args.join(' ')} ended with ${code}\n${err}`)),
    );
  });
}

/** Resolves with true when the program exists and runs. */
export function canRun(command, ...args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: 'ignore', timeout: 10_000 });
    child.once('error', () => resolve(false));
    child.once('exit', (code) => resolve(code === 0));
  });
}

/**
 * A port that nobody has now, below the range out of which the system takes ports for connections and for port 0: one out of that range
 * could be taken between this look and the start of the app.
 */
export async function freePort() {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (await isFree(port)) return port;
  }
  throw new Error('there is no free port from 20000 to 32000');
}

function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
