import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { type ListenerLimits, noBodyLimits } from '../../../src/model/listener-limits.ts';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import {
  allStreams,
  dataBytesMax,
  frameType,
  goawayReason,
  linkCreditFirst,
  resetReason,
  streamCreditFirst,
} from '../../../src/proxy/link/frames.ts';
import type { Listener } from '../../../src/proxy/request.ts';
import type { FakeProxy } from '../listener/listener-fakes.ts';
import { FakeEndpoint, fakeMesh } from '../proxy/proxy-fakes.ts';
import { frame, frames, LinkRoom, type RawPeer, turns, until } from './link-room.ts';
import { decodeEnd, decodeHead, type HeadText } from './payload-text.ts';

/** Of a client, and of the sidecar in front of it. */
const mostFields = limits.headerFieldsMax + limits.linkAddedFieldsMax;

let room: LinkRoom;
let proxy: FakeProxy;
let listener: Listener;
let peer: RawPeer;

beforeEach(async () => {
  room = new LinkRoom();
  const callee = await room.listen();
  ({ proxy, listener } = callee);
  peer = await room.connect(callee.address);
});
afterEach(() => room.close());

async function headOf(stream: number): Promise<HeadText> {
  const { payload } = await peer.next(frameType.head, stream);
  return decodeHead(payload.toString('latin1'))!;
}

const { settings } = frames;

describe('a caller that breaks the rules hears which, and the connection closes', () => {
  it.each<readonly [string, readonly Buffer[], RegExp]>([
    ['HTTP instead of the link', [Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')], /no frame of type|bytes, not/],
    ['OPEN before SETTINGS', [frames.open(1)], /first frame is SETTINGS/],
    ['DATA before SETTINGS', [frames.data(1, 1)], /first frame is SETTINGS/],
    ['SETTINGS of something else', [frame(0, 0, 'HTTP\x01\x01')], /this is not the link/],
    ['a version from the future', [frame(0, 0, 'WEFT\x02\x05')], /version 1, the other 2 to 5/],
    ['a second SETTINGS', [settings, settings], /second SETTINGS/],
    ['HEAD', [settings, frames.open(1), frames.head(1)], /HEAD is not for the caller/],
    ['an OPEN twice', [settings, frames.open(1), frames.open(1)], /open before/],
    ['ids that go down', [settings, frames.open(5), frames.open(3)], /open before/],
    ['OPEN that cannot be read', [settings, frame(frameType.open, 1, 'rubbish')], /OPEN cannot be read/],
    ['DATA of no stream', [settings, frames.data(9, 1)], /DATA of a stream that was never open/],
    ['END of no stream', [settings, frames.end(9)], /END of a stream that was never open/],
    ['RESET of no stream', [settings, frames.reset(9, 0)], /RESET of a stream that was never open/],
    ['CREDIT of no stream', [settings, frames.credit(9, 1)], /CREDIT of a stream that was never open/],
    ['CREDIT of nothing', [settings, frames.credit(0, 0)], /CREDIT of nothing/],
    ['endless CREDIT of the link', [settings, frames.credit(0, 0xffff_ffff)], /more credit of the link/],
    ['endless CREDIT of a stream', [settings, frames.open(1), frames.credit(1, 0xffff_ffff)], /credit of a stream/],
    ['DATA behind an OPEN that ended', [settings, frames.open(1), frames.data(1, 1)], /DATA behind END/],
    ['END behind END', [settings, frames.open(1, -1), frames.end(1), frames.end(1)], /second END/],
    ['DATA behind END', [settings, frames.open(1, -1), frames.end(1), frames.data(1, 1)], /DATA behind END/],
    ['END that cannot be read', [settings, frames.open(1, -1), frame(frameType.end, 1, '\xff')], /END cannot be read/],
    ['a type that there is none of', [settings, frame(77, 1, 'x')], /no frame of type 77/],
  ])('%s', async (_what, sent, why) => {
    peer.send(...sent);
    const { reason, text } = await peer.goaway();
    expect(reason).toBe(goawayReason.violation);
    expect(text).toMatch(why);
    await peer.closed();
    await until(() => listener.connections === 0);
  });

  it('and every stream that was open is told to the proxy as gone, once', async () => {
    peer.send(settings, frames.open(1, -1), frames.open(2, -1));
    await until(() => proxy.calls.length === 2);
    peer.send(frame(99, 0));
    await peer.closed();
    expect(proxy.calls.map(({ gone }) => gone)).toEqual([1, 1]);
  });

  it('and is told which streams were looked at: those must not be sent again elsewhere', async () => {
    peer.send(settings, frames.open(1, -1), frames.open(2));
    await until(() => proxy.calls.length === 2);
    peer.send(frame(99, 0));
    expect((await peer.goaway()).lastStream).toBe(2);
  });

  it('DATA beyond the credit of its stream, to the byte', async () => {
    peer.send(settings, frames.open(1, -1));
    const call = await proxy.nextCall();
    call.downstream.pauseRequest();
    for (let sent = 0; sent < streamCreditFirst; sent += dataBytesMax) peer.send(frames.data(1, dataBytesMax));
    peer.send(frames.ping());
    await peer.next(frameType.pong);
    expect(peer.isClosed).toBe(false);
    peer.send(frames.data(1, 1));
    expect((await peer.goaway()).text).toMatch(/more DATA than the credit of its stream/);
    await peer.closed();
  });

  it('DATA beyond the credit of the link, which comes back only with what was sent', async () => {
    peer.send(settings);
    const streams = linkCreditFirst / streamCreditFirst;
    // All streams together have more credit than the link; it is given back as DATA arrives, so only what is sent ahead of that counts.
    for (let id = 1; id <= streams * 8; id++) peer.send(frames.open(id, -1));
    await until(() => proxy.calls.length === streams * 8);
    for (const call of proxy.calls) call.downstream.pauseRequest();
    let sent = 0;
    for (let id = 1; id <= streams; id++)
      for (let at = 0; at < streamCreditFirst; at += dataBytesMax) {
        peer.send(frames.data(id, dataBytesMax));
        sent += dataBytesMax;
      }
    await until(() => creditOf(0) >= sent / 2);
    expect(creditOf(0)).toBeLessThanOrEqual(limits.linkWindowBytesMax);
    expect(creditOf(1)).toBe(0);
  });
});

/** Credit that the peer was given for a stream (0: the link). */
const creditOf = (stream: number): number =>
  peer.all(frameType.credit, stream).reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);

describe('an OPEN that is no request is answered as by any listener, and its neighbours go on', () => {
  it.each<readonly [string, Buffer, number, string]>([
    ['a target without a slash', frames.open(1, 0, ['Host', 'x'], 'GET', 'x y'), 400, 'bad-request'],
    ['no Host', frames.open(1, 0, []), 400, 'bad-request'],
    ['two Hosts', frames.open(1, 0, ['Host', 'a', 'host', 'b']), 400, 'bad-request'],
    ['a method that does not pass', frames.open(1, 0, ['Host', 'a'], 'TRACE'), 501, 'method-not-supported'],
    ['Content-Length among the fields', frames.open(1, 5, ['Host', 'a', 'Content-Length', '5']), 400, 'bad-request'],
    [
      'Transfer-Encoding among the fields',
      frames.open(1, -1, ['Host', 'a', 'transfer-encoding', 'chunked']),
      400,
      'bad-request',
    ],
    ['a line feed in a value', frames.open(1, 0, ['Host', 'a', 'X', 'a\r\nEvil: 1']), 400, 'bad-request'],
    ['a name that is no token', frames.open(1, 0, ['Host', 'a', 'X Y', '1']), 400, 'bad-request'],
    [
      'more fields than a request may have',
      frames.open(1, 0, ['Host', 'a', ...Array.from({ length: mostFields * 2 }, () => 'x')]),
      431,
      'headers-too-large',
    ],
    [
      'a target that is too long',
      frames.open(1, 0, ['Host', 'a'], 'GET', `/${'x'.repeat(limits.targetBytesMax)}`),
      414,
      'target-too-long',
    ],
  ])('%s', async (_what, open, status, failure) => {
    peer.send(settings, open, frames.open(2));
    const head = await headOf(1);
    expect([head.status, head.headers[head.headers.indexOf('Weft-Failure') + 1]]).toEqual([status, failure]);
    await peer.next(frameType.end, 1);
    expect(peer.dataOf(1)).toBe(head.bodyBytes);
    expect(room.refusedHeads.map(({ code }) => code)).toEqual([failure]);
    // What the log gets is what the caller is told.
    expect(room.refusedFacts).toMatchObject([
      { detail: expect.stringMatching(/^[A-Z].*\.$/), requestId: 'id-of-test', sourceAddress: '127.0.0.1', source: '' },
    ]);
    await until(() => proxy.calls.length === 1);
    proxy.calls[0]!.answer({}, 'hello');
    expect((await headOf(2)).status).toBe(200);
  });

  it('without a body when it was HEAD', async () => {
    peer.send(settings, frames.open(1, 0, [], 'HEAD'));
    expect((await headOf(1)).hasBody).toBe(false);
    await peer.next(frameType.end, 1);
    expect(peer.dataBytes).toBe(0);
  });

  it('hop-by-hop fields do not pass', async () => {
    peer.send(
      settings,
      frames.open(1, 0, ['Host', 'cart', 'Connection', 'x-a', 'X-A', '1', 'TE', 'trailers', 'X-B', '2']),
    );
    expect(textsOf((await proxy.nextCall()).head.headers)).toEqual(['X-B', '2']);
  });
});

describe('streams at the callee', () => {
  it('are refused above the limit, which their caller may send elsewhere, and served again below it', async () => {
    peer.send(settings);
    for (let id = 1; id <= limits.linkStreamsMax + 3; id++) peer.send(frames.open(id, -1));
    await until(() => peer.all(frameType.reset).length === 3);
    expect(peer.all(frameType.reset).map(({ stream, payload }) => [stream, payload[0]])).toEqual(
      [1, 2, 3].map((above) => [limits.linkStreamsMax + above, resetReason.refused]),
    );
    expect(proxy.calls).toHaveLength(limits.linkStreamsMax);
    peer.send(frames.reset(1, resetReason.cancelled), frames.open(limits.linkStreamsMax + 4, -1));
    await until(() => proxy.calls.length === limits.linkStreamsMax + 1);
    expect(proxy.calls[0]!.gone).toBe(1);
  });

  it('frames for a stream that is over are nothing to complain of', async () => {
    peer.send(settings, frames.open(1, -1));
    const call = await proxy.nextCall();
    call.answer({}, 'early');
    await peer.next(frameType.reset, 1);
    peer.send(
      frames.data(1, 100),
      frames.credit(1, 5),
      frames.end(1),
      frames.reset(1, resetReason.done),
      frames.ping(),
    );
    await peer.next(frameType.pong);
    expect(peer.isClosed).toBe(false);
  });

  it('answered before their request is complete end with RESET done behind END', async () => {
    peer.send(settings, frames.open(1, 100));
    (await proxy.nextCall()).answer({ status: 413 }, 'no');
    const { payload } = await peer.next(frameType.reset, 1);
    expect(payload[0]).toBe(resetReason.done);
    const types = peer.heard.filter(({ stream }) => stream === 1).map(({ type }) => type);
    expect(types).toEqual([frameType.head, frameType.data, frameType.end, frameType.reset]);
  });

  it('that break off end with RESET broken, never with END', async () => {
    peer.send(settings, frames.open(1));
    const call = await proxy.nextCall();
    call.downstream.head({ status: 200, reason: '', headers: [], bodyBytes: 10, hasBody: true }, null);
    call.downstream.body(Buffer.from('12345'));
    call.downstream.abort();
    expect((await peer.next(frameType.reset, 1)).payload[0]).toBe(resetReason.broken);
    expect(peer.all(frameType.end)).toEqual([]);
  });

  it('whose body is longer than was said are broken off, and their request is not complete', async () => {
    peer.send(settings, frames.open(1, 10), frames.data(1, 6), frames.data(1, 6), frames.end(1), frames.open(2));
    expect((await peer.next(frameType.reset, 1)).payload[0]).toBe(resetReason.broken);
    await until(() => proxy.calls.length === 2);
    expect(proxy.calls[0]).toMatchObject({ bodyBytes: 6, ends: 0, gone: 1 });
    expect(peer.isClosed).toBe(false);
  });

  it('whose body is shorter than was said are broken off, and their request is not complete', async () => {
    peer.send(settings, frames.open(1, 10), frames.data(1, 6), frames.end(1), frames.open(2));
    expect((await peer.next(frameType.reset, 1)).payload[0]).toBe(resetReason.broken);
    await until(() => proxy.calls.length === 2);
    expect(proxy.calls[0]).toMatchObject({ bodyBytes: 6, ends: 0, gone: 1 });
  });

  it('report the caller, and that nobody proved who it is', async () => {
    peer.send(settings, frames.open(1));
    expect((await proxy.nextCall()).head).toMatchObject({
      source: '',
      sourceAddress: '127.0.0.1',
      host: 'cart',
      path: '/',
    });
  });

  it('carry trailers both ways', async () => {
    peer.send(settings, frames.open(1, -1), frames.data(1, 3), frames.end(1, ['Checksum', 'abc']));
    const call = await proxy.nextCall();
    await until(() => call.ends === 1);
    expect([call.trailers, call.bodyBytes]).toEqual([['Checksum', 'abc'], 3]);
    call.downstream.head({ status: 200, reason: 'OK', headers: [], bodyBytes: -1, hasBody: true }, null);
    call.downstream.end(headerList(['X-T', 'é']), null);
    const { payload } = await peer.next(frameType.end, 1);
    expect(decodeEnd(payload.toString('latin1'))).toEqual({ trailers: ['X-T', 'é'], timing: null });
  });

  it('give credit back at half a window, and none for a body that has ended', async () => {
    const quarter = streamCreditFirst / 4;
    peer.send(settings, frames.open(1, -1));
    const call = await proxy.nextCall();
    peer.send(frames.data(1, quarter));
    await until(() => call.bodyBytes === quarter);
    expect(creditOf(1)).toBe(0);
    peer.send(frames.data(1, quarter));
    await until(() => creditOf(1) > 0);
    // A reader that keeps up gets as wide a window as the link has.
    expect(creditOf(1)).toBe(2 * quarter + linkCreditFirst - streamCreditFirst);
    peer.send(frames.data(1, quarter), frames.data(1, quarter), frames.end(1), frames.ping());
    await peer.next(frameType.pong);
    expect(call.ends).toBe(1);
  });

  it('that are paused hold small pieces without a multiple of their bytes', async () => {
    peer.send(settings, frames.open(1, -1));
    const call = await proxy.nextCall();
    call.downstream.pauseRequest();
    const piece = frames.data(1, 1);
    peer.send(Buffer.concat(Array.from({ length: streamCreditFirst }, () => piece)), frames.ping());
    await peer.next(frameType.pong);
    let chunks = 0;
    call.onChunk = () => {
      chunks++;
    };
    call.downstream.resumeRequest();
    await until(() => call.bodyBytes === streamCreditFirst);
    expect(chunks).toBeLessThan(100);
  });
});

describe('a link at the callee', () => {
  it('answers PING with the same bytes', async () => {
    peer.send(settings, frames.ping());
    expect((await peer.next(frameType.pong)).payload.toString()).toBe('pppppppp');
  });

  it('says at a drain that it serves what arrives, and does', async () => {
    peer.send(settings, frames.open(1));
    await until(() => proxy.calls.length === 1);
    listener.drain();
    expect(await peer.goaway()).toMatchObject({ reason: goawayReason.drain, lastStream: allStreams });
    peer.send(frames.open(2));
    await until(() => proxy.calls.length === 2);
    for (const call of proxy.calls) call.answer({}, 'still here');
    await peer.next(frameType.end, 1);
    await peer.next(frameType.end, 2);
    listener.drain();
    await turns();
    expect(peer.all(frameType.goaway)).toHaveLength(1);
  });

  it('tells a caller that comes during a drain the same at once', async () => {
    await turns();
    const late = await room.connect(listener.address);
    await until(() => listener.connections === 2);
    listener.drain();
    expect((await late.goaway()).reason).toBe(goawayReason.drain);
  });

  it('tells the proxy of every stream that a broken connection takes', async () => {
    peer.send(settings, frames.open(1, -1), frames.open(2));
    await until(() => proxy.calls.length === 2);
    peer.socket.resetAndDestroy();
    await until(() => listener.connections === 0);
    expect(proxy.calls.map(({ gone }) => gone)).toEqual([1, 1]);
  });

  it('ends when the caller half-closes', async () => {
    peer.send(settings, frames.open(1, -1));
    const call = await proxy.nextCall();
    peer.socket.end();
    await until(() => call.gone === 1);
    await peer.closed();
  });

  it('is given up when the caller does not greet in time', async () => {
    await until(() => listener.connections === 1);
    for (let ms = 0; ms < limits.connectTimeoutMs; ms += 250) await room.pass(250);
    await peer.closed();
  });

  it('is given up when the caller falls silent: asked after some seconds, gone some later', async () => {
    peer.send(settings, frames.open(1, -1));
    const call = await proxy.nextCall();
    for (let ms = 0; ms < limits.linkQuietMs; ms += 250) await room.pass(250);
    await peer.next(frameType.ping);
    for (let ms = 0; ms < limits.linkPingMs; ms += 250) await room.pass(250);
    await peer.closed();
    expect(call.gone).toBe(1);
  });

  it('is cut off when the caller reads nothing of what it makes us say', async () => {
    peer.send(settings);
    peer.socket.pause();
    const pings = Buffer.concat(Array.from({ length: 4_096 }, () => frames.ping()));
    const rounds = Math.ceil(limits.linkUnsentBytesMax / pings.length) + 400;
    for (let i = 0; i < rounds && listener.connections > 0; i++) {
      peer.socket.write(pings);
      await turns(1);
    }
    await until(() => listener.connections === 0);
  });
});

describe('the limits of a link listener, and what sidecars add', () => {
  const fields = (count: number) => ['Host', 'a', ...Array.from({ length: count - 1 }, (_, i) => [`x${i}`, '']).flat()];
  it.each<[string, Partial<ListenerLimits>, Buffer, Buffer, number, string]>([
    [
      'target-bytes',
      { targetBytesMax: 10 },
      frames.open(1, 0, ['Host', 'a'], 'GET', '/123456789'),
      frames.open(3, 0, ['Host', 'a'], 'GET', '/1234567890'),
      414,
      'target-too-long',
    ],
    [
      'head-fields',
      { headerFieldsMax: 5 },
      frames.open(1, 0, fields(5 + limits.linkAddedFieldsMax)),
      frames.open(3, 0, fields(6 + limits.linkAddedFieldsMax)),
      431,
      'headers-too-large',
    ],
    [
      'head-bytes',
      { headBytesMax: 300 },
      frames.open(1, 0, ['Host', 'a', 'x', 'v'.repeat(286 + limits.linkAddedBytesMax)]),
      frames.open(3, 0, ['Host', 'a', 'x', 'v'.repeat(287 + limits.linkAddedBytesMax)]),
      431,
      'headers-too-large',
    ],
  ])('%s: the limit is taken, one beyond is refused', async (_, limits, atLimit, beyond, status, code) => {
    const limited = await room.listen(undefined, undefined, limits);
    peer = await room.connect(limited.address);
    peer.send(frames.settings, atLimit, beyond);
    const head = await headOf(3);
    expect(head.status).toBe(status);
    expect(head.headers).toContain(code);
    expect(room.refusedHeads.map((failure) => failure.code)).toEqual([code]);
    expect(limited.proxy.calls).toHaveLength(1);
    expect(peer.isClosed).toBe(false);
  });

  it('connections: one beyond is turned away and counted', async () => {
    const { address, listener: limited } = await room.listen(undefined, undefined, { connectionsMax: 1 });
    const first = await room.connect(address);
    first.send(frames.settings);
    await first.next(frameType.settings);
    const second = await room.connect(address);
    await second.closed();
    expect(room.refusedHeads.map((failure) => failure.code)).toEqual(['connection-limit']);
    expect([limited.connections, first.isClosed]).toEqual([1, false]);
  });

  it.each([
    ['known', 10, 10, '200'],
    ['known', 11, 0, '413 body-too-large'],
    ['unknown', -1, 10, '200'],
    ['unknown', -1, 11, '413 body-too-large'],
  ])('body-bytes: of %s length, %i said and %i sent: %s', async (_, said, sent, outcome) => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const mesh = fakeMesh([endpoint]);
    const limited = await room.listen(
      undefined,
      undefined,
      {},
      {
        accept: (head, answer) => mesh.proxy.accept(head, answer, { ...noBodyLimits, bodyBytesMax: 10 }),
      },
    );
    peer = await room.connect(limited.address);
    peer.send(frames.settings, frames.open(1, said));
    if (sent > 0) peer.send(frames.data(1, sent));
    if (outcome === '200') {
      peer.send(frames.end(1));
      await until(() => endpoint.streams[0]?.events.includes('end') === true);
      endpoint.last.assign();
      endpoint.last.answer(200);
    }
    const { status, headers } = await headOf(1);
    expect(outcome).toBe(status === 200 ? '200' : `${status} ${headers[headers.indexOf('Weft-Failure') + 1]}`);
    if (status === 413) expect(endpoint.streams.map(({ events }) => events)).toEqual(said === -1 ? [['destroy']] : []);
    expect(mesh.failureCounts).toEqual(status === 200 ? [] : ['body-too-large']);
  });
});
