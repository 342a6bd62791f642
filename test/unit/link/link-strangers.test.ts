/** Who speaks something else than the link: what either side says of it. */
import net from 'node:net';
import tls from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { SigningRoot } from '../../../src/identity/root.ts';
import type { LinkCredentials } from '../../../src/proxy/link/link-identity.ts';
import { newRoot } from '../identity/roots.ts';
import { Recording } from '../upstream/recording.ts';
import { credentialsBy, FakeIdentity } from './link-certificates.ts';
import { frame, frames, getCart, LinkRoom, turns, until } from './link-room.ts';

let root: SigningRoot;
let cart: LinkCredentials;
beforeAll(async () => {
  root = await newRoot(Date.now());
  cart = await credentialsBy(root, { service: 'cart' });
});

let room: LinkRoom;
beforeEach(() => {
  room = new LinkRoom();
});
afterEach(() => room.close());

const partsOf = (address: string) => ({ host: address.split(':')[0]!, port: Number(address.split(':')[1]) });
const fromHere = /^127\.0\.0\.1:\d+$/;

describe('a callee with --insecure-link', () => {
  it('counts and names who speaks something else, once', async () => {
    const { address, proxy } = await room.listen();
    const socket = tls.connect({ ...partsOf(address), rejectUnauthorized: false });
    socket.on('error', () => {});
    await until(() => room.callerRefusals.length > 0);
    await until(() => socket.destroyed);
    await turns();
    expect(room.callerRefusals).toHaveLength(1);
    const [{ reason, caller, detail }] = room.callerRefusals as [(typeof room.callerRefusals)[0]];
    expect(reason).toBe('not-the-link');
    expect(caller).toMatch(fromHere);
    expect(detail).toContain('--insecure-link must be said by both sides');
    expect(proxy.calls).toEqual([]);
  });

  it('counts and names who greets and then breaks the rules', async () => {
    const { address } = await room.listen();
    const peer = await room.connect(address);
    peer.send(frames.settings, frames.settings);
    await peer.closed();
    expect(room.callerRefusals).toMatchObject([{ reason: 'violation', detail: 'a second SETTINGS' }]);
  });

  it('is not troubled by who comes and goes without a word, or in the middle of one', async () => {
    const { address, listener } = await room.listen();
    for (const bytes of [Buffer.alloc(0), frames.settings.subarray(0, 5), frame(1, 1, 'x').subarray(0, 3)]) {
      const peer = await room.connect(address);
      await until(() => listener.connections === 1);
      peer.socket.end(bytes);
      await peer.closed();
      await until(() => listener.connections === 0);
    }
    expect(room.callerRefusals).toEqual([]);
  });
});

describe('a callee with TLS', () => {
  it('says who hung up during the handshake, and that it was the caller', async () => {
    const { address } = await room.listen({ tag: 'mutual-tls', identity: new FakeIdentity(cart) });
    const socket = net.connect(partsOf(address));
    socket.on('error', () => {});
    socket.once('connect', () => socket.destroy());
    await until(() => room.callerRefusals.length > 0);
    const [{ reason, caller, detail }] = room.callerRefusals as [(typeof room.callerRefusals)[0]];
    expect([reason, detail]).toEqual(['handshake-failed', 'the caller closed the connection during the handshake']);
    expect(caller).toMatch(fromHere);
  });
});

describe('a caller with TLS', () => {
  it('of a callee with --insecure-link says in words what is the matter', async () => {
    const { address } = await room.listen();
    const identity = new FakeIdentity(cart);
    const asked = new Recording();
    room
      .upstream(address, { security: { tag: 'mutual-tls', identity } })
      .open(getCart, asked)
      .end();
    await asked.ended;
    expect(asked.failure).toBe('link-handshake-failed');
    expect(room.troubles.map(({ detail }) => detail)).toEqual([
      'the peer does not speak TLS: --insecure-link must be said by both sides',
    ]);
  });
});
