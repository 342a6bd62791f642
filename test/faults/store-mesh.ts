/** Control planes on a store, clients at all of them, and at the end the one question: is what they were told true, and is it all there? */
import { expect } from 'vitest';
import { type Bench, call, type Running, until } from '../e2e/harness.ts';
import { type LoggedWrite, problemsOfGroups, problemsOfLog } from '../fixtures/store-history.ts';
import { ReplicaLog } from './replica-log.ts';
import { groups, StoreClients } from './store-clients.ts';

export interface PlaneOptions {
  readonly name: string;
  readonly store: string;
  /** HOST:PORT; a free port by itself. */
  readonly api?: string;
  readonly push?: string;
  readonly historyCount?: number;
}

/** What runs beside may take most of the machine, and how soon a process starts is not what is asked here. */
const readyWithinMs = 60_000;

/** A control plane with a directory of its own for its certificates. */
export function startPlane(bench: Bench, { name, store, api, push, historyCount }: PlaneOptions): Promise<Running> {
  const args = [
    ...['control-plane', '--store', store, '--ca-dir', bench.path(name)],
    ...['--listen', api ?? '127.0.0.1:0', '--push', push ?? '127.0.0.1:0'],
    ...(historyCount === undefined ? [] : ['--history-count', `${historyCount}`]),
  ];
  return bench.weft(args, {}, readyWithinMs);
}

export interface LoadOptions {
  readonly seed: number;
  readonly clients?: number;
  readonly pauseMsMax?: number;
  /** Control planes that the clients ask too, and that may end. */
  readonly alsoAsks?: readonly string[];
}

/** Clients at work, and the logs of the control planes that they use. */
export class StoreLoad {
  readonly clients: StoreClients;
  readonly logs: readonly ReplicaLog[];

  constructor(bench: Bench, planes: readonly Running[], options: LoadOptions) {
    const { seed, clients = 6, pauseMsMax = 60, alsoAsks = [] } = options;
    const apis = planes.map(({ ready }) => ready.api);
    this.logs = apis.map((api) => new ReplicaLog(api));
    this.clients = new StoreClients({ planes: [...apis, ...alsoAsks], seed, clients, pauseMsMax });
    bench.onClose(() => {
      for (const log of this.logs) log.close();
    });
    bench.onClose(() => this.clients.stop());
    this.clients.start();
  }

  /** Waits for so many more acknowledged writes. */
  async more(writes: number): Promise<void> {
    const { acknowledgedAtMs } = this.clients;
    const before = acknowledgedAtMs.length;
    await until('it writes', () => acknowledgedAtMs.length >= before + writes, 120_000);
  }

  /** Ends the clients, and checks all that they were told against what every one of the control planes tells. */
  async check(): Promise<readonly LoggedWrite[]> {
    await this.clients.stop();
    const newest = await this.#settled();
    await until('all have told all', () => this.logs.every(({ revision }) => revision >= newest));
    await Promise.all(this.logs.map((log) => log.collect()));
    const [told, ...others] = this.logs.map((log) => log.entries()) as [readonly LoggedWrite[], ...LoggedWrite[][]];
    for (const other of others) expect(other).toEqual(told);
    expect(told.map(({ revision }) => revision)).toEqual(Array.from({ length: newest }, (_, index) => index + 1));
    expect(problemsOfLog(told, this.clients.operations)).toEqual([]);
    expect(problemsOfGroups(this.clients.operations, groups)).toEqual([]);
    expect(this.clients.surprises).toEqual([]);
    return told;
  }

  /** The newest revision, once all agree on it and nothing comes any more. */
  async #settled(): Promise<number> {
    let newest = 0;
    let sinceMs = 0;
    await until(
      'all have the same revision, and keep it',
      async () => {
        const revisions = await Promise.all(this.logs.map(({ api }) => this.clients.readAll(api)));
        if (revisions.some((revision) => revision !== newest)) {
          newest = revisions[0] ?? 0;
          sinceMs = performance.now();
        }
        return performance.now() - sinceMs > settleMs;
      },
      30_000,
    );
    return newest;
  }
}

/** A write whose client has given up waiting is over by then. */
const settleMs = 1_000;

/** How many operations of each kind there were. */
export function countsOf({ operations, counts, unclear }: StoreClients) {
  const of = (outcome: string) => operations.filter((one) => one.tag === 'write' && one.outcome.tag === outcome).length;
  return {
    ...{ done: of('done'), refused: of('refused'), unknown: of('unknown') },
    ...{ reads: operations.filter(({ tag }) => tag === 'read').length, ...counts },
    unclear: Object.fromEntries(unclear),
  };
}

export interface ShownPlane {
  readonly api: string;
  readonly isLeader: boolean;
  readonly isSelf: boolean;
}

/** The control planes of the mesh, as one of them knows them. */
export async function planesSeenBy({ ready }: Running): Promise<readonly ShownPlane[]> {
  const { body } = await call(ready.api, ready.api, '/v1/status');
  return (JSON.parse(body) as { controlPlanes: readonly ShownPlane[] }).controlPlanes;
}

/** One request to a control plane, with how long it took. */
export async function timedCall(
  { ready }: Running,
  path: string,
  { method = 'GET', body }: { method?: string; body?: object } = {},
): Promise<{ readonly status: number; readonly body: string; readonly tookMs: number }> {
  const startedAtMs = performance.now();
  const reply = await call(ready.api, ready.api, path, {
    ...{ method, timeoutMs: 30_000 },
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  });
  return { status: reply.status, body: reply.body, tookMs: performance.now() - startedAtMs };
}
