import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { type Bench, type Call, kinds, openBench, parseAnswer, plain, RawClient, unchunk } from './listener-fakes.ts';

const get = 'GET /a?b HTTP/1.1\r\nHost: cart\r\n\r\n';

describe.each(kinds)('answers through %s', (kind) => {
  let bench: Bench;
  let client: RawClient;

  beforeEach(async () => {
    bench = await openBench(kind);
    client = await RawClient.open(bench);
  });
  afterEach(async () => {
    client.close();
    await bench.listener.close();
  });

  /** Sends a request and waits until the proxy has it. */
  async function call(request: string): Promise<Call> {
    const next = bench.proxy.nextCall();
    client.send(request);
    return next;
  }

  it('hands over what was sent', async () => {
    const { head } = await call(
      'GET /a/../b?c=d HTTP/1.1\r\nHost: Cart:80\r\nX-One: 1\r\nConnection: x-two\r\nX-Two: 2\r\n\r\n',
    );
    expect(head).toMatchObject({
      method: 'GET',
      path: '/b',
      query: '?c=d',
      host: 'cart',
      authority: 'Cart:80',
      bodyBytes: 0,
    });
    expect(head).toMatchObject({ sourceAddress: '127.0.0.1', loopMs: 0.25 });
    expect(textsOf(head.headers)).toEqual([kind === 'uws' ? 'x-one' : 'X-One', '1']);
    expect(performance.now() - head.readAtMs).toBeLessThan(5_000);
  });

  it('passes bytes of field values on as they are', async () => {
    const { head } = await call('GET / HTTP/1.1\r\nHost: a\r\nX-Name: b\xc3\xa9c \xe2\x82\xac.\r\n\r\n');
    expect(textsOf(head.headers)[1]).toBe('b\xc3\xa9c \xe2\x82\xac.');
  });

  it('answers a small body with its length, and goes on with the connection', async () => {
    for (const body of ['one', 'two']) {
      client.received = '';
      (await call(get)).answer({ headers: headerList(['X-A', 'b', 'X-A', 'c']) }, body);
      await client.untilText(body);
      const answer = parseAnswer(client.received);
      expect(answer.status).toBe(200);
      expect(answer.body).toBe(body);
      expect(answer.headers.get('content-length')).toEqual(['3']);
      expect(answer.headers.get('x-a')).toEqual(['b', 'c']);
      expect(answer.headers.get('date')).toHaveLength(1);
      expect(answer.headers.has('transfer-encoding')).toBe(false);
    }
  });

  it('keeps one Date when the upstream has one', async () => {
    (await call(get)).answer({ headers: headerList(['Date', 'Sun, 06 Nov 1994 08:49:37 GMT']) }, 'x');
    await client.untilText('\r\n\r\nx');
    expect(parseAnswer(client.received).headers.get('date')).toHaveLength(1);
  });

  it('says the length of a body of unknown length that is here within the turn', async () => {
    (await call(get)).answer({ bodyBytes: -1 }, 'some', 'thing');
    await client.untilText('something');
    expect(parseAnswer(client.received).headers.get('content-length')).toEqual(['9']);
  });

  it('answers HEAD, 204 and 304 without a body and with the length that was said', async () => {
    const answers = [
      ['HEAD /', { status: 200, bodyBytes: 1234 }, ['1234']],
      ['HEAD /', { status: 200, bodyBytes: -1 }, undefined],
      ['GET /', { status: 204, reason: 'No Content', bodyBytes: -1 }, undefined],
      ['GET /', { status: 204, reason: 'No Content', bodyBytes: 0 }, undefined],
      ['GET /', { status: 304, reason: 'Not Modified', bodyBytes: 77 }, ['77']],
      ['GET /', { status: 304, reason: 'Not Modified', bodyBytes: -1 }, undefined],
    ] as const;
    for (const [line, head, length] of answers) {
      client.received = '';
      const { downstream } = await call(`${line} HTTP/1.1\r\nHost: a\r\n\r\n`);
      downstream.head({ ...plain, ...head, hasBody: false }, null);
      downstream.end([], null);
      await client.untilText('\r\n\r\n');
      const answer = parseAnswer(client.received);
      expect(answer.status).toBe(head.status);
      expect(answer.headers.get('content-length')).toEqual(length);
      expect(answer.headers.has('transfer-encoding')).toBe(false);
      expect(answer.body).toBe('');
    }
    client.received = '';
    (await call(get)).answer({}, 'still here');
    await client.untilText('\r\n\r\nstill here');
  });

  it('sends an empty body as length 0', async () => {
    (await call(get)).answer({ bodyBytes: -1 });
    await client.untilText('\r\n\r\n');
    expect(parseAnswer(client.received).headers.get('content-length')).toEqual(['0']);
  });

  it('sends a head before the first byte of a known length', async () => {
    const { downstream } = await call(get);
    downstream.head({ ...plain, bodyBytes: 4 }, null);
    await client.untilText('\r\n\r\n');
    downstream.body(Buffer.from('la'));
    await client.untilText('\r\n\r\nla');
    downstream.body(Buffer.from('te'));
    downstream.end([], null);
    await client.untilText('\r\n\r\nlate');
    expect(parseAnswer(client.received).headers.get('content-length')).toEqual(['4']);
    client.received = '';
    (await call(get)).answer({}, 'next');
    await client.untilText('\r\n\r\nnext');
  });

  it('sends each event of a stream as it comes', async () => {
    const { downstream } = await call(get);
    downstream.head({ ...plain, bodyBytes: -1, headers: headerList(['Content-Type', 'text/event-stream']) }, null);
    // This uWS core cannot send a head of unknown length before the first byte of the body.
    if (kind === 'edge') await client.untilText('\r\n\r\n');
    for (const event of ['one', 'two\r\n', 'three']) {
      downstream.body(Buffer.from(event));
      await client.untilText(event);
    }
    downstream.end([], null);
    await client.until(() => unchunk(parseAnswer(client.received).body) !== null);
    const answer = parseAnswer(client.received);
    expect(answer.headers.get('transfer-encoding')).toEqual(['chunked']);
    expect(unchunk(answer.body)).toEqual({ data: 'onetwo\r\nthree', rest: '' });
    client.received = '';
    (await call(get)).answer({}, 'next');
    await client.untilText('\r\n\r\nnext');
  });

  it('streams an unknown length in chunks', async () => {
    const { downstream } = await call(get);
    downstream.head({ ...plain, bodyBytes: -1 }, null);
    downstream.body(Buffer.from('first'));
    await client.untilText('first');
    downstream.body(Buffer.from('second'));
    downstream.end([], null);
    await client.until(() => unchunk(parseAnswer(client.received).body) !== null);
    expect(unchunk(parseAnswer(client.received).body)).toEqual({ data: 'firstsecond', rest: '' });
    client.received = '';
    (await call(get)).answer({}, 'next');
    await client.untilText('\r\n\r\nnext');
  });

  it('does not let a field split the answer', async () => {
    for (const headers of [
      ['X', 'a\r\nSet-Cookie: b'],
      ['X\r\nY', 'a'],
      ['X', '\0'],
      ['X', '\u010a'],
    ]) {
      const next = await call(get);
      next.answer({ headers: headerList(headers) }, 'x');
      await client.untilClosed();
      expect(client.received).toBe('');
      client = await RawClient.open(bench);
    }
    (await call(get)).answer({ reason: 'OK\r\nX: y' }, 'x');
    await client.untilClosed();
    expect(client.received).toBe('');
  });

  it('lets another answer take the place of one whose head cannot be sent, and goes on', async () => {
    const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n';
    const bad = { headers: headerList(['X', 'a\r\nb']) };
    const gives: ((call: Call) => void)[] = [
      ({ downstream }) => downstream.head({ ...plain, ...bad, bodyBytes: 9 }, null),
      (given) => given.answer(bad, 'small'),
      (given) => given.answer({ ...bad, bodyBytes: -1 }, Buffer.alloc(100_000)),
      (given) => given.answer(bad, Buffer.alloc(100_000)),
      (given) => given.answer({ ...bad, status: 204, hasBody: false }),
      ({ downstream }) => {
        downstream.head({ ...plain, ...bad, bodyBytes: -1 }, null);
        downstream.body(Buffer.from('one'));
      },
      (given) => given.answer({ reason: 'OK\r\nX: y' }, 'x'),
      (given) => given.answer({ headers: headerList(['', 'x']) }, 'x'),
    ];
    for (const [request, again] of [
      [get, 1],
      [chunked, kind === 'uws' ? 0 : 1],
    ] as const) {
      for (const give of gives) {
        const next = await call(request);
        next.onRefused = () => next.answer({ status: 502, reason: 'Bad Gateway' }, 'instead');
        give(next);
        await client.untilText('instead');
        expect(parseAnswer(client.received)).toMatchObject({ status: 502, body: 'instead' });
        expect([next.refusals, next.gone]).toEqual([1, 0]);
        if (again === 0) {
          await client.untilClosed();
          client = await RawClient.open(bench);
        }
        client.received = '';
      }
    }
  });

  it('cuts an answer whose body is shorter or longer than was said', async () => {
    const short = await call(get);
    short.answer({ bodyBytes: 10 }, 'short');
    await client.untilClosed();
    expect(short.gone).toBe(1);
    client = await RawClient.open(bench);
    const long = await call(get);
    long.answer({ bodyBytes: 2 }, 'long');
    await client.untilClosed();
    expect(long.gone).toBe(1);
    expect(client.received).not.toContain('long');
  });

  it('takes an answer back of which nothing has left, and gives another', async () => {
    const { downstream } = await call(get);
    downstream.head({ ...plain, bodyBytes: 4, headers: headerList(['X-First', '1']) }, null);
    downstream.body(Buffer.from('fir'));
    expect(downstream.retract()).toBe(true);
    downstream.head({ ...plain, status: 502, bodyBytes: 3 }, null);
    downstream.body(Buffer.from('sec'));
    downstream.end([], null);
    expect(downstream.retract()).toBe(false);
    await client.untilText('\r\n\r\nsec');
    expect(client.received).not.toMatch(/first|fir/i);
    expect(parseAnswer(client.received).status).toBe(502);
    client.received = '';
    const next = await call(get);
    next.downstream.head({ ...plain, bodyBytes: 4 }, null);
    await client.untilText('\r\n\r\n');
    expect(next.downstream.retract()).toBe(false);
    next.downstream.body(Buffer.from('next'));
    next.downstream.end([], null);
    await client.untilText('\r\n\r\nnext');
  });

  it('ignores what is said after the end', async () => {
    const { downstream } = await call(get);
    downstream.head({ ...plain, bodyBytes: 2 }, null);
    downstream.body(Buffer.from('ok'));
    downstream.end([], null);
    downstream.head({ ...plain, status: 500 }, null);
    downstream.body(Buffer.from('more'));
    downstream.end([], null);
    downstream.pauseRequest();
    downstream.resumeRequest();
    downstream.abort();
    await client.untilText('\r\n\r\nok');
    client.received = '';
    (await call(get)).answer({}, 'next');
    await client.untilText('\r\n\r\nnext');
  });

  it('answers requests sent one behind the other in one segment, in order', async () => {
    bench.proxy.onAccept = (next) => {
      if (next.head.path === '/now') next.answer({}, 'now');
    };
    client.send('GET /now HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.until(({ received }) => received.split('\r\n\r\nnow').length === 3);
  });

  it('closes when the client asks for it', async () => {
    for (const connection of ['close', 'Close, x-a']) {
      (await call(`GET / HTTP/1.1\r\nHost: a\r\nConnection: ${connection}\r\n\r\n`)).answer({}, 'bye');
      await client.untilClosed();
      expect(parseAnswer(client.received).headers.get('connection')).toEqual(['close']);
      expect(client.received.endsWith('bye')).toBe(true);
      client = await RawClient.open(bench);
    }
  });

  it('closes after a streamed answer when the client asks for it in words that uWS does not understand', async () => {
    const { downstream } = await call('GET / HTTP/1.1\r\nHost: a\r\nConnection: close, a\r\n\r\n');
    downstream.head({ ...plain, bodyBytes: 6 }, null);
    downstream.body(Buffer.from('abc'));
    await client.untilText('abc');
    downstream.body(Buffer.from('def'));
    downstream.end([], null);
    await client.untilClosed();
    expect(parseAnswer(client.received).body).toBe('abcdef');
    expect(parseAnswer(client.received).headers.get('connection')).toEqual(['close']);
  });

  it.each([
    ['chunked', { bodyBytes: -1, hasBody: true }],
    ['without a body', { bodyBytes: 9, hasBody: false }],
  ])('takes no further request after a closing answer that is %s', async (_, head) => {
    const { downstream } = await call(
      'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close, a\r\n\r\n'.replace('HEAD', head.hasBody ? 'GET' : 'HEAD'),
    );
    downstream.head({ ...plain, ...head }, null);
    if (head.hasBody) {
      downstream.body(Buffer.from('abc'));
      await client.untilText('abc');
      downstream.body(Buffer.from('def'));
    }
    downstream.end([], null);
    await client.untilText(head.hasBody ? '\r\n0' : '\r\n\r\n');
    await client.until(({ received }) => !head.hasBody || unchunk(parseAnswer(received).body) !== null);
    const answer = parseAnswer(client.received);
    expect(answer.headers.get('connection')).toEqual(['close']);
    if (!head.hasBody) expect(answer.headers.get('content-length')).toEqual(['9']);
    else expect(unchunk(answer.body)).toEqual({ data: 'abcdef', rest: '' });
    client.send(get);
    await client.untilClosed();
    expect(bench.proxy.calls).toHaveLength(1);
  });

  it('says Connection: close on answers while it drains, and takes no new connection', async () => {
    const before = await call(get);
    bench.listener.drain();
    before.answer({}, 'last');
    await client.untilClosed();
    expect(parseAnswer(client.received).headers.get('connection')).toEqual(['close']);
    expect(client.received.endsWith('last')).toBe(true);
    await expect(RawClient.open(bench)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });
});
