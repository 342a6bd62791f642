import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { newPartsMs, partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { FakeClient, FakeEndpoint, fakeAction, fakeHead, fakeMesh } from './proxy-fakes.ts';

describe('a request that fails', () => {
  it('says in JSON and in a header which failure it was', () => {
    const { proxy, failureCounts, recorded } = fakeMesh([]);
    const client = new FakeClient();
    proxy.accept(fakeHead(), client);
    expect(client.events).toEqual(['head 503', 'end']);
    expect(client.header('weft-failure')).toBe('no-endpoint');
    expect(JSON.parse(client.bodyText)).toMatchObject({ failure: 'no-endpoint', status: 503 });
    expect(failureCounts).toEqual(['no-endpoint']);
    expect(recorded).toMatchObject([{ status: 503, isFailure: true }]);
    expect(proxy.active).toBe(0);
    expect(proxy.deadlines.count).toBe(0);
  });

  it.each([
    ['unknown-service', 404],
    ['no-configuration', 503],
    ['discovery-timeout', 503],
    ['discovery-full', 503],
  ] as const)('answers %s with %i for a host that discovery does not find', (code, status) => {
    const { proxy } = fakeMesh([], undefined, { discovery: { discover: (_host, done) => done(code) } });
    const client = new FakeClient();
    proxy.accept(fakeHead({ host: 'nobody' }), client);
    expect(client.answer?.status).toBe(status);
    expect(client.header('weft-failure')).toBe(code);
  });

  it('answers 500 for a backend that does not exist, and for a rule whose weights are all 0', () => {
    for (const [action, code] of [
      [fakeAction({}, null), 'backend-not-found'],
      [fakeAction({ pickBackend: () => null }), 'no-backend'],
    ] as const) {
      const client = new FakeClient();
      fakeMesh([new FakeEndpoint('a:1', 0)], action).proxy.accept(fakeHead(), client);
      expect(client.answer?.status).toBe(500);
      expect(client.header('weft-failure')).toBe(code);
    }
  });

  it('tries another endpoint when the first refused the connection, and never more than the limit', () => {
    const endpoints = [0, 1, 2, 3, 4].map((slot) => new FakeEndpoint(`a:${slot}`, slot));
    const { proxy, retries, live } = fakeMesh(endpoints);
    const client = new FakeClient();
    const receiver = proxy.accept(fakeHead({ method: 'POST' }), client);
    receiver.onRequestEnd([]);
    for (let i = 0; i < limits.attemptsMax; i++) endpoints[i]!.last.fail(failures['connect-refused']);
    expect(client.header('weft-failure')).toBe('connect-refused');
    expect(endpoints.map((endpoint) => endpoint.streams.length)).toEqual([1, 1, 1, 0, 0]);
    expect(retries).toEqual(['connect-refused', 'connect-refused']);
    expect(live).toEqual(['begin 0', 'end 0 failed', 'begin 1', 'end 1 failed', 'begin 2', 'end 2 failed']);
  });

  it('repeats an idempotent request on a stale connection, and never a POST', () => {
    for (const [method, streams] of [
      ['GET', 2],
      ['POST', 1],
    ] as const) {
      const endpoint = new FakeEndpoint('a:1', 0);
      const { proxy } = fakeMesh([endpoint]);
      const client = new FakeClient();
      proxy.accept(fakeHead({ method }), client);
      endpoint.last.assign();
      endpoint.last.fail(failures['stale-connection'], true);
      expect(endpoint.streams.length).toBe(streams);
      expect(client.events).toEqual(method === 'GET' ? [] : ['head 502', 'end']);
    }
  });

  it('does not risk the last attempt on a kept connection', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    fakeMesh([endpoint]).proxy.accept(fakeHead(), new FakeClient());
    for (let i = 1; i < limits.attemptsMax; i++) endpoint.last.fail(failures['stale-connection'], true);
    expect(endpoint.streams.map(({ needsFresh }) => needsFresh)).toEqual([false, false, true]);
  });

  it('does not repeat a request after a reset on a fresh connection', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const client = new FakeClient();
    fakeMesh([endpoint]).proxy.accept(fakeHead(), client);
    endpoint.last.fail(failures['upstream-reset']);
    expect(client.header('weft-failure')).toBe('upstream-reset');
  });

  it('cuts an answer that broke off, so that it cannot be taken for a whole one', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, failureCounts, recorded } = fakeMesh([endpoint]);
    const client = new FakeClient();
    proxy.accept(fakeHead(), client);
    endpoint.last.handler.onHead({ status: 200, reason: 'OK', headers: [], bodyBytes: 10, hasBody: true, far: null });
    endpoint.last.handler.onBody(Buffer.from('12345'));
    endpoint.last.fail(failures['answer-cut']);
    expect(client.events).toEqual(['head 200', 'abort']);
    expect(failureCounts).toEqual(['answer-cut']);
    expect(recorded).toMatchObject([{ status: 200, isFailure: true }]);
  });

  it('ends the attempt when the client goes, and counts it as 499', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, recorded, live } = fakeMesh([endpoint]);
    const receiver = proxy.accept(fakeHead(), new FakeClient());
    receiver.onClientGone();
    expect(endpoint.last.events).toContain('destroy');
    expect(recorded).toMatchObject([{ status: 499, isFailure: true }]);
    expect(live).toEqual(['begin 0', 'end 0 abandoned']);
    receiver.onRequestBody(Buffer.from('late'));
    receiver.onRequestEnd([]);
    expect(endpoint.last.bodyText).toBe('');
  });
});

describe('deadlines', () => {
  it.each([
    ['request-timeout', 'request', { requestMs: 100, perTryMs: 0, idleMs: 0 }],
    ['per-try-timeout', 'backendRequest', { requestMs: 0, perTryMs: 100, idleMs: 0 }],
    ['idle-timeout', 'idle', { requestMs: 0, perTryMs: 0, idleMs: 100 }],
  ] as const)(
    '%s ends a request that waits, not before its time, and says which field it is',
    (code, field, timeouts) => {
      const endpoint = new FakeEndpoint('a:1', 0);
      const { proxy, clock } = fakeMesh([endpoint], fakeAction({ timeouts }));
      const client = new FakeClient();
      const receiver = proxy.accept(fakeHead(), client);
      receiver.onRequestEnd([]);
      const sweep = () => (receiver as unknown as { onSweep(nowMs: number): void }).onSweep(clock.nowMs);
      clock.nowMs += 99;
      sweep();
      expect(client.events).toEqual([]);
      clock.nowMs += 1;
      sweep();
      expect(client.events).toEqual(['head 504', 'end']);
      expect(client.header('weft-failure')).toBe(code);
      const { detail } = JSON.parse(client.bodyText);
      expect(detail).toMatch(new RegExp(`^[A-Z].* a:1 .* 100 ms \\(timeouts\\.${field}\\)\\.$`));
      expect(endpoint.last.events).toContain('destroy');
    },
  );

  it('blames the client when its request body stops arriving', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, clock } = fakeMesh([endpoint], fakeAction({ timeouts: { requestMs: 0, perTryMs: 0, idleMs: 100 } }));
    const client = new FakeClient();
    const receiver = proxy.accept(fakeHead({ method: 'POST', bodyBytes: 10 }), client);
    clock.nowMs += 100;
    (receiver as unknown as { onSweep(nowMs: number): void }).onSweep(clock.nowMs);
    expect(client.header('weft-failure')).toBe('request-body-timeout');
    expect(JSON.parse(client.bodyText).detail).toMatch(/ 100 ms \(timeouts\.idle\)\.$/);
    expect(client.answer?.status).toBe(408);
  });
});

describe('an endpoint', () => {
  it('is not blamed for a client that stops sending, or stops reading', () => {
    for (const stall of ['sending', 'reading'] as const) {
      const endpoint = new FakeEndpoint('127.0.0.1:1', 1);
      const { proxy, clock, live } = fakeMesh([endpoint]);
      const client = new FakeClient();
      const receiver = proxy.accept(fakeHead({ method: 'POST', bodyBytes: stall === 'sending' ? 10 : 0 }), client);
      endpoint.last.assign();
      if (stall === 'reading') {
        receiver.onRequestEnd([]);
        client.hasRoom = false;
        endpoint.last.handler.onHead({
          status: 200,
          reason: '',
          headers: [],
          bodyBytes: 100,
          hasBody: true,
          far: null,
        });
        endpoint.last.handler.onBody(Buffer.from('x'));
      }
      clock.nowMs += 60_000;
      (receiver as unknown as { onSweep(nowMs: number): void }).onSweep(clock.nowMs);
      expect(live).toEqual(['begin 1', 'end 1 abandoned']);
    }
  });

  it('does not take what another endpoint told of itself for the hop of the one that answers', () => {
    const [refusing, answering] = [new FakeEndpoint('a:1', 0, true), new FakeEndpoint('b:1', 1, true)];
    const { proxy } = fakeMesh([refusing, answering]);
    const client = new FakeClient();
    proxy.accept(fakeHead({ headers: ['Weft-Timing', '1'] }), client).onRequestEnd([]);
    refusing.last.assign();
    const far = { partsMs: newPartsMs(), totalMs: 7 };
    const headers = headerList(['Weft-Failure', 'draining']);
    refusing.last.handler.onHead({ status: 503, reason: '', headers, bodyBytes: 0, hasBody: true, far });
    answering.last.assign();
    answering.last.answer(200);
    expect(client.events).toEqual(['head 200', 'end']);
    expect(client.header('server-timing')).not.toContain('up-total');
  });

  it('gets the same trace at another attempt', () => {
    const endpoints = [new FakeEndpoint('127.0.0.1:1', 1), new FakeEndpoint('127.0.0.1:2', 2)];
    const { proxy } = fakeMesh(endpoints, undefined, { random: Math.random });
    proxy.accept(fakeHead(), new FakeClient()).onRequestEnd([]);
    endpoints[0]!.last.fail(failures['connect-refused']);
    const [first, second] = endpoints.map(({ last }) => last.headers.at(-1));
    expect(second).toBe(first);
  });
});

describe('bodies', () => {
  it('holds back the client while the endpoint has no room, and lets go again', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const client = new FakeClient();
    const receiver = fakeMesh([endpoint]).proxy.accept(fakeHead({ method: 'PUT', bodyBytes: -1 }), client);
    endpoint.last.hasRoom = false;
    receiver.onRequestBody(Buffer.from('abc'));
    expect(client.events).toEqual(['pause']);
    endpoint.last.hasRoom = true;
    endpoint.last.handler.onWritable();
    expect(client.events).toEqual(['pause', 'resume']);
  });

  it('holds back the endpoint while the client does not read', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const client = new FakeClient();
    client.hasRoom = false;
    const receiver = fakeMesh([endpoint]).proxy.accept(fakeHead(), client);
    endpoint.last.handler.onHead({ status: 200, reason: 'OK', headers: [], bodyBytes: -1, hasBody: true, far: null });
    endpoint.last.handler.onBody(Buffer.from('x'));
    expect(endpoint.last.events).toEqual(['pauseReading']);
    receiver.onDownstreamWritable();
    expect(endpoint.last.events).toEqual(['pauseReading', 'resumeReading']);
  });

  it('sends a small body whole to the second endpoint', () => {
    const [first, second] = [new FakeEndpoint('a:1', 0), new FakeEndpoint('a:2', 1)];
    const receiver = fakeMesh([first, second]).proxy.accept(
      fakeHead({ method: 'POST', bodyBytes: 6 }),
      new FakeClient(),
    );
    receiver.onRequestBody(Buffer.from('abc'));
    receiver.onRequestBody(Buffer.from('def'));
    first.last.fail(failures['connect-refused']);
    expect(second.last.bodyText).toBe('abcdef');
    receiver.onRequestEnd([]);
    expect(second.last.events).toEqual(['end']);
  });

  it('keeps no body beyond the limit, and then does not try again', () => {
    const [first, second] = [new FakeEndpoint('a:1', 0), new FakeEndpoint('a:2', 1)];
    const client = new FakeClient();
    const receiver = fakeMesh([first, second]).proxy.accept(fakeHead({ method: 'PUT', bodyBytes: -1 }), client);
    receiver.onRequestBody(Buffer.alloc(limits.replayBodyBytesMax));
    receiver.onRequestBody(Buffer.alloc(1));
    first.last.fail(failures['connect-refused']);
    expect(second.streams.length).toBe(0);
    expect(client.header('weft-failure')).toBe('connect-refused');
  });

  it('keeps what arrives before a host is known, pauses at the limit, and sends it in order', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    let found: ((answer: 'ready') => void) | null = null;
    const mesh = fakeMesh([endpoint]);
    const configuration: { current: typeof mesh.snapshot | null } = { current: null };
    const { proxy } = fakeMesh([endpoint], undefined, {
      configuration,
      discovery: {
        discover: (_host, done) => {
          found = done;
        },
      },
    });
    const client = new FakeClient();
    const receiver = proxy.accept(fakeHead({ method: 'POST', bodyBytes: -1 }), client);
    receiver.onRequestBody(Buffer.from('a'.repeat(10)));
    receiver.onRequestBody(Buffer.alloc(limits.streamBufferBytesMax, 'b'));
    expect(client.events).toEqual(['pause']);
    configuration.current = mesh.snapshot;
    found!('ready');
    expect(endpoint.last.bodyText.length).toBe(10 + limits.streamBufferBytesMax);
    expect(endpoint.last.bodyText.startsWith('aaaaaaaaaab')).toBe(true);
    expect(client.events).toEqual(['pause', 'resume']);
  });
});

describe('what the next hop gets', () => {
  it('keeps order and case, puts Host first, continues the trace and keeps Weft-Timing to itself', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`;
    fakeMesh([endpoint]).proxy.accept(
      fakeHead({
        authority: 'cart:80',
        headers: ['X-One', '1', 'traceparent', traceparent, 'tracestate', 'k=v', 'Weft-Timing', '1', 'x-two', '2'],
      }),
      new FakeClient(),
    );
    const { headers } = endpoint.last;
    expect(headers.slice(0, 8)).toEqual(['Host', 'cart:80', 'X-One', '1', 'tracestate', 'k=v', 'x-two', '2']);
    expect(headers[8]).toBe('traceparent');
    expect(headers[9]).toMatch(new RegExp(`^00-${'a'.repeat(32)}-(?!${'b'.repeat(16)})[0-9a-f]{16}-01$`));
    expect(headers.length).toBe(10);
  });

  it('asks a far sidecar for its timing, and splits the wait with it', () => {
    const endpoint = new FakeEndpoint('a:1', 0, true);
    const { proxy, clock, recorded } = fakeMesh([endpoint]);
    const client = new FakeClient();
    const receiver = proxy.accept(fakeHead({ headers: ['Weft-Timing', '1'] }), client);
    receiver.onRequestEnd([]);
    expect(endpoint.last.headers.slice(-2)).toEqual(['Weft-Timing', '1']);
    endpoint.last.assign();
    clock.nowMs += 10;
    endpoint.last.answer(200, ['Server-Timing', 'app;dur=3', 'Server-Timing', 'wait;dur=6, own;dur=1, total;dur=7']);
    const answered = textsOf(client.answer!.headers);
    expect(answered.slice(0, 2)).toEqual(['Server-Timing', 'app;dur=3']);
    const timing = answered.at(-1);
    expect(timing).toContain('network;dur=3');
    expect(timing).toContain('up-wait;dur=6');
    expect(timing).toMatch(/total;dur=10(\.0+)?$/);
    const sum = recorded[0]!.partsMs.reduce((total, part) => total + part, 0);
    expect(sum).toBeCloseTo(recorded[0]!.totalMs, 6);
  });

  it('believes a refusal of a sidecar and goes elsewhere, but not that of anybody else', () => {
    const [far, other] = [new FakeEndpoint('a:1', 0, true), new FakeEndpoint('a:2', 1, true)];
    const client = new FakeClient();
    fakeMesh([far, other]).proxy.accept(fakeHead({ method: 'POST' }), client);
    far.last.assign();
    far.last.handler.onHead({
      status: 503,
      reason: '',
      headers: headerList(['Weft-Failure', 'draining']),
      bodyBytes: 0,
      hasBody: true,
      far: null,
    });
    expect(far.last.events).toContain('destroy');
    expect(other.streams.length).toBe(1);
    other.last.answer(200);
    expect(client.events).toEqual(['head 200', 'end']);

    for (const direction of ['outbound', 'inbound'] as const) {
      const app = new FakeEndpoint('a:3', 0, false);
      const second = new FakeClient();
      fakeMesh([app, other], undefined, { direction }).proxy.accept(fakeHead(), second);
      app.last.answer(503, ['Weft-Failure', 'draining']);
      expect(app.streams.length).toBe(1);
      expect(second.answer?.status).toBe(503);
      expect(second.header('weft-failure')).toBeUndefined();
    }
  });
});

describe('the ledger', () => {
  const partsOf = ({ partsMs }: { readonly partsMs: readonly number[] }) =>
    Object.fromEntries(parts.map((part, i) => [part, partsMs[i]!] as const).filter(([, ms]) => ms > 0));

  it('books a request that timed out under what it waited for, and says so when asked', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const timeouts = { requestMs: 100, perTryMs: 0, idleMs: 0 };
    const { proxy, clock, recorded } = fakeMesh([endpoint], fakeAction({ timeouts }));
    const client = new FakeClient();
    const receiver = proxy.accept(fakeHead({ headers: ['Weft-Timing', '1'] }), client);
    receiver.onRequestEnd([]);
    endpoint.last.assign();
    clock.nowMs += 100;
    (receiver as unknown as { onSweep(nowMs: number): void }).onSweep(clock.nowMs);
    expect(partsOf(recorded[0]!)).toEqual({ wait: 100 });
    expect(client.header('server-timing')).toBe('wait;dur=100, total;dur=100');
  });

  it('books a host that nobody knows under the decision, a client that went in the middle under transfer', () => {
    let answer: ((answer: 'unknown-service') => void) | null = null;
    const unknown = fakeMesh([], undefined, {
      discovery: {
        discover: (_host, done) => {
          answer = done;
        },
      },
    });
    unknown.proxy.accept(fakeHead({ host: 'nobody' }), new FakeClient());
    unknown.clock.nowMs += 30;
    answer!('unknown-service');
    expect(partsOf(unknown.recorded[0]!)).toEqual({ decide: 30 });

    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, clock, recorded } = fakeMesh([endpoint]);
    const receiver = proxy.accept(fakeHead(), new FakeClient());
    receiver.onRequestEnd([]);
    endpoint.last.assign();
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: -1, hasBody: true, far: null });
    clock.nowMs += 40;
    receiver.onClientGone();
    expect(partsOf(recorded[0]!)).toEqual({ transfer: 40 });
  });

  it('gives each part its time, and the parts sum to the total', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, clock, recorded } = fakeMesh([endpoint]);
    const receiver = proxy.accept(fakeHead({ method: 'PUT', bodyBytes: 1, loopMs: 2 }), new FakeClient());
    endpoint.last.handler.onAssigned(3, 4, false, clock.nowMs, 0);
    clock.nowMs += 5 + 7;
    receiver.onRequestBody(Buffer.from('x'));
    receiver.onRequestEnd([]);
    clock.nowMs += 11;
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: 1, hasBody: true, far: null });
    clock.nowMs += 13;
    endpoint.last.handler.onBody(Buffer.from('y'));
    endpoint.last.handler.onEnd([], null);
    const [only] = recorded;
    const part = (name: (typeof parts)[number]) => only!.partsMs[partIndex[name]];
    expect([part('loop'), part('queue'), part('connect'), part('send'), part('wait'), part('transfer')]).toEqual([
      2, 3, 4, 12, 11, 13,
    ]);
    expect(only!.totalMs).toBe(2 + 12 + 11 + 13);
  });

  it('splits the wait by what the far side of a link says, and tells the near one its own time', () => {
    const endpoint = new FakeEndpoint('a:1', 0, true, ['a:2']);
    const { proxy, clock, recorded } = fakeMesh([endpoint]);
    const client = new FakeClient();
    client.wantsTiming = true;
    const receiver = proxy.accept(fakeHead(), client);
    receiver.onRequestEnd([]);
    endpoint.last.assign();
    clock.nowMs += 10;
    const far = { partsMs: new Float64Array(parts.length), totalMs: 7 };
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: 0, hasBody: true, far });
    clock.nowMs += 5;
    endpoint.last.handler.onEnd([], { ...far, totalMs: 9 });
    const { wait, network, transfer } = partIndex;
    const [only] = recorded;
    expect([only!.partsMs[wait], only!.partsMs[network], only!.partsMs[transfer]]).toEqual([7, 3, 5]);
    expect(client.timings.map((timing) => timing?.totalMs)).toEqual([10, 15]);
    expect([client.timings[0]!.partsMs[wait], client.timings[0]!.partsMs[network]]).toEqual([7, 3]);
    expect(client.timings[1]!.partsMs[transfer]).toBe(5);
  });

  it('tells nobody its time who did not ask, also in a reply of its own', () => {
    const client = new FakeClient();
    fakeMesh([]).proxy.accept(fakeHead(), client);
    expect(client.answer?.status).toBe(503);
    expect(client.timings).toEqual([null, null]);
  });
});

describe('a redirect', () => {
  it('is answered here, without an attempt', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const redirect = {
      scheme: 'https',
      hostname: 'shop.example',
      port: null,
      status: 301,
      path: { replace: 'prefix', path: '/new', matchedPrefix: '/old' },
    } as const;
    const client = new FakeClient();
    fakeMesh([endpoint], fakeAction({ redirect })).proxy.accept(
      fakeHead({ path: '/old/x', query: '?q=1', authority: 'cart:8080' }),
      client,
    );
    expect(client.answer?.status).toBe(301);
    expect(client.header('location')).toBe('https://shop.example/new/x?q=1');
    expect(endpoint.streams.length).toBe(0);
  });
});
