import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { frameType, goawayReason } from '../../../src/proxy/link/frames.ts';
import type { LinkUpstream } from '../../../src/proxy/link/link-upstream.ts';
import { Recording } from '../upstream/recording.ts';
import { frames, getCart, LinkRoom, type RawPeer, until } from './link-room.ts';

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
    this.upstream.open(getCart, this.second).end();
  }
}

function ask(upstream: LinkUpstream): Retrying {
  const recording = new Retrying(upstream);
  upstream.open(getCart, recording).end();
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
  /** Time passes, a request comes every 10 ms. */
  async function connectionsIn(ms: number, onPeer: (peer: RawPeer) => void): Promise<number> {
    room.random = 1;
    const { address, peers } = await room.listenRaw(onPeer);
    const upstream = room.upstream(address);
    for (let passedMs = 0; passedMs < ms; passedMs += 10) {
      const recording = new Recording();
      upstream.open(getCart, recording).end();
      const asked = peers.length;
      // Either it fails, or it waits for a pause that passes with the next step.
      await until(() => recording.failure !== '' || upstream.stats.pending > 0 || peers.length > asked);
      await room.pass(10);
    }
    return peers.length;
  }
  // 50, 100, 200, 400, 800 ms: six dials fit into 2 s.
  const dialsMax = 7;

  it('before it greets is dialled after longer and longer pauses', async () => {
    expect(await connectionsIn(2_000, (peer) => peer.socket.destroy())).toBeLessThanOrEqual(dialsMax);
    expect(limits.linkRetryFirstMs).toBe(50);
  });

  it('with a word that it refuses us is too', async () => {
    const refuse = (peer: RawPeer) => {
      peer.send(frames.settings, frames.goaway(goawayReason.refused, 0, 'expired-certificate'));
      peer.socket.end();
    };
    expect(await connectionsIn(2_000, refuse)).toBeLessThanOrEqual(dialsMax);
  });
});
