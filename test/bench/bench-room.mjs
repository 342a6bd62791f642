// One run of the benchmark: its directory, its cores, and everything that it started, ended in one place.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PinnedProcess } from './pinned-process.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readyTimeoutMs = 15_000;
const pollMs = 20;
let rooms = 0;

export class BenchRoom {
  /**
   * @param distDir where the built executable is: DIR/bin/weft.js
   * @param slowness how many times as long as usual processes may take to be ready
   */
  constructor({ proxyCore, loadCore, distDir = join(root, 'dist'), slowness = 1 }) {
    this.readyTimeoutMs = readyTimeoutMs * slowness;
    /** What starts Node for a sidecar of this Service: a command and its first arguments. */
    this.nodeCommand = (_service) => [process.execPath];
    this.proxyCore = proxyCore;
    this.loadCore = loadCore;
    this.directory = mkdtempSync(join(tmpdir(), 'weft-bench-'));
    this.processes = [];
    // A copy, so that a build meanwhile does not change what is measured; below node_modules, so that packages are found.
    this.distCopy = join(root, 'node_modules/.cache/weft', `bench-${process.pid}-${++rooms}`);
    mkdirSync(join(root, 'node_modules/.cache/weft'), { recursive: true });
    cpSync(distDir, this.distCopy, { recursive: true });
    process.on('exit', () => this.removeFiles());
  }

  get executable() {
    return join(this.distCopy, 'bin/weft.js');
  }

  get cores() {
    return { proxyCore: this.proxyCore, loadCore: this.loadCore };
  }

  path(...names) {
    return join(this.directory, ...names);
  }

  makeDirectory(name) {
    mkdirSync(this.path(name), { recursive: true });
    return this.path(name);
  }

  file(name, text) {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  start(core, command, args) {
    const started = new PinnedProcess(core, command, args);
    this.processes.push(started);
    return started;
  }

  /** Ends what was started since `processes` had that many. */
  async stopSince(count) {
    await Promise.all(this.processes.splice(count).map((one) => one.stop()));
  }

  async close() {
    await this.stopSince(0);
    this.removeFiles();
  }

  removeFiles() {
    rmSync(this.directory, { recursive: true, force: true });
    rmSync(this.distCopy, { recursive: true, force: true });
  }
}

/** Ports that were free a moment ago: nginx cannot say which one it bound for port 0. */
export async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve, reject) => {
          const server = createServer().once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/**
 * Waits until `look` answers something.
 * @throws Error with the process' last words when it ends before, or takes too long.
 */
export async function waitFor(started, what, look, timeoutMs = readyTimeoutMs) {
  const deadlineMs = performance.now() + timeoutMs;
  while (true) {
    const found = await look();
    if (found) return found;
    const lastWords = started.log.trim().split('\n').slice(-2).join(' ').slice(0, 300);
    if (started.hasExited) throw new Error(`${what} ended before it was ready: ${lastWords}`);
    if (performance.now() > deadlineMs) throw new Error(`${what} was not ready within ${timeoutMs} ms: ${lastWords}`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

export function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    const end = (answer) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true)).once('error', () => end(false));
  });
}
