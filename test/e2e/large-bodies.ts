/** Bodies too large to hold: sent and read as they come, told apart by their digests, with the sidecars' memory watched meanwhile. */
import { createHash } from 'node:crypto';
import { request as httpRequest, type RequestListener } from 'node:http';
import type { Writable } from 'node:stream';
import { type Running, residentMiB } from './harness.ts';

/** 64 KiB that repeat: cheap to make, and a lost or doubled chunk changes the digest. */
export const pattern = Buffer.from(Array.from({ length: 65_536 }, (_, i) => (i * 31 + (i >> 8)) & 0xff));

export interface Body {
  readonly bytes: number;
  readonly digest: string;
}

/** What arrives of `bytes` of the pattern. */
export function wholeBody(bytes: number): Body {
  const hash = createHash('md5');
  for (let sent = 0; sent < bytes; sent += pattern.length) hash.update(pattern);
  return { bytes, digest: hash.digest('hex') };
}

export function sendPattern(to: Writable, bytes: number): void {
  let sent = 0;
  const more = () => {
    while (sent < bytes && !to.destroyed) {
      sent += pattern.length;
      if (!to.write(pattern)) {
        to.once('drain', more);
        return;
      }
    }
    to.end();
  };
  more();
}

/** Calls back with what arrived, once it has ended. */
export function readBody(from: NodeJS.ReadableStream, onWhole: (body: Body) => void): void {
  const hash = createHash('md5');
  let bytes = 0;
  from.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  from.once('end', () => onWhole({ bytes, digest: hash.digest('hex') }));
}

/** GET of `/BYTES` answers with so many, `/` with a word; POST with what arrived, as JSON. */
export const bodiesApp: RequestListener = (request, response) => {
  const bytes = Number(request.url!.slice(1));
  if (request.method === 'POST') readBody(request, (body) => response.end(JSON.stringify(body)));
  else if (bytes === 0) response.end('small');
  else sendPattern(response.setHeader('content-length', bytes), bytes);
};

export interface TransferOptions {
  readonly address: string;
  readonly host: string;
  readonly method: 'GET' | 'POST';
  readonly bytes: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One body through `address` (HOST:PORT), with a Content-Length unless a header `x-framing` says `chunked`. Answers with what came back. */
export function transfer({ address, host, method, bytes, headers = {} }: TransferOptions): Promise<Body> {
  const [hostname, port] = address.split(':');
  const isCounted = method === 'POST' && headers['x-framing'] !== 'chunked';
  const framing: Record<string, string> = isCounted ? { 'content-length': String(bytes) } : {};
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { hostname, port, method, path: `/${bytes}`, headers: { host, ...framing, ...headers } },
      (incoming) => {
        incoming.once('error', reject);
        if (incoming.statusCode === 200) readBody(incoming, resolve);
        else reject(new Error(`status ${incoming.statusCode} ${incoming.headers['weft-failure'] ?? ''}`));
      },
    );
    outgoing.once('error', reject);
    if (method === 'GET') outgoing.end();
    else sendPattern(outgoing, bytes);
  });
}

/** One body to the app, answered by `bodiesApp`: what arrived there. */
export function upload(address: string, host: string, bytes: number): Promise<Body> {
  const [hostname, port] = address.split(':');
  return new Promise((resolve, reject) => {
    const headers = { host, 'content-length': bytes };
    const outgoing = httpRequest({ hostname, port, method: 'POST', path: `/${bytes}`, headers }, (incoming) => {
      let text = '';
      incoming.on('data', (chunk) => {
        text += chunk;
      });
      incoming.once('error', reject);
      incoming.once('end', () => {
        if (incoming.statusCode === 200) resolve(JSON.parse(text) as Body);
        else reject(new Error(`status ${incoming.statusCode} ${incoming.headers['weft-failure'] ?? ''}`));
      });
    });
    outgoing.once('error', reject);
    sendPattern(outgoing, bytes);
  });
}

/** Largest growth of any of the sidecars while `work` runs, MiB. */
export async function growthDuring(sidecars: readonly Running[], work: () => Promise<void>): Promise<number> {
  const before = residentOf(sidecars);
  const peaks = await peaksDuring(sidecars, work);
  return Math.max(...peaks.map((peak, i) => peak - before[i]!));
}

/** The most that each of the sidecars took while `work` ran, MiB. */
export async function peaksDuring(sidecars: readonly Running[], work: () => Promise<void>): Promise<number[]> {
  let peaks = residentOf(sidecars);
  const timer = setInterval(() => {
    peaks = residentOf(sidecars).map((mib, i) => Math.max(mib, peaks[i]!));
  }, 50);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return peaks;
}

const residentOf = (sidecars: readonly Running[]): number[] => sidecars.map(({ process }) => residentMiB(process.pid!));
