/** The way to a collector of traces: one POST at a time over a kept connection, with a deadline and a bound on what is read. */
import { type ClientRequest, Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { limits } from '../model/limits.ts';
import type { TracingOptions } from './options.ts';

/** What became of a POST. `failed`: no whole answer came, for a reason in words. */
export type PostOutcome =
  | { readonly tag: 'answered'; readonly status: number; readonly retryAfter: string; readonly body: Uint8Array }
  | { readonly tag: 'failed'; readonly reason: string };

/** Never rejects. */
export type PostTraces = (body: Uint8Array) => Promise<PostOutcome>;

export interface OtlpClient {
  readonly post: PostTraces;
  close(): void;
}

/** On file threads. */
const compress = promisify(gzip);

export function openOtlpClient(
  { url, headers, isCompressed }: Pick<TracingOptions, 'url' | 'headers' | 'isCompressed'>,
  requestMs: number = limits.otlpRequestMs,
): OtlpClient {
  const isTls = url.startsWith('https:');
  const agent = new (isTls ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 });
  const fields = {
    ...headers,
    'content-type': 'application/x-protobuf',
    ...(isCompressed ? { 'content-encoding': 'gzip' } : {}),
  };
  const post = async (body: Uint8Array): Promise<PostOutcome> => {
    const bytes = isCompressed ? await compress(body) : body;
    const options = { method: 'POST', agent, headers: { ...fields, 'content-length': bytes.byteLength } };
    return answerOf((isTls ? httpsRequest : httpRequest)(url, options), bytes, requestMs);
  };
  return { post, close: () => agent.destroy() };
}

function answerOf(outgoing: ClientRequest, body: Uint8Array, requestMs: number): Promise<PostOutcome> {
  return new Promise((resolve) => {
    const fail = (reason: string) => {
      clearTimeout(timer);
      outgoing.destroy();
      resolve({ tag: 'failed', reason });
    };
    const timer = setTimeout(() => fail(`no whole answer within ${requestMs} ms`), requestMs);
    // Nothing that waits for a collector keeps a process alive.
    timer.unref();
    outgoing.on('error', (error) => fail(error.message));
    outgoing.once('response', (incoming) =>
      readAnswer(incoming, fail, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      }),
    );
    outgoing.end(body);
  });
}

function readAnswer(
  incoming: IncomingMessage,
  fail: (reason: string) => void,
  done: (outcome: PostOutcome) => void,
): void {
  const chunks: Buffer[] = [];
  let read = 0;
  incoming.on('data', (chunk: Buffer) => {
    read += chunk.byteLength;
    if (read > limits.otlpAnswerBytesMax) fail(`its answer is longer than ${limits.otlpAnswerBytesMax} bytes`);
    else chunks.push(chunk);
  });
  incoming.on('error', (error) => fail(error.message));
  incoming.once('end', () =>
    done({
      tag: 'answered',
      status: incoming.statusCode!,
      retryAfter: incoming.headers['retry-after'] ?? '',
      body: Buffer.concat(chunks),
    }),
  );
}
