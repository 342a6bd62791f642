// The control plane of the simulation: the built executable, on the same ports and the same store each time it is started.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { cpuBetween, readCpu, residentMib } from '../bench/pinned-process.mjs';
import { wallClockOffsetMs } from './clock.mjs';

const readyTimeoutMs = 30_000;
const answerTimeoutMs = 120_000;
/** Of graceful ends, which leave a CPU profile behind when one was asked for. */
const stopTimeoutMs = 30_000;
const logCharsMax = 20_000;
const running = new Set();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class ControlPlaneProcess {
  #options;
  #child = null;
  #exited = Promise.resolve();
  #addresses = { api: '127.0.0.1:0', push: '127.0.0.1:0' };
  #log = '';
  #agent = new Agent({ keepAlive: true, maxSockets: 16 });

  /** @param options `{ executable, directory, nodeFlags }` */
  constructor(options) {
    this.#options = options;
  }

  /** `HOST:PORT` of the API; the same after every start. */
  get api() {
    return this.#addresses.api;
  }

  get pid() {
    return this.#child.pid;
  }

  get log() {
    return this.#log;
  }

  /** Resolves when it is ready. */
  async start() {
    const { executable, directory, nodeFlags } = this.#options;
    const { api, push } = this.#addresses;
    const store = `embedded:${join(directory, 'store')}`;
    const args = ['control-plane', '--listen', api, '--push', push, '--store', store];
    const child = spawn(process.execPath, [...nodeFlags, executable, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    running.add(child);
    this.#exited = new Promise((resolve) => child.once('exit', resolve)).then(() => running.delete(child));
    child.stderr.on('data', (chunk) => {
      this.#log = (this.#log + chunk).slice(-logCharsMax);
    });
    this.#addresses = await readyLineOf(child, () => this.#log);
    return this;
  }

  /** Without any warning. */
  async kill() {
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  async stop() {
    this.#child?.kill('SIGTERM');
    const timer = setTimeout(() => this.#child?.kill('SIGKILL'), stopTimeoutMs);
    await this.#exited;
    clearTimeout(timer);
    this.#agent.destroy();
  }

  /** See `cpuSince`. */
  readCpu() {
    return readCpu([{ pid: this.pid }]);
  }

  /** CPU time of all its threads since a reading, microseconds. */
  cpuUsSince(reading) {
    return cpuBetween(reading, this.readCpu()).cpuUs;
  }

  get residentMib() {
    return residentMib({ pid: this.pid });
  }

  /**
   * Creates or replaces a Service.
   * @returns its revision
   */
  async putService(name, endpoints, { wait = false } = {}) {
    const service = { apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name }, spec: { endpoints } };
    const query = wait ? `?wait=applied&timeoutMs=${answerTimeoutMs}` : '';
    const { headers } = await this.#call('PUT', `/v1/services/default/${name}${query}`, service);
    return Number(/\d+/.exec(headers.etag)[0]);
  }

  /** Several Services in one transaction. */
  async applyServices(names) {
    const apply = names.map((name) => ({ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name }, spec: {} }));
    await this.#call('POST', '/v1/transactions', { apply });
  }

  /** When the newest revision was about to be written: monotonic, see clock.mjs; a millisecond early at most. */
  async committedAtMs(revision) {
    const { text } = await this.#call('GET', '/v1/revisions?limit=1');
    const [newest] = JSON.parse(text).items;
    if (newest.revision !== revision) throw new Error(`the newest revision is ${newest.revision}, not ${revision}`);
    return Date.parse(newest.at) + wallClockOffsetMs();
  }

  async revision() {
    const { text } = await this.#call('GET', '/v1/bootstrap');
    return JSON.parse(text).revision;
  }

  #call(method, path, body) {
    const text = body === undefined ? '' : JSON.stringify(body);
    const [hostname, port] = this.api.split(':');
    const headers = {
      'idempotency-key': randomUUID(),
      ...(text === '' ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    };
    const options = { hostname, port, path, method, headers, agent: this.#agent, timeout: answerTimeoutMs + 5_000 };
    return new Promise((resolve, reject) => {
      const outgoing = request(options, (incoming) => {
        let answer = '';
        incoming.setEncoding('utf8').on('data', (chunk) => {
          answer += chunk;
        });
        incoming.once('end', () => {
          if (incoming.statusCode < 300) resolve({ headers: incoming.headers, text: answer });
          else reject(new Error(`${method} ${path} answers ${incoming.statusCode}: ${answer.slice(0, 500)}`));
        });
        incoming.once('error', reject);
      });
      outgoing.once('timeout', () => outgoing.destroy(new Error(`${method} ${path} takes too long`)));
      outgoing.once('error', reject);
      outgoing.end(text);
    });
  }
}

function readyLineOf(child, log) {
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(() => reject(new Error(`the control plane is not ready: ${log()}`)), readyTimeoutMs);
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const line = /^\{"ready":.*\}$/m.exec(output)?.[0];
      if (line === undefined) return;
      clearTimeout(timer);
      resolve(JSON.parse(line));
    });
    child.once('exit', () => {
      clearTimeout(timer);
      reject(new Error(`the control plane ended before it was ready: ${log()}`));
    });
  });
}
