/** A peer that was found silent: nobody waits for it who could go elsewhere, and it is found again without anybody's request. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { frameType } from '../../../src/proxy/link/frames.ts';
import type { LinkIdentity } from '../../../src/proxy/link/link-identity.ts';
import type { LinkSecurity } from '../../../src/proxy/link/link-socket.ts';
import type { LinkUpstream } from '../../../src/proxy/link/link-upstream.ts';
import { Recording } from '../upstream/recording.ts';
import { frames, getCart, LinkRoom, until } from './link-room.ts';

let room: LinkRoom;
beforeEach(() => {
  room = new LinkRoom();
});
afterEach(() => room.close());

function ask(upstream: LinkUpstream): Recording {
  const recording = new Recording();
  upstream.open(getCart, recording).end();
  return recording;
}

/** Enough to begin a handshake; a raw peer never answers it. */
const handshakes: LinkSecurity = {
  tag: 'mutual-tls',
  identity: {
    current: {
      trustDomain: 'weft.local',
      spiffeId: 'spiffe://weft.local/ns/default/sa/web',
      certificatePem: '',
      keyPem: '',
      bundlePem: '',
      expiresAtMs: Number.POSITIVE_INFINITY,
    },
    onChange: () => () => {},
  } satisfies LinkIdentity,
};

describe('a peer that was found silent', () => {
  it('is avoided, and dialled without anybody asking, until it answers', async () => {
    const { address, peers } = await room.listenRaw();
    const upstream = room.upstream(address);
    const asked = ask(upstream);
    await until(() => peers.length === 1);
    peers[0]!.send(frames.settings);
    await peers[0]!.next(frameType.open, 1);
    peers[0]!.socket.pause();
    for (let ms = 0; ms <= limits.linkQuietMs + limits.linkPingMs; ms += 250) await room.pass(250);
    await asked.ended;
    expect(asked.failure).toBe('link-lost');
    expect(upstream.isAvoided).toBe(true);
    await room.pass(250);
    await until(() => peers.length === 2);
    expect(upstream.isAvoided).toBe(true);
    peers[1]!.send(frames.settings);
    await until(() => !upstream.isAvoided);
  });

  it('is dialled again and again while it does not take a handshake, and nobody is sent there meanwhile', async () => {
    const { address, peers } = await room.listenRaw((peer) => peer.socket.pause());
    const upstream = room.upstream(address, { security: handshakes });
    const asked = ask(upstream);
    for (let ms = 0; ms <= limits.connectTimeoutMs; ms += 250) await room.pass(250);
    await asked.ended;
    expect(asked.failure).toBe('connect-timeout');
    expect(upstream.isAvoided).toBe(true);
    for (let tries = 2; tries <= 4; tries++) {
      room.nowMs += limits.linkRetryMsMax;
      await room.pass(250);
      await until(() => peers.length === tries);
      expect(upstream.isAvoided).toBe(true);
      for (let ms = 0; ms <= limits.connectTimeoutMs; ms += 250) await room.pass(250);
    }
    upstream.retire();
    room.nowMs += limits.linkRetryMsMax;
    await room.pass(250);
    await room.pass(250);
    expect(peers).toHaveLength(4);
  });

  it('is not waited for by who has nowhere else to go, once a dial has taken too long', async () => {
    const { address, peers } = await room.listenRaw((peer) => peer.socket.pause());
    const upstream = room.upstream(address, { security: handshakes });
    const first = ask(upstream);
    for (let ms = 0; ms <= limits.connectTimeoutMs; ms += 250) await room.pass(250);
    await first.ended;
    room.nowMs += limits.linkRetryMsMax;
    await room.pass(250);
    await until(() => peers.length === 2);
    const late = ask(upstream);
    await late.ended;
    expect([first.failure, late.failure, peers.length]).toEqual(['connect-timeout', 'connect-timeout', 2]);
  });

  it('that refuses a later dial is dead, not silent: it is dialled for who asks', async () => {
    const { address, peers, close } = await room.listenRaw((peer) => peer.socket.pause());
    const upstream = room.upstream(address, { security: handshakes });
    const asked = ask(upstream);
    for (let ms = 0; ms <= limits.connectTimeoutMs; ms += 250) await room.pass(250);
    await asked.ended;
    expect([asked.failure, peers.length]).toEqual(['connect-timeout', 1]);
    close();
    room.nowMs += limits.linkRetryMsMax;
    await room.pass(250);
    await until(() => room.troubles.some(({ code }) => code === 'connect-refused'));
    room.nowMs += limits.linkRetryMsMax;
    await room.pass(250);
    await room.pass(250);
    expect([room.troubles.map(({ code }) => code), upstream.isAvoided]).toEqual([
      ['connect-timeout', 'connect-refused'],
      false,
    ]);
  });
});

describe('a first dial that takes long', () => {
  it('is waited for by who is there, and passed over by who comes', async () => {
    const { address } = await room.listenRaw((peer) => peer.socket.pause());
    const upstream = room.upstream(address, { security: handshakes });
    const asked = ask(upstream);
    await room.pass(limits.linkRetryWaitMs);
    expect([upstream.isAvoided, asked.endings]).toEqual([false, 0]);
    await room.pass(1);
    expect([upstream.isAvoided, asked.endings]).toEqual([true, 0]);
  });
});
