import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import {
  allStreams,
  dataBytesMax,
  frameType,
  goawayReason,
  resetReason,
  streamCreditFirst,
} from '../../../src/proxy/link/frames.ts';
import type { LinkUpstream } from '../../../src/proxy/link/link-upstream.ts';
import type { UpstreamRequest } from '../../../src/proxy/upstream/upstream.ts';
import { Recording } from '../upstream/recording.ts';
import { frame, frames, getCart, LinkRoom, postCart, type RawPeer, turns, until } from './link-room.ts';
import { decodeOpen } from './payload-text.ts';

let room: LinkRoom;
let upstream: LinkUpstream;
/** The callee's end of the first link. */
let peer: RawPeer;
let peers: RawPeer[];

beforeEach(async () => {
  room = new LinkRoom();
  const raw = await room.listenRaw((found) => found.send(frames.settings));
  peers = raw.peers;
  upstream = room.upstream(raw.address);
  const first = open();
  await until(() => peers.length === 1);
  peer = peers[0]!;
  await peer.next(frameType.open, 1);
  peer.send(frames.head(1), frames.end(1));
  await first.ended;
  peer.heard.length = 0;
});
afterEach(() => room.close());

function open(request: UpstreamRequest = getCart): Recording & { stream: ReturnType<LinkUpstream['open']> } {
  const recording = new Recording();
  const stream = upstream.open(request, recording, room.nowMs);
  if (request.bodyBytes === 0) stream.end();
  return Object.assign(recording, { stream });
}

describe('a callee that breaks the rules is left, and its streams are lost, not refused', () => {
  it.each<readonly [string, readonly Buffer[], RegExp]>([
    ['a second SETTINGS', [frames.settings], /second SETTINGS/],
    ['OPEN', [frames.open(2)], /OPEN is not for the callee/],
    ['HEAD of no stream', [frames.head(9)], /HEAD of a stream that was never open/],
    ['HEAD that cannot be read', [frame(frameType.head, 2, '\xff\xff\xff')], /HEAD cannot be read/],
    [
      'HEAD with a field again that was never said',
      [frame(frameType.head, 2, '\0\xc8\x01\0\x01\x80\x07')],
      /HEAD cannot be read/,
    ],
    ['an interim answer', [frames.head(2, 100)], /HEAD cannot be read/],
    ['DATA of no stream', [frames.data(9, 1)], /DATA of a stream that was never open/],
    ['rubbish', [Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')], /no frame|bytes, not/],
  ])('%s', async (_what, sent, why) => {
    const lost = open(postCart(10));
    await peer.next(frameType.open, 2);
    peer.send(...sent);
    expect((await peer.goaway()).text).toMatch(why);
    await lost.ended;
    expect(lost.failure).toBe('link-lost');
    expect(room.troubles.map(({ code }) => code)).toEqual(['link-lost']);
    await peer.closed();
  });

  it('DATA beyond the credit of its stream', async () => {
    const lost = open();
    await peer.next(frameType.open, 2);
    lost.stream.pauseReading();
    peer.send(frames.head(2, 200, -1));
    for (let at = 0; at <= streamCreditFirst; at += dataBytesMax) peer.send(frames.data(2, dataBytesMax));
    expect((await peer.goaway()).text).toMatch(/more DATA than the credit of its stream/);
    await lost.ended;
    expect(lost.failure).toBe('link-lost');
  });

  it('and a stream whose OPEN leaves with the last words is lost too, for the callee may serve it', async () => {
    const first = open();
    await peer.next(frameType.open, 2);
    let second: Recording | null = null;
    first.onHeadHook = () => {
      second = open(postCart(3));
    };
    peer.send(Buffer.concat([frames.head(2), frame(99, 0)]));
    await first.ended;
    await until(() => second!.failure !== '');
    await peer.next(frameType.open, 3);
    expect(second!.failure).toBe('link-lost');
  });

  it('a violation that the callee found is logged, and what it had seen is lost', async () => {
    const [seen, unseen] = [open(postCart(3)), open(postCart(3))];
    await peer.next(frameType.open, 3);
    peer.send(frames.goaway(goawayReason.violation, 2, 'you broke\r\nthe rules'));
    await Promise.all([seen.ended, unseen.ended]);
    expect([seen.failure, unseen.failure]).toEqual(['link-lost', 'link-refused']);
    expect(room.troubles).toMatchObject([{ code: 'link-lost', detail: 'you broke??the rules' }]);
  });
});

describe('an answer that is no HTTP ends its stream alone', () => {
  it.each<readonly [string, readonly Buffer[], string]>([
    ['two HEADs', [frames.head(2), frames.head(2)], 'upstream-garbage'],
    ['DATA before HEAD', [frames.data(2, 1)], 'upstream-garbage'],
    ['END before HEAD', [frames.end(2)], 'upstream-garbage'],
    ['Content-Length among the fields', [frames.head(2, 200, 0, ['content-length', '5'])], 'upstream-garbage'],
    [
      'Transfer-Encoding among the fields',
      [frames.head(2, 200, -1, ['Transfer-Encoding', 'chunked'])],
      'upstream-garbage',
    ],
    ['more DATA than HEAD said', [frames.head(2, 200, 3), frames.data(2, 4)], 'upstream-garbage'],
    ['less DATA than HEAD said', [frames.head(2, 200, 3), frames.data(2, 2), frames.end(2)], 'answer-cut'],
    ['DATA for a 204', [frames.head(2, 204, 3)], 'upstream-garbage'],
    ...['Keep-Alive', 'upgrade', 'TE', 'Proxy-Connection', 'HTTP2-Settings', 'Connection'].map(
      (name) => [`${name} among the fields`, [frames.head(2, 200, 0, [name, 'x'])], 'upstream-garbage'] as const,
    ),
    ['a body of a 205', [frames.head(2, 205, 3)], 'upstream-garbage'],
    ['DATA for a 205 that announced none', [frames.head(2, 205, -1), frames.data(2, 1)], 'upstream-garbage'],
    ['a 200 without a body that it announces', [frames.head(2, 200, 5, [], false)], 'upstream-garbage'],
  ])('%s', async (_what, sent, failure) => {
    const [bad, good] = [open(postCart(10)), open()];
    await peer.next(frameType.open, 3);
    peer.send(...sent, frames.head(3, 201), frames.end(3));
    await Promise.all([bad.ended, good.ended]);
    expect([bad.failure, good.head?.status, good.failure]).toEqual([failure, 201, '']);
    expect((await peer.next(frameType.reset, 2)).payload[0]).toBe(resetReason.cancelled);
    expect(bad.endings).toBe(1);
  });

  it('HEAD of a stream that is over is read, for what it says may be said again', async () => {
    const gone = open();
    await peer.next(frameType.open, 2);
    gone.stream.destroy();
    const again = open();
    await peer.next(frameType.open, 3);
    const start = '\x04\xc8\x01\0\x01';
    peer.send(frame(frameType.head, 2, `${start}\x84\x07\0\x03X-A\x01b`), frame(frameType.head, 3, `${start}\x80\x07`));
    peer.send(frames.end(3));
    await again.ended;
    expect([again.failure, again.head?.headers]).toEqual(['', ['X-A', 'b']]);
  });

  it('a body in answer to HEAD', async () => {
    const bad = open({ ...getCart, method: 'HEAD' });
    await peer.next(frameType.open, 2);
    peer.send(frames.head(2, 200, 5));
    await bad.ended;
    expect(bad.failure).toBe('upstream-garbage');
  });

  it('while the length of what is not sent in answer to HEAD is passed on', async () => {
    const good = open({ ...getCart, method: 'HEAD' });
    await peer.next(frameType.open, 2);
    peer.send(frames.head(2, 200, 5, [], false), frames.end(2));
    await good.ended;
    expect(good.head).toMatchObject({ bodyBytes: 5, hasBody: false });
    expect(good.failure).toBe('');
  });
});

describe('RESET from the callee', () => {
  it.each<readonly [number, string]>([
    [resetReason.refused, 'link-refused'],
    [resetReason.broken, 'upstream-reset'],
    [resetReason.cancelled, 'upstream-reset'],
    [resetReason.done, 'upstream-reset'],
    [200, 'upstream-reset'],
  ])('with reason %i is %s', async (reason, failure) => {
    const asked = open(postCart(5));
    await peer.next(frameType.open, 2);
    peer.send(frames.reset(2, reason));
    await asked.ended;
    expect(asked.failure).toBe(failure);
    // Nothing more of it is said, whatever is still written.
    asked.stream.write(Buffer.from('12345'));
    asked.stream.end();
    peer.send(frames.ping());
    await peer.next(frameType.pong);
    expect(peer.heard.filter(({ stream }) => stream === 2).map(({ type }) => type)).toEqual([frameType.open]);
  });

  it.each<readonly [string, Buffer]>([
    ['RESET refused', frames.reset(2, resetReason.refused)],
    ['GOAWAY with a last stream below', frames.goaway(goawayReason.retire, 1)],
  ])('%s behind a HEAD is not believed to have looked at nothing', async (_what, sent) => {
    const begun = open(postCart(5));
    await peer.next(frameType.open, 2);
    peer.send(frames.head(2, 200, 3), frames.data(2, 1), sent);
    await begun.ended;
    expect([begun.failure, begun.events]).toEqual([
      'upstream-reset',
      ['assigned', 'head', 'body', 'failure upstream-reset'],
    ]);
  });

  it('done behind an answer that waits for its reader takes nothing of it away', async () => {
    const early = open(postCart(1_000_000));
    await peer.next(frameType.open, 2);
    while (early.stream.write(Buffer.alloc(dataBytesMax))) await turns(1);
    let isWritable = false;
    early.onWritableHook = () => {
      isWritable = true;
    };
    early.stream.pauseReading();
    peer.send(
      frames.head(2, 413, 5),
      frames.data(2, Buffer.from('large')),
      frames.end(2),
      frames.reset(2, resetReason.done),
    );
    await until(() => isWritable);
    expect(early.events).toEqual(['assigned', 'head']);
    early.stream.write(Buffer.from('nobody wants this'));
    early.stream.end();
    early.stream.resumeReading();
    await early.ended;
    expect([early.failure, early.body, early.events.at(-1)]).toEqual(['', 'large', 'end']);
  });

  it('an answer that waits for its reader is still given when the request ends after it', async () => {
    const early = open(postCart(5));
    await peer.next(frameType.open, 2);
    early.stream.pauseReading();
    peer.send(frames.head(2, 413, 5), frames.data(2, Buffer.from('large')), frames.end(2), frames.ping());
    await peer.next(frameType.pong);
    early.stream.write(Buffer.from('12345'));
    early.stream.end();
    await peer.next(frameType.end, 2);
    early.stream.resumeReading();
    await early.ended;
    expect([early.failure, early.body, early.events.at(-1)]).toEqual(['', 'large', 'end']);
  });
});

describe('GOAWAY from the callee', () => {
  it('drain: what runs goes on, what comes goes elsewhere, and the link ends with the last stream', async () => {
    const running = open();
    await peer.next(frameType.open, 2);
    peer.send(frames.goaway(goawayReason.drain, allStreams, 'drain'));
    await until(() => upstream.isAvoided);
    const elsewhere = open();
    await until(() => peers.length === 2);
    await peers[1]!.next(frameType.open, 1);
    peers[1]!.send(frames.head(1), frames.end(1));
    await elsewhere.ended;
    expect(running.endings).toBe(0);
    peer.send(frames.head(2), frames.end(2));
    await running.ended;
    expect([running.failure, elsewhere.failure]).toEqual(['', '']);
    await peer.closed();
    expect(room.troubles).toEqual([]);
  });

  it('drain: it is avoided until it has gone', async () => {
    peer.send(frames.goaway(goawayReason.drain, allStreams, 'drain'));
    await until(() => upstream.isAvoided);
    await peer.closed();
    await room.pass(250);
    expect(upstream.isAvoided).toBe(false);
  });

  it('with streams that were not looked at: they may go elsewhere whatever their method', async () => {
    const [served, unseen] = [open(postCart(2)), open(postCart(2))];
    await peer.next(frameType.open, 3);
    peer.send(frames.goaway(goawayReason.retire, 2, 'the certificate of the caller has expired'));
    await unseen.ended;
    expect([unseen.failure, served.failure]).toEqual(['link-refused', '']);
    peer.send(frames.head(2), frames.end(2));
    await served.ended;
    expect(served.failure).toBe('');
  });

  it('refused: nothing was looked at, and nobody dials again at once', async () => {
    const asked = open(postCart(2));
    await peer.next(frameType.open, 2);
    peer.send(frames.goaway(goawayReason.refused, 0, 'untrusted-certificate'));
    await asked.ended;
    expect(asked.failure).toBe('link-refused');
    expect(room.troubles).toMatchObject([{ code: 'link-refused', detail: 'untrusted-certificate' }]);
    await turns();
    expect(peers).toHaveLength(1);
  });
});

describe('when the connection breaks', () => {
  it('what has left is lost, and may have been acted upon', async () => {
    const lost = open(postCart(5));
    await peer.next(frameType.open, 2);
    peer.socket.resetAndDestroy();
    await lost.ended;
    expect(lost.failure).toBe('link-lost');
  });

  it('what has not left may go elsewhere', async () => {
    const first = open();
    await peer.next(frameType.open, 2);
    let second: Recording | null = null;
    first.onHeadHook = () => {
      second = open(postCart(3));
      upstream.destroy();
    };
    peer.send(frames.head(2));
    await first.ended;
    await second!.ended;
    expect([first.failure, second!.failure]).toEqual(['link-lost', 'connect-failed']);
  });

  it('the next request dials anew at once', async () => {
    peer.socket.destroy();
    await until(() => room.troubles.length === 1);
    const next = open();
    await until(() => peers.length === 2);
    await peers[1]!.next(frameType.open);
    peers[1]!.send(frames.head(1), frames.end(1));
    await next.ended;
    expect(next.failure).toBe('');
  });
});

describe('a callee that falls silent', () => {
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += 250) await room.pass(250);
  };

  it('is found by a request that waits, within the time that docs/link.md states', async () => {
    const asked = open();
    await peer.next(frameType.open, 2);
    await pass(limits.linkQuietMs);
    await peer.next(frameType.ping);
    expect(asked.endings).toBe(0);
    await pass(limits.linkPingMs);
    await asked.ended;
    expect(asked.failure).toBe('link-lost');
    expect(room.troubles).toMatchObject([{ code: 'link-lost', detail: 'the peer does not answer any more' }]);
  });

  it('is not asked while it sends, and not lost when it answers', async () => {
    const asked = open();
    await peer.next(frameType.open, 2);
    for (let i = 0; i < 20; i++) {
      peer.send(frames.credit(2, 1));
      await room.pass(500);
    }
    expect(peer.all(frameType.ping)).toEqual([]);
    await pass(limits.linkQuietMs);
    await peer.next(frameType.ping);
    await pass(limits.linkPingMs - 500);
    peer.send(frames.pong());
    await turns();
    await pass(1_000);
    expect(asked.endings).toBe(0);
  });

  it('is asked less often while nobody waits', async () => {
    await pass(limits.linkIdleQuietMs - 250);
    expect(peer.all(frameType.ping)).toEqual([]);
    await pass(500);
    await peer.next(frameType.ping);
    await pass(limits.linkPingMs);
    await peer.closed();
  });

  it('is not blamed for a loop of our own that was held up', async () => {
    const asked = open();
    await peer.next(frameType.open, 2);
    await pass(limits.linkQuietMs);
    await peer.next(frameType.ping);
    await room.pass(limits.linkPingMs + 60_000);
    await room.pass(250);
    expect(asked.endings).toBe(0);
    peer.send(frames.pong(), frames.head(2), frames.end(2));
    await asked.ended;
    expect(asked.failure).toBe('');
  });
});

describe('credit of a stream', () => {
  it.each<readonly [string, number, number]>([
    ['is not given back for an answer that has credit to its end', streamCreditFirst, 0],
    ['is given back for a longer one', streamCreditFirst + 1, 1],
    ['is given back for one of unknown length', -1, 1],
  ])('%s', async (_what, bodyBytes, credits) => {
    const asked = open();
    await peer.next(frameType.open, 2);
    peer.send(frames.head(2, 200, bodyBytes), frames.data(2, streamCreditFirst), frames.ping());
    await peer.next(frameType.pong);
    expect(peer.all(frameType.credit, 2).length).toBe(credits);
    if (bodyBytes > streamCreditFirst) peer.send(frames.data(2, bodyBytes - streamCreditFirst));
    peer.send(frames.end(2));
    await asked.ended;
    expect([asked.failure, asked.bodyBytes]).toEqual(['', Math.max(bodyBytes, streamCreditFirst)]);
  });
});

describe('requests', () => {
  it('say what they are, and that nothing follows', async () => {
    open({ ...getCart, target: '/a?b', headers: headerList(['Host', 'cart', 'x-y', 'é']) });
    const { payload } = await peer.next(frameType.open, 2);
    expect(decodeOpen(payload.toString('latin1'))).toEqual({
      method: 'GET',
      target: '/a?b',
      headers: ['Host', 'cart', 'x-y', 'é'],
      bodyBytes: 0,
      endsStream: true,
    });
    peer.send(frames.ping());
    await peer.next(frameType.pong);
    expect(peer.all(frameType.end)).toEqual([]);
  });

  it.each<readonly [string, string[]]>([
    ['larger than a frame', ['Host', 'cart', 'x', 'v'.repeat(97 * 1024)]],
    ['of more fields than a link carries', Array.from({ length: 2 * limits.linkFieldsMax + 2 }, () => 'x')],
  ])('that filters made %s fail alone', async (_what, headers) => {
    const [large, good] = [open({ ...getCart, headers: headerList(headers) }), open()];
    await large.ended;
    expect(large.failure).toBe('headers-too-large');
    const { stream } = await peer.next(frameType.open);
    peer.send(frames.head(stream), frames.end(stream));
    await good.ended;
    expect(good.failure).toBe('');
  });

  it('that are given up say so once, and nothing of their answer is heard any more', async () => {
    const asked = open();
    await peer.next(frameType.open, 2);
    asked.stream.destroy();
    asked.stream.destroy();
    expect((await peer.next(frameType.reset, 2)).payload[0]).toBe(resetReason.cancelled);
    peer.send(frames.head(2), frames.data(2, 5), frames.end(2), frames.ping());
    await peer.next(frameType.pong);
    expect(asked.events).toEqual(['assigned']);
    expect(peer.all(frameType.reset)).toHaveLength(1);
  });

  it('report back in order, and never inside open', async () => {
    const asked = open();
    expect(asked.events).toEqual([]);
    await peer.next(frameType.open, 2);
    peer.send(frames.head(2, 200, -1), frames.data(2, 5), frames.data(2, 5), frames.end(2, ['A', 'b']));
    await asked.ended;
    expect(asked.events).toEqual(['assigned', 'head', 'body', 'end']);
    expect([asked.bodyBytes, asked.trailers, asked.isReused]).toEqual([10, ['A', 'b'], true]);
  });
});
