/** Bodies of 1 GB and slow readers on a link with mutual TLS: memory, digests, and what small answers on the same link wait for. */
import { Agent, request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, load, until } from '../e2e/harness.ts';
import { type Body, bodiesApp, growthDuring, transfer, upload, wholeBody } from '../e2e/large-bodies.ts';
import { type LinkMesh, linksInto, startLinkMesh } from '../e2e/link-mesh.ts';
import { quantileMs } from '../e2e/method-load.ts';

const gigabyte = 1024 ** 3;
const mebibyte = 1024 ** 2;
/** Of both sidecars together; 8 MiB of it are blocks that each keeps for frames and for what waits. */
const growthMiBMax = 28;

let bench: Bench;
let mesh: LinkMesh;
let outbound: string;
beforeEach(async () => {
  bench = new Bench();
  mesh = await startLinkMesh(bench, { names: ['one'], handler: () => bodiesApp });
  outbound = mesh.web.ready.outbound;
  // Straight, without the test's network in between.
  await until('cart is known', async () => (await call(outbound, 'cart')).status === 200);
  // What these allocate once, and the collector's young generation, is not taken for growth.
  for (const direction of ['down', 'up'] as const)
    await smallAnswersDuring(async () => void (await move(direction, 256 * mebibyte)));
});
afterEach(() => bench.close());

const sidecars = () => [mesh.web, mesh.callees[0]!.sidecar];

/** Answers with what arrived. */
const move = (direction: 'down' | 'up', bytes: number): Promise<Body> =>
  direction === 'up'
    ? upload(outbound, 'cart', bytes)
    : transfer({ address: outbound, host: 'cart', method: 'GET', bytes });

interface Quantiles {
  readonly p50: number;
  readonly p99: number;
}

interface SmallAnswers {
  readonly count: number;
  /** As the client sees it: with what its own event loop and the app's, which carry the large body, let it wait. */
  readonly client: Quantiles;
  /** What the caller's sidecar waited beyond the callee's own time: the link. */
  readonly link: Quantiles;
}

/** Small answers, one after the other on one connection, while `work` runs. */
async function smallAnswersDuring(work: () => Promise<void>): Promise<SmallAnswers> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const client: { tookMs: number }[] = [];
  const link: { tookMs: number }[] = [];
  let isOver = false;
  const ask = async () => {
    while (!isOver) {
      const startedAtMs = performance.now();
      const { body, headers } = await call(outbound, 'cart', '/', { agent, headers: { 'weft-timing': '1' } });
      client.push({ tookMs: performance.now() - startedAtMs });
      expect(body).toBe('small');
      link.push({ tookMs: Number(String(headers['server-timing']).match(/network;dur=([\d.]+)/)?.[1] ?? 0) });
    }
  };
  const asking = ask();
  await work().finally(() => {
    isOver = true;
  });
  await asking;
  agent.destroy();
  return { count: client.length, client: quantiles(client), link: quantiles(link) };
}

function quantiles(took: readonly { readonly tookMs: number }[]): Quantiles {
  const rounded = (share: number) => Math.round(quantileMs(took, share) * 100) / 100;
  return { p50: rounded(0.5), p99: rounded(0.99) };
}

const alone = () => smallAnswersDuring(() => new Promise((resolve) => setTimeout(resolve, 3_000)));

describe('1 GB over the link', () => {
  it.each(['down', 'up'] as const)(
    '%s arrives whole in constant memory, and small answers pass it',
    async (direction) => {
      const undisturbed = await alone();
      const expected = wholeBody(gigabyte);
      let growth = 0;
      let seconds = 0;
      const beside = await smallAnswersDuring(async () => {
        const startedAtMs = performance.now();
        growth = await growthDuring(sidecars(), async () => expect(await move(direction, gigabyte)).toEqual(expected));
        seconds = (performance.now() - startedAtMs) / 1000;
      });
      const speed = `${Math.round(1024 / seconds)} MiB/s, growth ${growth.toFixed(1)} MiB`;
      console.log(direction, speed, JSON.stringify({ undisturbed, beside }));
      expect(growth).toBeLessThanOrEqual(growthMiBMax);
      expect(beside.link.p50).toBeLessThan(10);
      expect(beside.link.p99).toBeLessThan(250);
      expect(beside.client.p50).toBeLessThan(250);
    },
  );
});

describe('20 readers that read slowly', () => {
  it('do not stall those who share their link', async () => {
    const before = await throughput(3_000);
    let during = 0;
    const growth = await growthDuring(sidecars(), async () => {
      const readers = Array.from({ length: 20 }, () => readSlowly(outbound, gigabyte));
      await Promise.all(readers.map(({ begun }) => begun));
      during = await throughput(4_000);
      for (const { stop } of readers) stop();
    });
    const after = await throughput(3_000);
    console.log('answers of 64 KiB a second', { before, during, after });
    // Before and after: this machine has others to serve.
    expect(during / Math.min(before, after)).toBeGreaterThanOrEqual(0.5);
    console.log(`growth ${growth.toFixed(1)} MiB`);
    expect(growth).toBeLessThanOrEqual(growthMiBMax);
    // All that on one: the way through the test's network is the other.
    expect(await linksInto(mesh.callees[0]!.sidecar)).toBeLessThanOrEqual(2);
  });
});

/** Answers of 64 KiB a second, 8 at once. */
async function throughput(ms: number): Promise<number> {
  const traffic = load(outbound, 'cart', 8, Number.POSITIVE_INFINITY, '/65536');
  const startedAtMs = performance.now();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const { sent, failed } = await traffic.stop();
  expect(failed).toEqual([]);
  return Math.round((sent * 1000) / (performance.now() - startedAtMs));
}

/** Takes 64 KiB of the answer ten times a second. */
function readSlowly(address: string, bytes: number): { begun: Promise<void>; stop: () => void } {
  const [hostname, port] = address.split(':');
  let timer: NodeJS.Timeout | null = null;
  const outgoing = httpRequest({ hostname, port, path: `/${bytes}`, headers: { host: 'cart' }, agent: false });
  const begun = new Promise<void>((resolve, reject) => {
    outgoing.once('error', reject);
    outgoing.once('response', (incoming) => {
      incoming.on('error', () => {});
      timer = setInterval(() => incoming.read(65_536), 100);
      resolve();
    });
  });
  outgoing.end();
  return {
    begun,
    stop: () => {
      if (timer !== null) clearInterval(timer);
      outgoing.destroy();
    },
  };
}
