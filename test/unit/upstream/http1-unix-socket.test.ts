import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import { Http1Pool } from '../../../src/proxy/upstream/http1-pool.ts';
import { fetchOnce, get, okEmpty, Recording } from './recording.ts';

let directory: string;
let path: string;
const cleanups: (() => void)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-pool-'));
  path = join(directory, 'app.sock');
});
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
  rmSync(directory, { recursive: true, force: true });
});

function poolTo(place: string): Http1Pool {
  const pool = new Http1Pool({ path: place, timer: new CoarseTimer(() => performance.now(), 250) });
  cleanups.push(() => pool.retire());
  return pool;
}

async function appAt(place: string, serve: (socket: net.Socket) => void): Promise<void> {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    serve(socket);
  });
  server.listen(place);
  await once(server, 'listening');
  cleanups.push(() => server.close());
}

const answering = (text: string, end = false) =>
  appAt(path, (socket) =>
    socket.on('data', () => {
      if (end) socket.end(text);
      else socket.write(text);
    }),
  );

describe('a pool to a unix socket', () => {
  it('is refused where there is no file, and where nobody listens', async () => {
    expect((await fetchOnce(poolTo(path))).events).toEqual(['failure connect-refused']);
    await appAt(`${path}.live`, () => {});
    expect((await fetchOnce(poolTo(`${path}.live/deeper`))).events).toEqual(['failure connect-failed']);
  });

  it('sends and reads as over TCP, and keeps its connection', async () => {
    await answering(okEmpty);
    const pool = poolTo(path);
    expect(await fetchOnce(pool)).toMatchObject({ events: ['assigned', 'head', 'end'], isReused: false });
    expect(await fetchOnce(pool)).toMatchObject({ events: ['assigned', 'head', 'end'], isReused: true });
  });

  it('takes the end of the connection for that of an answer without a length', async () => {
    await answering('HTTP/1.1 200 OK\r\n\r\nto the end', true);
    expect(await fetchOnce(poolTo(path))).toMatchObject({
      events: ['assigned', 'head', 'body', 'end'],
      body: 'to the end',
    });
  });

  it('takes it for a cut in the middle of one that has a length', async () => {
    await answering('HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nto the end', true);
    expect((await fetchOnce(poolTo(path))).events).toEqual(['assigned', 'head', 'body', 'failure answer-cut']);
  });

  it('reads the answer of an app that refuses a large body and closes', async () => {
    await appAt(path, (socket) =>
      socket.once('data', () => {
        socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno');
        socket.destroySoon();
      }),
    );
    const recording = new Recording();
    const stream = poolTo(path).open({ ...get, method: 'POST', bodyBytes: 50_000_000 }, recording);
    const chunk = Buffer.alloc(60_000);
    let left = 50_000_000;
    const write = () => {
      while (left > 0 && recording.endings === 0) {
        const part = chunk.subarray(0, Math.min(left, chunk.length));
        left -= part.length;
        if (!stream.write(part)) return;
      }
    };
    recording.onWritableHook = write;
    write();
    await recording.ended;
    expect(recording).toMatchObject({ events: ['assigned', 'head', 'body', 'end'], body: 'no' });
  });
});
