/** Endpoints and callers that misbehave: every one gets a clear answer, and the sidecars live on. */
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running, until } from './harness.ts';

let bench: Bench;
let web: Running;
const loopback = ['--outbound', '127.0.0.1:0', '--admin', '127.0.0.1:0'];

beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

async function meshTo(address: string, timeouts = ''): Promise<void> {
  const policy =
    timeouts === ''
      ? ''
      : `---\napiVersion: weft.mesh/v1\nkind: TrafficPolicy\nmetadata: { name: cart }\nspec: { targetRefs: [{ kind: Service, name: cart }], timeouts: ${timeouts} }\n`;
  const file = bench.file(
    'web.yaml',
    `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: { endpoints: ['${address}'] }\n${policy}`,
  );
  web = await bench.weft(['sidecar', '--service', 'web', '--config', file, ...loopback]);
}

describe('an endpoint that', () => {
  it.each<[name: string, failure: string, status: number, behave: (socket: import('node:net').Socket) => void]>([
    ['closes at once', 'upstream-reset', 502, (socket) => socket.once('data', () => socket.end())],
    ['resets', 'upstream-reset', 502, (socket) => socket.once('data', () => socket.resetAndDestroy())],
    [
      'answers garbage',
      'upstream-garbage',
      502,
      (socket) => socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n')),
    ],
    [
      'answers with both framings',
      'upstream-garbage',
      502,
      (socket) =>
        socket.once('data', () =>
          socket.end('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'),
        ),
    ],
    [
      'answers with endless header fields',
      'upstream-head-too-large',
      502,
      (socket) =>
        socket.once('data', () => {
          socket.write('HTTP/1.1 200 OK\r\n');
          for (let i = 0; i < 5_000; i++) socket.write(`x-${i}: ${'y'.repeat(40)}\r\n`);
        }),
    ],
    ['hangs', 'per-try-timeout', 504, () => {}],
  ])('%s: %s', async (_name, failure, status, behave) => {
    await meshTo((await bench.tcp(behave)).address, '{ backendRequest: 300ms }');
    const reply = await call(web.ready.outbound, 'cart');
    expect(reply.status).toBe(status);
    expect(reply.headers['weft-failure']).toBe(failure);
    expect(JSON.parse(reply.body)).toMatchObject({ failure, status });
    expect(web.process.exitCode).toBeNull();
    expect((await call(web.ready.admin, 'admin', '/metrics')).body).toMatch(
      new RegExp(`weft_failures_total\\{[^}]*code="${failure}"[^}]*\\} [1-9]`),
    );
  });

  it('refuses the connection: connect-refused', async () => {
    const gone = await bench.tcp(() => {});
    await new Promise((resolve) => gone.server.close(resolve));
    await meshTo(gone.address);
    expect((await call(web.ready.outbound, 'cart')).headers['weft-failure']).toBe('connect-refused');
  });

  it.each<[name: string, answer: string]>([
    ['breaks off in a counted body', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n12345'],
    ['breaks off in a chunked body', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n'],
  ])('%s: the client never takes it for a whole answer', async (_name, answer) => {
    await meshTo((await bench.tcp((socket) => socket.once('data', () => socket.end(answer)))).address);
    await expect(call(web.ready.outbound, 'cart')).rejects.toThrow();
    expect(web.process.exitCode).toBeNull();
  });
});

describe('a caller that', () => {
  const raw = (address: string, text: string) =>
    new Promise<string>((resolve) => {
      const [host, port] = address.split(':');
      const socket = connect(Number(port), host);
      let answer = '';
      socket.on('data', (chunk) => {
        answer += chunk.toString('latin1');
      });
      socket.once('close', () => resolve(answer));
      socket.once('error', () => resolve(answer));
      socket.setTimeout(5_000, () => socket.destroy());
      socket.write(text, 'latin1');
    });

  it.each<[name: string, text: string]>([
    [
      'sends both framings',
      'POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['sends two lengths', 'POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd'],
    ['sends two hosts', 'GET / HTTP/1.1\r\nHost: cart\r\nHost: other\r\n\r\n'],
    ['sends no HTTP', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n'],
  ])('%s is refused, and nothing reaches the app', async (_name, text) => {
    let reached = 0;
    const app = await bench.app((_request, response) => {
      reached++;
      response.end();
    });
    const file = bench.file('cart.yaml', '');
    const cart = await bench.weft([
      'sidecar',
      '--service',
      'cart',
      '--app',
      app.address,
      '--inbound',
      '127.0.0.1:0',
      '--config',
      file,
      ...loopback,
    ]);
    await meshTo(cart.ready.inbound);
    for (const address of [web.ready.outbound, cart.ready.inbound]) {
      const answer = await raw(address, text);
      expect(answer).toMatch(/^(HTTP\/1\.1 (400|505)|$)/);
    }
    expect(reached).toBe(0);
    expect((await call(web.ready.outbound, 'cart')).status).toBe(200);
  });

  it('sends oversized header fields gets 431', async () => {
    const app = await bench.app((_request, response) => response.end());
    const file = bench.file('cart.yaml', '');
    const cart = await bench.weft([
      'sidecar',
      '--service',
      'cart',
      '--app',
      app.address,
      '--inbound',
      '127.0.0.1:0',
      '--config',
      file,
      ...loopback,
    ]);
    const answer = await raw(
      cart.ready.inbound,
      `GET / HTTP/1.1\r\nHost: cart\r\nX-Big: ${'y'.repeat(70_000)}\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 431/);
  });

  it('goes away in the middle leaves nothing behind', async () => {
    const app = await bench.tcp(() => {});
    await meshTo(app.address);
    const [host, port] = web.ready.outbound.split(':');
    for (let i = 0; i < 20; i++) {
      const socket = connect(Number(port), host);
      socket.on('error', () => {});
      socket.write('POST / HTTP/1.1\r\nHost: cart\r\nContent-Length: 100\r\n\r\nabc', () =>
        setTimeout(() => socket.destroy(), 10),
      );
    }
    await until('all connections to the app are closed', async () => {
      const metrics = (await call(web.ready.admin, 'admin', '/metrics')).body;
      return /weft_failures_total\{[^}]*code="client-gone"[^}]*\} 20/.test(metrics);
    });
  });
});
