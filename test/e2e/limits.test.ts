/** Limits of Services on the wire. Those of listeners: test/unit/listener/listener-limits.test.ts; a thousand slow clients: test/faults/slow-clients.test.ts. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running } from './harness.ts';
import { failureCount } from './slow-clients.ts';
import { exchangeBytes, manifest, service, startWeb } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

describe('the limits of a Service', () => {
  const limits = {
    requestBodyBytes: 1_000,
    requestHeadBytes: 600,
    requestHeadFields: 10,
    targetBytes: 50,
    responseHeadBytes: 400,
  };
  /** Requests that reached the app whole. */
  let reached: string[];
  let cart: Running;

  /** A callee whose sidecar knows the limits, or not. */
  async function startLimitedCart(knowsLimits: boolean): Promise<void> {
    reached = [];
    const app = await bench.app((request, response) => {
      let bytes = 0;
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.byteLength;
      });
      request.once('end', () => {
        reached.push(`${request.method} ${request.url} ${bytes}`);
        response.end('ok');
      });
      request.once('error', () => {});
      const size = Number(request.headers['x-answer-bytes'] ?? 0);
      if (size > 0) response.setHeader('x-large', 'v'.repeat(size));
    });
    cart = await bench.weft([
      ...['sidecar', '--service', 'cart', '--app', app.address, '--inbound', '127.0.0.1:0', '--link', '127.0.0.1:0'],
      // The fields that a sidecar adds count, too; which it adds is not what is asked here.
      ...['--x-forwarded', 'inbound=off'],
      ...['--insecure-link', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--config'],
      bench.file('cart.yaml', manifest([service('cart', [], knowsLimits ? { limits } : {})])),
    ]);
  }

  /** Where a request enters the mesh: a caller's sidecar that knows the limits or not, or the callee's own inbound port. */
  const entry = async (
    way: 'inbound' | 'link',
    knowsLimits: boolean,
  ): Promise<{ sidecar: Running; address: string }> => {
    if (way === 'inbound') return { sidecar: cart, address: cart.ready.inbound };
    const endpoint = { address: cart.ready.inbound, link: cart.ready.link };
    const web = await startWeb(bench, [service('cart', [endpoint], knowsLimits ? { limits } : {})], '--insecure-link');
    return { sidecar: knowsLimits ? web : cart, address: web.ready.outbound };
  };

  it.each<[where: string, way: 'inbound' | 'link', callerKnows: boolean]>([
    ["at the caller's outbound side", 'link', true],
    ["at the callee's link", 'link', false],
    ["at the callee's inbound side", 'inbound', false],
  ])('are kept %s', async (_, way, callerKnows) => {
    await startLimitedCart(!callerKnows);
    const { sidecar, address } = await entry(way, callerKnows);
    const post = (bytes: number) => call(address, 'cart', '/', { method: 'POST', body: Buffer.alloc(bytes) });
    const get = (path: string, headers: Record<string, string> = {}) => call(address, 'cart', path, { headers });
    const fields = (count: number) => Object.fromEntries(Array.from({ length: count }, (_each, i) => [`x-${i}`, '']));
    const codeOf = async (reply: Promise<{ status: number; headers: Record<string, unknown> }>) => {
      const { status, headers } = await reply;
      return `${status} ${headers['weft-failure'] ?? ''}`.trim();
    };
    expect(await codeOf(post(1_000))).toBe('200');
    expect(await codeOf(get(`/${'a'.repeat(49)}`))).toBe('200');
    // With Host and traceparent; Node says Connection, which ends here.
    expect(await codeOf(get('/', fields(8)))).toBe('200');
    expect(await codeOf(get('/', { 'x-answer-bytes': '200' }))).toBe('200');
    const before = [...reached];
    expect(before).toHaveLength(4);
    expect(await codeOf(post(1_001))).toBe('413 body-too-large');
    expect(await codeOf(get(`/${'a'.repeat(50)}`))).toBe('414 target-too-long');
    expect(await codeOf(get('/', fields(9)))).toBe('431 headers-too-large');
    expect(await codeOf(get('/', { x: 'v'.repeat(600) }))).toBe('431 headers-too-large');
    expect(reached).toEqual(before);
    expect(await codeOf(get('/', { 'x-answer-bytes': '401' }))).toBe('502 upstream-head-too-large');

    // Of unknown length: never ended cleanly at the app, and nobody waits for the rest.
    const chunk = `1f4\r\n${'c'.repeat(500)}\r\n`;
    const head = 'POST / HTTP/1.1\r\nHost: cart\r\nTransfer-Encoding: chunked\r\n\r\n';
    const isWhole = (answer: string) => answer.endsWith('\r\n\r\nok');
    expect(await exchangeBytes(address, `${head}${chunk}${chunk}0\r\n\r\n`, isWhole, 15_000)).toMatch(/^HTTP\/1.1 200/);
    const endedBefore = reached.length;
    const answer = await exchangeBytes(address, `${head}${chunk}${chunk}1\r\nc\r\n`, undefined, 15_000);
    expect(answer).toMatch(/^HTTP\/1.1 413/);
    expect(answer).toMatch(/\r\nWeft-Failure: body-too-large\r\n/i);
    expect(answer).toMatch(/\r\nConnection: close\r\n/i);
    expect(reached).toHaveLength(endedBefore);
    expect(await failureCount(sidecar, 'body-too-large')).toBe(2);
  });
});

describe('a head of the largest size that a listener lets in', () => {
  const hostField = 'Host: cart';
  /** `count` fields, Host among them, that count `bytes` in all: each with 4 for what is around it. */
  function headOf(count: number, bytes: number): string {
    const names = Array.from({ length: count - 1 }, (_, i) => `x${i}`);
    const left = bytes - hostField.length - 2 - names.join('').length - 4 * names.length;
    const each = Math.floor(left / names.length);
    const lines = names.map((name, i) => `${name}: ${'v'.repeat(each + (i === 0 ? left - each * names.length : 0))}`);
    return `GET /${'t'.repeat(16_383)} HTTP/1.1\r\n${[hostField, ...lines].join('\r\n')}\r\n\r\n`;
  }

  it('passes two hops, with all that sidecars say about it', async () => {
    let seen = '';
    const app = await bench.tcp((socket) => {
      seen = '';
      socket.on('data', (chunk) => {
        seen += chunk.toString('latin1');
        if (seen.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      });
    });
    const says = (listener: string) => [
      ...['--x-forwarded', `${listener}=append`, '--forwarded', `${listener}=append`, '--via', `${listener}=on`],
    ];
    const cart = await bench.weft([
      ...['sidecar', '--service', 'cart', '--app', app.address, '--inbound', '127.0.0.1:0', '--link', '127.0.0.1:0'],
      ...['--insecure-link', '--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', ...says('link')],
      ...['--config', bench.file('cart.yaml', manifest([service('cart', [])]))],
    ]);
    const endpoint = { address: cart.ready.inbound, link: cart.ready.link };
    // The older uWS core takes no more than 98 fields.
    const own = ['--insecure-link', '--outbound-http', 'node', ...says('outbound')];
    const web = await startWeb(bench, [service('cart', [endpoint])], ...own);
    const ask = (head: string) => exchangeBytes(web.ready.outbound, head, (answer) => answer.endsWith('ok'), 15_000);

    expect(await ask(headOf(200, 64 * 1024))).toMatch(/^HTTP\/1.1 200/);
    expect(seen.match(/\r\nx\d+: v/g)).toHaveLength(199);
    expect(seen).toMatch(/\r\nX-Forwarded-For: 127.0.0.1, 127.0.0.1\r\n/);
    expect(seen.match(/\r\nVia: /g)).toHaveLength(2);
    expect(await ask(headOf(201, 64 * 1024))).toMatch(/^HTTP\/1.1 431/);
    expect(await ask(headOf(200, 64 * 1024 + 1))).toMatch(/^HTTP\/1.1 431/);
  });
});
