/** Random and mutated frames on the push port, plain and over TLS: each is refused in words or cut, nothing of it stays, and sidecars beside it notice nothing. */
import { once } from 'node:events';
import { createSecureContext } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import WebSocket from 'ws';
import { emptyBundle } from '../../src/control/ca/bundle-edits.ts';
import { ControlCounts } from '../../src/control/control-counts.ts';
import { type PushTransport, startPush } from '../../src/control/push.ts';
import { issueServerCertificate } from '../../src/identity/server-certificate.ts';
import { systemClock } from '../../src/sidecar/clock.ts';
import { decodeControlFrame } from '../../src/wire/control-frame.ts';
import { encodeSidecarFrame, type SidecarFrame } from '../../src/wire/sidecar-frame.ts';
import { MemoryStore, service, silentLogger } from '../unit/control/memory-store.ts';
import { newRoot } from '../unit/identity/roots.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const rounds = 200;
const seed = Number(process.env.WEFT_FUZZ_SEED ?? 6);

/** mulberry32: the same bytes for the same seed. */
function randomOf(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const hello = (sidecar: string): SidecarFrame => ({
  tag: 'hello',
  ...{ sidecar, service: 'app', namespace: 'default', softwareVersion: '0.1.0', more: false },
  ...{ hosts: ['cart'], held: new Map([['Service/default/cart', 'v']]), registration: null, insecureLink: false },
});

async function planeOver(tag: PushTransport['tag']) {
  const store = new MemoryStore(systemClock);
  await store.put(service('cart'));
  const counts = new ControlCounts();
  const authority = { bundle: emptyBundle('weft.local'), identify: () => Promise.reject(new Error('not asked')) };
  let transport: PushTransport = { tag: 'loopback' };
  if (tag === 'tls') {
    const wish = { trustDomain: 'weft.local', names: [], nowMs: Date.now(), ttlMs: 600_000 };
    const { chainPem, keyPem } = await issueServerCertificate(await newRoot(Date.now()), wish);
    const context = createSecureContext({ cert: chainPem, key: keyPem });
    transport = { tag, context: async () => context, isInsecure: false };
  }
  const clock = systemClock;
  const push = await startPush({
    ...{ store, authority, host: '127.0.0.1', port: 0, clock, logger: silentLogger, transport, counts },
  });
  cleanups.push(() => push.close());
  const dial = async () => {
    const socket = new WebSocket(`${tag === 'tls' ? 'wss' : 'ws'}://${push.address}/v1/push`, {
      rejectUnauthorized: false,
      perMessageDeflate: false,
    });
    cleanups.push(() => socket.terminate());
    const frames: ReturnType<typeof decodeControlFrame>[] = [];
    socket.on('message', (bytes: Buffer) => frames.push(decodeControlFrame(bytes)));
    socket.on('error', () => undefined);
    const closed = once(socket, 'close').then(([code]) => code as number);
    await once(socket, 'open');
    return { socket, frames, closed };
  };
  return { push, store, dial, counts };
}

describe.each(['loopback', 'tls'] as const)('garbage on the push port (%s)', (tag) => {
  it('is refused or cut, costs nothing that stays, and harms nobody', async () => {
    const { push, store, dial, counts } = await planeOver(tag);
    const good = await dial();
    good.socket.send(encodeSidecarFrame(hello('good')));
    await until(() => good.frames.length === 1);
    const random = randomOf(seed);
    const below = (most: number) => Math.floor(random() * most);
    const noise = (length: number) => Buffer.from(Array.from({ length }, () => below(256)));
    const samples = [
      hello('evil'),
      { tag: 'subscribe', add: ['cart', 'x'], remove: [] },
      { tag: 'nack', sequence: 1, reason: 'no' },
      { tag: 'register', registration: { address: '127.0.0.1:1', zone: '', labels: { a: 'b' }, weight: 1, link: [] } },
      { tag: 'renew', trouble: 'x' },
      { tag: 'report', parts: [], series: [] },
    ].map((frame) => Buffer.from(encodeSidecarFrame(frame as SidecarFrame)));
    const mutated = () => {
      const bytes = Buffer.from(samples[below(samples.length)]!);
      for (let flips = 1 + below(4); flips > 0; flips--) bytes[below(bytes.length)] = below(256);
      return below(3) === 0 ? bytes.subarray(0, below(bytes.length)) : bytes;
    };

    let refusals = 0;
    for (let round = 0; round < rounds; round += 20) {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const { socket, frames, closed } = await dial();
          // What is by chance a frame that makes sense leaves the connection open; the noise behind it does not.
          const inputs = [
            ...Array.from({ length: below(4) }, mutated),
            noise(1 + below(200)),
            Buffer.from([0xff, 0xff]),
          ];
          for (const bytes of inputs) socket.send(bytes);
          expect([1000, 1006, 1008]).toContain(await closed);
          if (frames.some((frame) => frame.tag === 'refusal')) refusals++;
        }),
      );
    }
    // In words nearly always: a connection may be gone before they are read.
    expect(refusals).toBeGreaterThan(rounds * 0.9);
    expect(new Set(countedRefusals(counts))).toContain('malformed-frame');
    await until(() => push.connections === 1);

    // Who was here before is still served, and nobody else is left: by chance one may have greeted, and is lost until its lease ends.
    expect(good.socket.readyState).toBe(WebSocket.OPEN);
    good.socket.send(encodeSidecarFrame({ tag: 'ack', sequence: 1 }));
    await store.put(service('cart', '127.0.0.1:1'));
    await until(() => good.frames.length === 2);
    expect(push.fleet.list().filter(({ connected }) => connected)).toMatchObject([{ sidecar: 'good' }]);
  });
});

function countedRefusals(counts: ControlCounts): readonly string[] {
  const values: { labels: { code?: string } }[] = [];
  counts.refusals.addTo({ name: '', help: '', type: 'counter', aggregator: 'sum', values } as never);
  return values.map(({ labels }) => labels.code!);
}

async function until(isSo: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!isSo()) {
    if (performance.now() > deadlineMs) throw new Error('still not so');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
