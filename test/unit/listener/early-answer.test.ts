/** A last answer that comes before its request has been read: its client gets all of it, whether it reads while it sends or only then. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { type Call, type ListenerKind, ListenerRoom, parseAnswer, plain, unchunk } from './listener-fakes.ts';

const uploadBytes = 8 * 1024 * 1024;
/** Longer than the longest wait for one more byte, at either listener; shorter than the longest in all. */
const slowReaderMs = 3 * limits.lingerMs;
/** More than the buffers of a connection hold that nobody reads from, and than the kernel takes at once. */
const answerBytes = 300_000;
const piece = Buffer.alloc(64 * 1024, 'u');

const sized = (fields: string) => `POST / HTTP/1.1\r\nHost: a\r\n${fields}Content-Length: ${uploadBytes}\r\n\r\n`;
const chunked = (fields: string) => `POST / HTTP/1.1\r\nHost: a\r\n${fields}Transfer-Encoding: chunked\r\n\r\n`;

interface Way {
  readonly name: string;
  readonly head: string;
  readonly kinds: readonly ListenerKind[];
  readonly drains?: boolean;
}

const both = ['uws', 'edge'] as const;
const ways: readonly Way[] = [
  { name: 'a client that asked for the end', head: sized('Connection: close\r\n'), kinds: both },
  // The one way of asking for it that uWS understands is a value of five characters.
  { name: 'a client that asked for it in other words', head: sized('Connection: close, x\r\n'), kinds: both },
  { name: 'a chunked request', head: chunked(''), kinds: ['uws'] },
  { name: 'a chunked request that asked for the end', head: chunked('Connection: close\r\n'), kinds: both },
  { name: 'a drain', head: sized(''), kinds: both, drains: true },
  { name: 'HTTP/1.0', head: sized('').replace('1.1', '1.0'), kinds: ['edge'] },
  { name: 'a request for an upgrade', head: sized('Connection: upgrade\r\nUpgrade: x\r\n'), kinds: ['edge'] },
];
const plainUpload: Way = { name: 'a connection that could go on', head: sized(''), kinds: both };
const ofTerabyte = (head: string) => head.replace(String(uploadBytes), String(2 ** 40));

afterEach(() => vi.useRealTimers());

describe.each(both)('a last answer before its request was read, through %s', (kind) => {
  const room = ListenerRoom.forEach(kind);
  const own = ways.filter(({ kinds }) => kinds.includes(kind));

  /** Sends the body, as fast as it is taken, and resolves when all of it has left the client, or the other side has closed: then Node's client does, too. */
  async function upload(head: string): Promise<void> {
    const { client } = room;
    const isChunked = head.includes('chunked');
    const block = isChunked ? Buffer.from(`${piece.byteLength.toString(16)}\r\n${piece.toString()}\r\n`) : piece;
    for (let sent = 0; sent < uploadBytes && client.socket.writable; sent += piece.byteLength) {
      await new Promise((resolve) => client.socket.write(block, resolve));
    }
    if (isChunked && client.socket.writable) client.send('0\r\n\r\n');
  }

  const bodyOf = (received: readonly Buffer[]): string => {
    const { headers, body } = parseAnswer(Buffer.concat(received).toString('latin1'));
    return headers.has('transfer-encoding') ? (unchunk(body)?.data ?? '') : body;
  };

  async function begin({ head, drains }: Way): Promise<Call> {
    const accepted = await room.call(head);
    if (drains === true) room.bench.listener.drain();
    return accepted;
  }

  it.each(own)('reaches one that reads while it sends: $name', async (way) => {
    const received = room.client.collect();
    const accepted = await begin(way);
    accepted.answer({ status: 403, reason: 'Forbidden' }, Buffer.alloc(answerBytes, 'a'));
    await upload(way.head);
    await room.client.untilClosed();
    expect(bodyOf(received)).toHaveLength(answerBytes);
    expect(room.client.isReset).toBe(false);
    expect(accepted.gone).toBe(0);
  });

  it.each(own)('reaches one that sends everything before it reads: $name', async (way) => {
    const received = room.client.collect();
    const accepted = await begin(way);
    room.client.socket.pause();
    accepted.answer({ status: 403, reason: 'Forbidden' }, Buffer.alloc(answerBytes, 'a'));
    await upload(way.head);
    room.client.socket.resume();
    await room.client.untilClosed();
    expect(bodyOf(received)).toHaveLength(answerBytes);
    expect(room.client.isReset).toBe(false);
  });

  it.each(own)('reaches one when its length was not known: $name', async (way) => {
    const received = room.client.collect();
    const { downstream } = await begin(way);
    room.client.socket.pause();
    downstream.head({ ...plain, bodyBytes: -1 }, null);
    downstream.body(Buffer.alloc(answerBytes / 2, 'a'));
    downstream.body(Buffer.alloc(answerBytes / 2, 'b'));
    downstream.end([], null);
    await upload(way.head);
    room.client.socket.resume();
    await room.client.until((client) => client.isClosed || bodyOf(received).length === answerBytes);
    expect(bodyOf(received)).toHaveLength(answerBytes);
    expect(room.client.isReset).toBe(false);
  });

  it.each(own)('reaches one when it is small: $name', async (way) => {
    const received = room.client.collect();
    const accepted = await begin(way);
    room.client.socket.pause();
    accepted.answer({ status: 403, reason: 'Forbidden' }, 'no');
    await upload(way.head);
    room.client.socket.resume();
    await room.client.untilClosed();
    expect(bodyOf(received)).toBe('no');
    expect(room.client.isReset).toBe(false);
  });

  /** Sends a byte now and then while `passedMs` of the listener's time go by, or until it is cut. */
  async function trickle({ head }: Way, passedMs: number): Promise<void> {
    const { client } = room;
    const bytes = head.includes('chunked') ? '1\r\nq\r\n' : 'q';
    for (let atMs = 0; atMs < passedMs && !client.isClosed; atMs += 500) {
      if (client.socket.writable) client.send(bytes);
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
      vi.advanceTimersByTime(500);
    }
  }

  it.each([plainUpload, ...own])('reaches one that goes on sending for longer than it reads: $name', async (way) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
    const received = room.client.collect();
    const accepted = await begin({ ...way, head: ofTerabyte(way.head) });
    room.client.socket.pause();
    accepted.answer({ status: 403, reason: 'Forbidden' }, Buffer.alloc(answerBytes, 'a'));
    await trickle(way, slowReaderMs);
    room.client.socket.resume();
    await room.client.until((client) => client.isClosed || bodyOf(received).length === answerBytes);
    expect(bodyOf(received)).toHaveLength(answerBytes);
    expect(room.client.isReset).toBe(false);
  });

  it('does not end a connection whose request is in the bytes just read', async () => {
    const { bench, client } = room;
    bench.proxy.onAccept = (accepted) => queueMicrotask(() => accepted.answer({ status: 307 }, 'there'));
    for (let i = 0; i < 3; i++) {
      client.received = '';
      client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345');
      await client.untilText('there');
      expect(parseAnswer(client.received).headers.get('connection')).not.toEqual(['close']);
    }
    expect(bench.proxy.calls.map(({ gone }) => gone)).toEqual([0, 0, 0]);
    bench.proxy.onAccept = (accepted) => accepted.answer({ status: 307 }, 'here');
    for (let i = 0; i < 3; i++) {
      client.received = '';
      client.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345');
      await client.untilText('here');
      expect(parseAnswer(client.received).headers.get('connection')).not.toEqual(['close']);
    }
  });

  it.each([plainUpload, ...own])('does not read for ever: who sends a byte now and then is cut: $name', async (way) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
    const { client } = room;
    client.socket.allowHalfOpen = true;
    const accepted = await begin({ ...way, head: ofTerabyte(way.head) });
    accepted.answer({ status: 403, reason: 'Forbidden' }, 'no');
    await client.untilText('no');
    // The uWS listener looks every half `lingerMs`.
    await trickle(way, limits.lingerTotalMs + limits.lingerMs);
    await client.untilClosed();
    expect(parseAnswer(client.received).body).toBe('no');
  });

  it.each([plainUpload, { name: 'a client that asked for the end', head: sized('Connection: close\r\n') }])(
    'does not read for ever: who goes on sending is cut: $name',
    async ({ head }) => {
      const { client } = room;
      // Else it would stop at the end of the answer.
      client.socket.allowHalfOpen = true;
      const accepted = await room.call(ofTerabyte(head));
      accepted.answer({ status: 403, reason: 'Forbidden' }, 'no');
      let sentBytes = 0;
      while (client.socket.writable) {
        await new Promise((resolve) => client.socket.write(piece, resolve));
        sentBytes += piece.byteLength;
      }
      await client.untilClosed();
      expect(parseAnswer(client.received).body).toBe('no');
      expect(client.isReset).toBe(true);
      // What the buffers of a connection hold comes on top.
      expect(sentBytes).toBeLessThan(limits.lingerBytesMax + 16 * 1024 * 1024);
    },
  );
});
