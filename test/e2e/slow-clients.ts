/** A thousand clients that hang on a sidecar, the load of healthy ones beside them, and what the two have to do with each other. */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, type RequestListener } from 'node:http';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { heldMiB, inspectable } from './garbage.ts';
import { type Bench, call, type Running, residentMiB, until } from './harness.ts';
import { quantileMs } from './method-load.ts';
import { manifest, policy, service } from './static-mesh.ts';

export type SlowKind = 'head' | 'body' | 'chunked' | 'reader';

export interface SlowReport {
  readonly open: number;
  /** How many were told what: `408 request-head-timeout`, or `nothing`. */
  readonly told: Readonly<Record<string, number>>;
  readonly firstCutMs: number;
  readonly lastCutMs: number;
}

const answerMs = 60_000;
/** How often each sends a byte: attackers' tools take 10 s by default. */
const trickleMs = 5_000;
/** What a busy machine may add to a time that is stated. */
const slackMs = 2_000;
const script = fileURLToPath(new URL('slow-client-process.mjs', import.meta.url));

export class SlowClients {
  private readonly child: ChildProcess = fork(script);

  constructor(bench: Bench) {
    bench.onClose(() => void this.child.kill('SIGKILL'));
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Resolves when all are connected and have sent what they send at once. */
  async open(address: string, host: string, counts: Partial<Record<SlowKind, number>>): Promise<void> {
    await this.ask({ open: { address, host, counts, trickleMs } }, 'opened');
  }

  report(): Promise<Partial<Record<SlowKind, SlowReport>>> {
    return this.ask({ report: true }, 'report');
  }

  async close(): Promise<void> {
    await this.ask({ close: true }, 'closed');
  }

  private ask<Answer>(message: object, wanted: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the slow clients did not say ${wanted}`)), answerMs);
      this.child.once('message', (answer: Readonly<Record<string, Answer>>) => {
        clearTimeout(timer);
        resolve(answer[wanted]!);
      });
      this.child.send(message);
    });
  }
}

export interface SlowRoom {
  readonly sidecar: Running;
  /** Requests that the app has begun and not ended. */
  readonly app: { active: number };
}

export const readerIdleMs = 10_000;
const largeBody = Buffer.alloc(8 * 1024 * 1024, 'large ');

/** A sidecar whose inbound and outbound listeners lead to one app, and whose Service has an idle timeout of `readerIdleMs`. */
export async function startSlowRoom(bench: Bench): Promise<SlowRoom> {
  const counts = { active: 0 };
  const handler: RequestListener = (request, response) => {
    counts.active++;
    response.once('close', () => counts.active--);
    request.on('error', () => {});
    if (request.url === '/large') {
      response.end(largeBody);
      return;
    }
    request.resume();
    request.once('end', () => response.end('ok'));
  };
  const { address } = await bench.app(handler);
  const resources = [service('cart', [address]), policy('Service', 'cart', { idle: `${readerIdleMs}ms` })];
  const sidecar = await bench.weft(
    [
      ...['sidecar', '--service', 'cart', '--app', address, '--inbound', '127.0.0.1:0', '--outbound', '127.0.0.1:0'],
      ...['--admin', '127.0.0.1:0', '--config', bench.file('cart.yaml', manifest(resources))],
    ],
    inspectable,
  );
  return { sidecar, app: counts };
}

/** Requests at a fixed rate, whether or not those before them were answered; ms, from when each was sent. */
export async function latenciesMs(address: string, perSecond: number, windowMs: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const count = Math.round((perSecond * windowMs) / 1000);
  const startedAtMs = performance.now();
  const latencies: number[] = [];
  const running: Promise<void>[] = [];
  for (let sent = 0; sent < count; sent++) {
    const dueAtMs = startedAtMs + (sent * 1000) / perSecond;
    const waitMs = dueAtMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const sentAtMs = Math.max(dueAtMs, performance.now());
    running.push(
      call(address, 'cart', '/', { agent }).then(({ status, body }) => {
        if (status !== 200) throw new Error(`a healthy client got ${status}: ${body}`);
        latencies.push(performance.now() - sentAtMs);
      }),
    );
  }
  await Promise.all(running);
  agent.destroy();
  return latencies;
}

const warmUps = 3;

export interface CompareOptions {
  readonly rounds: number;
  readonly roundsMax: number;
  readonly windowMs: number;
  readonly perSecond: number;
}

export interface Windows {
  /** Pairs that are void. */
  voidPairs: number;
  /** p99 of each window, ms. */
  readonly alone: number[];
  readonly beside: number[];
  /** What the sidecar held before the first slow client came, and most while they hung, MiB. */
  readonly startMiB: number;
  residentMiB: number;
}

export const slowCounts: Record<SlowKind, number> = { head: 250, body: 250, chunked: 250, reader: 250 };

/** What the slow ones cause as they come is over: neither the sidecar nor the app works, or waits for a core to work on. */
async function untilSettled({ sidecar }: SlowRoom): Promise<void> {
  const restMs = 250;
  const busyMs = () => busyOrQueuedMs(sidecar.process.pid!) + busyOrQueuedMs(process.pid);
  await until(
    'the sidecar has taken the slow clients in',
    async () => {
      const before = busyMs();
      await new Promise((resolve) => setTimeout(resolve, restMs));
      return busyMs() - before <= restMs / 4;
    },
    30_000,
  );
}

/** How long a process's main thread has run or waited for a core, ms (Linux). */
function busyOrQueuedMs(pid: number): number {
  const [runNs, queuedNs] = readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ').map(Number);
  return (runNs! + queuedNs!) / 1e6;
}

/** User and system time of all processes of this machine but those named, ms; Linux counts in hundredths of a second. */
function othersCpuMs(pids: readonly number[]): number {
  const [, user, nice, system] = readFileSync('/proc/stat', 'latin1').split(/\s+/, 4).map(Number);
  const own = pids.map((pid) => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' '));
  return own.reduce((sum, fields) => sum - Number(fields[11]) - Number(fields[12]), user! + nice! + system!) * 10;
}

/** Of one core: a window in which others of this machine took more is void, and so is its pair. */
const othersShareMax = 0.1;

/**
 * Healthy clients alone and beside the slow ones, in turn, until there are `rounds` pairs of windows in which the machine was this test's, or
 * `roundsMax` were tried.
 */
export async function compareWindows(
  room: SlowRoom,
  slow: SlowClients,
  listener: 'inbound' | 'outbound',
  { rounds, roundsMax, windowMs, perSecond }: CompareOptions,
): Promise<Windows> {
  const address = room.sidecar.ready[listener];
  const pids = [room.sidecar.process.pid!, process.pid, slow.pid];
  const measure = async () => {
    const [othersBeforeMs, startedAtMs] = [othersCpuMs(pids), performance.now()];
    const p99 = p99Of(await latenciesMs(address, perSecond, windowMs));
    const othersMs = othersCpuMs(pids) - othersBeforeMs;
    return { p99, isVoid: othersMs > othersShareMax * (performance.now() - startedAtMs) };
  };
  // The first runs of everything are compiled as they run.
  for (let i = 0; i < warmUps; i++) await measure();
  const windows: Windows = { alone: [], beside: [], startMiB: residentOf(room), residentMiB: 0, voidPairs: 0 };
  for (let round = 0; round < roundsMax && windows.alone.length < rounds; round++) {
    const alone = await measure();
    await slow.open(address, 'cart', slowCounts);
    await untilSettled(room);
    const beside = await measure();
    if (alone.isVoid || beside.isVoid) {
      windows.voidPairs++;
    } else {
      windows.alone.push(alone.p99);
      windows.beside.push(beside.p99);
    }
    windows.residentMiB = Math.max(windows.residentMiB, residentOf(room));
    const report = await slow.report();
    for (const [kind, { open }] of Object.entries(report))
      if (open !== slowCounts[kind as SlowKind])
        throw new Error(`a window outlasted its slow clients: ${kind} ${open}`);
    await slow.close();
    await untilNobodyHangs(room, listener);
  }
  return windows;
}

export interface CutOff {
  readonly report: Partial<Record<SlowKind, SlowReport>>;
  /** From their last one's connect until the sidecar had counted all readers as cut. */
  readonly readersCutMs: number;
}

/** Leaves the slow ones alone until each was cut. Readers hear nothing of that: the sidecar says it. */
export async function untilAllCut({ sidecar }: SlowRoom, slow: SlowClients): Promise<CutOff> {
  const openedAtMs = performance.now();
  await until(
    'all readers were cut',
    async () => (await failureCount(sidecar, 'answer-unread')) === slowCounts.reader,
    60_000,
  );
  const readersCutMs = performance.now() - openedAtMs;
  let report: CutOff['report'] = {};
  await until(
    'every slow client was cut',
    async () => {
      report = await slow.report();
      return Object.entries(report).every(([kind, { open }]) => kind === 'reader' || open === 0);
    },
    60_000,
  );
  return { report, readersCutMs };
}

/** In the times, with the statuses and under the names that docs/limits.md states. */
export async function expectCutAsStated(
  { report, readersCutMs }: CutOff,
  sidecar: Running,
  listener: 'inbound' | 'outbound',
): Promise<void> {
  // The core of the outbound listener cuts slow heads by itself, without a word (docs/uws.md).
  const head = listener === 'inbound' ? '408 request-head-timeout' : 'nothing';
  expect(report.head!.told).toEqual({ [head]: slowCounts.head });
  expect(report.head!.firstCutMs).toBeGreaterThan(listener === 'inbound' ? limits.headTimeoutMs : 7_900);
  expect(report.head!.lastCutMs).toBeLessThan(limits.headTimeoutMs + 2_000 + slackMs);
  const bodyCutMs = limits.bodyGraceMs + limits.bodyWindowMs;
  for (const kind of ['body', 'chunked'] as const) {
    expect(report[kind]!.told).toEqual({ '408 request-body-too-slow': slowCounts[kind] });
    expect(report[kind]!.firstCutMs).toBeGreaterThan(bodyCutMs - 100);
    expect(report[kind]!.lastCutMs).toBeLessThan(bodyCutMs + slackMs);
  }
  expect(readersCutMs).toBeGreaterThan(readerIdleMs - slackMs);
  expect(readersCutMs).toBeLessThan(readerIdleMs + 2_000 + slackMs);
  expect(await failureCount(sidecar, 'request-body-too-slow')).toBe(slowCounts.body + slowCounts.chunked);
  expect(await failureCount(sidecar, 'answer-unread')).toBe(slowCounts.reader);
  if (listener === 'inbound') expect(await failureCount(sidecar, 'request-head-timeout')).toBe(slowCounts.head);
}

export const p99Of = (latencies: readonly number[]): number =>
  quantileMs(
    latencies.map((tookMs) => ({ tookMs })),
    0.99,
  );

export const medianOf = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** The value of a counter or gauge whose labels hold `labels`; 0 when it is not there. */
export async function metricOf(sidecar: Running, name: string, labels: string): Promise<number> {
  const { body } = await call(sidecar.ready.admin, 'admin', '/metrics');
  return body
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

export const failureCount = (sidecar: Running, code: string): Promise<number> =>
  metricOf(sidecar, 'weft_failures_total', `code="${code}"`);

/** Nobody is connected, and the app has nothing left to answer. */
export async function untilNobodyHangs({ sidecar, app }: SlowRoom, listener: string): Promise<void> {
  await until(
    'every connection is gone',
    async () => app.active === 0 && (await metricOf(sidecar, 'weft_listener_connections', `"${listener}"`)) === 0,
    30_000,
  );
}

export const residentOf = ({ sidecar }: SlowRoom): number => residentMiB(sidecar.process.pid!);
export const heldBy = ({ sidecar }: SlowRoom): Promise<number> => heldMiB(sidecar);
