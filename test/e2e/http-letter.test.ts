/**
 * The letter of RFC 9110 and 9112 on every way through sidecars: in at the edge, out through either core, and over the link. A raw origin and a
 * raw client stand at the ends.
 */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bench, call } from './harness.ts';
import { exchangeBytes, service, startCart, startWeb } from './static-mesh.ts';

interface Way {
  readonly way: string;
  readonly at: string;
  readonly host: string;
  readonly carriesTrailers: boolean;
}

/** `far` leads over a link to the sidecar of `cart`, and `cart` to the app itself. */
const names = ['edge', 'uws', 'node', 'uws, link', 'node, link'] as const;
const ways = new Map<string, Way>();
const received: string[] = [];
let answer: string | ((socket: Socket, head: string) => void) = '';
let bench: Bench;

/** Answers a connection's first request once; what has come until then is a line of `received`. */
function serve(socket: Socket): void {
  let text = '';
  let isAnswered = false;
  socket.on('data', (chunk) => {
    if (isAnswered) return;
    text += chunk.toString('latin1');
    if (!text.includes('\r\n\r\n')) return;
    if (
      /transfer-encoding: chunked/i.test(text) &&
      typeof answer === 'string' &&
      !/\r\n0\r\n(.*\r\n)?\r\n$/s.test(text)
    )
      return;
    isAnswered = true;
    received.push(text);
    if (typeof answer === 'string') socket.end(answer, 'latin1');
    else answer(socket, text);
  });
}

beforeAll(async () => {
  bench = new Bench();
  const origin = await bench.tcp(serve);
  const cart = await startCart(bench, origin.address, [], '127.0.0.1:0', '--link', '127.0.0.1:0', '--insecure-link');
  const services = [
    service('cart', [origin.address]),
    service('far', [{ address: cart.ready.inbound, link: cart.ready.link }]),
  ];
  const uws = await startWeb(bench, services, '--insecure-link');
  const node = await startWeb(bench, services, '--insecure-link', '--outbound-http', 'node');
  const add = (way: (typeof names)[number], at: string, host: string, carriesTrailers: boolean) =>
    ways.set(way, { way, at, host, carriesTrailers });
  add('edge', cart.ready.inbound, 'cart', true);
  add('uws', uws.ready.outbound, 'cart', false);
  add('node', node.ready.outbound, 'cart', true);
  add('uws, link', uws.ready.outbound, 'far', false);
  add('node, link', node.ready.outbound, 'far', true);
});
afterAll(() => bench.close());

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Asks and reads to the end; rejects when there is none. */
function readAll({ at, host }: Way, onPart: () => void): Promise<void> {
  const [hostname, port] = at.split(':');
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, headers: { host } }, (incoming) => {
      incoming.on('data', onPart);
      incoming.once('end', resolve);
      incoming.once('error', reject);
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}

/** Sends a request on a connection of its own, and reads to the end. `{host}` stands for the Host of the way. */
async function exchange(way: Way, request: string, from: typeof answer): Promise<{ head: string; body: string }> {
  answer = from;
  received.length = 0;
  const bytes = await exchangeBytes(way.at, request.replace('{host}', `Host: ${way.host}\r\nConnection: close`));
  const end = bytes.indexOf('\r\n\r\n');
  return { head: bytes.slice(0, end + 2), body: bytes.slice(end + 4) };
}

const linesOf = (head: string, name: string) =>
  head
    .split('\r\n')
    .filter((line) => line.toLowerCase().startsWith(`${name}:`))
    .map((line) => line.slice(name.length + 1).trim());

const get = 'GET / HTTP/1.1\r\n{host}\r\n\r\n';
const hopFields = [
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'upgrade',
  'x-hop',
  'http2-settings',
];

describe.each(names)('by way of %s', (name) => {
  let way: Way;
  beforeAll(() => {
    way = ways.get(name)!;
  });

  it('a request loses the fields of its hop and those that Connection names, and keeps who asks', async () => {
    const request = [
      'POST / HTTP/1.1',
      '{host}, X-Hop, TE, Upgrade',
      ...['X-Hop: 1', 'Keep-Alive: timeout=5', 'Proxy-Connection: keep-alive', 'TE: trailers', 'Trailer: X-T'],
      ...['Upgrade: h2c', 'HTTP2-Settings: AAMAAABk', 'Authorization: Basic eDp5', 'Proxy-Authorization: Basic eDp5'],
      ...['Content-Length: 2', '', 'hi'],
    ].join('\r\n');
    expect((await exchange(way, request, ok)).body).toBe('ok');
    const [head, body] = received[0]!.split('\r\n\r\n');
    for (const field of hopFields) expect([field, linesOf(head!, field)]).toEqual([field, []]);
    expect(linesOf(head!, 'authorization')).toEqual(['Basic eDp5']);
    expect(linesOf(head!, 'proxy-authorization')).toEqual(['Basic eDp5']);
    expect(linesOf(head!, 'content-length')).toEqual(['2']);
    expect(linesOf(head!, 'host')).toEqual([way.host]);
    expect(body).toBe('hi');
  });

  it.each(['Host', 'Content-Length', 'Authorization'])(
    'a request that names %s in Connection is 400',
    async (field) => {
      const request = `POST / HTTP/1.1\r\n{host}, ${field}\r\nAuthorization: x\r\nContent-Length: 0\r\n\r\n`;
      expect((await exchange(way, request, ok)).head).toMatch(/^HTTP\/1\.1 400 .*weft-failure: bad-request/is);
      expect(received).toEqual([]);
    },
  );

  it('an answer loses the fields of its hop and keeps the challenges, with one Date', async () => {
    const from = [
      'HTTP/1.1 407 Who',
      ...['Connection: close, X-Hop', 'X-Hop: 1', 'Keep-Alive: timeout=99', 'Proxy-Connection: x', 'TE: x'],
      ...['Upgrade: h2c', 'Proxy-Authenticate: Basic', 'WWW-Authenticate: Basic', 'Trailer: X-T'],
      ...['Date: Sun, 06 Nov 1994 08:49:37 GMT', 'Date: Sat, 05 Nov 1994 08:49:37 GMT', 'Content-Length: 2', '', 'no'],
    ].join('\r\n');
    const { head, body } = await exchange(way, get, from);
    expect(head).toMatch(/^HTTP\/1\.1 407 Who\r\n/);
    for (const field of hopFields.slice(1)) expect([field, linesOf(head, field)]).toEqual([field, []]);
    expect(linesOf(head, 'connection')).toEqual(['close']);
    expect([linesOf(head, 'proxy-authenticate'), linesOf(head, 'www-authenticate')]).toEqual([['Basic'], ['Basic']]);
    expect(linesOf(head, 'date').length).toBe(1);
    expect([linesOf(head, 'content-length'), body]).toEqual([['2'], 'no']);
  });

  const closing = 'Connection: close\r\n\r\n';
  /** No length was said: it is zero where the end is known with the head, else there is the last chunk and none before it. */
  const empty = 'empty';
  it.each<[what: string, method: string, from: string, status: number, length: string | undefined, body: string]>([
    ['HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n', 200, '42', ''],
    ['HEAD without a length', 'HEAD', `HTTP/1.1 200 OK\r\n${closing}`, 200, undefined, ''],
    ['HEAD in chunks', 'HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 200, undefined, ''],
    ['204', 'GET', 'HTTP/1.1 204 None\r\n\r\n', 204, undefined, ''],
    ['204 with a length', 'GET', 'HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n', 204, undefined, ''],
    ['304', 'GET', 'HTTP/1.1 304 Same\r\nETag: "x"\r\n\r\n', 304, undefined, ''],
    ['304 with a length', 'GET', 'HTTP/1.1 304 Same\r\nContent-Length: 42\r\n\r\n', 304, '42', ''],
    ['205', 'GET', 'HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n', 205, '0', ''],
    ['205 that ends with its connection', 'GET', `HTTP/1.1 205 Reset\r\n${closing}`, 205, empty, ''],
    ['no length, HTTP/1.1', 'GET', `HTTP/1.1 200 OK\r\n${closing}all of it`, 200, undefined, 'all of it'],
    ['no length, HTTP/1.0', 'GET', 'HTTP/1.0 200 OK\r\n\r\nall of it', 200, undefined, 'all of it'],
    ['no length and no body', 'GET', 'HTTP/1.0 200 OK\r\n\r\n', 200, empty, ''],
    [
      'one behind 102 and 103, which end at this hop',
      'GET',
      `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}`,
      200,
      '2',
      'ok',
    ],
  ])('an answer passes: %s', async (_what, method, from, status, length, body) => {
    const { head, body: rest } = await exchange(way, `${method} / HTTP/1.1\r\n{host}\r\n\r\n`, from);
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(linesOf(head, 'link')).toEqual([]);
    expect(linesOf(head, 'date').length).toBe(1);
    // Where the length is not said by the origin it may have become known, never wrong; Node's own parser judges the whole.
    const framing = [...linesOf(head, 'content-length'), ...linesOf(head, 'transfer-encoding'), rest];
    if (length === empty) expect([['0', ''].join(), ['chunked', '0\r\n\r\n'].join()]).toContain(framing.join());
    else if (length !== undefined || body === '') expect(framing).toEqual([length ?? [], body].flat());
    answer = from;
    const reply = await call(way.at, way.host, '/', { method });
    expect([reply.status, reply.body]).toEqual([status, body]);
  });

  it('an Upgrade is not taken, and an origin that switches all the same is 502', async () => {
    const request = 'GET / HTTP/1.1\r\n{host}, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n';
    expect((await exchange(way, request, ok)).head).toMatch(/^HTTP\/1\.1 200 /);
    expect(received[0]).not.toMatch(/\r\nupgrade:/i);
    const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw bytes';
    for (const sent of [request, get]) {
      const { head, body } = await exchange(way, sent, switching);
      expect(head).toMatch(/^HTTP\/1\.1 502 .*weft-failure: upstream-garbage/is);
      expect(body).not.toContain('raw bytes');
    }
  });

  it('an answer that is cut is never ended cleanly', async () => {
    for (const begun of [
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n',
      'HTTP/1.1 200 OK\r\n\r\npart',
    ]) {
      const isUnframed = !/length|chunked/i.test(begun);
      let cut = () => {};
      answer = (socket) => {
        socket.write(begun);
        cut = () => (isUnframed ? socket.resetAndDestroy() : socket.end());
      };
      await expect(readAll(way, () => cut())).rejects.toThrow(/aborted|hang up|ECONNRESET/);
      // At once: what has not left the sidecar yet may become a reply that says so.
      answer = (socket) => socket.write(begun, () => (isUnframed ? socket.resetAndDestroy() : socket.end()));
      const outcome = await call(way.at, way.host).then(
        ({ status, headers }) => `${status} ${headers['weft-failure']}`,
        ({ message }: Error) => message,
      );
      expect(outcome).toMatch(/aborted|hang up|ECONNRESET|^502 (answer-cut|upstream-reset)$/);
    }
  });

  it('an answer before the end of a request ends it for both', async () => {
    answer = (socket) => socket.end('HTTP/1.1 413 Too Much\r\nContent-Length: 5\r\nConnection: close\r\n\r\nstop!');
    const body = Buffer.alloc(4_000_000);
    for (const headers of [{ 'content-length': '4000000' }, { 'transfer-encoding': 'chunked' }] as const) {
      const reply = await call(way.at, way.host, '/', { method: 'POST', body, headers: { ...headers } });
      expect([reply.status, reply.body]).toEqual([413, 'stop!']);
    }
  });

  const trailers = 'X-Sum: 1\r\nAuthorization: forged\r\nX-Sum: 2\r\n';
  it('trailers of a request and of an answer pass where both sides carry them', async () => {
    // The uWS core of Node 20 takes trailers for a next request, and closes (docs/uws.md).
    const sentTrailers = way.carriesTrailers ? trailers : '';
    const request = `POST / HTTP/1.1\r\n{host}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n${sentTrailers}\r\n`;
    const from = `HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n${trailers}Set-Cookie: a\r\n\r\n`;
    const { head, body } = await exchange(way, request, from);
    const [sentHead, sent] = [received[0]!.split('\r\n\r\n')[0]!, received[0]!];
    expect(head).toMatch(/^HTTP\/1\.1 200 /);
    const passed = way.carriesTrailers ? 'X-Sum: 1\r\nX-Sum: 2\r\n' : '';
    expect(sent.endsWith(`\r\n\r\n3\r\nabc\r\n0\r\n${passed}\r\n`)).toBe(true);
    const announced = way.carriesTrailers ? ['X-Sum'] : [];
    expect([linesOf(sentHead, 'trailer'), linesOf(head, 'trailer')]).toEqual([announced, announced]);
    if (way.carriesTrailers) expect(body).toBe(`3\r\nabc\r\n0\r\n${passed}\r\n`);
    else expect(body).not.toMatch(/x-sum|forged/i);
  });
});
