import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { createEdgeListener } from '../../../src/proxy/listener/edge.ts';
import { createUwsListener } from '../../../src/proxy/listener/uws.ts';
import type { Listener, RefusedHeadFacts } from '../../../src/proxy/request.ts';
import { FakeProxy, kinds, plain } from './listener-fakes.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(kind: (typeof kinds)[number]) {
  const directory = mkdtempSync(join(tmpdir(), 'weft-listener-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'out.sock');
  const proxy = new FakeProxy();
  const refused: (RefusedHeadFacts | undefined)[] = [];
  const listener: Listener = await (kind === 'uws' ? createUwsListener : createEdgeListener)({
    path,
    acceptor: proxy,
    onRefused: (_failure, head) => refused.push(head),
  });
  cleanups.push(() => listener.close());
  const client = connect({ path });
  cleanups.push(() => client.destroy());
  return { path, proxy, listener, refused, client };
}

/** All that comes until the connection ends, or `isWhole`. */
function read(client: Socket, isWhole: (text: string) => boolean = () => false): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    client.on('data', (bytes) => {
      text += bytes.toString('latin1');
      if (isWhole(text)) resolve(text);
    });
    client.on('error', () => {});
    client.once('close', () => resolve(text));
  });
}

describe.each(kinds)('at a unix socket, %s', (kind) => {
  it('refuses a broken head, whose peer has no address', async () => {
    const { client, refused } = await listen(kind);
    client.write('GET / HTTP/1.1\r\nHost: a b\r\n\r\n');
    expect(await read(client)).toMatch(/^HTTP\/1\.1 400 /);
    expect(refused).toMatchObject([{ sourceAddress: '' }]);
  });

  it('cuts an answer that breaks off', async () => {
    const { client, proxy } = await listen(kind);
    const next = proxy.nextCall();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const { downstream } = await next;
    downstream.head({ ...plain, bodyBytes: 100 }, null);
    downstream.body(Buffer.from('half'));
    const whole = read(client);
    await read(client, (text) => text.endsWith('half'));
    downstream.abort();
    expect(await whole).toMatch(/half$/);
  });

  it('serves requests, counts connections, and says where it is', async () => {
    const { client, proxy, listener, path } = await listen(kind);
    expect(listener.address).toBe(`unix:${path}`);
    const next = proxy.nextCall();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const call = await next;
    expect(call.head.sourceAddress).toBe('');
    expect(listener.connections).toBe(1);
    call.answer({}, 'well');
    expect(await read(client, (text) => text.endsWith('well'))).toMatch(/^HTTP\/1\.1 200 /);
    await listener.close();
    expect(listener.connections).toBe(0);
  });
});
