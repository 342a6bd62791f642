import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { type BodyLimits, noBodyLimits } from '../../../src/model/listener-limits.ts';
import type { Exchange } from '../../../src/proxy/exchange.ts';
import type { RequestChanges } from '../../fixtures/service-unit.ts';
import { FakeClient, FakeEndpoint, fakeAction, fakeHead, fakeMesh } from './proxy-fakes.ts';

const firstWindowMs = limits.bodyGraceMs + limits.bodyWindowMs;

/** One request to one endpoint, by a listener with these limits. */
function send(body: Partial<BodyLimits>, head: RequestChanges) {
  const endpoint = new FakeEndpoint('a:1', 0);
  const mesh = fakeMesh([endpoint], fakeAction({ timeouts: { requestMs: 0, perTryMs: 0, idleMs: 0 } }));
  const client = new FakeClient();
  const receiver = mesh.proxy.accept(fakeHead({ method: 'POST', ...head }), client, { ...noBodyLimits, ...body });
  return {
    ...mesh,
    endpoint,
    client,
    receiver,
    arrive: (bytes: number) => receiver.onRequestBody(Buffer.alloc(bytes, 'b')),
    pass: (ms: number) => {
      mesh.clock.nowMs += ms;
      (receiver as Exchange).onSweep(mesh.clock.nowMs);
    },
  };
}

describe('the size of a request body', () => {
  it('may be the limit when its length is known', () => {
    const { endpoint, client, receiver, arrive } = send({ bodyBytesMax: 10 }, { bodyBytes: 10 });
    arrive(10);
    receiver.onRequestEnd([]);
    expect(endpoint.last.bodyText).toHaveLength(10);
    expect(endpoint.last.events).toEqual(['end']);
    expect(client.events).toEqual([]);
  });

  it('is refused with 413 when it is known to be one more, and nothing is sent upstream', () => {
    const { endpoint, client, proxy, failureCounts, recorded } = send({ bodyBytesMax: 10 }, { bodyBytes: 11 });
    expect(endpoint.streams).toEqual([]);
    expect(client.events).toEqual(['head 413', 'end']);
    expect(client.header('weft-failure')).toBe('body-too-large');
    expect(JSON.parse(client.bodyText).detail).toBe('The body is larger than 10 bytes (--limit outbound.body-bytes).');
    expect(client.answer).toMatchObject({ endsConnection: true });
    expect(failureCounts).toEqual(['body-too-large']);
    expect(recorded).toMatchObject([{ status: 413, isFailure: true }]);
    expect([proxy.active, proxy.deadlines.count]).toEqual([0, 0]);
  });

  it('of unknown length may reach the limit and not pass it: 413, and upstream it is cut, never ended', () => {
    const { endpoint, client, receiver, arrive, failureCounts, live } = send({ bodyBytesMax: 10 }, { bodyBytes: -1 });
    arrive(4);
    arrive(6);
    expect(client.events).toEqual([]);
    arrive(1);
    receiver.onRequestEnd([]);
    expect(client.events).toEqual(['head 413', 'end']);
    expect(client.answer).toMatchObject({ endsConnection: true });
    expect(endpoint.last.bodyText).toHaveLength(10);
    expect(endpoint.last.events).toEqual(['destroy']);
    expect(failureCounts).toEqual(['body-too-large']);
    // It says nothing of the endpoint.
    expect(live).toEqual(['begin 0', 'end 0 abandoned']);
  });

  it('cuts an answer that has begun before the body passed the limit', () => {
    const { endpoint, client, arrive, failureCounts } = send({ bodyBytesMax: 10 }, { bodyBytes: -1 });
    endpoint.last.assign();
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: -1, hasBody: true, far: null });
    arrive(11);
    expect(client.events).toEqual(['head 200', 'abort']);
    expect(endpoint.last.events).toEqual(['destroy']);
    expect(failureCounts).toEqual(['body-too-large']);
  });

  it('is not limited unless it was said', () => {
    const { endpoint, client, arrive } = send({}, { bodyBytes: -1 });
    for (let i = 0; i < 100; i++) arrive(1024 * 1024);
    expect(client.events).not.toContain('head 413');
    expect(endpoint.last.events).toEqual([]);
  });
});

describe('a request body that trickles', () => {
  const rate = { bodyRateMin: 100 };
  const windowBytes = (100 * limits.bodyWindowMs) / 1000;

  it('is cut with 408 when the first window is over, and not before', () => {
    const { endpoint, client, arrive, pass, failureCounts, live } = send(rate, { bodyBytes: 5_000 });
    endpoint.last.assign();
    arrive(windowBytes - 1);
    pass(firstWindowMs - 1);
    expect(client.events).toEqual([]);
    pass(1);
    expect(client.events).toEqual(['head 408', 'end']);
    expect(client.header('weft-failure')).toBe('request-body-too-slow');
    expect(JSON.parse(client.bodyText).detail).toBe(
      'The body brought less than 100 bytes a second (--limit outbound.body-rate).',
    );
    expect(client.answer).toMatchObject({ endsConnection: true });
    expect(endpoint.last.events).toEqual(['destroy']);
    expect(failureCounts).toEqual(['request-body-too-slow']);
    expect(live).toEqual(['begin 0', 'end 0 abandoned']);
  });

  it('may be as slow as the limit, for as long as it likes', () => {
    const { client, arrive, pass, receiver, endpoint } = send(rate, { bodyBytes: -1 });
    arrive(windowBytes);
    pass(firstWindowMs);
    for (let i = 0; i < 100; i++) {
      arrive(windowBytes);
      pass(limits.bodyWindowMs);
    }
    receiver.onRequestEnd([]);
    pass(firstWindowMs);
    expect(client.events).toEqual([]);
    expect(endpoint.last.events).toEqual(['end']);
  });

  it('has no credit for what was fast before', () => {
    const { client, arrive, pass } = send(rate, { bodyBytes: -1 });
    arrive(1024 * 1024);
    pass(firstWindowMs);
    arrive(windowBytes - 1);
    pass(limits.bodyWindowMs - 1);
    expect(client.events).not.toContain('head 408');
    pass(1);
    expect(client.events).toContain('head 408');
  });

  it('is not to blame while the endpoint takes nothing', () => {
    const { client, endpoint, arrive, pass } = send(rate, { bodyBytes: -1 });
    endpoint.last.assign();
    endpoint.last.hasRoom = false;
    arrive(1);
    expect(client.events).toEqual(['pause']);
    pass(firstWindowMs);
    pass(limits.bodyWindowMs);
    endpoint.last.hasRoom = true;
    endpoint.last.handler.onWritable();
    expect(client.events).toEqual(['pause', 'resume']);
    pass(limits.bodyWindowMs - 1);
    expect(client.events).toEqual(['pause', 'resume']);
    pass(1);
    expect(client.header('weft-failure')).toBe('request-body-too-slow');
  });

  it('is the business of whoever answers already', () => {
    const { client, endpoint, pass } = send(rate, { bodyBytes: -1 });
    endpoint.last.assign();
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: -1, hasBody: true, far: null });
    pass(firstWindowMs);
    pass(limits.bodyWindowMs);
    expect(client.events).toEqual(['head 200']);
  });

  it('is none without a body, without a limit, or once it is complete', () => {
    for (const { body, head, ends } of [
      { body: rate, head: { bodyBytes: 0 }, ends: false },
      { body: {}, head: { bodyBytes: 10 }, ends: false },
      { body: rate, head: { bodyBytes: -1 }, ends: true },
    ]) {
      const { client, receiver, pass } = send(body, head);
      if (ends) receiver.onRequestEnd([]);
      pass(firstWindowMs);
      pass(limits.bodyWindowMs);
      expect(client.events).toEqual([]);
    }
  });
});

describe('a client that takes nothing of its answer', () => {
  it('is cut after the idle timeout, and is the one to blame', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, clock, failureCounts, live } = fakeMesh([endpoint]);
    const client = new FakeClient();
    const receiver = proxy.accept(fakeHead(), client);
    receiver.onRequestEnd([]);
    client.hasRoom = false;
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: 9, hasBody: true, far: null });
    endpoint.last.handler.onBody(Buffer.from('x'));
    expect(endpoint.last.events).toContain('pauseReading');
    clock.nowMs += limits.idleTimeoutMs - 1;
    (receiver as Exchange).onSweep(clock.nowMs);
    expect(client.events).toEqual(['head 200']);
    clock.nowMs += 1;
    (receiver as Exchange).onSweep(clock.nowMs);
    expect(client.events).toEqual(['head 200', 'abort']);
    expect(failureCounts).toEqual(['answer-unread']);
    expect(live).toEqual(['begin 0', 'end 0 abandoned']);
  });
});
