/** Both ends of an event loop in a thread, on one thread: what crosses is cloned as it would be. */
import { createServer, get } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { MessageChannel } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import { limits } from '../../../src/model/limits.ts';
import { defaultListenerLimits } from '../../../src/model/listener-limits.ts';
import type { LinkCredentials } from '../../../src/proxy/link/link-identity.ts';
import { bindServer } from '../../../src/proxy/listener/bind-server.ts';
import { ListenError } from '../../../src/proxy/listener/listen-error.ts';
import { monotonicMs, SharedLiveState } from '../../../src/proxy/live-state.ts';
import { SlotTable } from '../../../src/proxy/slot-table.ts';
import type { Clock } from '../../../src/sidecar/clock.ts';
import { HeldCredentials } from '../../../src/sidecar/identity/held-credentials.ts';
import type { LoopOptions } from '../../../src/sidecar/loop.ts';
import { LoopHost, RemoteDiscovery } from '../../../src/sidecar/loop-host.ts';
import type { FromLoop, ToLoop } from '../../../src/sidecar/loop-messages.ts';
import { type LoopServices, RemoteLoop } from '../../../src/sidecar/remote-loop.ts';
import type { SpanBatch } from '../../../src/sidecar/span-exporter.ts';
import { everyRequest } from '../../../src/telemetry/access-log.ts';
import { newPartsMs } from '../../../src/telemetry/recorder.ts';
import { type NewRow, readRow, rowLayout, rowOf, SeriesRecorder } from '../../../src/telemetry/series.ts';
import { traceRequestOf } from '../../../src/wire/otlp-request.ts';
import { decodeTraceRequest } from '../../fixtures/otlp-decoder.ts';
import { actionOf, backendOf, endpointOf, matchOf, unitOf } from '../../fixtures/service-unit.ts';
import { silentLogger } from '../control/memory-store.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const policy = { paths: 'normalise', forwarding: { xForwarded: 'off', forwarded: 'off', addsVia: false } } as const;
const options: LoopOptions = {
  service: 'web',
  namespace: 'default',
  app: null,
  outboundMode: 0o600,
  outboundHttp: 'node',
  inboundHttp: 'node',
  listenerPolicies: { outbound: policy, inbound: policy, link: policy },
  limits: defaultListenerLimits,
  isLinkInsecure: false,
  accessLog: null,
  redactedPaths: [],
  tracing: null,
};
const anyPort = { host: '127.0.0.1', port: 0 };

class ManualClock implements Clock {
  private readonly timers = new Map<object, { readonly atMs: number; readonly run: () => void }>();
  private now = 0;
  nowMs = () => this.now;
  after = (ms: number, run: () => void) => {
    const key = {};
    this.timers.set(key, { atMs: this.now + ms, run });
    return () => void this.timers.delete(key);
  };
  advance(ms: number): void {
    this.now += ms;
    for (const [key, { atMs, run }] of this.timers) if (atMs <= this.now && this.timers.delete(key)) run();
  }
}

const services = (changes: Partial<LoopServices> = {}): LoopServices => ({
  identity: new HeldCredentials(),
  discovery: { discover: (_host, done) => done('unknown-service') },
  matchPatterns: () => Promise.reject(new Error('not asked for')),
  writeAccessLog: null,
  takeSpans: null,
  logger: silentLogger,
  onHostsUsed: () => {},
  onFault: () => {},
  clock: {
    nowMs: Date.now,
    after: (ms, run) =>
      (
        (timer) => () =>
          clearTimeout(timer)
      )(setTimeout(run, ms)),
  },
  ...changes,
});

/** A loop whose far side is a real one, with a port that clones. */
function connected(changes: Partial<LoopServices> = {}) {
  const live = new SharedLiveState(monotonicMs, true);
  const slots = new SlotTable({ live, random: () => 0, nowMs: monotonicMs });
  const { port1, port2 } = new MessageChannel();
  const accessLog = (changes.writeAccessLog ?? null) === null ? null : everyRequest;
  const tracing = (changes.takeSpans ?? null) === null ? null : { sampleRatio: 1, slowMs: 0 };
  const start = { options: { ...options, accessLog, tracing }, live: live.buffer, own: null };
  const host = new LoopHost(start, (message, transfer = []) => port2.postMessage(message, [...transfer]));
  port2.on('message', (message: ToLoop) => host.onMessage(message));
  const remote = new RemoteLoop({
    ...services(changes),
    loop: 1,
    ended: host.closed,
    post: (message) => port1.postMessage(message),
  });
  port1.on('message', (message: FromLoop) => remote.onMessage(message));
  cleanups.push(async () => {
    await remote.close();
    port1.close();
    port2.close();
  });
  const swapTo = (...units: Parameters<typeof unitOf>[0][]) => {
    const changed = units.map((unit) => compileUnit(unitOf(unit)));
    slots.assign(changed);
    return remote.swap({ revision: 7, changed, left: [], own: null });
  };
  return { remote, live, swapTo };
}

/** A loop whose far side is the test: it sees what is posted, and says what it likes. */
function lonely(changes: Partial<LoopServices> = {}) {
  const posted: ToLoop[] = [];
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const clock = new ManualClock();
  const remote = new RemoteLoop({
    ...services({ clock, ...changes }),
    loop: 2,
    ended,
    post: (message) => posted.push(structuredClone(message)),
  });
  return { remote, posted, clock, end };
}

function ask(address: string, host: string, path = '/'): Promise<string> {
  const [hostname, port] = address.split(':');
  return new Promise((resolve, reject) => {
    get({ hostname, port, path, headers: { host }, agent: false }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.once('end', () =>
        resolve(response.statusCode === 200 ? body : `${response.statusCode} ${response.headers['weft-failure']}`),
      );
    }).on('error', reject);
  });
}

async function appAt(body: string): Promise<string> {
  const server = createServer((_request, response) => response.end(body));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return bindServer(server, '127.0.0.1', 0);
}

describe('an event loop behind messages', () => {
  it('serves what it was told to, and counts into memory that is read from here', async () => {
    const { remote, live, swapTo } = connected();
    const outbound = await remote.listen({ name: 'outbound', at: anyPort, isShared: false });
    expect(await ask(outbound, 'cart')).toBe('404 unknown-service');
    const endpoint = endpointOf(await appAt('here'));
    await swapTo({ name: 'cart.default', hosts: ['cart'], endpoints: [endpoint] });
    expect(await ask(outbound, 'cart')).toBe('here');
    const { failures, listeners, revision, upstreams } = await remote.readings();
    const table = remote.table();
    expect(table.labels.map(({ destination, statusClass }) => `${destination} ${statusClass}`)).toEqual([
      'unknown 4xx',
      'cart.default 2xx',
    ]);
    expect(rowOf(table, 1)[rowLayout.requests]).toBe(1);
    expect(revision).toBe(7);
    expect(failures).toEqual([{ direction: 'outbound', code: 'unknown-service', count: 1 }]);
    expect(listeners.map(({ listener }) => listener)).toEqual(['outbound']);
    expect(upstreams.map(({ destination }) => destination)).toEqual(['cart.default']);
    // Slots 1 and 2 are the Service's and its endpoint's; both were given back.
    expect([live.activeRequests(1), live.activeRequests(2)]).toEqual([0, 0]);
    expect(await remote.drainInbound(1_000)).toBe(0);
    await remote.settle(1_000);
  });

  it('says of a port that is taken what a loop of its own would', async () => {
    const { remote } = connected();
    const server = createTcpServer();
    cleanups.push(() => void server.close());
    const [host, port] = (await bindServer(server, '127.0.0.1', 0)).split(':') as [string, string];
    const refused = remote.listen({ name: 'outbound', at: { host, port: Number(port) }, isShared: false });
    await expect(refused).rejects.toThrow(ListenError);
    await expect(refused).rejects.toMatchObject({ code: 'port-taken', address: `${host}:${port}` });
    await expect(refused).rejects.toThrow(/^--outbound: cannot listen on/);
  });

  it('has patterns evaluated here, and asks for hosts here', async () => {
    const asked: string[] = [];
    const { remote, swapTo } = connected({
      matchPatterns: async ({ sources, subjects }) =>
        Uint8Array.from(subjects, (subject) => (new RegExp(`^${sources[0]}$`).test(subject) ? 1 : 0)),
      discovery: {
        discover: (host, done) => {
          asked.push(host);
          void swapTo(unit).then(() => done('ready'));
        },
      },
    });
    const unit = {
      name: 'cart.default',
      hosts: ['cart'],
      endpoints: [endpointOf(await appAt('here'))],
      matches: [matchOf('pattern', '/v[0-9]')],
      actions: [actionOf('default/cart/0', [backendOf('cart.default')])],
    };
    const outbound = await remote.listen({ name: 'outbound', at: anyPort, isShared: false });
    expect(await Promise.all(['/v1', '/v2', '/w'].map((path) => ask(outbound, 'cart', path)))).toEqual([
      'here',
      'here',
      '404 no-route',
    ]);
    expect(asked).toEqual(['cart']);
  });

  it('fails requests whose patterns could not be evaluated', async () => {
    const { remote, swapTo } = connected();
    const outbound = await remote.listen({ name: 'outbound', at: anyPort, isShared: false });
    await swapTo({
      name: 'cart.default',
      hosts: ['cart'],
      matches: [matchOf('pattern', '/a')],
      actions: [actionOf('r')],
    });
    expect(await ask(outbound, 'cart', '/a')).toBe('503 pattern-failed');
  });

  it('has its access log written here, whole batches one after the other', async () => {
    const batches: string[] = [];
    const { remote } = connected({
      writeAccessLog: (bytes, done) => {
        batches.push(bytes.toString());
        setImmediate(done, null);
      },
    });
    const outbound = await remote.listen({ name: 'outbound', at: anyPort, isShared: false });
    await Promise.all(['/a', '/b', '/c'].map((path) => ask(outbound, 'nobody', path)));
    await remote.close();
    const lines = batches.join('').trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { path: string }).path).sort()).toEqual(['/a', '/b', '/c']);
    for (const batch of batches) expect(batch.endsWith('\n')).toBe(true);
  });

  it('hands over its last spans before it has ended', async () => {
    const batches: SpanBatch[] = [];
    const { remote } = connected({
      takeSpans: (batch, taken) => {
        batches.push(batch);
        setImmediate(taken);
      },
    });
    const outbound = await remote.listen({ name: 'outbound', at: anyPort, isShared: false });
    await Promise.all(['/a', '/b', '/c'].map((path) => ask(outbound, 'nobody', path)));
    expect((await remote.readings()).spansDropped).toEqual({ 'queue-full': 0, 'over-rate': 0 });
    await remote.close();
    const resource = { service: 'web', namespace: 'default', instance: '1' };
    const spans = batches.flatMap(({ bytes }) => decodeTraceRequest(traceRequestOf(resource, [bytes])));
    expect(spans.map(({ attributes }) => attributes['url.path']).sort()).toEqual(['/a', '/b', '/c']);
    expect(batches.reduce((sum, batch) => sum + batch.spans, 0)).toBe(3);
  });
});

describe('the cold half of an event loop behind messages', () => {
  const credentials = (certificatePem: string): LinkCredentials => ({
    trustDomain: 'weft.local',
    spiffeId: 'spiffe://weft.local/ns/default/sa/web',
    certificatePem,
    keyPem: 'key',
    bundlePem: 'roots',
    expiresAtMs: 1,
  });

  it('hands over the credentials in force, and each that follows, until the thread has ended', async () => {
    const identity = new HeldCredentials();
    identity.replace(credentials('one'));
    const { posted, end } = lonely({ identity });
    identity.replace(credentials('two'));
    end();
    await new Promise((resolve) => setImmediate(resolve));
    identity.replace(credentials('three'));
    expect(posted).toEqual(['one', 'two'].map((pem) => ({ tag: 'credentials', credentials: credentials(pem) })));
  });

  it('posts the own Service only when it is another', () => {
    const { remote, posted } = lonely();
    const [one, two] = [0, 0].map(() => compileUnit(unitOf({})));
    for (const own of [one!, one!, two!]) void remote.swap({ revision: 1, changed: [], left: [], own }).catch(() => {});
    const owns = posted.map(
      (message) => message.tag === 'call' && message.name === 'swap' && message.input.own !== null,
    );
    expect(owns).toEqual([true, false, true]);
  });

  it('gives up a call at its deadline, and takes no answer after it', async () => {
    const { remote, posted, clock } = lonely();
    const swapped = remote.swap({ revision: 1, changed: [], left: [], own: null });
    const readings = remote.readings();
    clock.advance(limits.loopReadingMs);
    expect((await readings).revision).toBe(0);
    clock.advance(limits.loopAnswerMs);
    await expect(swapped).rejects.toThrow(/^event loop 2 did not answer "swap" within 20000 ms$/);
    for (const message of posted)
      if (message.tag === 'call') remote.onMessage({ tag: 'answer', id: message.id, output: null });
    const drained = remote.drainInbound(1_000);
    clock.advance(1_000 + limits.loopCloseMs);
    expect(await drained).toBe(0);
  });

  it('knows whose a row is, once it is told, and reads nothing of it between', () => {
    const { remote } = lonely();
    const recorder = new SeriesRecorder(1, (row) => told.push(row));
    const told: NewRow[] = [];
    const record = (destination: string, times: number) => {
      for (let i = 0; i < times; i++)
        recorder.series('outbound', 's', { name: destination }, { route: '' }, 200).record(1, newPartsMs(), false);
    };
    const tell = () => {
      for (const row of told.splice(0)) remote.onMessage({ tag: 'row', row });
    };
    const seen = () => {
      const table = remote.table();
      return table.labels.map(({ destination }, index) => [
        destination,
        readRow(table, index)?.[rowLayout.requests] ?? null,
      ]);
    };
    record('a', 3);
    record('b', 9);
    tell();
    expect(seen()).toEqual([
      ['a', 3],
      ['other', 9],
    ]);
    recorder.sweep(1);
    record('b', 2);
    expect(seen()[0]).toEqual(['a', null]);
    tell();
    expect(seen()[0]).toEqual(['b', 2]);
  });

  it('keeps the readings of before while the loop says none', async () => {
    const { remote, posted, clock } = lonely();
    const first = remote.readings();
    const { id } = posted[0] as Extract<ToLoop, { tag: 'call' }>;
    const output = { ...(await connectedReadings()), overflowed: 9 };
    remote.onMessage({ tag: 'answer', id, output });
    expect(await first).toEqual(output);
    const second = remote.readings();
    clock.advance(limits.loopReadingMs);
    expect(await second).toEqual(output);
  });
  const connectedReadings = () => connected().remote.readings();

  it('fails what waits for a thread that has ended, and ends what is evaluated for it', async () => {
    let signal: AbortSignal | null = null;
    const { remote, end } = lonely({
      matchPatterns: (_batch, given) => {
        signal = given;
        return new Promise(() => {});
      },
    });
    const batch = { sources: [], patternOf: [], subjects: [], progress: new SharedArrayBuffer(16) };
    remote.onMessage({ tag: 'match', id: 1, batch });
    const listening = remote.listen({ name: 'outbound', at: anyPort, isShared: true });
    end();
    await expect(listening).rejects.toThrow('event loop 2 has ended');
    expect(signal!.aborted).toBe(true);
  });

  it('ends the evaluation that nobody waits for any more', () => {
    const signals: AbortSignal[] = [];
    const { remote } = lonely({
      matchPatterns: (_batch, signal) => {
        signals.push(signal);
        return new Promise(() => {});
      },
    });
    const batch = { sources: [], patternOf: [], subjects: [], progress: new SharedArrayBuffer(16) };
    remote.onMessage({ tag: 'match', id: 1, batch });
    remote.onMessage({ tag: 'match', id: 2, batch });
    remote.onMessage({ tag: 'unmatch', id: 1 });
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, false]);
  });

  it('logs with the number of the loop, and hears of its faults and of the hosts in use', () => {
    const lines: unknown[] = [];
    const faults: string[] = [];
    const used: string[] = [];
    const { remote } = lonely({
      logger: { ...silentLogger, warn: (fields, message) => void lines.push([fields, message]) },
      onFault: ({ message }) => faults.push(message),
      onHostsUsed: (hosts) => used.push(...hosts),
    });
    remote.onMessage({ tag: 'log', level: 'warn', fields: { a: 1 }, message: 'something' });
    remote.onMessage({ tag: 'fault', text: 'Error: boom' });
    remote.onMessage({ tag: 'hosts-used', hosts: ['cart'] });
    expect(lines).toEqual([[{ a: 1, loop: 2 }, 'something']]);
    expect(faults).toEqual(['event loop 2 failed, and with it this sidecar: Error: boom']);
    expect(used).toEqual(['cart']);
  });

  it('says when the thread does not end', async () => {
    const lines: unknown[] = [];
    const { remote, clock } = lonely({
      logger: { ...silentLogger, warn: (_fields, message) => void lines.push(message) },
    });
    const closed = remote.close();
    clock.advance(limits.loopCloseMs);
    await closed;
    expect(lines).toEqual(['an event loop did not close']);
  });
});

describe('discovery from another loop', () => {
  it('asks once for a host, answers all who wait, and is bounded in number and time', () => {
    const clock = new ManualClock();
    const asked: string[] = [];
    const discovery = new RemoteDiscovery(clock, (host) => asked.push(host));
    const answers: string[] = [];
    const discover = (host: string) => discovery.discover(host, (answer) => answers.push(`${host} ${answer}`));
    discover('a');
    discover('a');
    discovery.answered('a', 'ready');
    expect([asked, answers]).toEqual([['a'], ['a ready', 'a ready']]);
    discover('b');
    clock.advance(limits.discoveryWaitMs);
    discover('b');
    // Of the request before, which has been answered.
    discovery.answered('b', 'discovery-timeout');
    expect(answers.slice(2)).toEqual(['b discovery-timeout']);
    discovery.answered('b', 'unknown-service');
    expect([asked, answers.slice(3)]).toEqual([['a', 'b', 'b'], ['b unknown-service']]);
    for (let i = 0; i <= limits.discoveryPendingMax; i++) discover(`c${i}`);
    expect(answers.slice(4)).toEqual([`c${limits.discoveryPendingMax} discovery-full`]);
    discovery.close();
    expect(answers).toHaveLength(5 + limits.discoveryPendingMax);
  });
});
