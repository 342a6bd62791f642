import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { frameType, goawayReason } from '../../../src/proxy/link/frames.ts';
import type { LinkUpstream } from '../../../src/proxy/link/link-upstream.ts';
import { newRoot } from '../identity/roots.ts';
import { Recording } from '../upstream/recording.ts';
import { credentialsBy, FakeIdentity } from './link-certificates.ts';
import { frames, getCart, LinkRoom, type RawPeer, turns, until } from './link-room.ts';

let room: LinkRoom;
beforeEach(() => {
  room = new LinkRoom();
});
afterEach(() => room.close());

/** What fails is asked once more inside the report of its failure, as the proxy does it. */
class Retrying extends Recording {
  readonly second = new Recording();

  constructor(private readonly upstream: LinkUpstream) {
    super();
  }

  override onFailure(failure: { code: string }, isReused: boolean): void {
    super.onFailure(failure, isReused);
    this.upstream.open(getCart, this.second, room.nowMs).end();
  }
}

function ask(upstream: LinkUpstream): Retrying {
  const recording = new Retrying(upstream);
  upstream.open(getCart, recording, room.nowMs).end();
  return recording;
}

const answersFirst = (peer: RawPeer) => peer.send(frames.head(1), frames.end(1));

describe('a request that is tried again as soon as its link breaks', () => {
  it('is not put on the link that has just broken', async () => {
    const { address, peers } = await room.listenRaw((peer) => peer.send(frames.settings));
    const asked = ask(room.upstream(address));
    await until(() => peers.length === 1);
    await peers[0]!.next(frameType.open);
    peers[0]!.socket.destroy();
    await asked.ended;
    expect(asked.failure).toBe('link-lost');
    await until(() => peers.length === 2);
    await peers[1]!.next(frameType.open);
    answersFirst(peers[1]!);
    await asked.second.ended;
    expect(asked.second.failure).toBe('');
  });
});

describe('a peer that takes connections and breaks them', () => {
  /** After four tries the pause is 400 ms, and nobody waits for its end. */
  async function expectPauseAfterFourTries(onPeer: (peer: RawPeer) => void, failure: string): Promise<void> {
    room.random = 1;
    const { address, peers } = await room.listenRaw(onPeer);
    const upstream = room.upstream(address);
    const askOnce = async () => {
      const recording = new Recording();
      upstream.open(getCart, recording, room.nowMs).end();
      await recording.ended;
      expect(recording.failure).toBe(failure);
    };
    for (let tries = 1; tries <= 4; tries++) {
      await askOnce();
      expect(peers).toHaveLength(tries);
      if (tries < 4) await room.pass(limits.linkRetryMsMax);
    }
    await askOnce();
    await turns();
    expect(peers).toHaveLength(4);
  }

  it('before it greets is dialled after longer and longer pauses', () =>
    expectPauseAfterFourTries((peer) => peer.socket.destroy(), 'link-lost'));

  it('with a word that it refuses us is too', () =>
    expectPauseAfterFourTries((peer) => {
      peer.send(frames.settings, frames.goaway(goawayReason.refused, 0, 'expired-certificate'));
      peer.socket.end();
    }, 'link-refused'));
});

describe('a certificate that is about to expire', () => {
  it('and is not renewed in time does not make a new link at every look', async () => {
    const root = await newRoot(Date.now());
    const [web, cart] = await Promise.all([credentialsBy(root), credentialsBy(root, { service: 'cart' })]);
    const { address, proxy } = await room.listen({ tag: 'mutual-tls', identity: new FakeIdentity(cart) });
    // The clock by which certificates expire is shortly before their end, and stands still.
    room.wallMs = web.expiresAtMs - 100;
    const upstream = room.upstream(address, { security: { tag: 'mutual-tls', identity: new FakeIdentity(web) } });
    for (let looks = 1; looks <= 12; looks++) {
      // What is under way keeps a link open that was handed over.
      upstream.open(getCart, new Recording()).end();
      await until(() => proxy.calls.length === looks);
      await room.pass(250);
      await turns();
    }
    expect(upstream.stats.opened).toBeGreaterThan(1);
    expect(upstream.stats.opened).toBeLessThanOrEqual(1 + (12 * 250) / limits.linkHandoverMsMin);
  });
});
