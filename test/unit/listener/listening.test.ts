import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { createEdgeListener } from '../../../src/proxy/listener/edge.ts';
import { ListenError } from '../../../src/proxy/listener/listen-error.ts';
import { createUwsListener } from '../../../src/proxy/listener/uws.ts';
import { FakeProxy, kinds, openBench, plain, RawClient } from './listener-fakes.ts';

describe.each(kinds)('listening with %s', (kind) => {
  const create = (host: string, port: number) =>
    (kind === 'uws' ? createUwsListener : createEdgeListener)({
      host,
      port,
      acceptor: new FakeProxy(),
      onRefused: () => {},
    });

  it('says what to do when the port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => other.once('listening', resolve));
    const bound = other.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : 0;
    const failing = create('127.0.0.1', port);
    await expect(failing).rejects.toBeInstanceOf(ListenError);
    await expect(failing).rejects.toMatchObject({ code: 'port-taken', address: `127.0.0.1:${port}` });
    await expect(failing).rejects.toThrow(/another process has this port/);
    await new Promise((resolve) => other.close(resolve));
  });

  it('does not share its port', async () => {
    const bench = await openBench(kind);
    await expect(create('127.0.0.1', bench.port)).rejects.toMatchObject({ code: 'port-taken' });
    await bench.listener.close();
  });

  it('says so when the address is not here', async () => {
    await expect(create('192.0.2.1', 0)).rejects.toMatchObject({ code: 'address-not-here' });
    await expect(create('192.0.2.1', 18_080)).rejects.toMatchObject({ code: 'address-not-here' });
  });

  it('can be opened on the same port at once after close, also with connections that were open', async () => {
    const bench = await openBench(kind);
    const client = await RawClient.open(bench);
    const next = bench.proxy.nextCall();
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const accepted = await next;
    expect(bench.listener.connections).toBe(1);
    await bench.listener.close();
    await bench.listener.close();
    expect(bench.listener.connections).toBe(0);
    expect(accepted.gone).toBe(1);
    await client.untilClosed();
    accepted.answer({}, 'too late');

    const again = await openBench(kind, bench.port);
    expect(again.port).toBe(bench.port);
    const fresh = await RawClient.open(again);
    const call = again.proxy.nextCall();
    fresh.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    (await call).answer({}, 'again');
    await fresh.untilText('\r\n\r\nagain');
    fresh.close();
    await again.listener.close();
  });

  it('finishes a streamed answer while it drains, and closes then', async () => {
    const bench = await openBench(kind);
    const client = await RawClient.open(bench);
    const next = bench.proxy.nextCall();
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    const { downstream } = await next;
    bench.listener.drain();
    bench.listener.drain();
    downstream.head({ ...plain, bodyBytes: 6 }, null);
    downstream.body(Buffer.from('one'));
    await client.untilText('\r\n\r\none');
    downstream.body(Buffer.from('two'));
    downstream.end([], null);
    await client.untilClosed();
    expect(client.received).toMatch(/\r\nConnection: close\r\n/i);
    expect(client.received.endsWith('\r\n\r\nonetwo')).toBe(true);
    await bench.listener.close();
  });
});
