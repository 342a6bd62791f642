import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const directory = fileURLToPath(new URL('../../native-bench', import.meta.url));
const hasCompiler = ['g++', 'make'].every((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status === 0);
const buildTimeoutMs = 180_000;
const run = promisify(execFile);
const running: ReturnType<typeof spawn>[] = [];

interface LoadFigures {
  readonly requests: number;
  readonly failures: number;
  readonly firstFailure: string | null;
  readonly reconnects: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly maxUs: number;
}

async function start(program: string, ...flags: string[]): Promise<number> {
  const child = spawn(`${directory}/build/${program}`, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
  running.push(child);
  const [line] = await once(createInterface(child.stdout), 'line');
  return JSON.parse(line).port;
}

async function load(port: number, flags: Record<string, string | number> = {}): Promise<LoadFigures> {
  const all = Object.entries({ port, seconds: 0.3, connections: 4, ...flags });
  const words = all.flatMap(([name, value]) => [`--${name}`, String(value)]);
  const { stdout } = await run(`${directory}/build/load`, words);
  return JSON.parse(stdout);
}

/** What comes back until the connection ends. */
async function exchange(port: number, ...pieces: string[]): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  let received = '';
  socket.on('data', (bytes) => {
    received += bytes.toString('latin1');
  });
  for (const piece of pieces) await new Promise((resolve) => socket.write(piece, 'latin1', resolve));
  await once(socket, 'close');
  return received;
}

const count = (text: string, part: string): number => text.split(part).length - 1;
const last = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

describe.skipIf(!hasCompiler)('native-bench', () => {
  let upstream = 0;
  let relay = 0;

  beforeAll(async () => {
    execFileSync('make', ['-C', directory], { stdio: ['ignore', 'ignore', 'pipe'], timeout: buildTimeoutMs });
    upstream = await start('upstream');
    relay = await start('relay', '--to-port', String(upstream));
  }, buildTimeoutMs);

  afterAll(() => {
    for (const child of running) child.kill();
  });

  describe('load', () => {
    it('counts an answer with another status, length or byte as a failure, and says what the first one was', async () => {
      const cases = [
        { flags: { path: '/?fail=503' }, failure: 'status 503' },
        { flags: { 'body-bytes': 99 }, failure: 'a body of 100 bytes' },
        { flags: { 'body-byte': 'v' }, failure: 'a body of other bytes than expected' },
        { flags: { path: '/?fail=close' }, failure: 'the connection was closed before the answer was whole' },
      ];
      for (const { flags, failure } of cases) {
        const figures = await load(upstream, flags);
        expect(figures).toMatchObject({ requests: 0, firstFailure: failure });
        expect(figures.failures).toBeGreaterThan(0);
      }
    });

    it('loads a unix socket', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'weft-native-bench-'));
      const address = `unix:${join(directory, 'app.sock')}`;
      const port = await start('upstream', '--address', '127.0.0.1', '--address', address);
      for (const place of [{ address }, { port }]) {
        const figures = await load(port, { ...place, connections: 8, path: '/?bytes=70000', 'body-bytes': 70_000 });
        expect(figures).toMatchObject({ failures: 0 });
        expect(figures.requests).toBeGreaterThan(0);
      }
      await expect(load(port, { address: `unix:/${'x'.repeat(108)}` })).rejects.toThrow(
        /not a path that a unix socket/,
      );
      rmSync(directory, { recursive: true });
    });

    it('notices a request that gets no answer', async () => {
      const silent = createServer(() => {}).listen(0, '127.0.0.1');
      await once(silent, 'listening');
      const figures = await load((silent.address() as AddressInfo).port);
      silent.close();
      expect(figures).toMatchObject({ requests: 0, failures: 4, firstFailure: 'no answer 5 s after the end' });
    });

    it('sends what a rate says and no more', async () => {
      expect(await load(upstream, { rate: 1000 })).toMatchObject({ requests: 300, failures: 0 });
    });

    it('counts the wait of requests that found no connection free', async () => {
      // 100 a second over one connection that takes 20 ms for each: the 30th has waited for nearly all before it.
      const figures = await load(upstream, { rate: 100, connections: 1, path: '/?delay=20' });
      expect(figures).toMatchObject({ requests: 30, failures: 0 });
      expect(figures.maxUs).toBeGreaterThan(250_000);
    });

    it('logs each request by a trace id that the server has seen, with what it took since it was due and since it left', async () => {
      const seen: string[] = [];
      const server = createHttpServer((request, response) => {
        seen.push(String(request.headers.traceparent));
        setTimeout(() => response.end('w'), 20);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const directory = mkdtempSync(join(tmpdir(), 'weft-native-bench-'));
      const log = join(directory, 'log');
      // Twice as many as two connections can carry: they leave ever later than they are due.
      const flags = { rate: 200, connections: 2, 'body-bytes': 1, log };
      const { requests, maxUs } = await load((server.address() as AddressInfo).port, flags);
      server.closeAllConnections();
      server.close();
      const lines = readFileSync(log, 'latin1').trimEnd().split('\n');
      rmSync(directory, { recursive: true });
      expect(requests).toBe(60);
      const found = lines.map((line) => line.match(/^([0-9a-f]{32}) (\d+) (\d+)$/)!.slice(1));
      const ids = found.map(([id]) => id);
      expect(new Set(ids).size).toBe(60);
      expect(seen.map((traceparent) => traceparent.match(/^00-([0-9a-f]{32})-[0-9a-f]{16}-01$/)![1]).sort()).toEqual(
        ids.sort(),
      );
      const sinceDueNs = found.map(([, ns]) => Number(ns));
      expect(Math.max(...sinceDueNs) / 1_000).toBeCloseTo(maxUs, 0);
      for (const [i, [, , sinceSentNs]] of found.entries()) {
        expect(Number(sinceSentNs)).toBeGreaterThan(19e6);
        expect(Number(sinceSentNs)).toBeLessThanOrEqual(sinceDueNs[i]!);
      }
      expect(maxUs).toBeGreaterThan(200_000);
    });

    it('has every percentile of its histogram to 0.05 %', () => {
      let seed = 1;
      const values = Array.from({ length: 20_000 }, () => {
        seed = (seed * 48_271) % 2_147_483_647;
        return Math.round(Math.exp((seed / 2_147_483_647) * 20) + 1);
      });
      const out = execFileSync(`${directory}/build/percentiles`, { input: values.join('\n'), encoding: 'utf8' });
      const found = JSON.parse(out);
      const sorted = values.sort((a, b) => a - b);
      const exactUs = (percent: number) =>
        sorted[Math.max(0, Math.round((percent / 100) * sorted.length) - 1)]! / 1_000;
      expect(found.total).toBe(values.length);
      for (const percent of [0, 50, 90, 99, 99.9, 100])
        expect(Math.abs(found[`p${percent}Us`] / exactUs(percent) - 1), `p${percent}`).toBeLessThan(0.000_51);
      expect(found.maxUs).toBeCloseTo(exactUs(100), 3);
    });
  });

  describe('upstream', () => {
    it('fails as often as it is told', async () => {
      const { requests, failures } = await load(upstream, { path: '/?fail=500&every=10' });
      expect(failures).toBe(Math.floor((requests + failures) / 10));
    });

    it('answers later by the delay', async () => {
      const { p50Us } = await load(upstream, { path: '/?delay=30' });
      expect(p50Us).toBeGreaterThanOrEqual(30_000);
    });

    it('refuses another body than it takes', async () => {
      const post = (requestBytes: number) => load(upstream, { path: '/?takes=16384', 'request-bytes': requestBytes });
      expect(await post(16384)).toMatchObject({ failures: 0 });
      expect(await post(16383)).toMatchObject({ requests: 0, firstFailure: 'status 422' });
      const mixed = 'POST /?takes=4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\nqqqr';
      expect(await exchange(upstream, mixed)).toMatch(/^HTTP\/1\.1 422 /);
    });

    it('answers pipelined requests in their order, each as its query says', async () => {
      const requests = ['/?delay=30&bytes=1', '/?bytes=2', '/?fail=404', '/?delay=10&bytes=3']
        .map((target) => `GET ${target} HTTP/1.1\r\nHost: a\r\n\r\n`)
        .join('');
      const answers = await exchange(upstream, requests + last);
      const lengths = [...answers.matchAll(/HTTP\/1\.1 (\d+).*?Content-Length: (\d+)/gs)].map((each) => each.slice(1));
      expect(lengths.map((each) => each.join(' '))).toEqual(['200 1', '200 2', '404 0', '200 3', '200 100']);
    });

    it('answers 400 to what is no request', async () => {
      expect(await exchange(upstream, 'no request\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    });
  });

  describe('relay', () => {
    it('passes bodies both ways', async () => {
      const cases = [
        { rate: 500 },
        { path: '/?bytes=1048576', 'body-bytes': 1048576 },
        { path: '/?takes=16384', 'request-bytes': 16384 },
        { path: '/?takes=3000000', 'request-bytes': 3000000 },
      ];
      for (const flags of cases) {
        const figures = await load(relay, flags);
        expect(figures).toMatchObject({ failures: 0, reconnects: 0 });
        expect(figures.requests).toBeGreaterThan(0);
      }
    });

    it('relays a request that comes in pieces, and closes when it is asked to', async () => {
      const answer = await exchange(relay, 'GET / HT', 'TP/1.1\r\nHost: a\r\nConnection: cl', 'ose\r\n\r\n');
      expect(answer).toMatch(/^HTTP\/1\.1 200 /);
      expect(count(answer, 'w'.repeat(100))).toBe(1);
    });

    it('ends the client with its upstream, and serves the next one', async () => {
      const closing = await start('upstream', '--fail', 'close', '--every', '2');
      const port = await start('relay', '--to-port', String(closing));
      const { requests, failures } = await load(port, { connections: 1 });
      expect(requests).toBeGreaterThan(0);
      expect(Math.abs(requests - failures)).toBeLessThanOrEqual(1);
    });
  });
});
