import net from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { allStreams, frameType, goawayReason } from '../../../src/proxy/link/frames.ts';
import type { LinkIdentity } from '../../../src/proxy/link/link-identity.ts';
import type { LinkUpstream } from '../../../src/proxy/link/link-upstream.ts';
import { Recording } from '../upstream/recording.ts';
import { frame, frames, getCart, LinkRoom, postCart, type RawPeer, turns, until } from './link-room.ts';

let room: LinkRoom;

beforeEach(() => {
  room = new LinkRoom();
});
afterEach(() => room.close());

function ask(upstream: LinkUpstream): Recording & { stream: ReturnType<LinkUpstream['open']> } {
  const recording = new Recording();
  const stream = upstream.open(getCart, recording, room.nowMs);
  stream.end();
  return Object.assign(recording, { stream });
}

/** Answers every request as soon as it comes. */
function answersAll(peer: RawPeer): void {
  peer.send(frames.settings);
  const answered = new Set<number>();
  peer.socket.on('data', () => {
    for (const { stream } of peer.all(frameType.open)) {
      if (answered.has(stream)) continue;
      answered.add(stream);
      peer.send(frames.head(stream), frames.end(stream));
    }
  });
}

async function closedPort(): Promise<string> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

const nobody: LinkIdentity = { current: null, onChange: () => () => {} };

describe('a link that cannot be made', () => {
  it('fails the requests that wait for it, and says so once', async () => {
    const upstream = room.upstream(await closedPort());
    const asked = [ask(upstream), ask(upstream), ask(upstream)];
    expect(upstream.stats.pending).toBe(3);
    await Promise.all(asked.map(({ ended }) => ended));
    expect(asked.map(({ failure }) => failure)).toEqual(['connect-refused', 'connect-refused', 'connect-refused']);
    expect(asked.map(({ events }) => events.length)).toEqual([1, 1, 1]);
    expect(room.troubles.map(({ code }) => code)).toEqual(['connect-refused']);
    expect(upstream.stats).toMatchObject({ connections: 0, pending: 0, opened: 0, connectFailures: 1 });
  });

  it('for want of a certificate fails at once, and not inside open', async () => {
    const upstream = room.upstream('127.0.0.1:1', { security: { tag: 'mutual-tls', identity: nobody } });
    const asked = ask(upstream);
    expect(asked.events).toEqual([]);
    await asked.ended;
    expect(asked.failure).toBe('no-identity');
    expect(room.troubles.map(({ code }) => code)).toEqual(['no-identity']);
  });

  it('is tried again after a pause: who comes in a short one waits for it, who comes in a long one fails at once', async () => {
    room.random = 1;
    const address = await closedPort();
    const upstream = room.upstream(address);
    for (let i = 0; i < 4; i++) {
      const asked = ask(upstream);
      await asked.ended;
      expect(asked.failure).toBe('connect-refused');
      expect(room.troubles).toHaveLength(i + 1);
      // The real pause runs by a timer; the clock of the test says that it is over.
      room.nowMs += limits.linkRetryFirstMs * 2 ** i + 1;
    }
    // 50, 100, 200, 400 ms: the next pause is longer than anybody waits.
    await ask(upstream).ended;
    expect(room.troubles).toHaveLength(5);
    expect(upstream.isAvoided).toBe(true);
    const early = ask(upstream);
    await early.ended;
    expect([early.failure, room.troubles.length]).toEqual(['connect-refused', 5]);
  });

  it('for want of a common version sends elsewhere what it had sent, whatever the method: neither side looked at it', async () => {
    const { address, peers } = await room.listenRaw((peer) => peer.send(frame(frameType.settings, 0, 'WEFT\x02\x03')));
    const recording = new Recording();
    room.upstream(address).open(postCart(3), recording, room.nowMs);
    await recording.ended;
    expect(recording.failure).toBe('connect-failed');
    expect((await peers[0]!.goaway()).text).toBe('this side speaks version 1, the other 2 to 3');
  });

  it('does not keep more requests waiting than the limit', async () => {
    const address = await room.listenDeaf();
    const upstream = room.upstream(address, { security: { tag: 'mutual-tls', identity: slowIdentity() } });
    const asked = Array.from({ length: limits.poolPendingMax + 2 }, () => ask(upstream));
    await Promise.all(asked.slice(limits.poolPendingMax).map(({ ended }) => ended));
    expect(asked.filter(({ failure }) => failure === 'pool-full')).toHaveLength(2);
    expect(upstream.stats.pending).toBe(limits.poolPendingMax);
    for (const { stream } of asked) stream.destroy();
    expect(upstream.stats.pending).toBe(0);
  });

  it('is given up when the peer takes too long, and what waits fails', async () => {
    const address = await room.listenDeaf();
    const upstream = room.upstream(address, { security: { tag: 'mutual-tls', identity: slowIdentity() } });
    const asked = ask(upstream);
    await turns();
    for (let ms = 0; ms <= limits.connectTimeoutMs; ms += 250) await room.pass(250);
    await asked.ended;
    expect(asked.failure).toBe('connect-timeout');
  });
});

/** Enough to begin a handshake that the raw peer never answers. */
function slowIdentity(): LinkIdentity {
  const current = {
    trustDomain: 'weft.local',
    spiffeId: 'spiffe://weft.local/ns/default/sa/web',
    certificatePem: '',
    keyPem: '',
    bundlePem: '',
    expiresAtMs: Number.POSITIVE_INFINITY,
  };
  return { current, onChange: () => () => {} };
}

describe('a link', () => {
  it('is dialled by the first request, once, and tells what that cost', async () => {
    const { address, peers } = await room.listenRaw(answersAll);
    const upstream = room.upstream(address);
    await turns();
    expect(peers).toHaveLength(0);
    const asked = [ask(upstream), ask(upstream)];
    room.nowMs += 7;
    await Promise.all(asked.map(({ ended }) => ended));
    const later = ask(upstream);
    await later.ended;
    expect(peers).toHaveLength(1);
    expect(asked.map(({ connectMs, queueMs, isReused }) => [connectMs, queueMs, isReused])).toEqual([
      [7, 0, false],
      [7, 0, false],
    ]);
    expect([later.connectMs, later.queueMs, later.isReused]).toEqual([0, 0, true]);
    expect(upstream.stats).toMatchObject({ opened: 1, connectFailures: 0 });
  });

  it('serves who waited in the order of coming', async () => {
    const { address, peers } = await room.listenRaw(answersAll);
    const upstream = room.upstream(address);
    const order: number[] = [];
    const asked = Array.from({ length: 5 }, (_, i) => {
      const one = ask(upstream);
      one.onAssignedHook = () => order.push(i);
      return one;
    });
    asked[2]!.stream.destroy();
    await Promise.all(asked.filter((_, i) => i !== 2).map(({ ended }) => ended));
    expect(order).toEqual([0, 1, 3, 4]);
    expect(peers[0]!.all(frameType.open)).toHaveLength(4);
  });

  it('takes no more streams than the limit at a time', async () => {
    const { address, peers } = await room.listenRaw((peer) => peer.send(frames.settings));
    const upstream = room.upstream(address);
    const first = ask(upstream);
    await until(() => peers.length === 1);
    await peers[0]!.next(frameType.open, 1);
    const asked = Array.from({ length: limits.linkStreamsMax - 1 }, () => ask(upstream));
    const above = ask(upstream);
    await above.ended;
    expect(above.failure).toBe('pool-full');
    peers[0]!.send(frames.head(1), frames.end(1));
    await first.ended;
    const next = ask(upstream);
    await peers[0]!.next(frameType.open, limits.linkStreamsMax + 1);
    expect([next.failure, asked.some(({ endings }) => endings > 0)]).toEqual(['', false]);
  });

  it('is closed when nobody uses it, with a word, and dialled again when needed', async () => {
    const { address, peers } = await room.listenRaw(answersAll);
    const upstream = room.upstream(address);
    await ask(upstream).ended;
    for (let ms = 0; ms < limits.linkIdleMs - 1_000; ms += 1_000) {
      await room.pass(1_000);
      if (peers[0]!.all(frameType.ping).length > 0) peers[0]!.send(frames.pong());
    }
    expect(peers[0]!.all(frameType.goaway)).toEqual([]);
    for (let i = 0; i < 3; i++) await room.pass(1_000);
    expect((await peers[0]!.goaway()).reason).toBe(goawayReason.retire);
    await peers[0]!.closed();
    expect(upstream.isAvoided).toBe(false);
    await ask(upstream).ended;
    expect(peers).toHaveLength(2);
  });

  it('is handed over when it is old: what runs on it ends there, what comes goes to the new one, and none is lost', async () => {
    const { address, peers } = await room.listenRaw((peer) => peer.send(frames.settings));
    const upstream = room.upstream(address, { wallMs: () => 0 });
    const running = ask(upstream);
    await until(() => peers.length === 1);
    await peers[0]!.next(frameType.open, 1);
    // Its peer sends a word now and then, so that silence is no question.
    for (let ms = 0; ms < limits.linkAgeMs && peers.length === 1; ms += 1_000) {
      peers[0]!.send(frames.credit(1, 1));
      await room.pass(1_000);
    }
    await until(() => peers.length === 2);
    expect((await peers[0]!.goaway()).reason).toBe(goawayReason.retire);
    const next = ask(upstream);
    await peers[1]!.next(frameType.open, 1);
    peers[1]!.send(frames.head(1), frames.end(1));
    peers[0]!.send(frames.head(1), frames.end(1));
    await Promise.all([running.ended, next.ended]);
    expect([running.failure, next.failure]).toEqual(['', '']);
    await peers[0]!.closed();
    expect(peers[1]!.isClosed).toBe(false);
  }, 60_000);

  it('stays in use when the one that was to replace it is refused', async () => {
    const { address, peers } = await room.listenRaw((peer) => {
      if (peers.length === 1) peer.send(frames.settings);
      else peer.send(frames.settings, frames.goaway(goawayReason.refused, 0, 'not any more'));
    });
    const upstream = room.upstream(address, { wallMs: () => 0 });
    ask(upstream);
    await until(() => peers.length === 1);
    await peers[0]!.next(frameType.open, 1);
    for (let ms = 0; ms < limits.linkAgeMs && peers.length === 1; ms += 1_000) {
      peers[0]!.send(frames.credit(1, 1));
      await room.pass(1_000);
    }
    await peers[1]!.closed();
    await turns(5);
    expect(room.troubles.map(({ code, detail }) => `${code} ${detail}`)).toEqual([
      'link-refused not any more; it was to replace another',
    ]);
    const next = ask(upstream);
    await peers[0]!.next(frameType.open, 2);
    peers[0]!.send(frames.head(2), frames.end(2));
    await next.ended;
    expect(next.failure).toBe('');
    expect(peers[0]!.all(frameType.goaway)).toEqual([]);
  }, 60_000);

  it.each([
    ['drain', goawayReason.drain, true],
    ['retire', goawayReason.retire, false],
  ] as const)(
    'whose callee says %s takes no more streams; only one that drains is avoided',
    async (_, reason, isAvoided) => {
      const { address, peers } = await room.listenRaw((peer) => peer.send(frames.settings));
      const upstream = room.upstream(address);
      const running = ask(upstream);
      await until(() => peers.length === 1);
      await peers[0]!.next(frameType.open, 1);
      // Whatever it says besides, its reason counts. The answer to the PING says that it was read.
      peers[0]!.send(frames.goaway(reason, allStreams, 'retired'), frame(frameType.ping, 0, '12345678'));
      await peers[0]!.next(frameType.pong);
      expect(upstream.isAvoided).toBe(isAvoided);
      ask(upstream);
      await until(() => peers.length === 2);
      await peers[1]!.next(frameType.open, 1);
      peers[0]!.send(frames.head(1), frames.end(1));
      await running.ended;
      expect(running.failure).toBe('');
      expect(upstream.isAvoided).toBe(false);
    },
  );

  it('to an endpoint that left ends with its last stream, and takes none any more', async () => {
    const { address, peers } = await room.listenRaw((peer) => peer.send(frames.settings));
    const upstream = room.upstream(address);
    const running = ask(upstream);
    await until(() => peers.length === 1);
    await peers[0]!.next(frameType.open, 1);
    upstream.retire();
    const late = ask(upstream);
    await late.ended;
    expect(late.failure).toBe('pool-full');
    peers[0]!.send(frames.head(1), frames.end(1));
    await running.ended;
    expect(running.failure).toBe('');
    await peers[0]!.closed();
  });

  it('that is still being dialled when its endpoint leaves fails what waits', async () => {
    const { address } = await room.listenRaw();
    const upstream = room.upstream(address);
    const waiting = ask(upstream);
    upstream.retire();
    await waiting.ended;
    expect(waiting.failure).toBe('connect-failed');
    expect(upstream.stats.pending).toBe(0);
  });
});

describe('several addresses of an endpoint', () => {
  it('share its streams evenly', async () => {
    const rooms = await Promise.all([0, 1, 2].map(() => room.listenRaw((peer) => peer.send(frames.settings))));
    const upstream = room.upstream(rooms.map(({ address }) => address));
    ask(upstream);
    await until(() => rooms.every(({ peers }) => peers.length === 1));
    await turns();
    for (let i = 0; i < 29; i++) ask(upstream);
    const opened = () => rooms.map(({ peers }) => peers[0]!.all(frameType.open).length);
    await until(() => opened().reduce((sum, count) => sum + count) === 30);
    expect(opened()).toEqual([10, 10, 10]);
  });

  it('are each good enough when the other cannot be reached', async () => {
    const good = await room.listenRaw(answersAll);
    const upstream = room.upstream([await closedPort(), good.address]);
    const asked = ask(upstream);
    await asked.ended;
    expect([asked.failure, upstream.isAvoided]).toEqual(['', false]);
  });

  it('are dialled again while others are used', async () => {
    const [kept, lost] = await Promise.all([0, 1].map(() => room.listenRaw((peer) => peer.send(frames.settings))));
    const upstream = room.upstream([kept!.address, lost!.address]);
    ask(upstream);
    await until(() => kept!.peers.length === 1 && lost!.peers.length === 1);
    await turns();
    ask(upstream);
    lost!.peers[0]!.socket.destroy();
    await until(() => room.troubles.length === 1);
    await room.pass(250);
    await until(() => lost!.peers.length === 2);
  });

  it('fail when all do, with what the first said', async () => {
    const upstream = room.upstream([await closedPort(), await closedPort()]);
    const asked = ask(upstream);
    await asked.ended;
    expect(asked.failure).toBe('connect-refused');
    expect(asked.endings).toBe(1);
  });
});
