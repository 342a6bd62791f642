/** Bodies of 1 GB through two sidecars, in HTTP/1.1 between them, both ways, and readers that do not read: memory stays where it was. */
import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running, until } from './harness.ts';
import {
  type Body,
  growthDuring,
  peaksDuring,
  readBody,
  sendPattern,
  transfer as transferOver,
  wholeBody,
} from './large-bodies.ts';

const gigabyte = 1024 ** 3;
const growthMiBMax = 20;

let bench: Bench;
let web: Running;
let cart: Running;
let received: Body = { bytes: 0, digest: '' };
/** Paused reads of the app, released by the test. */
let release: (() => void) | null = null;

beforeEach(async () => {
  bench = new Bench();
  release = null;
  received = { bytes: 0, digest: '' };
  const app = await bench.app((request, response) => {
    if (request.method === 'GET') {
      const bytes = Number(request.url!.slice(1));
      if (request.headers['x-framing'] !== 'chunked') response.setHeader('content-length', bytes);
      sendPattern(response, bytes);
      return;
    }
    const read = () =>
      readBody(request, (body) => {
        received = body;
        response.end(String(body.bytes));
      });
    if (request.headers['x-wait'] === undefined) read();
    else release = read;
  });
  const empty = bench.file(
    'cart.yaml',
    'apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: { endpoints: [] }\n',
  );
  cart = await bench.weft([
    'sidecar',
    '--service',
    'cart',
    '--app',
    app.address,
    '--inbound',
    '127.0.0.1:0',
    '--outbound',
    '127.0.0.1:0',
    '--admin',
    '127.0.0.1:0',
    '--config',
    empty,
  ]);
  const file = bench.file(
    'web.yaml',
    `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: { endpoints: ['${cart.ready.inbound}'] }\n`,
  );
  web = await bench.weft([
    'sidecar',
    '--service',
    'web',
    '--outbound',
    '127.0.0.1:0',
    '--admin',
    '127.0.0.1:0',
    '--config',
    file,
  ]);
  // Warm both, so that what a first large body allocates once is not taken for growth.
  await transfer('GET', 64 * 1024 * 1024);
  await transfer('POST', 64 * 1024 * 1024);
});
afterEach(() => bench.close());

const transfer = (method: 'GET' | 'POST', bytes: number, headers: Record<string, string> = {}): Promise<Body> =>
  transferOver({ address: web.ready.outbound, host: 'cart', method, bytes, headers });

describe('1 GB', () => {
  // The first one makes V8's heap as large as it gets, by up to 35 MiB; between two collections 10 to 20 more are garbage at any size of body.
  // So what is compared is one peak with another.
  const growthOfPeaks = async (transferOne: () => Promise<void>) => {
    const before = await peaksDuring([web, cart], transferOne);
    const peaks = await peaksDuring([web, cart], transferOne);
    return Math.max(...peaks.map((peak, i) => peak - before[i]!));
  };

  it.each(['counted', 'chunked'])('downloads whole in constant memory (%s)', async (framing) => {
    let result: Body | null = null;
    const growth = await growthOfPeaks(async () => {
      result = await transfer('GET', gigabyte, { 'x-framing': framing });
    });
    expect(result).toEqual(wholeBody(gigabyte));
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
  });

  it.each(['counted', 'chunked'])('uploads whole in constant memory (%s)', async (framing) => {
    const growth = await growthOfPeaks(async () => {
      await transfer('POST', gigabyte, { 'x-framing': framing });
    });
    expect(received).toEqual(wholeBody(gigabyte));
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
  });
});

describe('a reader that does not read', () => {
  it('a client: the sidecars hold little, and others are served meanwhile', async () => {
    const [hostname, port] = web.ready.outbound.split(':');
    let stalled: import('node:http').IncomingMessage | null = null;
    const growth = await growthDuring([web, cart], async () => {
      const outgoing = httpRequest({ hostname, port, path: `/${gigabyte}`, headers: { host: 'cart' } }, (incoming) => {
        stalled = incoming;
        incoming.pause();
      });
      outgoing.on('error', () => {});
      outgoing.end();
      await until('the answer began', () => stalled !== null);
      for (let i = 0; i < 100; i++) expect((await call(web.ready.outbound, 'cart', '/65536')).status).toBe(200);
    });
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
    stalled!.destroy();
  });

  it('an app that takes the upload 15 s late gets it whole, and the sidecars held little of it', async () => {
    const bytes = 256 * 1024 * 1024;
    const growth = await growthDuring([web, cart], async () => {
      const sending = transfer('POST', bytes, { 'x-wait': '1' });
      await until('the request arrived', () => release !== null);
      // Longer than the 10 to 12 s after which the uWS core cuts a connection on which nothing moves.
      await new Promise((resolve) => setTimeout(resolve, 15_000));
      release!();
      await sending;
    });
    expect(received).toEqual(wholeBody(bytes));
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
  });
});
