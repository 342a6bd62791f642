/** What of the API stays open: watching, waiting for sidecars, and the control plane's own start and stop. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Watchers } from '../../src/control/api/watch.ts';
import { limits } from '../../src/model/limits.ts';
import { ManualClock, MemoryStore, service as resource } from '../unit/control/memory-store.ts';
import { type ApiUnderTest, EventReader, muteSidecar, open, route, service } from './api-harness.ts';
import { apiRoom } from './api-room.ts';

const { cleanups, start } = apiRoom();
async function watch(api: ApiUnderTest, path: string, headers: Record<string, string> = {}): Promise<EventReader> {
  const reader = await EventReader.open(api.url(path), headers);
  cleanups.push(() => reader.close());
  return reader;
}
const cart = '/v1/services/default/cart';
/** A PUT whose head the API has and whose body it waits for. */
async function halfPut(api: ApiUnderTest, body: string): Promise<{ socket: Socket; text: () => string }> {
  const [host, port] = api.plane.api.split(':') as [string, string];
  const socket = connect(Number(port), host);
  cleanups.push(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.write(
    `PUT ${cart} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nexpect: 100-continue\r\n\r\n`,
  );
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  while (!text.includes('100 Continue')) await once(socket, 'data');
  text = '';
  return { socket, text: () => text };
}
const elapsedMs = async (work: Promise<unknown>): Promise<number> => {
  const startedMs = performance.now();
  await work;
  return performance.now() - startedMs;
};

describe('watching', () => {
  it('cannot begin in the future, nor where nothing is kept, nor when too many watch', async () => {
    const api = await start({ watchersMax: 2 });
    expect((await api.get('/v1/watch?from=2')).body).toMatchObject({
      status: 400,
      detail: expect.stringMatching(/future/),
    });
    expect((await api.get('/v1/watch?from=x')).status).toBe(400);
    const first = await watch(api, '/v1/watch');
    await watch(api, '/v1/services?watch=1');
    expect((await api.get('/v1/httproutes?watch=true')).body).toMatchObject({ status: 503, code: 'too-many-watchers' });
    first.close();
    for (;;) {
      const again = await fetch(api.url('/v1/watch'));
      await again.body?.cancel();
      if (again.status === 200) break;
    }
  });

  it('must begin anew where revisions are no longer kept', async () => {
    const api = await start();
    const note = (fill: string) => service('cart', {}, { annotations: { note: fill.repeat(1_000_000) } });
    // Each revision holds the object before and after.
    const count = Math.ceil(limits.historyCharsMax / 2_000_000) + 2;
    for (let i = 0; i < count; i++) await api.put(cart, note(i % 2 === 0 ? 'a' : 'b'));
    const gone = await api.get('/v1/watch?from=1');
    expect(gone.body).toMatchObject({
      status: 410,
      code: 'revision-gone',
      detail: expect.stringMatching(/list the objects/),
    });
    const { revision } = (await api.get('/v1/services')).body;
    // The trust bundle's is the first.
    expect(revision).toBe(count + 1);
    const reader = await watch(api, `/v1/services?watch=1&from=${revision}`);
    expect((await reader.next())?.id).toBe(String(revision));
  });

  it('is not what HEAD asks for', async () => {
    const api = await start({ watchersMax: 1 });
    for (const path of ['/v1/watch', '/v1/services?watch=1']) {
      const head = await fetch(api.url(path), { method: 'HEAD' });
      expect([head.status, head.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    }
    await watch(api, '/v1/watch');
  });

  it('tells each object of a revision, then the revision', async () => {
    const api = await start();
    await api.put(cart, service('cart'));
    const all = await watch(api, '/v1/watch?from=0');
    const services = await watch(api, '/v1/services?watch=1');
    const shop = await watch(api, '/v1/services?watch=1&namespace=shop&from=0');
    await api.transact({ apply: [service('next'), route('r', 'cart', 'next')] });
    await api.transact({ delete: [{ kind: 'HTTPRoute', name: 'r' }] });
    const brief = (events: Awaited<ReturnType<EventReader['take']>>) =>
      events.map((event) => `${event?.event} ${event?.id ?? event?.data.object?.metadata.name ?? event?.data.name}`);
    // The first revision is the trust bundle's, which is no resource.
    expect(brief(await all.take(9))).toEqual([
      'revision 0',
      'revision 1',
      'put cart',
      'revision 2',
      'put next',
      'put r',
      'revision 3',
      'delete r',
      'revision 4',
    ]);
    // A watcher of one kind hears of every revision, so that it can resume from the newest one.
    expect(brief(await services.take(4))).toEqual(['revision 2', 'put next', 'revision 3', 'revision 4']);
    expect(brief(await shop.take(5))).toEqual(['revision 0', 'revision 1', 'revision 2', 'revision 3', 'revision 4']);
    const resumed = await watch(api, '/v1/httproutes?watch=1&from=3');
    expect(brief(await resumed.take(3))).toEqual(['revision 3', 'delete r', 'revision 4']);
    const put = await (await watch(api, '/v1/services?watch=1&from=2')).take(2);
    expect(put[1]?.data).toEqual({ revision: 3, object: (await api.get('/v1/services/default/next')).body });
  });

  it('goes on where the header of a reconnecting EventSource says, whatever its address says', async () => {
    const api = await start();
    for (const port of [1, 2, 3, 4]) await api.put(cart, service('cart', { port }));
    const paths = ['/v1/watch?from=0', '/v1/services?watch=1&from=0', '/v1/services?watch=1'];
    for (const path of paths) {
      const resumed = await watch(api, path, { 'last-event-id': '4' });
      expect((await resumed.take(3)).map((event) => `${event?.event} ${event?.id}`)).toEqual([
        'revision 4',
        'put null',
        'revision 5',
      ]);
    }
    for (const [path, id] of [
      ['/v1/watch', 'x'],
      ['/v1/services?watch=1', '3, 4'],
    ] as const)
      expect((await api.get(path, { 'last-event-id': id })).body).toMatchObject({
        status: 400,
        code: 'bad-request',
        detail: expect.stringMatching(/last-event-id/),
      });
  });

  it('ends when the control plane does', async () => {
    const api = await start();
    const reader = await watch(api, '/v1/watch');
    await reader.next();
    expect(await elapsedMs(api.plane.close())).toBeLessThan(2_000);
    expect(await reader.next().catch(() => null)).toBe(null);
  });
});

/** Watchers behind a plain server, so that the time is the test's and readers can be as slow as they like. */
async function watchers(options: Partial<ConstructorParameters<typeof Watchers>[0]> = {}) {
  let isAllowed = true;
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const all = new Watchers({ store, clock, ...options });
  const server = createServer((request, raw) => {
    const reply = { raw, request, hijack: () => undefined } as unknown as Parameters<Watchers['watch']>[0];
    try {
      all.watch(reply, {
        kind: null,
        namespace: null,
        from: Number(request.url?.slice(1)),
        isAllowed: () => isAllowed,
      });
    } catch (error) {
      raw.end(String(error));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  cleanups.push(() => {
    all.close();
    server.closeAllConnections();
    server.close();
  });
  const reader = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`GET /${store.revision} HTTP/1.1\r\nhost: x\r\n\r\n`);
    cleanups.push(() => socket.destroy());
    await once(socket, 'readable');
    return socket;
  };
  const revoke = () => {
    isAllowed = false;
  };
  return { clock, store, all, reader, revoke };
}

describe('a watcher', () => {
  it('hears that the connection lives', async () => {
    const { clock, reader } = await watchers();
    const socket = await reader();
    let text = String(socket.read());
    socket.on('data', (chunk) => {
      text += String(chunk);
    });
    clock.advance(15_000);
    clock.advance(15_000);
    while (text.split(': still here').length < 3) await once(socket, 'data');
  });

  it('that reads too slowly is told to list anew', async () => {
    const { store, all, reader } = await watchers({ unsentBytesMax: 64 * 1024 });
    const socket = await reader();
    const big = resource('big');
    big.metadata.annotations = { note: 'x'.repeat(512 * 1024) };
    // Until the kernel's buffers are full as well.
    for (let i = 0; all.count === 1 && i < 100; i++) await store.put(big);
    expect(all.count).toBe(0);
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toMatch(/event: relist\ndata: {"code":"too-slow"}\n\n\r\n0\r\n\r\n$/);
  });

  it('loses its connection when its token is revoked', async () => {
    const { clock, all, reader, revoke } = await watchers();
    const socket = await reader();
    clock.advance(15_000);
    expect(all.count).toBe(1);
    revoke();
    clock.advance(15_000);
    expect(all.count).toBe(0);
    socket.resume();
    await once(socket, 'close');
  });

  it('is told to list anew where listing costs less, and hears of what it asks for', async () => {
    const { store, all } = await watchers();
    const big = resource('big');
    for (let i = 0; i < 17; i++) {
      big.metadata.annotations = { note: `${i}`.repeat(1024 * 1024).slice(0, 1024 * 1024) };
      await store.put(big);
    }
    const from = (revision: number, kind: 'Service' | 'HTTPRoute' | null) => {
      const raw = { writeHead() {}, write() {}, end() {}, once() {}, on() {}, writableLength: 0 };
      const reply = { raw, request: { method: 'GET' }, hijack() {} } as unknown as Parameters<Watchers['watch']>[0];
      all.watch(reply, { kind, namespace: null, from: revision, isAllowed: () => true });
    };
    expect(() => from(0, null)).toThrow(/more was changed than is told again: list the objects/);
    expect(() => from(0, 'Service')).toThrow(/list the objects/);
    from(0, 'HTTPRoute');
    from(2, null);
    expect(all.count).toBe(2);
  });

  it('that is behind is cut when all of them together are too much', async () => {
    const { store, all, reader } = await watchers({ unsentBytesMaxOfAll: 1024 * 1024 });
    const sockets = await Promise.all(Array.from({ length: 20 }, reader));
    const big = resource('big');
    big.metadata.annotations = { note: 'x'.repeat(900 * 1024) };
    // None is behind by more than one may be; together they are, once the kernel's buffers are full.
    for (let i = 0; all.count === 20 && i < 100; i++) await store.put(big);
    expect(all.count).toBeLessThan(20);
    for (const socket of sockets) socket.resume();
  });

  it('that does not read at all loses its connection, and counts until then', async () => {
    const { clock, store, all, reader } = await watchers({ unsentBytesMax: 64 * 1024, watchersMax: 1 });
    const socket = await reader();
    const big = resource('big');
    big.metadata.annotations = { note: 'x'.repeat(16 * 1024 * 1024) };
    for (let i = 0; all.count === 1 && i < 100; i++) await store.put(big);
    expect(String((await reader()).read())).toContain('There are 1 watchers already');
    clock.advance(limits.slowReaderMs + 1);
    // The rest of what the kernel holds, then the end.
    socket.resume();
    await once(socket, 'close');
    for (;;) if (String((await reader()).read()).includes('event: revision')) break;
  });
});

describe('waiting until a change is in force', () => {
  it('is over at once without sidecars', async () => {
    const api = await start();
    const put = await api.put(`${cart}?wait=applied`, service('cart'));
    expect([put.status, put.body.metadata.resourceVersion]).toEqual([201, '2']);
    const made = await api.transact({ apply: [service('b')] }, '?wait=applied&timeoutMs=600000');
    expect(made.body.applied).toEqual({ revision: 3, applied: [], missing: [], refused: [], gone: [] });
    expect((await api.delete(`${cart}?wait=applied`)).body.applied).toMatchObject({ revision: 4 });
  });

  it('ends with an acknowledgement, or names who is missing and who refuses', async () => {
    const api = await start();
    await api.put(cart, service('cart'));
    const [good, mute] = [await muteSidecar(api, 'good', ['cart']), await muteSidecar(api, 'mute', ['cart'])];
    cleanups.push(good.end, mute.end);
    good.ack(await good.next());
    mute.ack(await mute.next());

    const change = (port: number) => ({ apply: [service('cart', { port })] });
    const refused = api.transact(change(1), '?wait=applied&timeoutMs=600000');
    good.ack(await good.next());
    mute.nack(await mute.next(), 'no room for it');
    const { status, body } = await refused;
    const name = (sidecar: string) => ({ sidecar, service: 'app', namespace: 'default' });
    expect(status).toBe(504);
    expect(body).toMatchObject({
      code: 'not-applied',
      revision: 3,
      missing: [],
      refused: [{ ...name('mute'), reason: 'no room for it' }],
    });
    expect(body.results).toMatchObject([{ action: 'replaced', revision: 3 }]);

    const late = await api.put(`${cart}?wait=applied&timeoutMs=1`, service('cart', { port: 2 }));
    expect([late.status, late.body.code, late.body.revision]).toEqual([504, 'not-applied', 4]);
    expect(late.body.missing).toContainEqual(name('mute'));
    expect((await api.get(cart)).body.spec.port).toBe(2);
    expect((await api.get('/v1/sidecars')).body.items).toHaveLength(2);
  });

  it('does not hold up the end of the control plane, and is answered', async () => {
    const api = await start();
    await api.put(cart, service('cart'));
    const mute = await muteSidecar(api, 'mute', ['cart']);
    cleanups.push(mute.end);
    mute.ack(await mute.next());
    const reader = await watch(api, '/v1/watch');
    const waiting = api.transact({ apply: [service('cart', { port: 1 })] }, '?wait=applied&timeoutMs=600000');
    await reader.take(3);
    await mute.next();
    expect(await elapsedMs(api.plane.close())).toBeLessThan(2_000);
    const { status, body } = await waiting;
    expect([status, body.code, body.revision]).toEqual([504, 'not-applied', 3]);
    // Once more is no harm.
    await api.plane.close();
  });
});

describe('a control plane', () => {
  it.each([
    [{ push: '127.0.0.1' }, 'bad-address', /is not HOST:PORT/],
    [{ listen: '127.0.0.1:65536' }, 'bad-address', /is not HOST:PORT/],
    [{ storeUrl: 'etcd://127.0.0.1' }, 'bad-store', /etcd is not understood.*HOST:PORT/],
    [{ storeUrl: 'embedded:' }, 'bad-store', /not understood/],
    [{ storeUrl: '/tmp/x' }, 'bad-store', /not understood/],
    [{ storeUrl: 'embedded:/dev/null/x' }, 'store-unusable', /cannot be used/],
  ])('does not start with %j', async (options, code, message) => {
    const directory = await mkdtemp(join(tmpdir(), 'weft-api-'));
    cleanups.push(() => rm(directory, { recursive: true }));
    const error: unknown = await open(directory, options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    await expect(stat(join(directory, 'store.mdb'))).rejects.toThrow();
  });

  it.each([{ listen: '0.0.0.0:0' }, { listen: '[::]:0' }, { push: '192.0.2.1:0' }])(
    'lets no other machine in before there is a token: %j',
    async (options) => {
      const directory = await mkdtemp(join(tmpdir(), 'weft-api-'));
      cleanups.push(() => rm(directory, { recursive: true }));
      await expect(open(directory, options)).rejects.toMatchObject({
        code: 'no-api-token',
        message: expect.stringContaining(`weft token create --role admin --store embedded:${directory}`),
      });
      // It has let go of its store.
      await (await open(directory, {})).close();
    },
  );

  it('that fails halfway lets go of its ports and its store', async () => {
    const taken = await start();
    const directory = await mkdtemp(join(tmpdir(), 'weft-api-'));
    cleanups.push(() => rm(directory, { recursive: true }));
    await expect(open(directory, { listen: taken.plane.api })).rejects.toMatchObject({
      code: 'port-taken',
      message: expect.stringContaining(taken.plane.api),
    });
    await expect(open(directory, { push: taken.plane.push })).rejects.toMatchObject({ code: 'port-taken' });
    await expect(open(directory, { storeUrl: `embedded:${taken.directory}` })).rejects.toMatchObject({
      code: 'store-in-use',
    });
    const plane = await open(directory, {});
    const { api, push } = plane;
    await plane.close();
    const again = await open(directory, { listen: api, push });
    expect([again.api, again.push]).toEqual([api, push]);
    await again.close();
  });

  it('answers what it is being told when it ends, and then lets go of the connection', async () => {
    const api = await start();
    const body = JSON.stringify(service('cart'));
    const { socket, text } = await halfPut(api, body);
    const closing = api.plane.close();
    socket.write(body);
    await closing;
    if (!socket.closed) await once(socket, 'close');
    expect(text()).toMatch(/HTTP\/1\.1 201 Created\r\n(.+\r\n)*connection: close\r\n/i);
    await api.restart();
    expect((await api.get(cart)).body.metadata.resourceVersion).toBe('2');
  });

  it('does not wait for ever for who never ends a request', async () => {
    const api = await start();
    const { socket, text } = await halfPut(api, JSON.stringify(service('cart')));
    expect(await elapsedMs(api.plane.close())).toBeLessThan(4_000);
    if (!socket.closed) await once(socket, 'close');
    expect(text()).not.toContain('HTTP/1.1 2');
  });

  it('keeps what it was told when it ends', async () => {
    const api = await start();
    await api.transact({ apply: [service('cart'), service('next'), route('r', 'cart', 'next')] });
    const before = await Promise.all(['/v1/services', '/v1/httproutes', '/v1/revisions'].map((path) => api.get(path)));
    await api.restart();
    const after = await Promise.all(['/v1/services', '/v1/httproutes', '/v1/revisions'].map((path) => api.get(path)));
    expect(after.map(({ body }) => body)).toEqual(before.map(({ body }) => body));
    expect((await api.put(cart, service('cart', { port: 1 }), { 'if-match': '2' })).headers.get('etag')).toBe('"3"');
  });

  it('answers no write that its disk refused', async () => {
    const api = await start();
    await api.put(cart, service('cart'));
    // The store of a control plane that ends refuses like a full disk does: with a StoreError.
    const closing = api.plane.close();
    const answer = await api.put(cart, service('cart', { port: 1 })).catch(() => null);
    await closing;
    if (answer !== null && answer.status !== 200) expect(answer.body.status).toBe(503);
    await api.restart();
    expect((await api.get(cart)).body.spec.port).toBe(answer?.status === 200 ? 1 : undefined);
  });
});

describe('a control plane of its own process', () => {
  it('keeps every answered write when it is killed', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'weft-api-'));
    cleanups.push(() => rm(directory, { recursive: true }));
    const first = await spawnPlane(directory);
    let answered = 0;
    const writes = (async () => {
      for (let port = 1; ; port++) {
        const body = JSON.stringify(service('cart', { port }));
        const headers = { 'content-type': 'application/json' };
        const answer = await fetch(`http://${first.api}${cart}`, { method: 'PUT', headers, body }).catch(() => null);
        if (answer === null) return;
        answered = port;
        if (port === 30) first.child.kill('SIGKILL');
      }
    })();
    await Promise.all([writes, once(first.child, 'exit')]);
    const second = await spawnPlane(directory);
    const { spec, metadata } = (await (await fetch(`http://${second.api}${cart}`)).json()) as {
      spec: { port: number };
      metadata: { resourceVersion: string };
    };
    expect(answered).toBeGreaterThanOrEqual(30);
    // One more may be durable whose answer was lost.
    expect([answered, answered + 1]).toContain(spec.port);
    // The first revision is the trust bundle's.
    expect(Number(metadata.resourceVersion)).toBe(spec.port + 1);
    second.child.kill('SIGTERM');
    expect(await once(second.child, 'exit')).toEqual([0, null]);
  });
});

async function spawnPlane(directory: string): Promise<{ readonly child: ChildProcess; readonly api: string }> {
  const args = [
    'control-plane',
    '--listen',
    '127.0.0.1:0',
    '--push',
    '127.0.0.1:0',
    '--store',
    `embedded:${directory}`,
    '--ca-dir',
    join(directory, 'ca'),
  ];
  const child = spawn(process.execPath, ['dist/bin/weft.js', ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  cleanups.push(() => child.kill('SIGKILL'));
  let text = '';
  while (!text.includes('\n')) text += String((await once(child.stdout!, 'data'))[0]);
  return { child, api: (JSON.parse(text) as { api: string }).api };
}
