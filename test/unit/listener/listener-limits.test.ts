import { afterEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { type BodyLimits, type ListenerLimits, noBodyLimits } from '../../../src/model/listener-limits.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { localReply } from '../../../src/proxy/local-reply.ts';
import { FakeEndpoint, fakeMesh } from '../proxy/proxy-fakes.ts';
import {
  type Bench,
  type Call,
  kinds,
  type ListenerKind,
  openBench,
  parseAnswer,
  plain,
  RawClient,
} from './listener-fakes.ts';

let bench: Bench;
const clients: RawClient[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await bench.listener.close();
});

async function open(kind: ListenerKind, limits: Partial<ListenerLimits>): Promise<RawClient> {
  bench = await openBench(kind, 0, limits);
  return connect();
}

async function connect(): Promise<RawClient> {
  const client = await RawClient.open(bench);
  clients.push(client);
  return client;
}

async function call(client: RawClient, request: string): Promise<Call> {
  const next = bench.proxy.nextCall();
  client.send(request);
  return next;
}

const get = (target: string, fields = '') => `GET ${target} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`;

describe.each(kinds)('limits of a head through %s', (kind) => {
  const fieldsOf = (count: number) => Array.from({ length: count - 1 }, (_, i) => `x${i}: y\r\n`).join('');
  it.each<[string, Partial<ListenerLimits>, string, string, number, string]>([
    ['target-bytes', { targetBytesMax: 10 }, get('/123456789'), get('/1234567890'), 414, 'target-too-long'],
    ['head-fields', { headerFieldsMax: 5 }, get('/', fieldsOf(5)), get('/', fieldsOf(6)), 431, 'headers-too-large'],
    // Host, a and 4; x, its value and 4.
    [
      'head-bytes',
      { headBytesMax: 300 },
      get('/', `x: ${'v'.repeat(286)}\r\n`),
      get('/', `x: ${'v'.repeat(287)}\r\n`),
      431,
      'headers-too-large',
    ],
  ])('%s', async (name, limits, atLimit, beyond, status, code) => {
    const client = await open(kind, limits);
    (await call(client, atLimit)).answer({}, 'taken');
    await client.untilText('taken');
    client.received = '';
    client.send(beyond);
    await client.untilClosed();
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('weft-failure')).toEqual([code]);
    expect(answer.headers.get('connection')).toEqual(['close']);
    const whose = kind === 'uws' ? 'outbound' : 'inbound';
    expect(JSON.parse(answer.body).detail).toMatch(
      new RegExp(`\\b${Object.values(limits)[0]} .*\\(--limit ${whose}\\.${name}\\)`),
    );
    expect(bench.refused).toEqual([failures[code as 'target-too-long']]);
    expect(bench.proxy.calls).toHaveLength(1);
  });
});

describe.each(kinds)('the limit of connections through %s', (kind) => {
  it('lets in as many as it says, and another one when one has left', async () => {
    const first = await open(kind, { connectionsMax: 2 });
    const second = await connect();
    (await call(first, get('/'))).answer({}, 'one');
    (await call(second, get('/'))).answer({}, 'two');
    await second.untilText('two');
    const third = await connect();
    await third.untilClosed();
    expect(third.received).toBe('');
    expect(bench.refused).toEqual([failures['connection-limit']]);
    expect(bench.listener.connections).toBe(2);

    const next = bench.proxy.nextCall();
    first.close();
    // The listener hears of the end in its own time: whoever comes too early is turned away again.
    let fourth = await connect();
    fourth.send(get('/'));
    while ((await Promise.race([next, fourth.untilClosed()])) === undefined) {
      fourth = await connect();
      fourth.send(get('/'));
    }
    (await next).answer({}, 'four');
    await fourth.untilText('four');
  });
});

describe('the limit of requests of a connection', () => {
  it('answers the last one with Connection: close', async () => {
    const client = await open('edge', { requestsPerConnectionMax: 2 });
    (await call(client, get('/'))).answer({}, 'one');
    await client.untilText('one');
    expect(parseAnswer(client.received).headers.get('connection')).not.toEqual(['close']);
    expect(bench.ended).toEqual([]);
    client.received = '';
    (await call(client, get('/'))).answer({}, 'two');
    await client.untilClosed();
    expect(parseAnswer(client.received)).toMatchObject({ status: 200, body: 'two' });
    expect(parseAnswer(client.received).headers.get('connection')).toEqual(['close']);
    expect(bench.ended).toEqual(['connection-used-up']);
  });

  it('looks at nothing that was sent behind the last one', async () => {
    const client = await open('edge', { requestsPerConnectionMax: 2 });
    bench.proxy.onAccept = (next) => setImmediate(() => next.answer({}, next.head.path));
    client.send(['/1', '/2', '/3', '/4'].map((path) => get(path)).join(''));
    await client.untilClosed();
    expect(bench.proxy.calls.map(({ head }) => head.path)).toEqual(['/1', '/2']);
    expect(client.received.split('HTTP/1.1 200 OK')).toHaveLength(3);
  });
});

describe('the last request of a connection', () => {
  it('whose body cannot be read is refused like any other', async () => {
    const client = await open('edge', { requestsPerConnectionMax: 1 });
    const next = await call(client, 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n');
    await next.until(() => next.body === 'b');
    client.send('no chunk\r\n');
    await client.untilClosed();
    expect(parseAnswer(client.received).status).toBe(400);
    expect([next.ends, next.gone]).toEqual([0, 1]);
  });
});

describe('the time of a head', () => {
  const short = { headTimeoutMs: 300 };
  it.each<[string, string]>([
    ['half a head', 'GET / HTTP/1.1\r\nHost: a\r\nX-'],
    ['nothing', ''],
  ])('is over for a client that sends %s', async (_, sent) => {
    const client = await open('edge', short);
    const startedAtMs = performance.now();
    client.send(sent);
    await client.untilClosed();
    expect(performance.now() - startedAtMs).toBeGreaterThan(200);
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(408);
    expect(answer.headers.get('weft-failure')).toEqual(['request-head-timeout']);
    expect(answer.headers.get('connection')).toEqual(['close']);
    expect(JSON.parse(answer.body)).toMatchObject({
      detail: 'The head was not complete within 300 ms (--limit inbound.head-time).',
    });
    expect(bench.refused).toEqual([failures['request-head-timeout']]);
  });

  it('is of the whole head: a byte now and then does not renew it', async () => {
    const client = await open('edge', short);
    client.send('GET / HTTP/1.1\r\nHost: a\r\nX: ');
    const trickle = setInterval(() => client.send('x'), 20);
    await client.untilClosed();
    clearInterval(trickle);
    expect(parseAnswer(client.received).status).toBe(408);
    expect(bench.proxy.calls).toHaveLength(0);
  });

  it('is not that of the answer', async () => {
    const client = await open('edge', short);
    const { downstream } = await call(client, get('/'));
    const other = await connect();
    // As long as another client needs to be cut.
    await other.untilClosed();
    downstream.head({ ...plain, bodyBytes: 4 }, null);
    downstream.body(Buffer.from('late'));
    downstream.end([], null);
    await client.untilText('late');
    expect(client.isClosed).toBe(false);
  });
});

describe.each(kinds)('limits of a body through %s', (kind) => {
  /** The proxy itself behind the listener, with one endpoint that takes everything and says nothing. */
  async function openProxy(body: BodyLimits) {
    const endpoint = new FakeEndpoint('a:1', 0);
    const mesh = fakeMesh([endpoint]);
    mesh.clock.nowMs = performance.now();
    bench = await openBench(kind, 0, {}, { accept: (head, answer) => mesh.proxy.accept(head, answer, body) });
    return { ...mesh, endpoint, client: await connect() };
  }
  const sized = (bytes: number) =>
    `POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: ${bytes}\r\n\r\n${'b'.repeat(bytes)}`;
  const chunked = (...chunks: number[]) =>
    `POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n${chunks
      .map((bytes) => `${bytes.toString(16)}\r\n${'b'.repeat(bytes)}\r\n`)
      .join('')}`;

  it.each([
    ['of known length', sized(10)],
    ['chunked', `${chunked(4, 6)}0\r\n\r\n`],
  ])('body-bytes: one %s may have as many as it says', async (_, request) => {
    const { client, endpoint } = await openProxy({ ...noBodyLimits, bodyBytesMax: 10 });
    client.send(request);
    await expect.poll(() => endpoint.streams[0]?.events).toEqual(['end']);
    expect(endpoint.last.bodyText).toHaveLength(10);
    endpoint.last.assign();
    endpoint.last.answer(200, [], 'taken');
    await client.untilText('taken');
  });

  it.each([
    ['of known length', sized(11), []],
    ['chunked', chunked(4, 6, 1), [['destroy']]],
  ])('body-bytes: one %s with one byte more gets 413, and upstream no end', async (_, request, events) => {
    const { client, endpoint, failureCounts } = await openProxy({ ...noBodyLimits, bodyBytesMax: 10 });
    client.send(request);
    await client.untilClosed();
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(413);
    expect(answer.headers.get('weft-failure')).toEqual(['body-too-large']);
    expect(answer.headers.get('connection')).toEqual(['close']);
    expect(endpoint.streams.map((stream) => stream.events)).toEqual(events);
    expect(failureCounts).toEqual(['body-too-large']);
  });

  it('body-rate: one byte less than the window needs gets 408, and the connection closes', async () => {
    const { client, endpoint, failureCounts, clock } = await openProxy({ ...noBodyLimits, bodyRateMin: 1 });
    client.send(sized(100).slice(0, -100 + limits.bodyWindowMs / 1000 - 1));
    await expect.poll(() => endpoint.streams[0]?.bodyText.length).toBe(limits.bodyWindowMs / 1000 - 1);
    // The head was read by the clock of this machine.
    clock.nowMs = performance.now() + limits.bodyGraceMs + limits.bodyWindowMs;
    await client.untilClosed();
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(408);
    expect(answer.headers.get('weft-failure')).toEqual(['request-body-too-slow']);
    expect(answer.headers.get('connection')).toEqual(['close']);
    expect(endpoint.last.events).toEqual(['destroy']);
    expect(failureCounts).toEqual(['request-body-too-slow']);
  });
});

describe.each(kinds)('an answer that ends its connection through %s', (kind) => {
  const reply = localReply(failures['body-too-large'], '', 'id-of-test');
  const refuse = ({ downstream }: Call, isToHead = false): void => {
    const { body, status, reason, headers } = reply;
    const bodyBytes = body.byteLength;
    downstream.head(
      { status, reason, headers: [...headers], bodyBytes, hasBody: !isToHead, endsConnection: true },
      null,
    );
    if (!isToHead) downstream.body(body);
    downstream.end([], null);
  };

  it.each([
    ['of known length', `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nabc`],
    ['chunked', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'],
  ])('arrives whole while a body %s goes on', async (_, request) => {
    const client = await open(kind, {});
    const next = await call(client, request);
    await next.until(() => next.body === 'abc');
    refuse(next);
    const more = 'd'.repeat(10_000);
    for (let i = 0; i < 20; i++) client.send(request.includes('chunked') ? `2710\r\n${more}\r\n` : more);
    await client.untilText('body-too-large"');
    await client.untilClosed();
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(413);
    expect(answer.headers.get('connection')).toEqual(['close']);
    expect(answer.body).toBe(reply.body.toString());
    expect(next.body).toBe('abc');
  });

  it('has no body for HEAD', async () => {
    const client = await open(kind, {});
    const next = await call(client, 'HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc');
    refuse(next, true);
    await client.untilClosed();
    expect(parseAnswer(client.received)).toMatchObject({ status: 413, body: '' });
  });
});

describe.each(kinds)('a client that leaves an answer unread through %s', (kind) => {
  /** Answers until neither the kernel nor the listener takes more, and then ends the answer. Returns its size. */
  async function answerBeyondRoom(accepted: Call, client: RawClient): Promise<number> {
    client.socket.pause();
    const chunk = Buffer.alloc(64 * 1024);
    let sentBytes = 0;
    accepted.downstream.head({ ...plain, bodyBytes: -1 }, null);
    for (let turnsWithoutRoom = 0; turnsWithoutRoom < 50; ) {
      const { writable } = accepted;
      sentBytes += chunk.byteLength;
      if (accepted.downstream.body(chunk)) continue;
      for (turnsWithoutRoom = 0; turnsWithoutRoom < 50 && accepted.writable === writable; turnsWithoutRoom++)
        await new Promise((resolve) => setImmediate(resolve));
    }
    accepted.downstream.end([], null);
    return sentBytes;
  }

  // uWS looks for them every two seconds.
  it('is cut after the idle time when the proxy has done with it, and counted', async () => {
    const client = await open(kind, { clientIdleMs: 500 });
    await answerBeyondRoom(await call(client, get('/')), client);
    await expect.poll(() => bench.ended, { timeout: 10_000 }).toEqual(['answer-unread']);
    await expect.poll(() => bench.listener.connections, { timeout: 10_000 }).toBe(0);
  });

  it('is not cut while it takes a little now and then', async () => {
    const client = await open(kind, { clientIdleMs: 500 });
    const sentBytes = await answerBeyondRoom(await call(client, get('/')), client);
    const reading = setInterval(() => {
      client.socket.resume();
      setImmediate(() => client.socket.pause());
    }, 20);
    await client.until(({ receivedBytes }) => receivedBytes > sentBytes);
    clearInterval(reading);
    expect(bench.ended).toEqual([]);
  });
});
