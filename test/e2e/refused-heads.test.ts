/** Heads that a listener refuses: what the client is shown is found in the log, and whoever sends many of them does not fill it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { Bench, call, until } from './harness.ts';
import { failureCount } from './slow-clients.ts';
import { exchangeBytes, manifest, service } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const broken = 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n';

describe('heads that a sidecar refuses', () => {
  const start = async () => {
    const app = await bench.app((_request, response) => response.end('ok'));
    return bench.weft([
      ...['sidecar', '--service', 'cart', '--app', app.address, '--inbound', '127.0.0.1:0', '--access-log'],
      ...['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--limit', 'inbound.body-bytes=10', '--config'],
      bench.file('cart.yaml', manifest([service('cart', [])])),
    ]);
  };

  it('are in the access log under the id that the client was shown', async () => {
    const cart = await start();
    for (const listener of ['outbound', 'inbound'] as const) {
      const answer = await exchangeBytes(cart.ready[listener], broken);
      const requestId = /^weft-request-id: (.*)\r$/im.exec(answer)![1]!;
      await until('the line is there', () => cart.logs().includes(requestId));
      const line = cart
        .logs()
        .split('\n')
        .find((each) => each.includes(requestId))!;
      expect(JSON.parse(line)).toEqual({
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        direction: listener,
        listener,
        method: 'GET',
        host: 'a/b',
        path: '/',
        sourceAddress: '127.0.0.1',
        status: 400,
        failure: 'bad-request',
        reason: 'The request is not valid HTTP.',
        detail: 'Host is not a host with an optional port.',
        traceId: requestId,
      });
    }
  });

  it('have so many lines a second, however many there are', async () => {
    const cart = await start();
    const startedAtMs = performance.now();
    const flood = 300;
    await Promise.all(Array.from({ length: flood }, () => exchangeBytes(cart.ready.inbound, broken)));
    expect(await failureCount(cart, 'bad-request')).toBe(flood);
    const windows = Math.ceil((performance.now() - startedAtMs) / 1_000) + 1;
    const isLogged = () => cart.logs().includes('"failure":"bad-request"');
    await until('the first lines are there', isLogged);
    const lines = cart.logs().split('"failure":"bad-request"').length - 1;
    expect(lines).toBeLessThanOrEqual(windows * limits.refusalLinesPerSecondMax);
  });

  it('and bodies that are too large name the limit that refused them', async () => {
    const cart = await start();
    const { status, body } = await call(cart.ready.inbound, 'cart', '/', { method: 'POST', body: Buffer.alloc(11) });
    expect(status).toBe(413);
    expect(JSON.parse(body).detail).toBe(
      'The body is larger than 10 bytes (--limit inbound.body-bytes of the sidecar of cart.default).',
    );
  });
});
