/** Bodies of 1 GB through two sidecars, both ways, and readers that do not read: memory stays where it was. */
import { createHash } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running, residentMiB, until } from './harness.ts';

const gigabyte = 1024 ** 3;
const growthMiBMax = 20;

let bench: Bench;
let web: Running;
let cart: Running;
let received = { bytes: 0, digest: '' };
/** Paused reads of the app, released by the test. */
let release: (() => void) | null = null;

/** 64 KiB that repeat: cheap to make, and a lost or doubled chunk changes the digest. */
const pattern = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
const digestOf = (bytes: number) => {
  const hash = createHash('md5');
  for (let sent = 0; sent < bytes; sent += pattern.length) hash.update(pattern);
  return hash.digest('hex');
};

beforeEach(async () => {
  bench = new Bench();
  release = null;
  received = { bytes: 0, digest: '' };
  const app = await bench.app((request, response) => {
    if (request.method === 'GET') {
      const bytes = Number(request.url!.slice(1));
      if (request.headers['x-framing'] !== 'chunked') response.setHeader('content-length', bytes);
      let sent = 0;
      const more = () => {
        while (sent < bytes) {
          sent += pattern.length;
          if (!response.write(pattern)) {
            response.once('drain', more);
            return;
          }
        }
        response.end();
      };
      more();
      return;
    }
    const hash = createHash('md5');
    let bytes = 0;
    const read = () => {
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        hash.update(chunk);
      });
      request.once('end', () => {
        received = { bytes, digest: hash.digest('hex') };
        response.end(String(bytes));
      });
    };
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

function transfer(
  method: 'GET' | 'POST',
  bytes: number,
  headers: Record<string, string> = {},
): Promise<{ bytes: number; digest: string }> {
  const [hostname, port] = web.ready.outbound.split(':');
  return new Promise((resolve, reject) => {
    const framing: Record<string, string> =
      method === 'POST' && headers['x-framing'] !== 'chunked' ? { 'content-length': String(bytes) } : {};
    const outgoing = httpRequest(
      { hostname, port, method, path: `/${bytes}`, headers: { host: 'cart', ...framing, ...headers } },
      (incoming) => {
        const hash = createHash('md5');
        let read = 0;
        incoming.on('data', (chunk: Buffer) => {
          read += chunk.length;
          hash.update(chunk);
        });
        incoming.once('end', () =>
          incoming.statusCode === 200
            ? resolve({ bytes: read, digest: hash.digest('hex') })
            : reject(new Error(`status ${incoming.statusCode}`)),
        );
        incoming.once('error', reject);
      },
    );
    outgoing.once('error', reject);
    if (method === 'GET') {
      outgoing.end();
      return;
    }
    let sent = 0;
    const more = () => {
      while (sent < bytes) {
        sent += pattern.length;
        if (!outgoing.write(pattern)) {
          outgoing.once('drain', more);
          return;
        }
      }
      outgoing.end();
    };
    more();
  });
}

/** Largest growth of either sidecar while `work` runs, MiB. */
async function growthDuring(work: () => Promise<void>): Promise<number> {
  const before = [web, cart].map((sidecar) => residentMiB(sidecar.process.pid!));
  let growth = 0;
  const timer = setInterval(() => {
    [web, cart].forEach((sidecar, i) => {
      growth = Math.max(growth, residentMiB(sidecar.process.pid!) - before[i]!);
    });
  }, 50);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return growth;
}

describe('1 GB', () => {
  it.each(['counted', 'chunked'])('downloads whole in constant memory (%s)', async (framing) => {
    let result = { bytes: 0, digest: '' };
    const growth = await growthDuring(async () => {
      result = await transfer('GET', gigabyte, { 'x-framing': framing });
    });
    expect(result).toEqual({ bytes: gigabyte, digest: digestOf(gigabyte) });
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
  });

  it.each(['counted', 'chunked'])('uploads whole in constant memory (%s)', async (framing) => {
    const growth = await growthDuring(async () => {
      await transfer('POST', gigabyte, { 'x-framing': framing });
    });
    expect(received).toEqual({ bytes: gigabyte, digest: digestOf(gigabyte) });
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
  });
});

describe('a reader that does not read', () => {
  it('a client: the sidecars hold little, and others are served meanwhile', async () => {
    const [hostname, port] = web.ready.outbound.split(':');
    let stalled: import('node:http').IncomingMessage | null = null;
    const growth = await growthDuring(async () => {
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
    const growth = await growthDuring(async () => {
      const sending = transfer('POST', bytes, { 'x-wait': '1' });
      await until('the request arrived', () => release !== null);
      // Longer than the 10 to 12 s after which the uWS core cuts a connection on which nothing moves.
      await new Promise((resolve) => setTimeout(resolve, 15_000));
      release!();
      await sending;
    });
    expect(received).toEqual({ bytes, digest: digestOf(bytes) });
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
  });
});
