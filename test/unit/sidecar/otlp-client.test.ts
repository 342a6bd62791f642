/** The POST to a collector, against one that behaves and several that do not. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { openOtlpClient } from '../../../src/sidecar/otlp-client.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function collector(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`;
}

function clientTo(url: string, changes: { isCompressed?: boolean; requestMs?: number } = {}) {
  const { requestMs, isCompressed = false } = changes;
  const client = openOtlpClient({ url, headers: { authorization: 'Bearer t' }, isCompressed }, requestMs);
  cleanups.push(() => client.close());
  return client;
}

describe('a POST to a collector', () => {
  it('that is not there fails in words', async () => {
    const url = await collector(() => {});
    for (const cleanup of cleanups.splice(0)) cleanup();
    expect(await clientTo(url).post(Buffer.from('x'))).toMatchObject({
      tag: 'failed',
      reason: expect.stringMatching(/ECONNREFUSED/),
    });
  });

  it.each<[what: string, handler: RequestListener, reason: RegExp]>([
    ['never answers', () => {}, /no whole answer within 50 ms/],
    [
      'never ends its answer',
      (_request, response) => void response.writeHead(200).write('x'),
      /no whole answer within 50 ms/,
    ],
    ['cuts the connection', (request) => void request.socket.destroy(), /socket hang up/],
    [
      'cuts its answer',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 9 }).write('x', () => response.destroy());
      },
      /aborted/,
    ],
    [
      'answers without end',
      (_request, response) => {
        response.end(Buffer.alloc(limits.otlpAnswerBytesMax + 1));
      },
      /longer than/,
    ],
  ])('that %s fails in words, and in time', async (_what, handler, reason) => {
    const requestMs = reason.source.includes('50 ms') ? 50 : 15_000;
    const client = clientTo(await collector(handler), { requestMs });
    expect(await client.post(Buffer.from('x'))).toMatchObject({ tag: 'failed', reason: expect.stringMatching(reason) });
  });

  it.each([false, true])(
    'carries the body, its type and the headers (compressed: %s), over one connection',
    async (isCompressed) => {
      const seen: object[] = [];
      const ports = new Set<number | undefined>();
      const url = await collector((request, response) => {
        const chunks: Buffer[] = [];
        ports.add(request.socket.remotePort);
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.once('end', () => {
          const bytes = Buffer.concat(chunks);
          const { authorization, 'content-type': type, 'content-encoding': encoding } = request.headers;
          const body = (encoding === 'gzip' ? gunzipSync(bytes) : bytes).toString();
          seen.push({ authorization, type, encoding, method: request.method, url: request.url, body });
          response.writeHead(429, { 'retry-after': '3' }).end('no');
        });
      });
      const client = clientTo(url, { isCompressed });
      const answer = { tag: 'answered', status: 429, retryAfter: '3', body: Buffer.from('no') };
      for (let i = 0; i < 2; i++) expect(await client.post(Buffer.from('spans'))).toEqual(answer);
      const request = {
        authorization: 'Bearer t',
        type: 'application/x-protobuf',
        encoding: isCompressed ? 'gzip' : undefined,
        method: 'POST',
        url: '/v1/traces',
        body: 'spans',
      };
      expect(seen).toEqual([request, request]);
      expect(ports.size).toBe(1);
    },
  );
});
