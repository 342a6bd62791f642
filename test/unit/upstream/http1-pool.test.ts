import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import type { Http1Pool, Http1PoolOptions } from '../../../src/proxy/upstream/http1-pool.ts';
import {
  deadPort,
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

let origin: Origin | null = null;
const pools: Http1Pool[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.retire();
  origin?.close();
  origin = null;
});

const poolTo = (port: number, options: Partial<Http1PoolOptions> = {}): Http1Pool => {
  const pool = makePool(port, options);
  pools.push(pool);
  return pool;
};
const answering = async (answer: (head: string, socket: net.Socket) => void, options?: Partial<Http1PoolOptions>) => {
  origin = await startReplyingOrigin(answer);
  return poolTo(origin.port, options);
};
const empty = { connections: 0, idle: 0, pending: 0 };

describe('connecting', () => {
  it('refused', async () => {
    const pool = poolTo(await deadPort());
    const recording = await fetchOnce(pool);
    expect(recording.events).toEqual(['failure connect-refused']);
    expect(pool.stats).toEqual({ ...empty, opened: 0, connectFailures: 1 });
  });
  it('failed: an address that has no route', async () => {
    const pool = poolTo(80, { host: '255.255.255.255' });
    expect((await fetchOnce(pool)).events).toEqual(['failure connect-failed']);
    expect(pool.stats).toMatchObject(empty);
  });
  it('failed: a port that does not exist', async () => {
    const pool = poolTo(70_000);
    expect((await fetchOnce(pool)).events).toEqual(['failure connect-failed']);
    expect(pool.stats).toMatchObject(empty);
  });
  it('timeout, by the coarse timer', async () => {
    let nowMs = 0;
    const timer = new CoarseTimer(() => nowMs, 1_000_000);
    origin = await startOrigin(() => {});
    const pool = poolTo(origin.port, { timer, now: () => nowMs, connectTimeoutMs: 5_000 });
    const recording = new Recording();
    pool.open(get, recording);
    // Runs right after the pool's own turn end, before the loop can report the connect.
    await new Promise<void>((settle) =>
      setImmediate(() => {
        expect(pool.stats.connections).toBe(1);
        nowMs = 4_999;
        timer.sweep();
        expect(pool.stats.connections).toBe(1);
        nowMs = 5_000;
        timer.sweep();
        settle();
      }),
    );
    await recording.ended;
    expect(recording.events).toEqual(['failure connect-timeout']);
    expect(pool.stats).toEqual({ ...empty, opened: 0, connectFailures: 1 });
  });
  it('each refused connect fails one waiting stream, the longest waiting first', async () => {
    const pool = poolTo(await deadPort(), { connectionsMax: 2 });
    const order: number[] = [];
    const recordings = Array.from({ length: 5 }, () => new Recording());
    for (const [index, recording] of recordings.entries()) {
      pool.open(get, recording);
      void recording.ended.then(() => order.push(index));
    }
    await Promise.all(recordings.map((recording) => recording.ended));
    expect(order).toEqual([0, 1, 2, 3, 4]);
    expect(pool.stats).toEqual({ ...empty, opened: 0, connectFailures: 5 });
  });
  for (const [bind, host] of [
    ['::1', '::1'],
    ['::1', '[::1]'],
    ['127.0.0.1', 'localhost'],
  ] as const) {
    it(`${host} on ${bind}`, async () => {
      origin = await startReplyingOrigin((_head, socket) => socket.write(okEmpty), bind);
      const pool = poolTo(origin.port, { host });
      expect((await fetchOnce(pool)).events).toEqual(['assigned', 'head', 'end']);
      expect((await fetchOnce(pool)).isReused).toBe(true);
    });
  }
});

describe('a request', () => {
  it('reports nothing inside open, write or end', async () => {
    const pool = await answering((_head, socket) => socket.write(okEmpty));
    for (let round = 0; round < 2; round++) {
      const recording = new Recording();
      const stream = pool.open({ ...get, bodyBytes: 3 }, recording);
      stream.write(Buffer.from('abc'));
      stream.end();
      expect(recording.events).toEqual([]);
      await recording.ended;
      expect(recording).toMatchObject({ events: ['assigned', 'head', 'end'], isReused: round === 1 });
    }
    const evil = new Recording();
    pool.open({ ...get, headers: headerList(['A', 'b\r\nC: d']) }, evil).end();
    expect(evil.events).toEqual([]);
    await evil.ended;
    expect(evil.events).toEqual(['failure internal-error']);
  });

  it('an injected head never reaches the endpoint', async () => {
    const pool = await answering((_head, socket) => socket.write(okEmpty));
    for (const change of [{ target: '/\r\nA: b' }, { headers: headerList(['A', '\n']) }, { method: 'G\0T' }]) {
      expect((await fetchOnce(pool, change)).failure).toBe('internal-error');
    }
    expect(origin!.accepted).toBe(0);
  });

  it('head and small body leave in one piece', async () => {
    const seen: string[] = [];
    origin = await startOrigin((socket) =>
      socket.on('data', (bytes) => {
        seen.push(bytes.toString('latin1'));
        socket.write(okEmpty);
      }),
    );
    const pool = poolTo(origin.port);
    for (const bodyBytes of [6, -1]) {
      const recording = new Recording();
      const stream = pool.open({ ...get, method: 'POST', bodyBytes }, recording);
      const chunk = Buffer.from('abc');
      expect(stream.write(chunk)).toBe(true);
      chunk.fill('x');
      stream.write(Buffer.from('\r\n\xff', 'latin1'));
      stream.end();
      await recording.ended;
    }
    expect(seen).toEqual([
      'POST / HTTP/1.1\r\nHost: origin\r\nContent-Length: 6\r\n\r\nabc\r\n\xff',
      'POST / HTTP/1.1\r\nHost: origin\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\n\r\n\xff\r\n0\r\n\r\n',
    ]);
    expect(origin.accepted).toBe(1);
  });

  it('a chunk is copied: the memory given may change at once, large or small, queued or active', async () => {
    let received = '';
    origin = await startOrigin((socket) =>
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        if (received.endsWith('!')) socket.write(okEmpty);
      }),
    );
    const pool = poolTo(origin.port);
    const recording = new Recording();
    const sizes = [10, 5_000, 100_000, 10, 3_000_000, 1];
    const stream = pool.open({ ...get, method: 'PUT', bodyBytes: sizes.reduce((sum, size) => sum + size) }, recording);
    let expected = '';
    const send = (index: number): void => {
      const chunk = Buffer.alloc(sizes[index]!, index === sizes.length - 1 ? '!' : String(index));
      expected += chunk.toString('latin1');
      stream.write(chunk);
      chunk.fill('#');
    };
    for (let index = 0; index < 3; index++) send(index);
    recording.onAssignedHook = () => {
      for (let index = 3; index < sizes.length; index++) send(index);
      stream.end();
    };
    await recording.ended;
    expect(received.slice(received.indexOf('\r\n\r\n') + 4) === expected).toBe(true);
  });

  it('a body longer or shorter than said never looks complete, and fails', async () => {
    let received = '';
    origin = await startOrigin((socket) => socket.on('data', (bytes) => (received += bytes.toString('latin1'))));
    const pool = poolTo(origin.port);
    const attempts: ((stream: ReturnType<Http1Pool['open']>) => void)[] = [
      (stream) => stream.write(Buffer.from('abcd')),
      (stream) => {
        stream.write(Buffer.from('ab'));
        stream.write(Buffer.from('cd'));
      },
      (stream) => {
        stream.write(Buffer.from('ab'));
        stream.end();
      },
    ];
    for (const attempt of attempts) {
      for (const isActive of [false, true]) {
        const recording = new Recording();
        const stream = pool.open({ ...get, bodyBytes: 3 }, recording);
        if (isActive) await until(() => recording.events.length > 0);
        attempt(stream);
        stream.write(Buffer.from('GET /smuggled'));
        expect((await recording.ended).failure).toBe('internal-error');
        expect(pool.stats).toMatchObject({ idle: 0, pending: 0 });
      }
    }
    await until(() => pool.stats.connections === 0 || pool.stats.idle === pool.stats.connections);
    expect(received).not.toContain('smuggled');
    expect(received).not.toContain('cd');
  });

  it('says how long it waited for a connection and for the connect', async () => {
    const held: net.Socket[] = [];
    const pool = await answering((_head, socket) => held.push(socket), { connectionsMax: 1 });
    const first = new Recording();
    const second = new Recording();
    pool.open(get, first);
    pool.open(get, second);
    await until(() => held.length === 1);
    expect(first.connectMs).toBeGreaterThan(0);
    expect(first.queueMs).toBeGreaterThanOrEqual(0);
    expect(second.events).toEqual([]);
    held[0]!.write(okEmpty);
    await until(() => held.length === 2);
    expect(second).toMatchObject({ connectMs: 0, isReused: true });
    expect(second.queueMs).toBeGreaterThan(0);
  });
});

describe('an answer', () => {
  it('byte by byte, with trailers', async () => {
    const answer = 'HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n';
    const pool = await answering((_head, socket) => {
      let at = 0;
      const step = (): void => {
        if (at < answer.length) socket.write(answer[at++]!, () => setImmediate(step));
      };
      step();
    });
    for (let round = 0; round < 2; round++) {
      const recording = await fetchOnce(pool);
      expect(recording).toMatchObject({ body: 'abc', trailers: ['T', 'u'], isReused: round === 1 });
    }
  });

  it('closed by HTTP/1.0, cleanly', async () => {
    const pool = await answering((_head, socket) => socket.end('HTTP/1.0 200 OK\r\nServer: SimpleHTTP\r\n\r\nhello'));
    for (let round = 0; round < 2; round++) {
      expect(await fetchOnce(pool)).toMatchObject({ body: 'hello', events: ['assigned', 'head', 'body', 'end'] });
    }
    expect(pool.stats).toMatchObject({ ...empty, opened: 2 });
  });

  it('a close-delimited one that is reset right behind its last bytes is cut', async () => {
    const pool = await answering((_head, socket) =>
      socket.write('HTTP/1.0 200 OK\r\n\r\nhello', () => socket.resetAndDestroy()),
    );
    expect((await fetchOnce(pool)).events).toEqual(['assigned', 'head', 'body', 'failure answer-cut']);
    expect(pool.stats).toMatchObject(empty);
  });

  it('a close-delimited one that is reset is cut', async () => {
    const pool = await answering((_head, socket) => socket.write('HTTP/1.0 200 OK\r\n\r\nhello'));
    const recording = new Recording();
    recording.onBodyHook = () => origin!.sockets[0]!.resetAndDestroy();
    pool.open(get, recording);
    expect((await recording.ended).events).toEqual(['assigned', 'head', 'body', 'failure answer-cut']);
    expect(pool.stats).toMatchObject(empty);
  });

  const endings: [name: string, answer: string, clean: string, reset: string][] = [
    ['before an octet', '', 'upstream-reset', 'upstream-reset'],
    ['after an interim answer', 'HTTP/1.1 100 Continue\r\n\r\n', 'upstream-reset', 'upstream-reset'],
    ['in the status line', 'HTTP/1.1 2', 'upstream-reset', 'upstream-reset'],
    ['in the fields', 'HTTP/1.1 200 OK\r\nA: b\r\n', 'upstream-reset', 'upstream-reset'],
    ['before the body', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'answer-cut', 'answer-cut'],
    ['in the body', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell', 'answer-cut', 'answer-cut'],
    ['in a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel', 'answer-cut', 'answer-cut'],
    ['between chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n', 'answer-cut', 'answer-cut'],
    ['in the last chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', 'answer-cut', 'answer-cut'],
  ];
  for (const [name, answer, clean, reset] of endings) {
    it(`ends ${name}`, async () => {
      for (const isClean of [true, false]) {
        const pool = await answering((_head, socket) => {
          if (isClean) socket.end(answer);
          else if (answer === '') socket.resetAndDestroy();
          else socket.write(answer, () => setImmediate(() => socket.resetAndDestroy()));
        });
        const recording = await fetchOnce(pool);
        expect(recording).toMatchObject({ failure: isClean ? clean : reset, isReused: false, endings: 1 });
        expect(pool.stats).toMatchObject(empty);
        origin!.close();
      }
    });
  }

  const garbage: [name: string, answer: string, failure: string][] = [
    ['no HTTP', 'hello\r\n', 'upstream-garbage'],
    ['both lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 'upstream-garbage'],
    ['101', 'HTTP/1.1 101 Switching\r\n\r\n', 'upstream-garbage'],
    ['a head without end', `HTTP/1.1 200 OK\r\nA: ${'x'.repeat(70_000)}`, 'upstream-head-too-large'],
    ['a longer body', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc', 'answer-cut'],
    ['two answers', okEmpty + okEmpty, 'answer-cut'],
    ['a bad chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n', 'upstream-garbage'],
  ];
  for (const [name, answer, failure] of garbage) {
    it(`${name} fails and closes`, async () => {
      const pool = await answering((_head, socket) => socket.write(answer));
      expect(await fetchOnce(pool)).toMatchObject({ failure, endings: 1 });
      expect(pool.stats).toMatchObject(empty);
      expect((await fetchOnce(pool)).isReused).toBe(false);
    });
  }

  it('octets beyond a chunked answer, or a body to HEAD, close the connection and reach nobody', async () => {
    const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
    const pool = await answering((head, socket) =>
      socket.write(
        head.startsWith('HEAD')
          ? 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil'
          : `${chunked}HTTP/1.1 200 evil\r\n\r\n`,
      ),
    );
    for (const method of ['GET', 'HEAD', 'GET']) {
      const recording = await fetchOnce(pool, { method });
      expect(recording).toMatchObject({ events: ['assigned', 'head', 'end'], isReused: false, body: '' });
      expect(recording.head?.reason).toBe('OK');
      expect(pool.stats).toMatchObject(empty);
    }
  });

  it('octets on an idle connection close it', async () => {
    const pool = await answering((_head, socket) => socket.write(okEmpty));
    await fetchOnce(pool);
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1 });
    origin!.sockets[0]!.write('HTTP/1.1 200 evil\r\nContent-Length: 0\r\n\r\n');
    await until(() => pool.stats.connections === 0);
    expect(pool.stats).toMatchObject(empty);
    expect((await fetchOnce(pool)).head?.reason).toBe('OK');
  });

  it('that says close is the last on its connection', async () => {
    const pool = await answering((_head, socket) =>
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'),
    );
    await fetchOnce(pool);
    expect(pool.stats).toMatchObject(empty);
  });

  it('before the request body is complete is delivered, and the connection closes', async () => {
    for (const rest of ['', 'Connection: close\r\n']) {
      const pool = await answering((_head, socket) =>
        socket.write(`HTTP/1.1 413 Too Large\r\n${rest}Content-Length: 2\r\n\r\nno`),
      );
      const recording = new Recording();
      const stream = pool.open({ ...get, method: 'PUT', bodyBytes: 1_000_000 }, recording);
      stream.write(Buffer.alloc(1000));
      await recording.ended;
      expect(recording).toMatchObject({ events: ['assigned', 'head', 'body', 'end'], body: 'no' });
      expect(pool.stats).toMatchObject(empty);
      expect(stream.write(Buffer.alloc(1000))).toBe(true);
      stream.end();
      stream.destroy();
      expect(pool.stats).toMatchObject(empty);
      origin!.close();
    }
  });

  it('early, but after the whole request was written, keeps the connection', async () => {
    const pool = await answering((_head, socket) => socket.write(okEmpty));
    const recording = new Recording();
    const stream = pool.open({ ...get, method: 'PUT', bodyBytes: 3 }, recording);
    stream.write(Buffer.from('abc'));
    await recording.ended;
    stream.end();
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1 });
  });
});

describe('kept connections', () => {
  it('one closed by the endpoint before it was written to is replaced without a word', async () => {
    let served = 0;
    const pool = await answering((_head, socket) => {
      served++;
      socket.write(okEmpty);
    });
    await fetchOnce(pool);
    for (const kill of ['end', 'reset'] as const) {
      const socket = origin!.sockets[0]!;
      if (kill === 'end') socket.end();
      else socket.resetAndDestroy();
      // Opened in the same turn: the FIN or RST is already in the kernel, or will be seen before the turn ends.
      const recording = new Recording();
      await new Promise((settle) => socket.once('close', settle));
      pool.open({ ...get, method: 'POST' }, recording).end();
      await recording.ended;
      expect(recording.events.at(-1)).toBe('end');
    }
    expect(served).toBe(3);
  });

  it('one whose reset this loop has not seen yet is found dead by the write, and replaced', async () => {
    const bodies: string[] = [];
    origin = await startOrigin((socket) =>
      socket.on('data', (bytes) => {
        bodies.push(bytes.toString('latin1').split('\r\n\r\n')[1]!);
        socket.write(okEmpty);
      }),
    );
    const pool = poolTo(origin.port);
    await fetchOnce(pool);
    const recording = new Recording();
    const kept = origin.sockets[0]!;
    // Within a callback of the poll phase: the turn ends before the reset is polled for.
    const probe = net.connect(origin.port, '127.0.0.1', () => probe.write('probe\r\n\r\n'));
    probe.on('data', () => {
      probe.destroy();
      kept.resetAndDestroy();
      const stream = pool.open({ ...get, method: 'POST', bodyBytes: 10_000 }, recording);
      stream.write(Buffer.alloc(10_000, 'p'));
      stream.end();
    });
    await recording.ended;
    expect(recording).toMatchObject({ events: ['assigned', 'head', 'end'], isReused: false });
    expect(bodies.join('')).toBe('p'.repeat(10_000));
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1, opened: 2 });
  });

  it('one that dies as the request is sent is stale', async () => {
    for (const isClean of [true, false]) {
      let requests = 0;
      const pool = await answering((_head, socket) => {
        if (++requests === 1) socket.write(okEmpty);
        else if (isClean) socket.end();
        else socket.resetAndDestroy();
      });
      await fetchOnce(pool);
      expect(await fetchOnce(pool)).toMatchObject({
        events: ['assigned', 'failure stale-connection'],
        isReused: true,
      });
      expect(pool.stats).toMatchObject(empty);
      origin!.close();
    }
  });

  it('are not for a request that needs a fresh one, wherever it stands in the queue', async () => {
    const pool = await answering((_head, socket) => socket.write(okEmpty));
    await fetchOnce(pool);
    const [fresh, other] = [new Recording(), new Recording()];
    pool.open(get, fresh, performance.now(), true).end();
    pool.open(get, other).end();
    await Promise.all([fresh.ended, other.ended]);
    expect([fresh.isReused, other.isReused, origin!.accepted]).toEqual([false, true, 2]);
  });

  it('give way to a fresh one where there may be no more', async () => {
    const pool = await answering((_head, socket) => socket.write(okEmpty), { connectionsMax: 1 });
    await fetchOnce(pool);
    const [fresh, other] = [new Recording(), new Recording()];
    pool.open(get, fresh, performance.now(), true).end();
    await fresh.ended;
    // Busy when it is asked for, idle when it would be used.
    pool.open(get, other).end();
    const second = new Recording();
    pool.open(get, second, performance.now(), true).end();
    await Promise.all([other.ended, second.ended]);
    expect([fresh.isReused, other.isReused, second.isReused, origin!.accepted]).toEqual([false, true, false, 3]);
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1, pending: 0 });
  });

  it('one that dies after an octet of the answer is not stale', async () => {
    let requests = 0;
    const pool = await answering((_head, socket) => {
      if (++requests === 1) socket.write(okEmpty);
      else socket.end('H');
    });
    await fetchOnce(pool);
    expect(await fetchOnce(pool)).toMatchObject({ failure: 'upstream-reset', isReused: true });
  });

  it('the newest is used first, the oldest retires first', async () => {
    let nowMs = 0;
    const timer = new CoarseTimer(() => nowMs, 1_000_000);
    const pool = await answering((_head, socket) => socket.write(okEmpty), { timer, idleMs: 4_000 });
    await Promise.all([fetchOnce(pool), fetchOnce(pool), fetchOnce(pool)]);
    expect(pool.stats).toMatchObject({ connections: 3, idle: 3, opened: 3 });
    nowMs = 2_000;
    timer.sweep();
    await fetchOnce(pool);
    nowMs = 3_999;
    timer.sweep();
    expect(pool.stats.idle).toBe(3);
    nowMs = 4_000;
    timer.sweep();
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1, opened: 3 });
    nowMs = 6_000;
    timer.sweep();
    expect(pool.stats).toMatchObject(empty);
  });

  it('retire closes idle ones now and others after their request, queued ones included', async () => {
    const held: net.Socket[] = [];
    const pool = await answering(
      (head, socket) => (head.includes('/hold') ? held.push(socket) : socket.write(okEmpty)),
      {
        connectionsMax: 2,
      },
    );
    const busy = new Recording();
    pool.open({ ...get, target: '/hold' }, busy).end();
    await until(() => held.length === 1);
    await fetchOnce(pool);
    expect(pool.stats).toMatchObject({ connections: 2, idle: 1 });
    pool.retire();
    expect(pool.stats).toMatchObject({ connections: 1, idle: 0 });
    expect((await fetchOnce(pool)).events.at(-1)).toBe('end');
    held[0]!.write(okEmpty);
    await busy.ended;
    await until(() => pool.stats.connections === 0);
    expect(pool.stats).toMatchObject(empty);
  });
});

describe('limits', () => {
  it('connections and waiting requests', async () => {
    const held: net.Socket[] = [];
    const pool = await answering((_head, socket) => held.push(socket), { connectionsMax: 2, pendingMax: 1 });
    const recordings = Array.from({ length: 5 }, () => new Recording());
    for (const recording of recordings) pool.open(get, recording).end();
    await until(() => held.length === 2 && recordings[4]!.endings > 0);
    expect(recordings.map((recording) => recording.failure)).toEqual(['', '', '', 'pool-full', 'pool-full']);
    expect(pool.stats).toMatchObject({ connections: 2, pending: 1 });
    for (let round = 0; round < 3; round++) {
      await until(() => held.length > round);
      held[round]!.write(okEmpty);
    }
    await recordings[2]!.ended;
    expect(origin!.accepted).toBe(2);
    expect(pool.stats).toMatchObject({ connections: 2, pending: 0 });
  });
  it('waiting requests are served in order', async () => {
    const targets: string[] = [];
    const pool = await answering(
      (head, socket) => {
        targets.push(head.split(' ')[1]!);
        socket.write(okEmpty);
      },
      { connectionsMax: 1 },
    );
    await Promise.all(Array.from({ length: 20 }, (_, index) => fetchOnce(pool, { target: `/${index}` })));
    expect(targets).toEqual(Array.from({ length: 20 }, (_, index) => `/${index}`));
  });
});

describe('destroy', () => {
  it('ends a stream in every phase, with no callback after it', async () => {
    const pool = await answering((_head, socket) => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf'));
    const idleAgain = () => pool.stats.connections === 0 || pool.stats.connections === pool.stats.idle;

    const opened = new Recording();
    pool.open(get, opened).destroy();
    const connecting = new Recording();
    const stream = pool.open(get, connecting);
    setImmediate(() => stream.destroy());
    await until(() => pool.stats.opened === 1);
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1, pending: 0 });

    for (const hook of ['onAssignedHook', 'onHeadHook', 'onBodyHook'] as const) {
      const recording = new Recording();
      const inHook = pool.open(get, recording);
      let isCalled = false;
      recording[hook] = () => {
        isCalled = true;
        inHook.destroy();
      };
      await until(() => isCalled);
      inHook.destroy();
      expect(idleAgain()).toBe(true);
      await until(() => origin!.sockets.length === pool.stats.connections);
      expect(recording.endings).toBe(0);
      expect(recording.events.at(-1)).toBe(
        { onAssignedHook: 'assigned', onHeadHook: 'head', onBodyHook: 'body' }[hook],
      );
    }
    expect([...opened.events, ...connecting.events]).toEqual([]);
    expect(pool.stats).toMatchObject(empty);
  });
  it('leaves the middle of the queue', async () => {
    const targets: string[] = [];
    const pool = await answering(
      (head, socket) => {
        targets.push(head.split(' ')[1]!);
        socket.write(okEmpty);
      },
      { connectionsMax: 1 },
    );
    const recordings = Array.from({ length: 5 }, () => new Recording());
    const streams = recordings.map((recording, index) => pool.open({ ...get, target: `/${index}` }, recording));
    for (const index of [2, 0, 4]) streams[index]!.destroy();
    expect(pool.stats.pending).toBe(2);
    await Promise.all([recordings[1]!.ended, recordings[3]!.ended]);
    expect(targets).toEqual(['/1', '/3']);
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1, pending: 0 });
  });
  it('of a finished stream does not touch the next one on its connection', async () => {
    const pool = await answering((_head, socket) => socket.write(okEmpty));
    const first = new Recording();
    const finished = pool.open(get, first);
    await first.ended;
    const second = new Recording();
    second.onAssignedHook = () => {
      finished.destroy();
      finished.pauseReading();
      finished.write(Buffer.from('evil'));
    };
    pool.open(get, second);
    expect((await second.ended).events).toEqual(['assigned', 'head', 'end']);
    expect(origin!.accepted).toBe(1);
  });
});
