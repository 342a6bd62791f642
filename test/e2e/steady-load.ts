/**
 * Load that goes on for minutes beside what is tested: small GETs, POSTs whose bodies must arrive whole, and answers that take seconds, so
 * that something is always under way. It rests between requests, for what is measured is not speed.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Agent, type IncomingMessage, type RequestListener } from 'node:http';
import { setTimeout as rest } from 'node:timers/promises';
import { call, type Reply } from './harness.ts';

export interface SteadyResult {
  readonly sent: number;
  /** In words, with the time since the start. */
  readonly failed: readonly string[];
  readonly slowestMs: number;
}

export interface SteadyLoad {
  readonly sent: number;
  readonly failed: readonly string[];
  /** Resolves once what is under way was answered. */
  stop(): Promise<SteadyResult>;
}

const bodyBytes = 100_000;
const restMs = 10;
const slowPieces = 20;
const slowPieceMs = 100;
const slowBody = 'piece'.repeat(slowPieces);

const digestOf = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');

/** The app: `/slow` takes two seconds; a POST is answered with the digest of its body. */
export const steadyApp: RequestListener = (request, response) => {
  if (request.url === '/slow') void answerSlowly(response);
  else if (request.method === 'POST') void answerDigest(request, response);
  else response.end('ok');
};

async function answerSlowly(response: Parameters<RequestListener>[1]): Promise<void> {
  for (let piece = 0; piece < slowPieces && !response.destroyed; piece++) {
    response.write('piece');
    await rest(slowPieceMs);
  }
  response.end();
}

async function answerDigest(request: IncomingMessage, response: Parameters<RequestListener>[1]): Promise<void> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of request) hash.update(chunk as Buffer);
    response.end(hash.digest('hex'));
  } catch {
    response.destroy();
  }
}

/** `gets` workers with small GETs, `posts` with bodies of 100 kB, and one that is always in a slow answer. */
export function steadyLoad(
  address: string,
  host: string,
  { gets, posts }: { readonly gets: number; readonly posts: number },
): SteadyLoad {
  const agent = new Agent({ keepAlive: true, maxSockets: gets + posts + 1 });
  const startedAtMs = performance.now();
  const failed: string[] = [];
  let sent = 0;
  let slowestMs = 0;
  let isStopped = false;

  const ask = async (method: 'GET' | 'POST', path: string, expected: string, body?: Buffer) => {
    sent++;
    const sentAtMs = performance.now();
    const asked = call(address, host, path, {
      agent,
      method,
      timeoutMs: 30_000,
      ...(body === undefined ? {} : { body }),
    });
    const fault = await asked.then((reply) => faultOf(reply, expected), String);
    const nowMs = performance.now();
    if (path !== '/slow') slowestMs = Math.max(slowestMs, nowMs - sentAtMs);
    if (fault !== null)
      failed.push(`${method} ${path} begun at ${seconds(sentAtMs)}, ended at ${seconds(nowMs)}: ${fault}`);
  };
  const seconds = (atMs: number) => `${((atMs - startedAtMs) / 1000).toFixed(2)} s`;
  const work = async (once: () => Promise<void>) => {
    while (!isStopped) {
      await once();
      await rest(restMs);
    }
  };
  const post = () => {
    const body = randomBytes(bodyBytes);
    return ask('POST', '/', digestOf(body), body);
  };
  const done = Promise.all([
    ...Array.from({ length: gets }, () => work(() => ask('GET', '/', 'ok'))),
    ...Array.from({ length: posts }, () => work(post)),
    work(() => ask('GET', '/slow', slowBody)),
  ]).then(() => {
    agent.destroy();
    return { sent, failed, slowestMs };
  });
  return {
    failed,
    get sent() {
      return sent;
    },
    stop: () => {
      isStopped = true;
      return done;
    },
  };
}

function faultOf({ status, headers, body }: Reply, expected: string): string | null {
  if (status !== 200) return `${status} ${headers['weft-failure'] ?? ''} ${body.slice(0, 300)}`;
  return body === expected ? null : `a body of ${body.length} bytes that was not the one expected`;
}
