import net from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SigningRoot } from '../../../src/identity/root.ts';
import { limits } from '../../../src/model/limits.ts';
import { frameType, goawayReason } from '../../../src/proxy/link/frames.ts';
import type { LinkCredentials } from '../../../src/proxy/link/link-identity.ts';
import type { CallerRefusal } from '../../../src/proxy/link/link-server.ts';
import type { LinkUpstream } from '../../../src/proxy/link/link-upstream.ts';
import { newRoot } from '../identity/roots.ts';
import type { FakeProxy } from '../listener/listener-fakes.ts';
import { Recording } from '../upstream/recording.ts';
import { type CredentialsWish, credentialsBy, FakeIdentity } from './link-certificates.ts';
import { frames, getCart, LinkRoom, postCart, RawPeer, turns, until } from './link-room.ts';

let root: SigningRoot;
let foreignRoot: SigningRoot;
let cart: LinkCredentials;
let web: LinkCredentials;

beforeAll(async () => {
  [root, foreignRoot] = await Promise.all([newRoot(Date.now()), newRoot(Date.now())]);
  [cart, web] = await Promise.all([credentialsBy(root, { service: 'cart' }), credentialsBy(root)]);
});

let room: LinkRoom;
let callee: FakeIdentity;
let proxy: FakeProxy;
let address: string;
let connections: () => number;

beforeEach(async () => {
  room = new LinkRoom();
  callee = new FakeIdentity(cart);
  const listening = await room.listen({ tag: 'mutual-tls', identity: callee });
  ({ proxy, address } = listening);
  connections = () => listening.listener.connections;
});
afterEach(() => room.close());

function ask(upstream: LinkUpstream, request = getCart): Recording & { stream: ReturnType<LinkUpstream['open']> } {
  const recording = new Recording();
  const stream = upstream.open(request, recording, room.nowMs);
  if (request.bodyBytes === 0) stream.end();
  return Object.assign(recording, { stream });
}

const callerWith = (identity: FakeIdentity | LinkCredentials | null, wanted = '/ns/default/sa/cart', to = address) =>
  room.upstream(to, {
    identity: wanted,
    security: { tag: 'mutual-tls', identity: identity instanceof FakeIdentity ? identity : new FakeIdentity(identity) },
  });

/** A TLS client of any kind. Whatever it is told, it says OPEN at once. */
function rudeClient(options: tls.ConnectionOptions): { peer: RawPeer; closed: Promise<void> } {
  const [host, port] = address.split(':') as [string, string];
  const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false, servername: '', ...options });
  const peer = new RawPeer(socket);
  socket.on('secureConnect', () => peer.send(frames.settings, frames.open(1)));
  return { peer, closed: new Promise((resolve) => socket.once('close', () => resolve())) };
}

const alpn = ['weft/1'];

describe('a link', () => {
  it('tells what its handshake took apart from the connect, once', async () => {
    let readings = 0;
    // A millisecond passes between any two readings: the connect has some of them, the handshake others.
    const upstream = room.upstream(address, {
      identity: '/ns/default/sa/cart',
      security: { tag: 'mutual-tls', identity: new FakeIdentity(web) },
      now: () => room.nowMs + readings++,
    });
    proxy.onAccept = (call) => call.answer({}, 'well');
    const first = ask(upstream);
    await first.ended;
    expect(first.tlsMs).toBeGreaterThan(0);
    expect(first.connectMs).toBeGreaterThan(0);
    room.nowMs += 1_000;
    const second = ask(upstream);
    await second.ended;
    expect([second.connectMs, second.tlsMs]).toEqual([0, 0]);
  });
});

describe('a caller that must not come in is turned away, told why, counted once, and nothing of it reaches the proxy', () => {
  it.each<readonly [string, CallerRefusal, () => Promise<tls.ConnectionOptions>]>([
    ['without a certificate', 'no-certificate', async () => ({ ALPNProtocols: alpn })],
    [
      'with a certificate of a foreign root',
      'untrusted-certificate',
      async () => ({ ALPNProtocols: alpn, ...pair(await credentialsBy(foreignRoot)) }),
    ],
    [
      'with an expired certificate',
      'expired-certificate',
      async () => ({
        ALPNProtocols: alpn,
        ...pair(await credentialsBy(root, { issuedAtMs: Date.now() - 7200_000 })),
      }),
    ],
    [
      'with a certificate that is not valid yet',
      'untrusted-certificate',
      async () => ({
        ALPNProtocols: alpn,
        ...pair(await credentialsBy(root, { issuedAtMs: Date.now() + 7200_000 })),
      }),
    ],
    [
      'of another trust domain',
      'foreign-identity',
      async () => ({ ALPNProtocols: alpn, ...pair(await credentialsBy(root, { trustDomain: 'other.example' })) }),
    ],
    ['that speaks another protocol', 'not-the-link', async () => pair(web)],
  ])('%s', async (_what, reason, options) => {
    const { peer, closed } = rudeClient(await options());
    const goaway = await peer.goaway();
    expect([goaway.reason, goaway.lastStream]).toEqual([goawayReason.refused, 0]);
    expect(goaway.text).toContain(reason);
    await closed;
    await turns();
    expect(room.callerRefusals.map((refusal) => refusal.reason)).toEqual([reason]);
    expect(room.callerRefusals[0]!.caller).toMatch(/^127\.0\.0\.1:\d+$/);
    expect([proxy.calls.length, connections()]).toEqual([0, 0]);
  });

  it.each<readonly [string, CallerRefusal, tls.ConnectionOptions]>([
    ['with another protocol in ALPN', 'handshake-failed', { ALPNProtocols: ['h2', 'http/1.1'] }],
    ['with TLS 1.2', 'handshake-failed', { ALPNProtocols: alpn, maxVersion: 'TLSv1.2' }],
  ])('%s, in the handshake', async (_what, reason, options) => {
    const { closed } = rudeClient({ ...pair(web), ...options });
    await closed;
    await until(() => room.callerRefusals.length > 0);
    expect(room.callerRefusals.map((refusal) => refusal.reason)).toEqual([reason]);
    expect(proxy.calls).toEqual([]);
  });

  it('with plain HTTP', async () => {
    const [host, port] = address.split(':') as [string, string];
    const socket = net.connect({ host, port: Number(port) });
    socket.on('error', () => {}).resume();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await closed;
    await until(() => room.callerRefusals.length > 0);
    expect(room.callerRefusals.map(({ reason }) => reason)).toEqual(['not-the-link']);
  });

  it('with the plain link', async () => {
    const peer = await room.connect(address);
    peer.send(frames.settings, frames.open(1));
    await until(() => room.callerRefusals.length > 0);
    expect(proxy.calls).toEqual([]);
    expect(room.callerRefusals).toHaveLength(1);
  });

  it('while the callee has no certificate itself', async () => {
    const late = await room.listen({ tag: 'mutual-tls', identity: new FakeIdentity(null) });
    const asked = ask(callerWith(web, '/ns/default/sa/cart', late.address));
    await asked.ended;
    expect(asked.failure).toBe('link-handshake-failed');
    await until(() => room.callerRefusals.length > 0);
    expect(room.callerRefusals.map(({ reason }) => reason)).toEqual(['no-identity-yet']);
    expect(late.proxy.calls).toEqual([]);
  });
});

const pair = ({ certificatePem, keyPem }: LinkCredentials) => ({ cert: certificatePem, key: keyPem });

describe('a callee that is not who it should be gets no request, and the caller says what it is', () => {
  it.each<readonly [string, CredentialsWish, string, RegExp]>([
    [
      'another Service',
      { service: 'other' },
      'wrong-identity',
      /sa\/other, not spiffe:\/\/weft.local\/ns\/default\/sa\/cart/,
    ],
    [
      'the same name in another trust domain',
      { service: 'cart', trustDomain: 'other.example' },
      'wrong-identity',
      /other\.example/,
    ],
    [
      'one whose certificate has expired',
      { service: 'cart', issuedAtMs: Date.now() - 7200_000 },
      'link-handshake-failed',
      /expired/,
    ],
  ])('%s', async (_what, wish, failure, detail) => {
    callee.replace(await credentialsBy(root, wish));
    const asked = ask(callerWith(web), postCart(3));
    await asked.ended;
    expect(asked.failure).toBe(failure);
    expect(room.troubles).toHaveLength(1);
    expect(room.troubles[0]!.detail).toMatch(detail);
    await turns();
    expect(proxy.calls).toEqual([]);
  });

  it('one of a foreign root', async () => {
    callee.replace(await credentialsBy(foreignRoot, { service: 'cart', believes: [root] }));
    const asked = ask(callerWith(web));
    await asked.ended;
    expect(asked.failure).toBe('link-handshake-failed');
    expect(room.troubles).toHaveLength(1);
  });

  it('one that refuses us: in TLS 1.3 that comes after our side is open, and the request was not looked at', async () => {
    callee.replace(await credentialsBy(root, { service: 'cart', believes: [foreignRoot] }));
    const asked = ask(callerWith(web), postCart(3));
    await asked.ended;
    expect(asked.failure).toBe('link-refused');
    expect(room.troubles).toMatchObject([
      { code: 'link-refused', detail: expect.stringContaining('untrusted-certificate') },
    ]);
    expect(proxy.calls).toEqual([]);
  });

  it('one that speaks plain HTTP', async () => {
    const server = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const asked = ask(
      callerWith(web, '/ns/default/sa/cart', `127.0.0.1:${(server.address() as net.AddressInfo).port}`),
    );
    await asked.ended;
    expect(asked.failure).toBe('link-handshake-failed');
    server.close();
  });
});

describe('two sidecars with good certificates', () => {
  it('make a link, and the callee knows who calls', async () => {
    const next = proxy.nextCall();
    const asked = ask(callerWith(web), postCart(5));
    asked.stream.write(Buffer.from('hello'));
    asked.stream.end();
    const call = await next;
    await until(() => call.ends === 1);
    expect([call.head.source, call.body]).toEqual(['web.default', 'hello']);
    call.answer({}, 'world');
    await asked.ended;
    expect(asked.body).toBe('world');
    expect([room.troubles, room.callerRefusals]).toEqual([[], []]);
  });

  it('take a full SPIFFE ID for whom to expect, of whatever kind of name', async () => {
    proxy.onAccept = (call) => queueMicrotask(() => call.answer({}));
    const good = ask(callerWith(web, 'spiffe://weft.local/ns/default/sa/cart'));
    const bad = ask(callerWith(web, 'spiffe://weft.local/ns/other/sa/cart'));
    await Promise.all([good.ended, bad.ended]);
    expect([good.failure, bad.failure]).toEqual(['', 'wrong-identity']);
  });

  it('of two roots that overlap believe each other', async () => {
    const both = { believes: [root, foreignRoot] };
    callee.replace(await credentialsBy(foreignRoot, { service: 'cart', ...both }));
    proxy.onAccept = (call) => queueMicrotask(() => call.answer({}, 'well'));
    const asked = ask(callerWith(await credentialsBy(root, both)));
    await asked.ended;
    expect(asked.body).toBe('well');
  });
});

describe('certificates that are replaced', () => {
  it('leave links and what runs on them alone, and are shown to whoever comes next', async () => {
    const identity = new FakeIdentity(web);
    const upstream = callerWith(identity);
    const next = proxy.nextCall();
    const running = ask(upstream);
    const call = await next;
    callee.replace(await credentialsBy(root, { service: 'renamed' }));
    identity.replace(await credentialsBy(root));
    const second = proxy.nextCall();
    const onTheSame = ask(upstream);
    (await second).answer({}, 'same');
    await onTheSame.ended;
    call.answer({}, 'first');
    await running.ended;
    expect([running.body, onTheSame.body, connections()]).toEqual(['first', 'same', 1]);
    const newcomer = ask(callerWith(web));
    await newcomer.ended;
    expect(newcomer.failure).toBe('wrong-identity');
  });

  it('let the one who had none begin: what waits in a short pause goes with the next try', async () => {
    const identity = new FakeIdentity(null);
    const upstream = callerWith(identity);
    const first = ask(upstream);
    await first.ended;
    expect(first.failure).toBe('no-identity');
    const waiting = ask(upstream);
    await turns(2);
    expect(waiting.events).toEqual([]);
    identity.replace(web);
    room.nowMs += limits.linkRetryFirstMs;
    proxy.onAccept = (call) => queueMicrotask(() => call.answer({}, 'now'));
    await waiting.ended;
    expect(waiting.body).toBe('now');
  });

  it('hand links over before they expire, with no stream lost', async () => {
    const ttlMs = 30_000;
    const short = await credentialsBy(root, { ttlMs });
    const identity = new FakeIdentity(short);
    const upstream = callerWith(identity);
    const next = proxy.nextCall();
    const running = ask(upstream);
    const call = await next;
    identity.replace(web);
    // Only the clock of the link moves: the certificate is good for the handshake.
    let ms = 0;
    for (; connections() < 2 && ms < ttlMs; ms += 250) {
      await room.pass(250);
      await turns(20);
    }
    expect(ms).toBeLessThan(ttlMs * 0.85);
    await until(() => connections() === 2);
    call.answer({}, 'on the old one');
    await running.ended;
    expect(running.body).toBe('on the old one');
    await until(() => connections() === 1);
  }, 30_000);

  it('end a link whose caller lets its own expire: what comes then was not looked at', async () => {
    const short = await credentialsBy(root, { ttlMs: 3_000 });
    const { peer } = rudeClient({ ALPNProtocols: alpn, ...pair(short) });
    await until(() => proxy.calls.length === 1);
    expect(await peer.goaway()).toMatchObject({ reason: goawayReason.retire, lastStream: 1 });
    peer.send(frames.open(2));
    await peer.next(frameType.reset, 2);
    proxy.calls[0]!.answer({}, 'served');
    await peer.next(frameType.end, 1);
    expect(proxy.calls).toHaveLength(1);
    peer.socket.destroy();
  });
});
