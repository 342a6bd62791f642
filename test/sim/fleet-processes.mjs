// The processes of simulated sidecars, as one fleet: started, asked, and ended together.
import { fork } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { nowMs, sleep } from './clock.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const answerTimeoutMs = 60_000;
const pollMs = 100;
const running = new Set();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** The TypeScript of this checkout, bundled as the build does it. @returns its file, gone when this process ends */
export async function bundleFleetProcess() {
  const outfile = `${root}node_modules/.cache/weft/sim-${process.pid}.mjs`;
  mkdirSync(`${root}node_modules/.cache/weft`, { recursive: true });
  process.on('exit', () => rmSync(outfile, { force: true }));
  await build({
    ...{ absWorkingDir: root, entryPoints: ['test/sim/fleet-process.ts'], outfile },
    ...{ bundle: true, format: 'esm', platform: 'node', target: 'node20', logLevel: 'warning' },
    banner: {
      js: "import { createRequire as simRequire } from 'node:module'; const require = simRequire(import.meta.url);",
    },
  });
  return outfile;
}

class FleetProcess {
  #child;
  #waiting = new Map();
  #nextId = 1;

  constructor(file) {
    this.#child = fork(file, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    running.add(this.#child);
    this.#child.on('message', ({ id, answer }) => {
      this.#waiting.get(id)?.resolve(answer);
      this.#waiting.delete(id);
    });
    this.exited = new Promise((resolve) => this.#child.once('exit', resolve)).then(() => {
      running.delete(this.#child);
      for (const { reject } of this.#waiting.values()) reject(new Error('a process of simulated sidecars has ended'));
    });
  }

  get pid() {
    return this.#child.pid;
  }

  ask(question) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = setTimeout(
        () => reject(new Error(`no answer to ${question.ask} within ${answerTimeoutMs} ms`)),
        answerTimeoutMs,
      );
      const settled = (settle) => (value) => {
        clearTimeout(timer);
        settle(value);
      };
      this.#waiting.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#child.send({ id, question });
    });
  }

  signal(name) {
    this.#child.kill(name);
  }

  async stop() {
    if (!running.has(this.#child)) return;
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

export class FleetProcesses {
  #processes = [];

  /** @param plans of each process, see FleetPlan */
  static async start(file, plans) {
    const fleet = new FleetProcesses();
    fleet.#processes = plans.map(() => new FleetProcess(file));
    await Promise.all(plans.map((plan, i) => fleet.#processes[i].ask({ ask: 'start', plan })));
    return fleet;
  }

  get pids() {
    return this.#processes.map(({ pid }) => pid);
  }

  /** Of all sidecars together, see FleetStatus. */
  async status() {
    const all = await this.#ask({ ask: 'status' });
    const sum = (part) => all.reduce((total, one) => total + part(one), 0);
    const faults = {};
    for (const one of all)
      for (const [fault, times] of Object.entries(one.faults)) faults[fault] = (faults[fault] ?? 0) + times;
    return {
      sidecars: sum(({ sidecars }) => sidecars),
      synced: sum(({ synced }) => synced),
      revisionMin: Math.min(...all.map(({ revisionMin }) => revisionMin)),
      revisionMax: Math.max(...all.map(({ revisionMax }) => revisionMax)),
      objectsMin: Math.min(...all.map(({ objectsMin }) => objectsMin)),
      objectsMax: Math.max(...all.map(({ objectsMax }) => objectsMax)),
      counts: Object.fromEntries(Object.keys(all[0].counts).map((name) => [name, sum(({ counts }) => counts[name])])),
      faults,
    };
  }

  /** Sorted; monotonic, see clock.mjs. */
  async appliedAtMs(revision) {
    return joined(await this.#ask({ ask: 'applied', revision }));
  }

  async takeSyncedAtMs() {
    return joined(await this.#ask({ ask: 'synced' }));
  }

  async setReporting(isReporting) {
    await this.#ask({ ask: 'report', isReporting });
  }

  /** Waits until `isDone(status)`. @throws Error saying how far they were at the deadline. */
  async until(what, isDone, timeoutMs) {
    const deadlineMs = nowMs() + timeoutMs;
    while (true) {
      const status = await this.status();
      if (isDone(status)) return status;
      if (nowMs() > deadlineMs) throw new Error(`not ${what} after ${timeoutMs / 1_000} s: ${JSON.stringify(status)}`);
      await sleep(pollMs);
    }
  }

  signal(name) {
    for (const one of this.#processes) one.signal(name);
  }

  async stop() {
    await Promise.all(this.#processes.map((one) => one.stop()));
  }

  #ask(question) {
    return Promise.all(this.#processes.map((one) => one.ask(question)));
  }
}

function joined(arrays) {
  const all = new Float64Array(arrays.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const one of arrays) {
    all.set(one, at);
    at += one.length;
  }
  return all.sort();
}
