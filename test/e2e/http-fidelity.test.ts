/** What of a message arrives as it was sent, byte by byte: at a raw TCP origin behind a sidecar, and at a raw TCP client before it. */
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running, until } from './harness.ts';
import { echo, exchangeBytes, seenIn, service, startCart, startWeb, valuesOf } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

interface Origin {
  readonly address: string;
  /** Everything that arrived, connection by connection, latin1. */
  readonly received: string[];
}

/** Answers each connection's first complete head with `answer`, and closes. */
async function originOf(answer: string | ((socket: Socket, head: string) => void)): Promise<Origin> {
  const received: string[] = [];
  const { address } = await bench.tcp((socket) => {
    let at = -1;
    let isAnswered = false;
    socket.on('data', (chunk) => {
      // A sidecar first looks whether its app accepts connections: one without a byte is not a request.
      if (at === -1) at = received.push('') - 1;
      received[at] += chunk.toString('latin1');
      if (isAnswered || !received[at]!.includes('\r\n\r\n')) return;
      isAnswered = true;
      if (typeof answer !== 'string') answer(socket, received[at]!);
      else socket.end(answer, 'latin1');
    });
  });
  return { address, received };
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const withoutTrace = (text: string) => text.replace(/traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\r\n/, '');
const headOf = (message: string) => message.slice(0, message.indexOf('\r\n\r\n'));
const bodyOf = (message: string) => message.slice(message.indexOf('\r\n\r\n') + 4);
const endsWith = (end: string) => (answer: string) => answer.endsWith(end);

/** Through the inbound edge (llhttp), and outbound through uWS: the address to talk to, and the Host to say. */
async function bothSides(
  origin: string,
): Promise<readonly { side: 'inbound' | 'outbound'; sidecar: Running; at: string }[]> {
  const [cart, web] = await Promise.all([startCart(bench, origin), startWeb(bench, [service('cart', [origin])])]);
  return [
    { side: 'inbound', sidecar: cart, at: cart.ready.inbound },
    { side: 'outbound', sidecar: web, at: web.ready.outbound },
  ];
}

describe('a request', () => {
  it('arrives with its fields in order, case, repetitions and bytes kept, hop-by-hop ones dropped', async () => {
    const origin = await originOf(ok);
    const lines = [
      'X-Zulu: 1',
      'x-alpha: 2',
      'X-Zulu: 3',
      'Cookie: a=1; b="2"',
      'X-Latin: caf\xe9',
      'X-Utf8: caf\xc3\xa9 \xe2\x82\xac 5',
      'X-Empty: ',
      'Weft-Failure: draining',
      'Accept:  */*  ',
    ];
    const hop = [
      'Connection: keep-alive, X-Hop, X-Absent',
      'X-Hop: 1',
      'Keep-Alive: timeout=5',
      'TE: trailers',
      'Trailer: X-T',
      'Upgrade: websocket',
      'Proxy-Connection: keep-alive',
      'HTTP2-Settings: AAMAAABk',
    ];
    const request = `GET /a%20b/%7Euser?x=%2F&y=1+2 HTTP/1.1\r\n${[...lines, 'Host: cart:80', ...hop].join('\r\n')}\r\n\r\n`;
    const [inbound, outbound] = await bothSides(origin.address);
    expect(await exchangeBytes(inbound!.at, request, endsWith('ok'))).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    const expected = lines.map((line) =>
      line.trimEnd().replace('Accept:  ', 'Accept: ').replace('X-Empty:', 'X-Empty: '),
    );
    const target = '/a%20b/~user?x=%2F&y=1+2';
    const known = ['X-Forwarded-For: 127.0.0.1', 'X-Forwarded-Proto: http', 'X-Forwarded-Host: cart:80'];
    expect(withoutTrace(origin.received[0]!)).toBe(
      `GET ${target} HTTP/1.1\r\nHost: cart:80\r\n${[...expected, ...known].join('\r\n')}\r\n\r\n`,
    );

    // The uWS core reads names in lower case, and loses bytes that are not UTF-8 or stand at an end of a value (docs).
    const local = request.replace('X-Latin: caf\xe9\r\n', '');
    expect(await exchangeBytes(outbound!.at, local, endsWith('ok'))).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    const lowered = expected
      .filter((line) => !line.startsWith('X-Latin'))
      .map((line) => line.replace(/^[^:]*/, (name) => name.toLowerCase()));
    expect(withoutTrace(origin.received[1]!)).toBe(
      `GET ${target} HTTP/1.1\r\nHost: cart:80\r\n${lowered.join('\r\n')}\r\n\r\n`,
    );
  });

  it('has the framing it came with: a length, chunks, zero, none', async () => {
    const app = await bench.app(echo('cart'));
    for (const { at } of await bothSides(app.address)) {
      const seen = async (text: string) =>
        seenIn(bodyOf(await exchangeBytes(at, text, (answer) => answer.endsWith('"}'))));
      const counted = await seen('POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 5\r\n\r\nhello');
      expect([counted.body, ...valuesOf(counted.headers, 'content-length')]).toEqual(['hello', '5']);
      const chunked = await seen(
        'POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n',
      );
      expect([chunked.body, ...valuesOf(chunked.headers, 'transfer-encoding')]).toEqual(['hello', 'chunked']);
      const zero = await seen('POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 0\r\n\r\n');
      expect([zero.body, ...valuesOf(zero.headers, 'content-length')]).toEqual(['', '0']);
      const none = await seen('DELETE / HTTP/1.1\r\nHost: cart\r\n\r\n');
      expect(valuesOf(none.headers, 'content-length').concat(valuesOf(none.headers, 'transfer-encoding'))).toEqual([]);
      const withBody = await seen('GET / HTTP/1.1\r\nHost: cart\r\nContent-Length: 3\r\n\r\nget');
      expect(withBody.body).toBe('get');
    }
  });

  it('that expects 100-continue is told to go on, and Expect ends here', async () => {
    const app = await bench.app(echo('cart'));
    for (const { at } of await bothSides(app.address)) {
      const [host, port] = at.split(':');
      const answer = await new Promise<string>((resolve) => {
        let text = '';
        let isSent = false;
        const socket = connect(Number(port), host, () =>
          socket.write('PUT / HTTP/1.1\r\nHost: cart\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n'),
        );
        socket.on('data', (chunk) => {
          text += chunk.toString('latin1');
          if (!isSent && text.startsWith('HTTP/1.1 100 Continue\r\n\r\n')) {
            isSent = true;
            socket.write('hello');
          }
          if (text.endsWith('"}')) socket.destroy();
        });
        socket.setTimeout(5_000, () => socket.destroy());
        socket.once('close', () => resolve(text));
      });
      const final = answer.slice(answer.indexOf('\r\n\r\n') + 4);
      expect(final).toMatch(/^HTTP\/1\.1 200 OK/);
      const seen = seenIn(bodyOf(final));
      expect([seen.body, ...valuesOf(seen.headers, 'expect')]).toEqual(['hello']);
      expect(
        await exchangeBytes(at, 'PUT / HTTP/1.1\r\nHost: cart\r\nExpect: a-miracle\r\nContent-Length: 1\r\n\r\n'),
      ).toMatch(/^HTTP\/1\.1 417/);
    }
  });

  it('belongs to a trace: continued when valid, begun when absent, invalid or doubled', async () => {
    const app = await bench.app(echo('cart'));
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const parent = `00-${trace}-00f067aa0ba902b7-01`;
    for (const { at } of await bothSides(app.address)) {
      const seen = async (fields: string) => {
        const answer = await exchangeBytes(at, `GET / HTTP/1.1\r\nHost: cart\r\n${fields}\r\n`, endsWith('"}'));
        const { headers } = seenIn(bodyOf(answer));
        const traceparents = valuesOf(headers, 'traceparent');
        expect(traceparents.length).toBe(1);
        expect(traceparents[0]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
        return { traceparent: traceparents[0]!, tracestate: valuesOf(headers, 'tracestate') };
      };
      const kept = await seen(`Traceparent: ${parent}\r\ntracestate: v=1\r\n`);
      expect(kept.traceparent).toMatch(new RegExp(`^00-${trace}-(?!00f067aa0ba902b7).*-01$`));
      expect(kept.tracestate).toEqual(['v=1']);
      for (const broken of [
        '',
        `traceparent: ${parent.toUpperCase()}\r\n`,
        'traceparent: 00-0-0-0\r\n',
        `traceparent: ${parent}\r\n`.repeat(2),
      ]) {
        const begun = await seen(`${broken}tracestate: v=1\r\n`);
        expect(begun.traceparent).not.toContain(trace);
        expect(begun.tracestate).toEqual([]);
      }
    }
  });
});

describe('an answer', () => {
  it('arrives with its fields in order, case and repetitions kept, hop-by-hop ones dropped, one Date', async () => {
    const lines = [
      'X-Zulu: 1',
      'Set-Cookie: a=1; Path=/',
      'x-alpha: caf\xe9',
      'set-cookie: b=2',
      'Server: origin',
      'Server-Timing: app;dur=1',
    ];
    const origin = await originOf(
      `HTTP/1.1 203 Quite Fine\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nProxy-Authenticate: Basic\r\nWeft-Timing: 1\r\n${lines.join('\r\n')}\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\nbody`,
    );
    for (const { side, at } of await bothSides(origin.address)) {
      const answer = await exchangeBytes(at, 'GET / HTTP/1.1\r\nHost: cart\r\n\r\n', endsWith('body'));
      const fields = headOf(answer).split('\r\n');
      expect(fields[0]).toBe('HTTP/1.1 203 Quite Fine');
      expect(fields.filter((line) => lines.includes(line))).toEqual(lines);
      expect(fields.filter((line) => /^date:/i.test(line)).length).toBe(1);
      expect(fields.filter((line) => /^(x-hop|upgrade|proxy-connection)/i.test(line))).toEqual([]);
      expect(fields.filter((line) => /^keep-alive: timeout=9/i.test(line))).toEqual([]);
      expect(fields.filter((line) => /^content-length:/i.test(line))).toEqual(['Content-Length: 4']);
      expect(answer, side).not.toMatch(/uwebsockets/i);
    }
  });

  it.each<[what: string, method: string, answer: string, head: RegExp, body: string]>([
    [
      'to HEAD says the length and has no body',
      'HEAD',
      'HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n',
      /^HTTP\/1\.1 200 .*content-length: 42/is,
      '',
    ],
    [
      '204 has neither',
      'GET',
      'HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n',
      /^HTTP\/1\.1 204 (?!.*(content-length|transfer-encoding))/is,
      '',
    ],
    [
      '304 keeps its validators',
      'GET',
      'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 42\r\n\r\n',
      /^HTTP\/1\.1 304 .*etag: "x"/is,
      '',
    ],
    [
      '205 has no content',
      'GET',
      'HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n',
      /^HTTP\/1\.1 205 .*content-length: 0/is,
      '',
    ],
    [
      'with an empty body ends',
      'GET',
      'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
      /^HTTP\/1\.1 200 .*content-length: 0/is,
      '',
    ],
    [
      'behind interim ones arrives alone',
      'GET',
      `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n${ok}`,
      /^HTTP\/1\.1 200 (?!.*link)/is,
      'ok',
    ],
    [
      'in chunks with extensions arrives whole',
      'GET',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n',
      /^HTTP\/1\.1 200/,
      'abcde',
    ],
    [
      'that announces trailers and sends none arrives',
      'GET',
      'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
      /^HTTP\/1\.1 200/,
      'ok',
    ],
    [
      'of HTTP/1.0 ends with its connection',
      'GET',
      'HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nall of it',
      /^HTTP\/1\.1 200 .*x-a: 1/is,
      'all of it',
    ],
    [
      'of HTTP/1.1 without framing ends with its connection',
      'GET',
      'HTTP/1.1 200 OK\r\n\r\nall of it',
      /^HTTP\/1\.1 200/,
      'all of it',
    ],
    [
      'with a status nobody knows passes',
      'GET',
      'HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nok',
      /^HTTP\/1\.1 299 /,
      'ok',
    ],
  ])('%s', async (_what, method, answer, head, body) => {
    const origin = await originOf(answer);
    for (const { side, at } of await bothSides(origin.address)) {
      // Node's parser judges the message, bytes show the head.
      const bytes = await exchangeBytes(at, `${method} / HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n`);
      expect(headOf(bytes), side).toMatch(head);
      const reply = await call(at, 'cart', '/', { method });
      expect([side, reply.body]).toEqual([side, body]);
    }
  });

  it('keeps its trailers where the listener can send them', async () => {
    const origin = await originOf(
      'HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\nX-sum: 8\r\n\r\n',
    );
    const [inbound] = await bothSides(origin.address);
    const answer = await exchangeBytes(
      inbound!.at,
      'GET / HTTP/1.1\r\nHost: cart\r\n\r\n',
      (text) => text.endsWith('\r\n\r\n') && text.includes('\r\n0\r\n'),
    );
    expect(answer).toMatch(/\r\n3\r\nabc\r\n0\r\nX-Sum: 9\r\nX-sum: 8\r\n\r\n$/);
  });

  it('says Server-Timing only when asked, and keeps that of the app', async () => {
    const origin = await originOf(
      'HTTP/1.1 200 OK\r\nServer-Timing: db;dur=5\r\nWeft-Failure: draining\r\nContent-Length: 2\r\n\r\nok',
    );
    for (const { side, at } of await bothSides(origin.address)) {
      const timings = async (fields: string) => {
        const answer = await exchangeBytes(at, `GET / HTTP/1.1\r\nHost: cart\r\n${fields}\r\n`, endsWith('ok'));
        // An app cannot pass itself off as a sidecar.
        if (side === 'inbound') expect(answer).not.toMatch(/weft-failure/i);
        return headOf(answer)
          .split('\r\n')
          .filter((line) => /^server-timing/i.test(line));
      };
      expect(await timings('')).toEqual(['Server-Timing: db;dur=5']);
      expect(await timings('Weft-Timing: 0\r\n')).toEqual(['Server-Timing: db;dur=5']);
      const asked = await timings('Weft-Timing: 1\r\n');
      expect(asked[0]).toBe('Server-Timing: db;dur=5');
      expect(asked[1]).toMatch(/^Server-Timing: .*wait;dur=.*total;dur=/);
      expect(asked.length).toBe(2);
    }
    expect(origin.received.join('')).not.toMatch(/weft-timing/i);
  });

  it('that comes before the end of a large upload arrives, whatever the app does with the rest', async () => {
    const answer = 'HTTP/1.1 413 Too Much\r\nContent-Length: 5\r\nConnection: close\r\n\r\nstop!';
    const behaviours: ((socket: Socket) => void)[] = [
      // Reads no further and closes: what it has not read resets the connection behind the answer.
      (socket) => {
        socket.pause();
        socket.write(answer, () => socket.destroy());
      },
      (socket) => socket.end(answer),
      (socket) => socket.write(answer),
    ];
    for (const behave of behaviours) {
      const origin = await originOf(behave);
      for (const { side, sidecar, at } of await bothSides(origin.address)) {
        for (let i = 0; i < 5; i++) {
          const reply = await call(at, 'cart', '/', {
            method: 'POST',
            body: Buffer.alloc(8_000_000),
            headers: { 'content-length': '8000000' },
          }).catch(String);
          expect([side, typeof reply === 'string' ? reply : `${reply.status} ${reply.body}`]).toEqual([
            side,
            '413 stop!',
          ]);
        }
        expect(sidecar.process.exitCode).toBeNull();
      }
    }
  });

  it('in many small chunks, both ways at once, loses and doubles nothing', async () => {
    const app = await bench.app((request, response) => request.pipe(response));
    const body = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 7 + (i >> 9)) & 0xff));
    const digest = createHash('md5').update(body).digest('hex');
    for (const { at } of await bothSides(app.address)) {
      const reply = await call(at, 'cart', '/', { method: 'POST', body, headers: { 'transfer-encoding': 'chunked' } });
      expect(createHash('md5').update(Buffer.from(reply.body, 'latin1')).digest('hex')).toBe(digest);
    }
  });
});

describe('a connection', () => {
  it('is kept for the next request, and HTTP/1.0 clients of the edge are understood', async () => {
    let connections = 0;
    const app = await bench.tcp((socket) => {
      socket.once('data', () => connections++);
      socket.on('data', () => socket.write(ok));
    });
    for (const { at } of await bothSides(app.address)) {
      connections = 0;
      const one = 'GET / HTTP/1.1\r\nHost: cart\r\n\r\n';
      for (let i = 0; i < 5; i++) await exchangeBytes(at, one, endsWith('ok'));
      expect(connections).toBe(1);
    }
    const [inbound] = await bothSides(app.address);
    const old = await exchangeBytes(inbound!.at, 'GET / HTTP/1.0\r\n\r\n');
    expect(old).toMatch(/^HTTP\/1\.1 200 OK.*\r\n\r\nok$/s);
    const chunks = await originOf(
      `HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n${'x'.repeat(20_000)}\r\n0\r\nX-T: 1\r\n\r\n`,
    );
    const [edge] = await bothSides(chunks.address);
    expect(await exchangeBytes(edge!.at, 'GET / HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1\.1 200 OK.*\r\n\r\nx{20000}$/s);
  });
});

describe('a sidecar lives on', () => {
  it('whatever requests and answers are made of', async () => {
    const answers = [
      'HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n',
      'HTTP/1.1 200 OK\r\nX\x80: 1\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 200 caf\xe9\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw',
      'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlonger than five',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n',
      'HTTP/1.1 200 OK\r\nTrailer: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nB\x00d: 1\r\n\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nContent-Length: 1\r\n\r\n',
      'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello',
      'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      'HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n',
      'HTTP/1.1 503 X\r\nWeft-Failure: __proto__\r\nServer-Timing: ,,;;=\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 503 X\r\nWeft-Failure: draining\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 200 OK\r\nDate: x\r\nDate: y\r\nSet-Cookie: \r\n: no name\r\n\r\n',
      'HTTP/1.1 200 OK\r\n folded: 1\r\n\r\n',
      'HTTP/2 200\r\n\r\n',
      '\r\n\r\n\r\n',
      '',
    ];
    let next = 0;
    const origin = await originOf((socket) => socket.end(answers[next % answers.length]!, 'latin1'));
    const requests = [
      'GET / HTTP/1.1\r\nHost: cart\r\nWeft-Timing: 1\r\n\r\n',
      'HEAD / HTTP/1.1\r\nHost: cart\r\nWeft-Timing: 1\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n',
      'POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 3\r\n\r\nabc',
    ];
    const sides = await bothSides(origin.address);
    for (next = 0; next < answers.length; next++) {
      for (const { at } of sides)
        await Promise.all(
          requests.map((request) =>
            exchangeBytes(
              at,
              request.replace('Host: cart\r\n', 'Host: cart\r\nConnection: close\r\n'),
              () => false,
              1_500,
            ),
          ),
        );
    }
    const odd = [
      'GET http://user@cart/ HTTP/1.1\r\nHost: cart\r\n\r\n',
      'GET http://cart HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n',
      'GET /%00 HTTP/1.1\r\nHost: cart\r\n\r\n',
      'GET /%zz HTTP/1.1\r\nHost: cart\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: __proto__\r\nConnection: close\r\n\r\n',
      'GET / HTTP/1.1\r\nHost: cart\r\nCookie: =; =;;\r\nConnection: ,,\r\n\r\n',
      'OPTIONS * HTTP/1.1\r\nHost: cart\r\n\r\n',
      'CONNECT cart:80 HTTP/1.1\r\nHost: cart\r\n\r\n',
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      `GET /${'a'.repeat(70_000)} HTTP/1.1\r\nHost: cart\r\n\r\n`,
      `GET / HTTP/1.1\r\nHost: cart\r\n${'a: b\r\n'.repeat(500)}\r\n`,
      'GET / HTTP/1.1\r\nHost: cart\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n',
    ];
    for (const { at } of sides) await Promise.all(odd.map((request) => exchangeBytes(at, request, () => false, 1_500)));
    for (const { sidecar } of sides) {
      expect(sidecar.logs()).not.toMatch(/unhandled/);
      expect(sidecar.process.exitCode).toBeNull();
      await until(
        'nothing is in flight',
        async () => (await call(sidecar.ready.admin, 'admin', '/ready')).status === 200,
      );
    }
  });
});
