/** Closed-loop load of GET and POST over kept connections that remembers every request: what was asked, what came, how long it took. */
import { Agent } from 'node:http';
import { expect } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { call } from './harness.ts';

export interface Answered {
  readonly method: 'GET' | 'POST';
  /** 0: no answer at all, see `failure`. */
  readonly status: number;
  readonly body: string;
  /** `Weft-Failure` of a local reply, or what broke at our end; empty: neither. */
  readonly failure: string;
  /** On the clock of `performance.now`. */
  readonly sentAtMs: number;
  readonly tookMs: number;
}

export interface MethodLoad {
  readonly answers: readonly Answered[];
  /** Ends the load once what is under way was answered. */
  stop(): Promise<readonly Answered[]>;
}

/** An answer that takes longer hangs. */
const hangMs = 15_000;
const postedBody = Buffer.alloc(2_000, 'posted ');

/** Half of the `workers` GET, the other half POST 2 kB. */
export function methodLoad(address: string, host: string, workers: number, path = '/'): MethodLoad {
  const agent = new Agent({ keepAlive: true, maxSockets: workers });
  const answers: Answered[] = [];
  let isStopped = false;
  const work = async (method: 'GET' | 'POST') => {
    while (!isStopped) {
      const sentAtMs = performance.now();
      const body = method === 'POST' ? { body: postedBody } : {};
      const {
        status,
        body: text,
        failure,
      } = await call(address, host, path, { agent, method, timeoutMs: hangMs, ...body }).then(
        (reply) => ({ ...reply, failure: String(reply.headers['weft-failure'] ?? '') }),
        (error: Error) => ({ status: 0, body: '', failure: error.message }),
      );
      answers.push({ method, status, body: text, failure, sentAtMs, tookMs: performance.now() - sentAtMs });
      // A sidecar that is gone refuses at once: not in a loop without rest.
      if (status === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const done = Promise.all(Array.from({ length: workers }, (_, i) => work(i % 2 === 0 ? 'GET' : 'POST'))).then(() => {
    agent.destroy();
    return answers;
  });
  return {
    answers,
    stop: () => {
      isStopped = true;
      return done;
    },
  };
}

/** How often each kind of answer came: `GET 200`, `POST 502 link-lost`. */
export function kinds(answers: readonly Answered[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { method, status, failure } of answers) {
    const kind = failure === '' ? `${method} ${status}` : `${method} ${status} ${failure}`;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** A silent peer is lost by then: its silence, an unanswered PING, and a sweep of the timer after each. */
export const foundMs = limits.linkQuietMs + limits.linkPingMs + 2 * limits.poolSweepMs;

export interface Bearable {
  /** Kinds beside 200 that may come, by how often: `POST 502 link-lost`. */
  readonly kinds: Readonly<Record<string, number>>;
  /** No request took longer, ms. */
  readonly withinMs: number;
}

/** Both methods were served, and nothing worse came of it than this. */
export function expectBearable(answers: readonly Answered[], { kinds: allowed, withinMs }: Bearable): void {
  const { 'GET 200': got, 'POST 200': posted, ...others } = kinds(answers);
  const tooOften = Object.entries(others).filter(([kind, count]) => count > (allowed[kind] ?? 0));
  expect(Object.fromEntries(tooOften)).toEqual({});
  expect(got).toBeGreaterThan(0);
  expect(posted).toBeGreaterThan(0);
  expect(slowestMs(answers)).toBeLessThan(withinMs);
}

export const slowestMs = (answers: readonly Answered[]): number =>
  answers.reduce((slowest, { tookMs }) => Math.max(slowest, tookMs), 0);

/** `share` of 0.5 is the median. */
export function quantileMs(answers: readonly { readonly tookMs: number }[], share: number): number {
  const sorted = answers.map(({ tookMs }) => tookMs).sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
