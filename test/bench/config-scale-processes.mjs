// Configuration at scale, end to end: a real control plane and a real sidecar, what the first push and a change of one object cost them.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const watchFile = fileURLToPath(new URL('./config-scale-watch.mjs', import.meta.url));
const readyTimeoutMs = 30_000;
const answerTimeoutMs = 60_000;
const settleMs = 300;

/** What is to be undone when the benchmark ends, however it does. */
const leftovers = new Set();
process.on('exit', () => {
  for (const undo of leftovers) undo();
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

/** A `weft` process that says what it costs. */
class WatchedProcess {
  constructor(executable, args) {
    this.log = '';
    this.child = spawn(process.execPath, ['--expose-gc', '--import', watchFile, executable, ...args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.child.stderr.on('data', (chunk) => {
      this.log = (this.log + chunk).slice(-20_000);
    });
    const undo = () => this.child.kill('SIGKILL');
    leftovers.add(undo);
    this.exited = new Promise((resolve) => this.child.once('exit', resolve)).then(() => leftovers.delete(undo));
    this.ready = this.#whenReady();
  }

  /** Since the last call. @param collect whether garbage is collected first */
  read(collect = false) {
    return new Promise((resolve) => {
      this.child.once('message', resolve);
      this.child.send({ collect });
    });
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.exited;
  }

  #whenReady() {
    return new Promise((resolve, reject) => {
      let output = '';
      const timer = setTimeout(() => reject(new Error(`not ready: ${this.log}`)), readyTimeoutMs);
      this.child.stdout.on('data', (chunk) => {
        output += chunk;
        const line = /^\{"ready":.*\}$/m.exec(output)?.[0];
        if (line === undefined) return;
        clearTimeout(timer);
        resolve(JSON.parse(line));
      });
      void this.exited.then(() => reject(new Error(`ended before it was ready: ${this.log}`)));
    });
  }
}

/** A control plane and one sidecar that calls `services`, in a directory of its own. */
export class WatchedMesh {
  #directory = mkdtempSync(join(tmpdir(), 'weft-config-scale-'));
  #executable;

  #removeFiles = () => rmSync(this.#directory, { recursive: true, force: true });

  constructor(executable) {
    leftovers.add(this.#removeFiles);
    this.#executable = executable;
  }

  async start(services) {
    const anyPort = '127.0.0.1:0';
    const store = `embedded:${join(this.#directory, 'store')}`;
    this.control = this.#run(['control-plane', '--listen', anyPort, '--push', anyPort, '--store', store]);
    this.api = (await this.control.ready).api;
    this.sidecar = this.#run([
      ...['sidecar', '--service', 'web', '--outbound', anyPort, '--admin', anyPort],
      ...['--control-plane', `http://${this.api}`, '--state-dir', join(this.#directory, 'state')],
      ...services.flatMap((service) => ['--upstream', `${service}=${anyPort}`]),
    ]);
    await this.sidecar.ready;
    await this.#reset();
  }

  #run(args) {
    return new WatchedProcess(this.#executable, args);
  }

  /** Writes these objects in one transaction, or several, and waits until the sidecar has them in force. */
  async apply(objects, objectsAtOnce = 5_000) {
    const startedAtMs = performance.now();
    for (let from = 0; from < objects.length; from += objectsAtOnce)
      await this.#call('POST', '/v1/transactions?wait=applied', { apply: objects.slice(from, from + objectsAtOnce) });
    return this.#cost(startedAtMs);
  }

  /** Replaces one object. */
  async put(collection, object) {
    const startedAtMs = performance.now();
    const { namespace, name } = object.metadata;
    await this.#call('PUT', `/v1/${collection}/${namespace}/${name}?wait=applied`, object);
    return this.#cost(startedAtMs);
  }

  /** What passed since the last reading; what is left of it, such as the state on disk, has a moment to end. */
  async #cost(startedAtMs) {
    const appliedMs = performance.now() - startedAtMs;
    await new Promise((resolve) => setTimeout(resolve, settleMs));
    const [control, sidecar] = await this.#read();
    return { appliedMs, control, sidecar };
  }

  #read(collect = false) {
    return Promise.all([this.control.read(collect), this.sidecar.read(collect)]);
  }

  async #reset() {
    await new Promise((resolve) => setTimeout(resolve, settleMs));
    await this.#read();
  }

  /** Of the sidecar, after a collection of garbage. */
  async memory() {
    const { heapBytes, residentBytes } = await this.sidecar.read(true);
    await this.#reset();
    return { heapMib: heapBytes / 2 ** 20, residentMib: residentBytes / 2 ** 20 };
  }

  #call(method, path, body) {
    const text = JSON.stringify(body);
    const [hostname, port] = this.api.split(':');
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    return new Promise((resolve, reject) => {
      const outgoing = request({ hostname, port, path, method, headers, timeout: answerTimeoutMs }, (incoming) => {
        let answer = '';
        incoming.setEncoding('utf8').on('data', (chunk) => {
          answer += chunk;
        });
        incoming.once('end', () => {
          if (incoming.statusCode < 300) resolve();
          else reject(new Error(`${method} ${path} answers ${incoming.statusCode}: ${answer.slice(0, 500)}`));
        });
      });
      outgoing.once('timeout', () => outgoing.destroy(new Error(`${method} ${path} takes too long`)));
      outgoing.once('error', reject);
      outgoing.end(text);
    });
  }

  async close() {
    await this.sidecar?.stop();
    await this.control?.stop();
    this.#removeFiles();
    leftovers.delete(this.#removeFiles);
  }
}
