import { createHash } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import { binaryFrame, pingFrame, RawWebSocket } from '../../sim/raw-websocket.ts';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** A client of a server that is started first. */
function dial(port: number) {
  const messages: Buffer[] = [];
  let heard = 0;
  let onMessage = () => {};
  let socket: RawWebSocket | null = null;
  const opened = new Promise<void>((resolve, reject) => {
    socket = new RawWebSocket({ host: '127.0.0.1', port, localAddress: '127.0.0.1' }, '/v1/push', {
      onOpen: resolve,
      onMessage: (bytes) => {
        messages.push(Buffer.from(bytes));
        onMessage();
      },
      onHeard: () => {
        heard++;
      },
      onClosed: (reason) => reject(new Error(reason)),
    });
  });
  opened.catch(() => {});
  cleanups.push(() => socket!.end('the test ends'));
  const received = (count: number) =>
    new Promise<void>((resolve) => {
      onMessage = () => messages.length === count && resolve();
      onMessage();
    });
  return { socket: socket!, opened, messages, received, heard: () => heard };
}

async function listening(server: { on(event: 'listening', run: () => void): unknown; address(): unknown }) {
  await new Promise<void>((resolve) => server.on('listening', resolve));
  return (server.address() as { port: number }).port;
}

/** A server that answers the upgrade with these bytes, cut as told, once the whole request is there. */
async function serve(answer: (accept: string) => readonly Buffer[]) {
  const server = createServer((socket: Socket) => {
    let request = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      request += chunk.toString();
      if (!request.endsWith('\r\n\r\n')) return;
      const key = /^Sec-WebSocket-Key: (.*)$/m.exec(request)![1]!.trim();
      for (const part of answer(acceptOf(key))) socket.write(part);
    });
  });
  server.listen(0, '127.0.0.1');
  cleanups.push(() => server.close());
  return listening(server);
}

/** RFC 6455, 1.3. */
const acceptOf = (key: string) =>
  createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');

const head = (accept: string) =>
  Buffer.from(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);

describe('the raw WebSocket', () => {
  it('speaks with a real server: messages of all lengths, pings both ways, closes', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/v1/push' });
    cleanups.push(() => server.close());
    const port = await listening(server);
    const pings: string[] = [];
    server.on('connection', (peer) => {
      peer.on('message', (bytes) => peer.send(bytes));
      peer.on('ping', () => pings.push('ping'));
      peer.on('pong', () => pings.push('pong'));
      peer.ping('are you there');
    });
    const { socket, opened, messages, received, heard } = dial(port);
    await opened;
    socket.send(pingFrame);
    const sent = [0, 1, 125, 126, 65_535, 65_536, 300_000].map((length) => Buffer.alloc(length, length % 251));
    for (const payload of sent) socket.send(binaryFrame(payload));
    await received(sent.length);
    expect(messages.map((bytes, i) => bytes.equals(sent[i]!))).toEqual(sent.map(() => true));
    expect([...pings].sort()).toEqual(['ping', 'pong']);
    expect(heard()).toBeGreaterThanOrEqual(sent.length + 2);
    for (const peer of server.clients) peer.close(1001, 'enough');
    await expect.poll(() => socket.isOpen).toBe(false);
  });

  it('puts frames together that come in pieces, the first ones with the head', async () => {
    const frames = Buffer.from([0x82, 3, 1, 2, 3, 0x82, 0, 0x82, 126, 0, 2, 9, 9, 0x8a, 0, 0x82, 1, 7]);
    const port = await serve((accept) => {
      const all = Buffer.concat([head(accept), frames]);
      return Array.from({ length: Math.ceil(all.length / 7) }, (_, i) => all.subarray(i * 7, i * 7 + 7));
    });
    const { opened, messages, received } = dial(port);
    await opened;
    await received(4);
    expect(messages.map((bytes) => [...bytes])).toEqual([[1, 2, 3], [], [9, 9], [7]]);
  });

  it.each([
    [
      'another status',
      () => [Buffer.from('HTTP/1.1 401 Unauthorized\r\n\r\n')],
      'answers the upgrade with HTTP/1.1 401',
    ],
    ['another key', () => [head('AAAA')], 'answers the upgrade with HTTP/1.1 101'],
    ['a head without an end', () => [Buffer.alloc(9_000, 'x')], 'no end'],
  ])('refuses %s', async (_what, answer, reason) => {
    const port = await serve(answer);
    await expect(dial(port).opened).rejects.toThrow(reason);
  });

  it.each([
    ['fragmented', [0x02, 1, 0]],
    ['masked', [0x82, 0x81, 0, 0, 0, 0, 1]],
    ['of an unknown kind', [0x83, 0]],
  ])('ends at a frame that is %s', async (_what, frame) => {
    const port = await serve((accept) => [Buffer.concat([head(accept), Buffer.from(frame)])]);
    const { socket, opened, messages } = dial(port);
    await opened;
    await expect.poll(() => socket.isOpen).toBe(false);
    expect(messages).toEqual([]);
  });
});
