import net from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { CoarseTimer } from '../../../src/proxy/coarse-timer.ts';
import type { PipelinedPool, PipelinedPoolOptions } from '../../../src/proxy/upstream/http1-pipelined-pool.ts';
import { type Line, PipelinedOrigin, poolTo, prove, send, sendAll, sized } from './pipelined-origin.ts';
import { get, okEmpty, Recording, until } from './recording.ts';

let origin: PipelinedOrigin | null = null;
const pools: PipelinedPool[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.retire();
  origin?.close();
  origin = null;
});

/** An origin that answers when it is told to, and one connection to it that may be shared. */
async function provenLine(options: Partial<PipelinedPoolOptions> = {}) {
  origin = await PipelinedOrigin.start();
  const pool = poolTo(origin.port, options);
  pools.push(pool);
  const line = await prove(pool, origin);
  return { pool, origin, line };
}

const arrived = (line: Line, count: number) => until(() => line.requests.length >= count);
const eventsOf = (sent: readonly { recording: { events: string[] } }[]) =>
  sent.map(({ recording }) => recording.events);
const ended = (sent: readonly { recording: { ended: Promise<unknown> } }[]) =>
  Promise.all(sent.map(({ recording }) => recording.ended));
const whole = ['assigned', 'head', 'body', 'end'];
const lost = ['assigned', 'failure pipeline-lost'];

describe('a line that breaks', () => {
  it('in the middle of an answer: that one is cut, those behind it can be sent again', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b', '/c']);
    await arrived(line, 3);
    line.socket.end(sized('A') + sized('BBBB').slice(0, -2));
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, ['assigned', 'head', 'body', 'failure answer-cut'], lost]);
    expect(sent[2]!.recording.isReused).toBe(true);
    expect(pool.stats).toMatchObject({ connections: 0, idle: 0, pending: 0 });
  });

  it.each<[string, (socket: net.Socket) => void]>([
    ['closed', (socket) => socket.end()],
    ['reset', (socket) => socket.resetAndDestroy()],
  ])('%s before an answer: nothing is known of any', async (_how, end) => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    end(line.socket);
    await ended(sent);
    expect(eventsOf(sent)).toEqual([['assigned', 'failure stale-connection'], lost]);
  });

  it('by an answer that says that it is the last one', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b', '/c']);
    await arrived(line, 3);
    // What follows it is not read as an answer, whatever it looks like.
    line.socket.write(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nA${sized('B')}`);
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, lost, lost]);
    expect(pool.stats.connections).toBe(0);
  });

  it('by an answer that only the end of the connection ends', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    line.socket.end(`HTTP/1.1 200 OK\r\n\r\nA${sized('B')}`);
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, lost]);
    expect(sent[0]!.recording.body).toBe(`A${sized('B')}`);
  });

  it('by something that is no answer', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b', '/c']);
    await arrived(line, 3);
    line.socket.write(`${sized('A')}\r\nwhat?\r\n\r\n`);
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, ['assigned', 'failure upstream-garbage'], lost]);
  });

  it('by an answer too many: it reaches nobody', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    line.socket.write(`${sized('A')}HTTP/1.1 204 No Content\r\n\r\n${sized('C')}`);
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, ['assigned', 'head', 'end']]);
    await until(() => pool.stats.connections === 0);
  });

  it('by more than the length of the last answer', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    line.socket.write(`${sized('A')}${sized('B')}C`);
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, ['assigned', 'head', 'body', 'failure answer-cut']]);
  });

  it('unseen before it is written to: nothing has left, and another connection takes all', async () => {
    const { pool, line, origin } = await provenLine({ connectionsMax: 2 });
    const sent: ReturnType<typeof sendAll> = [];
    // Within a callback of the poll phase: the turn ends before the reset is polled for.
    const probe = net.connect(origin.port, '127.0.0.1', () => probe.write('GET /probe HTTP/1.1\r\n\r\n'));
    await until(() => origin.requests.flat().includes('GET /probe'));
    const probed = origin.lines.find(({ requests }) => requests.includes('GET /probe'))!;
    probe.on('data', () => {
      probe.destroy();
      line.socket.resetAndDestroy();
      sent.push(send(pool, '/a'));
    });
    probed.socket.write('now');
    await until(() => origin.requests.flat().includes('GET /a'));
    const fresh = origin.lines.find(({ requests }) => requests.includes('GET /a'))!;
    fresh.socket.write(sized('A'));
    await ended(sent);
    expect(sent[0]!.recording).toMatchObject({ events: whole, isReused: false });
  });
});

describe('a stream that is destroyed', () => {
  it('has its answer read and dropped, for those behind it', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b', '/c']);
    await arrived(line, 3);
    sent[0]!.stream.destroy();
    sent[1]!.stream.destroy();
    line.socket.write(sized('A') + sized('B') + sized('C'));
    await sent[2]!.recording.ended;
    expect(eventsOf(sent)).toEqual([['assigned'], ['assigned'], whole]);
    expect(sent[2]!.recording.body).toBe('C');
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1 });
  });

  it('in the middle of its answer, the same', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    sent[0]!.recording.onBodyHook = () => sent[0]!.stream.destroy();
    await arrived(line, 2);
    line.socket.write(`${sized('AAAA').slice(0, -2)}`);
    await until(() => sent[0]!.recording.events.includes('body'));
    line.socket.write(`AA${sized('B')}`);
    await sent[1]!.recording.ended;
    expect(eventsOf(sent)).toEqual([['assigned', 'head', 'body'], whole]);
    expect(sent[0]!.recording.body).toBe('AA');
  });

  it('while it does not read, frees those behind it', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    sent[0]!.recording.onHeadHook = () => sent[0]!.stream.pauseReading();
    await arrived(line, 2);
    line.socket.write(sized('A'.repeat(50_000)).slice(0, 100));
    await sent[0]!.recording.headed;
    line.socket.write(sized('A'.repeat(50_000)).slice(100) + sized('B'));
    sent[0]!.stream.destroy();
    await sent[1]!.recording.ended;
    expect(sent[1]!.recording.body).toBe('B');
  });

  it.each<[string, string]>([
    ['said', `HTTP/1.1 200 OK\r\nContent-Length: ${limits.pipelinedDrainBytesMax + 1}\r\n\r\n`],
    [
      'sent',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n${'A'.repeat(limits.pipelinedDrainBytesMax + 1)}`,
    ],
  ])('takes the connection along when too much is %s of its answer', async (_how, answer) => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    sent[0]!.stream.destroy();
    line.socket.write(answer);
    await sent[1]!.recording.ended;
    expect(eventsOf(sent)).toEqual([['assigned'], lost]);
    expect(pool.stats.connections).toBe(0);
  });

  it('closes the connection when it was the last that anybody waits for', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    for (const { stream } of sent) stream.destroy();
    expect(pool.stats.connections).toBe(0);
    await new Promise((resolve) => line.socket.once('close', resolve));
  });

  it('in the turn in which it was opened, is not sent', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b', '/c']);
    sent[1]!.stream.destroy();
    await arrived(line, 2);
    line.socket.write(sized('A') + sized('C'));
    await ended([sent[0]!, sent[2]!]);
    expect(line.requests).toEqual(['GET /a', 'GET /c']);
    expect(sent[2]!.recording.body).toBe('C');
  });
});

describe('those that wait', () => {
  /** With a clock that the test moves. */
  async function slowLine() {
    let nowMs = 1_000;
    const timer = new CoarseTimer(() => nowMs, 1_000_000);
    const proven = await provenLine({ timer, now: () => nowMs });
    const pass = (ms: number) => {
      nowMs += ms;
      timer.sweep();
    };
    return { ...proven, pass };
  }

  it('behind a slow answer go elsewhere after a while, and what comes for them is nobody’s', async () => {
    const { pool, line, pass } = await slowLine();
    const sent = sendAll(pool, ['/a', '/b', '/c']);
    await arrived(line, 3);
    pass(limits.pipelinedWaitMs - 1);
    expect(eventsOf(sent)).toEqual([['assigned'], ['assigned'], ['assigned']]);
    pass(1);
    await ended(sent.slice(1));
    expect(eventsOf(sent)).toEqual([['assigned'], lost, lost]);
    line.socket.write(sized('A') + sized('B') + sized('C'));
    await sent[0]!.recording.ended;
    expect(sent[0]!.recording).toMatchObject({ events: whole, body: 'A' });
    expect(pool.stats.connections).toBe(0);
  });

  it('behind a reader who does not read, too', async () => {
    const { pool, line, pass } = await slowLine();
    const sent = sendAll(pool, ['/a', '/b']);
    sent[0]!.recording.onHeadHook = () => sent[0]!.stream.pauseReading();
    await arrived(line, 2);
    line.socket.write(sized('AAAA').slice(0, -2));
    await sent[0]!.recording.headed;
    line.socket.write(`AA${sized('B')}`);
    pass(limits.pipelinedWaitMs);
    await sent[1]!.recording.ended;
    expect(sent[1]!.recording.events).toEqual(lost);
    sent[0]!.stream.resumeReading();
    await sent[0]!.recording.ended;
    expect(sent[0]!.recording.body).toBe('AAAA');
  });

  it('behind one that nobody waits for any more, too, and its connection is closed', async () => {
    const { pool, line, pass } = await slowLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    sent[0]!.stream.destroy();
    pass(limits.pipelinedWaitMs);
    await sent[1]!.recording.ended;
    expect(sent[1]!.recording.events).toEqual(lost);
    expect(pool.stats.connections).toBe(0);
  });

  it('are not joined by others when the first has waited for some time', async () => {
    const { pool, line, pass } = await slowLine();
    const first = send(pool, '/a');
    await arrived(line, 1);
    pass(limits.pipelinedJoinMs + 1);
    const second = send(pool, '/b');
    await new Promise((resolve) => setImmediate(resolve));
    expect(pool.stats).toMatchObject({ connections: 1, pending: 1 });
    line.socket.write(sized('A'));
    await arrived(line, 2);
    line.socket.write(sized('B'));
    await ended([first, second]);
    expect(line.reads).toEqual([1, 1]);
  });
});

describe('what may not share', () => {
  it.each<[string, object]>([
    ['a method with consequences', { method: 'POST' }],
    ['one that may be repeated, and changes something', { method: 'DELETE' }],
    ['a body', { bodyBytes: 3 }],
    ['a body of unknown length', { bodyBytes: -1 }],
  ])('%s: it stands behind nobody, and nobody behind it', async (_what, request) => {
    const { pool, line } = await provenLine();
    const before = send(pool, '/a');
    const alone = send(pool, '/alone', request);
    if ('bodyBytes' in request) {
      alone.stream.write(Buffer.from('abc'));
      alone.stream.end();
    }
    const after = send(pool, '/b');
    await arrived(line, 2);
    // The later one may share, and is not held up by the one that waits.
    expect(line.requests).toEqual(['GET /a', 'GET /b']);
    line.socket.write(sized('A') + sized('B'));
    await ended([before, after]);
    await until(() => line.requests.some((one) => one.endsWith('/alone')));
    const last = send(pool, '/c');
    await new Promise((resolve) => setImmediate(resolve));
    expect(line.requests.some((one) => one.endsWith('/c'))).toBe(false);
    line.socket.write(okEmpty);
    await until(() => line.requests.some((one) => one.endsWith('/c')));
    line.socket.write(okEmpty);
    await ended([alone, last]);
    expect(alone.recording.events).toEqual(['assigned', 'head', 'end']);
  });

  it('a request that needs a fresh connection', async () => {
    const { pool, line, origin } = await provenLine({ connectionsMax: 2 });
    const kept = send(pool, '/a');
    const fresh = new Recording();
    pool.open({ ...get, target: '/fresh' }, fresh, performance.now(), true).end();
    await until(() => origin.lines.length === 2 && origin.requests.flat().length === 2);
    expect(origin.requests).toEqual([['GET /a'], ['GET /fresh']]);
    for (const { socket } of origin.lines) socket.write(okEmpty);
    await Promise.all([kept.recording.ended, fresh.ended]);
    expect([kept.recording.isReused, fresh.isReused]).toEqual([true, false]);
    expect(line.requests).toEqual(['GET /a']);
  });

  it('the first request of a connection: its endpoint may close behind every answer', async () => {
    origin = await PipelinedOrigin.start();
    const pool = poolTo(origin.port);
    pools.push(pool);
    const sent = sendAll(pool, ['/a', '/b', '/c']);
    await until(() => origin!.requests.flat().length === 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(origin.requests).toEqual([['GET /a']]);
    origin.lines[0]!.socket.write(sized('A'));
    await arrived(origin.lines[0]!, 3);
    expect(origin.lines[0]!.reads).toEqual([1, 2]);
    origin.lines[0]!.socket.write(sized('B') + sized('C'));
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, whole, whole]);
  });

  it('requests that can have a connection each, while few are in use', async () => {
    origin = await PipelinedOrigin.start((request) => (request === 'GET /held' ? '' : okEmpty));
    const pool = poolTo(origin.port, { connectionsMax: 64 });
    pools.push(pool);
    // As many as are spread, kept.
    await ended(Array.from({ length: limits.pipelinedSpread }, () => send(pool, '/warm')));
    expect(pool.stats).toMatchObject({ idle: limits.pipelinedSpread });
    const held = Array.from({ length: limits.pipelinedSpread + 1 }, () => send(pool, '/held'));
    await until(() => origin!.requests.flat().filter((one) => one === 'GET /held').length === held.length);
    const perLine = origin.requests.map((requests) => requests.filter((one) => one === 'GET /held').length);
    expect(perLine.sort()).toEqual([...Array.from({ length: limits.pipelinedSpread - 1 }, () => 1), 2]);
    for (const { stream } of held) stream.destroy();
  });
});

describe('a line', () => {
  it('takes the requests of a turn in one write, and gives the answers in their order', async () => {
    const { pool, line } = await provenLine();
    const targets = ['/a', '/b', '/c', '/d'];
    const sent = sendAll(pool, targets);
    await arrived(line, 4);
    expect(line.reads).toEqual([4]);
    line.socket.write(targets.map((target) => sized(target)).join(''));
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, whole, whole, whole]);
    expect(sent.map(({ recording }) => recording.body)).toEqual(targets);
    expect(pool.stats).toMatchObject({ connections: 1, idle: 1, pending: 0, opened: 1 });
  });

  it('is no longer than the Service says', async () => {
    const { pool, line } = await provenLine({ depth: 3 });
    const sent = sendAll(pool, ['/a', '/b', '/c', '/d', '/e']);
    await arrived(line, 3);
    await new Promise((resolve) => setImmediate(resolve));
    expect(line.requests.length).toBe(3);
    line.socket.write(sized('A'));
    await arrived(line, 4);
    line.socket.write(sized('B') + sized('C'));
    await arrived(line, 5);
    line.socket.write(sized('D') + sized('E'));
    await ended(sent);
    expect(sent.map(({ recording }) => recording.body)).toEqual(['A', 'B', 'C', 'D', 'E']);
  });

  it('goes on over interim answers, HEAD, bodies of all kinds and trailers', async () => {
    const { pool, line } = await provenLine();
    const sent = [
      send(pool, '/head', { method: 'HEAD' }),
      send(pool, '/chunked'),
      send(pool, '/none'),
      send(pool, '/options', { method: 'OPTIONS' }),
    ];
    await arrived(line, 4);
    line.socket.write(
      'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n' +
        'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n' +
        'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n' +
        sized('OK'),
    );
    await ended(sent);
    expect(eventsOf(sent)).toEqual([['assigned', 'head', 'end'], whole, ['assigned', 'head', 'end'], whole]);
    expect(sent[1]!.recording).toMatchObject({ body: 'abc', trailers: ['X-Sum', '1'] });
    expect(sent[3]!.recording.body).toBe('OK');
  });

  it('is finished when its endpoint has left, and then closed', async () => {
    const { pool, line } = await provenLine();
    const sent = sendAll(pool, ['/a', '/b']);
    await arrived(line, 2);
    pool.retire();
    line.socket.write(sized('A') + sized('B'));
    await ended(sent);
    expect(eventsOf(sent)).toEqual([whole, whole]);
    await until(() => pool.stats.connections === 0);
  });
});
