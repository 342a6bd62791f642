import { once } from 'node:events';
import type net from 'node:net';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { Http1Pool } from '../../../src/proxy/upstream/http1-pool.ts';
import {
  fetchOnce,
  get,
  makePool,
  type Origin,
  okEmpty,
  Recording,
  startOrigin,
  startReplyingOrigin,
  until,
} from './recording.ts';

const megabyte = 1024 * 1024;
const streamedBytes = 64 * megabyte;
/** Seconds of work on a machine that has ten times as much to do; the usual limit is for what waits. */
const heavyMs = 60_000;
const turn = () => new Promise<void>((settle) => setImmediate(settle));

let origin: Origin | null = null;
afterEach(() => {
  origin?.close();
  origin = null;
});

/** Writes `bytes` as fast as the peer takes them. */
function pour(socket: net.Socket, bytes: number): void {
  const piece = Buffer.alloc(256 * 1024, 'z');
  let left = bytes;
  const go = (): void => {
    while (left > 0 && !socket.destroyed) {
      const size = Math.min(left, piece.length);
      left -= size;
      if (!socket.write(piece.subarray(0, size))) {
        socket.once('drain', go);
        return;
      }
    }
  };
  go();
}

describe('a large download', { timeout: heavyMs }, () => {
  it('passes in views of one buffer, without memory growing', async () => {
    origin = await startReplyingOrigin((_head, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${streamedBytes}\r\n\r\n`);
      pour(socket, streamedBytes);
    });
    const pool = makePool(origin.port);
    const recording = new Recording();
    recording.keepsBody = false;
    const buffers = new Set<ArrayBufferLike>();
    const before = process.memoryUsage().arrayBuffers;
    let peak = 0;
    recording.onBodyHook = (chunk) => {
      buffers.add(chunk.buffer);
      peak = Math.max(peak, process.memoryUsage().arrayBuffers);
    };
    pool.open(get, recording).end();
    await recording.ended;
    expect(recording).toMatchObject({ bodyBytes: streamedBytes, events: ['assigned', 'head', 'body', 'end'] });
    expect(buffers.size).toBe(1);
    expect(peak - before).toBeLessThan(4 * megabyte);
    pool.retire();
  });

  it('stops while the reader is paused: what arrives is bounded, and nothing is lost', async () => {
    let originWritten = () => 0;
    origin = await startReplyingOrigin((_head, socket) => {
      originWritten = () => socket.bytesWritten - socket.writableLength;
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n');
      pour(socket, streamedBytes);
    });
    const pool = makePool(origin.port);
    const recording = new Recording();
    recording.keepsBody = false;
    const stream = pool.open(get, recording);
    let pauses = 0;
    let isPaused = false;
    recording.onBodyHook = () => {
      expect(isPaused).toBe(false);
      if (++pauses > 200) return;
      stream.pauseReading();
      isPaused = true;
      const resume = (): void => {
        isPaused = false;
        stream.resumeReading();
        // What a quick proxy may do in one turn: the last word counts.
        if (pauses % 3 === 0) {
          stream.pauseReading();
          stream.resumeReading();
        }
      };
      if (pauses % 2 === 0) setImmediate(resume);
      else process.nextTick(resume);
    };
    await until(() => pauses > 200);
    // Paused from outside a read, for good: the kernel's buffers fill and the origin stops.
    stream.pauseReading();
    isPaused = true;
    let seen = -1;
    let turnsStill = 0;
    while (turnsStill < 200) {
      turnsStill = originWritten() === seen ? turnsStill + 1 : 0;
      seen = originWritten();
      await turn();
    }
    expect(seen).toBeLessThan(streamedBytes);
    const bytesPaused = recording.bodyBytes;
    await turn();
    expect(recording.bodyBytes).toBe(bytesPaused);
    isPaused = false;
    origin.sockets[0]!.once('drain', () => {});
    stream.resumeReading();
    await until(() => recording.bodyBytes === streamedBytes);
    origin.sockets[0]!.end();
    await recording.ended;
    expect(recording.events.at(-1)).toBe('end');
    expect(pool.stats).toMatchObject({ connections: 0, idle: 0 });
  });

  it('paused at its last octet still gives the connection back, reading', async () => {
    origin = await startReplyingOrigin((_head, socket) =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
    );
    const pool = makePool(origin.port);
    const recording = new Recording();
    const stream = pool.open(get, recording);
    recording.onBodyHook = () => stream.pauseReading();
    await recording.ended;
    expect((await fetchOnce(pool)).isReused).toBe(true);
    expect(origin.accepted).toBe(1);
    // An end of the endpoint's is noticed only by one that reads.
    origin.sockets[0]!.end();
    await until(() => pool.stats.connections === 0);
  });

  it('paused before it had a connection', async () => {
    origin = await startReplyingOrigin((_head, socket) =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
    );
    const pool = makePool(origin.port);
    const recording = new Recording();
    const stream = pool.open(get, recording);
    stream.pauseReading();
    await until(() => origin!.accepted === 1 && recording.events.length === 1);
    for (let i = 0; i < 20; i++) await turn();
    expect(recording.events).toEqual(['assigned']);
    stream.resumeReading();
    expect((await recording.ended).body).toBe('ok');
    pool.retire();
  });
});

/** Reads in steps and answers with how much it read. In a thread, so that its buffers are not counted as ours. */
const slowEndpoint = `
  const server = require('node:net').createServer((socket) => {
    let received = 0;
    let last = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      received += bytes.length;
      last = Buffer.concat([last, bytes]).subarray(-5);
      socket.pause();
      setImmediate(() => socket.resume());
      if (last.toString() === '0\\r\\n\\r\\n' || last.toString() === 'u-end')
        socket.write('HTTP/1.1 200 OK\\r\\nContent-Length: ' + String(received).length + '\\r\\n\\r\\n' + received);
    });
  });
  server.listen(0, '127.0.0.1', () => require('node:worker_threads').parentPort.postMessage(server.address().port));
`;

describe('a large upload', { timeout: heavyMs }, () => {
  for (const bodyBytes of [streamedBytes, -1]) {
    it(`${bodyBytes < 0 ? 'in chunks' : 'of known length'} to a slow endpoint keeps memory bounded`, async () => {
      const endpoint = new Worker(slowEndpoint, { eval: true });
      const [port] = (await once(endpoint, 'message')) as [number];
      const pool = makePool(port);
      const recording = new Recording();
      const stream = pool.open({ ...get, method: 'PUT', bodyBytes }, recording);
      const chunk = Buffer.alloc(100_000, 'u');
      const before = process.memoryUsage().arrayBuffers;
      let peak = 0;
      let left = streamedBytes;
      let blocked = 0;
      const send = (): void => {
        while (left > 0) {
          const size = Math.min(left, chunk.length);
          left -= size;
          peak = Math.max(peak, process.memoryUsage().arrayBuffers);
          if (left === 0) chunk.write('u-end', size - 5);
          if (!stream.write(chunk.subarray(0, size)) && left > 0) {
            blocked++;
            return;
          }
        }
        stream.end();
      };
      recording.onWritableHook = send;
      send();
      await recording.ended;
      expect(recording.events).toEqual(['assigned', 'head', 'body', 'end']);
      expect(Number(recording.body)).toBeGreaterThan(streamedBytes);
      expect(blocked).toBeGreaterThan(10);
      expect(peak - before).toBeLessThan(4 * megabyte);
      expect(pool.stats).toMatchObject({ connections: 1, idle: 1 });
      pool.retire();
      await endpoint.terminate();
    });
  }

  it('tells a blocked writer about room exactly once each time', async () => {
    let paused: net.Socket | null = null;
    origin = await startOrigin((socket) => {
      paused = socket;
      socket.pause();
    });
    const pool = makePool(origin.port);
    const recording = new Recording();
    let writable = 0;
    recording.onWritableHook = () => {
      writable++;
    };
    const stream = pool.open({ ...get, method: 'PUT', bodyBytes: -1 }, recording);
    expect(stream.write(Buffer.alloc(limits.streamBufferBytesMax / 2))).toBe(true);
    expect(stream.write(Buffer.alloc(limits.streamBufferBytesMax))).toBe(false);
    await until(() => writable === 1);
    while (stream.write(Buffer.alloc(megabyte))) await turn();
    for (let i = 0; i < 20 && writable === 1; i++) await turn();
    while (writable === 2) {
      stream.write(Buffer.alloc(megabyte));
      for (let i = 0; i < 5; i++) await turn();
      if (writable === 2) break;
      writable = 2;
    }
    const before = writable;
    paused!.resume();
    await until(() => writable > before);
    for (let i = 0; i < 20; i++) await turn();
    expect(writable).toBe(before + 1);
    stream.destroy();
    expect(pool.stats).toMatchObject({ connections: 0, pending: 0 });
  });
});

describe('ten thousand mixed outcomes', { timeout: heavyMs }, () => {
  it('leave nothing behind', async () => {
    // Small numbers from a fixed seed: the mix is the same in every run.
    let seed = 42;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return Math.floor((seed / 2147483648) * below);
    };
    const outcomes: ((socket: net.Socket) => void)[] = [
      (socket) => socket.write(okEmpty),
      (socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'),
      (socket) => socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na'),
      (socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nabc'),
      (socket) => socket.write('garbage'),
      (socket) => socket.write(`${okEmpty}surplus`),
      (socket) => socket.resetAndDestroy(),
      (socket) => socket.end(),
      (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'),
      (socket) => socket.end(okEmpty),
      (socket) => {
        socket.write(okEmpty);
        setImmediate(() => socket.write('unasked'));
      },
    ];
    origin = await startReplyingOrigin((_head, socket) => {
      if (!socket.destroyed && socket.writable) outcomes[random(outcomes.length)]!(socket);
    });
    const pool: Http1Pool = makePool(origin.port, { connectionsMax: 16, pendingMax: 40 });
    let ended = 0;
    let destroyed = 0;
    const total = 10_000;
    const seen = new Map<string, number>();
    for (let opened = 0; opened < total; ) {
      for (let i = random(60); i >= 0 && opened < total; i--, opened++) {
        const recording = new Recording();
        const bodyBytes = [0, 0, 5, -1][random(4)]!;
        const stream = pool.open({ ...get, bodyBytes }, recording);
        void recording.ended.then(() => {
          ended++;
          const last = recording.events.at(-1)!;
          seen.set(last, (seen.get(last) ?? 0) + 1);
        });
        if (bodyBytes !== 0) stream.write(Buffer.from('12345'));
        const fate = random(10);
        if (fate === 0) {
          if (recording.endings === 0) destroyed++;
          stream.destroy();
        } else if (fate === 1) stream.write(Buffer.from('too much'));
        else stream.end();
      }
      await turn();
    }
    // Requests whose body never ends may wait for an endpoint that waits, too.
    await until(() => ended + destroyed >= total);
    expect(ended + destroyed).toBe(total);
    await until(() => pool.stats.connections === pool.stats.idle);
    pool.retire();
    expect(pool.stats).toMatchObject({ connections: 0, idle: 0, pending: 0 });
    for (const outcome of [
      'end',
      'failure upstream-garbage',
      'failure answer-cut',
      'failure upstream-reset',
      'failure stale-connection',
      'failure pool-full',
      'failure internal-error',
    ]) {
      expect(seen.get(outcome) ?? 0, outcome).toBeGreaterThan(20);
    }
    await until(() => origin!.sockets.length === 0);
  });
});
