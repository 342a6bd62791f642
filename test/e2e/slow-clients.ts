/** A thousand clients that hang on a sidecar, the load of healthy ones beside them, and what the two have to do with each other. */
import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { buildNativeBench } from '../bench/native-bench.mjs';
import { heldMiB, inspectable } from './garbage.ts';
import { type Bench, call, type Running, residentMiB, until } from './harness.ts';
import { othersCpuMs } from './machine-use.ts';
import { nativeLoad, startNative } from './native-programs.ts';
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
  /** The app behind both listeners. */
  readonly appPid: number;
}

export const readerIdleMs = 10_000;
const answerBytes = 2;
const healthyConnections = 16;

/**
 * A sidecar whose inbound and outbound listeners lead to one app, and whose Service has an idle timeout of `readerIdleMs`. App and healthy clients
 * are native: what the slow ones cost a client or an app of Node's would be taken for the sidecar's.
 */
export async function startSlowRoom(bench: Bench): Promise<SlowRoom> {
  buildNativeBench();
  const { address, pid } = await startNative(bench, 'upstream', ['--bytes', String(answerBytes)]);
  const resources = [service('cart', [address]), policy('Service', 'cart', { idle: `${readerIdleMs}ms` })];
  const sidecar = await bench.weft(
    [
      ...['sidecar', '--service', 'cart', '--app', address, '--inbound', '127.0.0.1:0', '--outbound', '127.0.0.1:0'],
      ...['--admin', '127.0.0.1:0', '--config', bench.file('cart.yaml', manifest(resources))],
    ],
    inspectable,
  );
  return { sidecar, appPid: pid };
}

interface Window {
  readonly p99Ms: number;
  /** What the healthy clients took themselves. */
  readonly cpuMs: number;
}

/** Requests at a fixed rate, whether or not those before them were answered; latencies count from when each was to leave. */
export async function healthyWindow(address: string, perSecond: number, windowMs: number): Promise<Window> {
  const load = { host: 'cart', connections: healthyConnections, rate: perSecond, 'body-bytes': answerBytes };
  const { p99Us, cpuSeconds } = await nativeLoad(address, { ...load, seconds: windowMs / 1000 });
  return { p99Ms: p99Us / 1000, cpuMs: cpuSeconds * 1000 };
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
async function untilSettled({ sidecar, appPid }: SlowRoom): Promise<void> {
  const restMs = 250;
  const busyMs = () => busyOrQueuedMs(sidecar.process.pid!) + busyOrQueuedMs(appPid);
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

/** Of one core: a window in which others of this machine took more is void, and so is its pair; as is one that outlasted its slow clients. */
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
  const pids = [room.sidecar.process.pid!, room.appPid, process.pid, slow.pid];
  const measure = async () => {
    // A thousand that come, or that go, leave a garbage collection behind: some 10 ms, once, and no matter of how they hang.
    await healthyWindow(address, perSecond, windowMs / 2);
    const [othersBeforeMs, startedAtMs] = [othersCpuMs(pids), performance.now()];
    const { p99Ms, cpuMs } = await healthyWindow(address, perSecond, windowMs);
    const othersMs = othersCpuMs(pids) - othersBeforeMs - cpuMs;
    return { p99: p99Ms, isVoid: othersMs > othersShareMax * (performance.now() - startedAtMs) };
  };
  // The first runs of everything are compiled as they run.
  for (let i = 0; i < warmUps; i++) await healthyWindow(address, perSecond, windowMs);
  const windows: Windows = { alone: [], beside: [], startMiB: residentOf(room), residentMiB: 0, voidPairs: 0 };
  for (let round = 0; round < roundsMax && windows.alone.length < rounds; round++) {
    const alone = await measure();
    await slow.open(address, 'cart', slowCounts);
    await untilSettled(room);
    const beside = await measure();
    const report = await slow.report();
    const isOutlasted = Object.entries(report).some(([kind, { open }]) => open !== slowCounts[kind as SlowKind]);
    if (alone.isVoid || beside.isVoid || isOutlasted) {
      windows.voidPairs++;
    } else {
      windows.alone.push(alone.p99);
      windows.beside.push(beside.p99);
    }
    windows.residentMiB = Math.max(windows.residentMiB, residentOf(room));
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

/**
 * What a quarter of the windows stay below. A virtual machine's host takes each core away for milliseconds now and then (measured with a loop that only
 * reads the clock: 0.6 to 2 % of the time), so that the p99 of any one window is the sidecar's or the host's by chance, and so is the median of
 * some. The host only ever adds: the best quarter is the sidecar's own, and whoever slows each window down shows there too.
 */
export const lowerQuartileOf = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 4)]!;

/** Stops the sidecar for `stopMs` every `everyMs`, as a turn of its loop that is that long would. Returns the end of it. */
export function standStill({ sidecar }: SlowRoom, stopMs: number, everyMs: number): () => void {
  const pid = sidecar.process.pid!;
  const timer = setInterval(() => {
    process.kill(pid, 'SIGSTOP');
    setTimeout(() => process.kill(pid, 'SIGCONT'), stopMs);
  }, everyMs);
  return () => {
    clearInterval(timer);
    process.kill(pid, 'SIGCONT');
  };
}

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

/** Nobody is connected. */
export async function untilNobodyHangs({ sidecar }: SlowRoom, listener: string): Promise<void> {
  await until(
    'every connection is gone',
    async () => (await metricOf(sidecar, 'weft_listener_connections', `"${listener}"`)) === 0,
    30_000,
  );
}

export const residentOf = ({ sidecar }: SlowRoom): number => residentMiB(sidecar.process.pid!);
export const heldBy = ({ sidecar }: SlowRoom): Promise<number> => heldMiB(sidecar);
