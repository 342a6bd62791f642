import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { textsOf } from '../../../src/proxy/headers.ts';
import { type Bench, type Call, kinds, openBench, parseAnswer, plain, RawClient, unchunk } from './listener-fakes.ts';

const mebibyte = 1024 * 1024;

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** Every place differs from its neighbours, so that nothing can go missing or move unseen. */
function countingBytes(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

function hasLastChunk(received: Buffer[]): boolean {
  return /\r\n0(;[^\r\n]*)?\r\n\r\n$/.test(
    Buffer.concat(received.slice(-32).map((chunk) => chunk.subarray(-32))).toString('latin1'),
  );
}

describe.each(kinds)('requests through %s', (kind) => {
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

  async function call(request: string): Promise<Call> {
    const next = bench.proxy.nextCall();
    client.send(request);
    return next;
  }

  const upload = (length: number) => `POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`;
  const chunkedUpload = 'POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';

  describe('refused on the wire', () => {
    // [what, request, status]. Of these the uWS core answers some by itself, before any code of ours, and closes.
    const table: [string, string, number][] = [
      ['two Hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
      ['a Host that is not one', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
      ['two Content-Lengths', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx', 400],
      ['a signed Content-Length', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx', 400],
      ['a long Content-Length', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1234567890123456\r\n\r\nx', 400],
      [
        'both framings',
        'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        400,
      ],
      ['two Transfer-Encodings', `${chunkedUpload.slice(0, -2)}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
      ['gzip, chunked', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 400],
      ['gzip', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\nx', 400],
      ['a fragment', 'GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n', 400],
      ['a byte outside ASCII in the target', 'GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
      ['DEL in the target', 'GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n', 400],
      ['%00', 'GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n', 400],
      ['a backslash', 'GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n\r\n', 400],
      ['Connection: host', 'GET / HTTP/1.1\r\nHost: a\r\nConnection: host, x\r\n\r\n', 400],
      ['an unknown method', 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n', kind === 'uws' ? 501 : 400],
      ['an expectation', 'POST / HTTP/1.1\r\nHost: a\r\nExpect: miracle\r\nContent-Length: 0\r\n\r\n', 417],
      ['a long target', `GET /${'a'.repeat(16 * 1024)} HTTP/1.1\r\nHost: a\r\n\r\n`, 414],
      ['large fields', `GET / HTTP/1.1\r\nHost: a\r\nx: ${'y'.repeat(90_000)}\r\n\r\n`, 431],
      ['a space in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', kind === 'uws' ? 505 : 400],
      ['another protocol', 'SSH-2.0-x\r\n\r\n', kind === 'uws' ? 505 : 400],
      ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n', kind === 'uws' ? 505 : 501],
      ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', kind === 'uws' ? 505 : 501],
    ];
    // The uWS core of Node 20 answers a head above its own limit, and a missing Host, by closing the connection after 10 s.
    const edgeOnly: typeof table = [
      ['no Host', 'GET / HTTP/1.1\r\nX: y\r\n\r\n', 400],
      ['many fields', `GET / HTTP/1.1\r\nHost: a\r\n${'x: y\r\n'.repeat(200)}\r\n`, 431],
      ['a space before a colon', 'GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n', 400],
      ['a folded line', 'GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n', 400],
      ['a bare LF', 'GET / HTTP/1.1\nHost: a\n\n', 400],
      ['NUL in a value', 'GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n', 400],
      ['an absolute target with user information', 'GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
      [
        'Transfer-Encoding in HTTP/1.0',
        'POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        400,
      ],
    ];

    it.each(kind === 'uws' ? table : [...table, ...edgeOnly])('%s', async (_, request, status) => {
      client.send(request);
      await client.untilClosed();
      expect(bench.proxy.calls).toHaveLength(0);
      const answer = parseAnswer(client.received);
      expect(answer.status).toBe(status);
      expect(answer.headers.get('connection')).toEqual(['close']);
      if (!answer.headers.has('weft-failure')) return;
      expect(bench.refused.map(({ code }) => code)).toEqual(answer.headers.get('weft-failure'));
      expect(JSON.parse(answer.body)).toMatchObject({ status, requestId: 'id-of-test' });
    });
  });

  it('reads a head that comes byte by byte', async () => {
    const next = bench.proxy.nextCall();
    // The uWS core of Node 20 refuses a request whose first line is split.
    const request = 'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc';
    const from = kind === 'uws' ? request.indexOf('\r\n') + 2 : 1;
    client.send(request.slice(0, from));
    for (let i = from; i < request.length; i++) {
      client.send(request[i]!);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const accepted = await next;
    await accepted.until(() => accepted.ends === 1);
    expect(accepted.body).toBe('abc');
    accepted.answer({}, 'done');
    await client.untilText('\r\n\r\ndone');
  });

  it('reads a head of 40 KiB that comes in two segments', async () => {
    const next = bench.proxy.nextCall();
    client.send(`GET / HTTP/1.1\r\nHost: a\r\nCookie: ${'c'.repeat(20_000)}`);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    client.send(`${'c'.repeat(20_000)}\r\n\r\n`);
    const { head } = await next;
    expect(textsOf(head.headers)[1]).toHaveLength(40_000);
  });

  it('reports the body and its end once, and for no body too, never inside accept', async () => {
    let reportsInside = 0;
    bench.proxy.onAccept = (accepted) => {
      accepted.whenChanged = () => {
        if (bench.proxy.isAccepting) reportsInside++;
      };
    };
    for (const [request, body] of [
      ['GET / HTTP/1.1\r\nHost: a\r\n\r\n', ''],
      ['GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab', 'ab'],
      [`${upload(0)}`, ''],
      [`${upload(4)}abcd`, 'abcd'],
      [`${chunkedUpload}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`, 'abcde'],
    ] as const) {
      const accepted = await call(request);
      await accepted.until(() => accepted.ends > 0);
      expect(accepted.body).toBe(body);
      accepted.answer({}, 'x');
      await client.untilText('\r\n\r\nx');
      expect(accepted).toMatchObject({ ends: 1, gone: 0 });
      client.close();
      client = await RawClient.open(bench);
    }
    expect(reportsInside).toBe(0);
  });

  it('streams an upload of 8 MiB and applies back-pressure', async () => {
    const size = 8 * mebibyte;
    const accepted = await call(upload(size));
    let bytesAtPause = -1;
    accepted.onChunk = () => {
      if (bytesAtPause !== -1) return;
      accepted.downstream.pauseRequest();
      bytesAtPause = accepted.bodyBytes;
    };
    client.socket.write(Buffer.alloc(size, 'u'));
    await accepted.until(() => bytesAtPause !== -1);
    // Two turns of the loop bring what was read before the pause and nothing more.
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
    const bytesPaused = accepted.bodyBytes;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(accepted.bodyBytes).toBe(bytesPaused);
    expect(bytesPaused).toBeLessThan(mebibyte);
    accepted.downstream.resumeRequest();
    await accepted.until(() => accepted.ends === 1);
    expect(accepted.bodyBytes).toBe(size);
    accepted.answer({}, 'got it');
    await client.untilText('got it');
  });

  it.each([
    ['of known length', 24 * mebibyte],
    ['of unknown length', -1],
  ])('sends a large answer %s to a slow reader without holding it in memory', async (_, bodyBytes) => {
    const size = 24 * mebibyte;
    const accepted = await call('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    client.socket.pause();
    accepted.downstream.head({ ...plain, bodyBytes }, null);
    const chunk = Buffer.alloc(64 * 1024, '0123456789abcdef');
    let sent = 0;
    const pump = () => {
      while (sent < size) {
        sent += chunk.byteLength;
        if (!accepted.downstream.body(chunk)) break;
      }
      if (sent === size) accepted.downstream.end([], null);
    };
    accepted.whenChanged = pump;
    pump();
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    // What the kernel holds for a loopback connection, and one chunk.
    expect(sent).toBeLessThan(12 * mebibyte);
    let received = 0;
    let last = '';
    client.socket.removeAllListeners('data');
    const complete = new Promise<void>((resolve) => {
      client.socket.on('data', (part) => {
        received += part.byteLength;
        last = (last + part.toString('latin1')).slice(-64);
        if (bodyBytes === -1 ? last.endsWith('\r\n0\r\n\r\n') : received >= size && last.endsWith('abcdef')) resolve();
      });
    });
    client.socket.resume();
    await complete;
    expect(accepted.writable).toBeGreaterThan(0);
    expect(received - size).toBeGreaterThan(0);
    expect(received - size).toBeLessThan(50_000);
    client.close();
    client = await RawClient.open(bench);
  });

  it.each([
    ['of known length', false],
    ['chunked', true],
  ])('moves both directions %s while both are blocked in turn', async (_, isChunked) => {
    const size = 12 * mebibyte;
    const accepted = await call(isChunked ? chunkedUpload : upload(size));
    accepted.downstream.head({ ...plain, bodyBytes: isChunked ? -1 : size }, null);
    // An echo: it reads no further while the client does not.
    accepted.onChunk = (chunk) => {
      if (!accepted.downstream.body(chunk)) accepted.downstream.pauseRequest();
    };
    let resumed = 0;
    accepted.whenChanged = () => {
      if (accepted.writable > resumed) {
        resumed = accepted.writable;
        accepted.downstream.resumeRequest();
      }
      if (accepted.ends === 1) {
        accepted.ends = 2;
        accepted.downstream.end([], null);
      }
    };
    client.socket.pause();
    const received = client.collect();
    const body = countingBytes(size);
    if (isChunked) {
      client.socket.write(`${size.toString(16)}\r\n`);
      client.socket.write(body);
      client.socket.write('\r\n0\r\n\r\n');
    } else {
      client.socket.write(body);
    }
    for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve));
    client.socket.resume();
    await client.until(({ receivedBytes }) => receivedBytes >= size && (!isChunked || hasLastChunk(received)));
    const whole = Buffer.concat(received);
    const answer = whole.subarray(whole.indexOf('\r\n\r\n') + 4);
    const echo = isChunked ? Buffer.from(unchunk(answer.toString('latin1'))!.data, 'latin1') : answer;
    expect(echo.equals(body)).toBe(true);
    expect(accepted.gone).toBe(0);
  });

  it('says once that the client is gone: waiting, sending, being answered, with a held answer', async () => {
    const waiting = await call('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    client.close();
    await waiting.until(() => waiting.gone === 1);

    client = await RawClient.open(bench);
    const sending = await call(`${upload(10)}abc`);
    await sending.until(() => sending.bodyBytes === 3);
    client.socket.resetAndDestroy();
    await sending.until(() => sending.gone === 1);
    expect(sending.ends).toBe(0);

    client = await RawClient.open(bench);
    const answered = await call('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    answered.downstream.head({ ...plain, bodyBytes: 100 }, null);
    answered.downstream.body(Buffer.from('part'));
    await client.untilText('part');
    client.close();
    await answered.until(() => answered.gone === 1);
    // Nothing of this may touch a connection that is no more.
    answered.downstream.body(Buffer.from('more'));
    answered.downstream.end([], null);
    answered.downstream.abort();
    answered.downstream.pauseRequest();
    answered.downstream.resumeRequest();
    for (const each of [waiting, sending, answered]) expect(each.gone).toBe(1);
    expect(waiting.downstream.body(Buffer.from('x'))).toBe(true);
  });

  it('abort cuts the connection in every phase, and is not reported', async () => {
    const stages: ((accepted: Call) => void)[] = [
      () => {},
      ({ downstream }) => downstream.head({ ...plain, bodyBytes: -1 }, null),
      ({ downstream }) => {
        downstream.head({ ...plain, bodyBytes: 50 }, null);
        downstream.body(Buffer.from('held'));
      },
    ];
    for (const stage of stages) {
      const accepted = await call('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      stage(accepted);
      accepted.downstream.abort();
      accepted.downstream.abort();
      await client.untilClosed();
      expect(client.received).toBe('');
      expect(accepted.gone).toBe(0);
      client = await RawClient.open(bench);
    }
    for (const bodyBytes of [-1, 50]) {
      const accepted = await call('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      accepted.downstream.head({ ...plain, bodyBytes }, null);
      accepted.downstream.body(Buffer.from('part'));
      await client.untilText('part');
      accepted.downstream.abort();
      await client.untilClosed();
      const { body } = parseAnswer(client.received);
      if (bodyBytes === -1) expect(unchunk(body)).toBeNull();
      else expect(body).toBe('part');
      client = await RawClient.open(bench);
    }
    bench.proxy.onAccept = ({ downstream }) => downstream.abort();
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.untilClosed();
  });

  it(`answers before the request body has arrived, and ${kind === 'uws' ? 'closes' : 'goes on'} after it`, async () => {
    const accepted = await call(`${upload(10)}abc`);
    accepted.answer({ status: 413, reason: 'Content Too Large' }, 'no');
    await client.untilText('\r\n\r\nno');
    const isLast = parseAnswer(client.received).headers.get('connection')?.[0] === 'close';
    expect(isLast).toBe(kind === 'uws');
    client.received = '';
    const next = bench.proxy.nextCall();
    client.send('defghij');
    if (isLast) {
      await client.untilClosed();
      expect([client.isReset, accepted.ends, accepted.gone]).toEqual([false, 0, 0]);
      return;
    }
    client.send('GET /next HTTP/1.1\r\nHost: a\r\n\r\n');
    (await next).answer({}, 'next');
    await client.untilText('\r\n\r\nnext');
    expect(accepted.body.length).toBeLessThanOrEqual(3);
    expect(accepted).toMatchObject({ ends: 0, gone: 0 });
  });

  it('answers inside accept', async () => {
    bench.proxy.onAccept = (accepted) => accepted.answer({ status: 404, reason: 'Not Found' }, 'nobody');
    client.send(`${upload(3)}abc`);
    await client.untilText('\r\n\r\nnobody');
    client.received = '';
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await client.untilText('\r\n\r\nnobody');
    client.received = '';
    client.send(`${chunkedUpload}3\r\nabc\r\n0\r\n\r\n`);
    await client.untilText('\r\n\r\nnobody');
  });

  it('reports a broken chunked body as a client that is gone', async () => {
    const accepted = await call(`${chunkedUpload}3\r\nabc\r\n`);
    await accepted.until(() => accepted.bodyBytes === 3);
    client.send('zz\r\n\r\n');
    await accepted.until(() => accepted.gone === 1);
    expect(accepted.ends).toBe(0);
  });

  it('sends 100 Continue once the request is accepted', async () => {
    const accepted = await call('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n');
    await client.untilText('HTTP/1.1 100 Continue\r\n\r\n');
    client.send('ok');
    await accepted.until(() => accepted.ends === 1);
    accepted.answer({}, 'fine');
    await client.untilText('\r\n\r\nfine');
    expect(accepted.head.headers).toEqual([]);
  });
});

describe('what only uWS needs', () => {
  let bench: Bench;
  let client: RawClient;
  beforeEach(async () => {
    bench = await openBench('uws');
    client = await RawClient.open(bench);
  });
  afterEach(async () => {
    client.close();
    await bench.listener.close();
  });

  it.each([
    ['small', 'x'.repeat(10)],
    ['large', 'x'.repeat(100_000)],
  ])('closes the connection after a chunked request, behind a %s answer', async (_, body) => {
    const next = bench.proxy.nextCall();
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n');
    const accepted = await next;
    await accepted.until(() => accepted.ends === 1);
    accepted.answer({}, body);
    await client.untilClosed();
    const answer = parseAnswer(client.received);
    expect(answer.body).toBe(body);
    expect(answer.headers.get('connection')).toEqual(['close']);
  });

  it('does not take a request that is smuggled behind a chunked body', async () => {
    const next = bench.proxy.nextCall();
    client.send(
      'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n',
    );
    (await next).answer({}, 'x');
    await client.untilClosed();
    expect(bench.proxy.calls.map(({ head }) => head.path)).toEqual(['/']);
  });

  // What is written while uWS reads shares one buffer: when the kernel was full just then, uWS dropped what did not fit.
  it('loses nothing of a chunked answer that is written while uWS reads', async () => {
    const next = bench.proxy.nextCall();
    const received = client.collect();
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    const accepted = await next;
    accepted.downstream.head({ ...plain, bodyBytes: -1 }, null);
    // More than fits in that buffer, by little: 4 in 5 full kernels are met by the buffer.
    const piece = countingBytes(20_000);
    const sent: Buffer[] = [];
    let writableAt = 0;
    accepted.onChunk = () => {
      sent.push(piece);
      writableAt = accepted.writable + (accepted.downstream.body(piece) ? 0 : 1);
    };
    for (let round = 0; round < 6; round++) {
      client.socket.pause();
      let isFull = false;
      while (!isFull) {
        const pieces = sent.length;
        client.send('1\r\nx\r\n');
        await accepted.until(() => sent.length > pieces);
        for (let turn = 0; turn < 10 && accepted.writable < writableAt; turn++) await nextTurn();
        isFull = accepted.writable < writableAt;
      }
      client.socket.resume();
      await accepted.until(() => accepted.writable >= writableAt);
    }
    client.send('0\r\n\r\n');
    await accepted.until(() => accepted.ends === 1);
    accepted.downstream.end([], null);
    await client.until(() => hasLastChunk(received));
    const { body } = parseAnswer(Buffer.concat(received).toString('latin1'));
    expect(sent.length).toBeGreaterThan(50);
    expect(Buffer.from(unchunk(body)!.data, 'latin1').equals(Buffer.concat(sent))).toBe(true);
  });

  it('sends what was held back when the last bytes of a paused request come', async () => {
    const next = bench.proxy.nextCall();
    const received = client.collect();
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    const accepted = await next;
    const { downstream } = accepted;
    const piece = countingBytes(200_000);
    accepted.onChunk = () => {
      downstream.head({ ...plain, bodyBytes: -1 }, null);
      if (!downstream.body(piece)) downstream.pauseRequest();
    };
    client.send('1\r\nx\r\n0\r\n\r\n');
    await accepted.until(() => accepted.ends === 1);
    downstream.end([], null);
    await client.until(() => hasLastChunk(received));
    const { body } = parseAnswer(Buffer.concat(received).toString('latin1'));
    expect(Buffer.from(unchunk(body)!.data, 'latin1').equals(piece)).toBe(true);
  });

  it('lets a chunked request arrive after an early answer, and closes then', async () => {
    const next = bench.proxy.nextCall();
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n');
    (await next).answer({ status: 413, reason: 'Content Too Large' }, 'too much');
    await client.untilText('too much');
    expect(client.isClosed).toBe(false);
    client.send('3\r\ndef\r\n0\r\n\r\n');
    await client.untilClosed();
    expect(client.isReset).toBe(false);
    expect(parseAnswer(client.received).body).toBe('too much');
  });
});
