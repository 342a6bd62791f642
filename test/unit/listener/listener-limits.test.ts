import { afterEach, describe, expect, it } from 'vitest';
import type { ListenerLimits } from '../../../src/model/listener-limits.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { localReply } from '../../../src/proxy/local-reply.ts';
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
  ])('%s', async (_, limits, atLimit, beyond, status, code) => {
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

describe('the time of a head', () => {
  const limits = { headTimeoutMs: 300 };
  it.each<[string, string]>([
    ['half a head', 'GET / HTTP/1.1\r\nHost: a\r\nX-'],
    ['nothing', ''],
  ])('is over for a client that sends %s', async (_, sent) => {
    const client = await open('edge', limits);
    const startedAtMs = performance.now();
    client.send(sent);
    await client.untilClosed();
    expect(performance.now() - startedAtMs).toBeGreaterThan(200);
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(408);
    expect(answer.headers.get('weft-failure')).toEqual(['request-head-timeout']);
    expect(answer.headers.get('connection')).toEqual(['close']);
    expect(JSON.parse(answer.body)).toMatchObject({ detail: 'The limit is 300 ms.' });
    expect(bench.refused).toEqual([failures['request-head-timeout']]);
  });

  it('is of the whole head: a byte now and then does not renew it', async () => {
    const client = await open('edge', limits);
    client.send('GET / HTTP/1.1\r\nHost: a\r\nX: ');
    const trickle = setInterval(() => client.send('x'), 20);
    await client.untilClosed();
    clearInterval(trickle);
    expect(parseAnswer(client.received).status).toBe(408);
    expect(bench.proxy.calls).toHaveLength(0);
  });

  it('is not that of the answer', async () => {
    const client = await open('edge', limits);
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
