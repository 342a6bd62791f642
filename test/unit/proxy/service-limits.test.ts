import { describe, expect, it } from 'vitest';
import type { UnitLimits } from '../../../src/model/snapshot.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import type { RequestChanges } from '../../fixtures/service-unit.ts';
import { FakeClient, FakeEndpoint, fakeAction, fakeHead, fakeMesh } from './proxy-fakes.ts';

const none: UnitLimits = {
  requestBodyBytes: 0,
  requestHeadBytes: 0,
  requestHeadFields: 0,
  targetBytes: 0,
  responseHeadBytes: 0,
};
/** `traceparent`, its 55 characters and 4; Host, `cart` and 4. */
const ownBytes = 70 + 12;
const traceparent = ['traceparent', `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`];

function send(limits: Partial<UnitLimits>, head: RequestChanges = {}, action = fakeAction()) {
  const endpoints = [new FakeEndpoint('a:1', 0), new FakeEndpoint('a:2', 1)];
  const mesh = fakeMesh(endpoints, action, {}, { ...none, ...limits });
  const client = new FakeClient();
  const receiver = mesh.proxy.accept(fakeHead(head), client);
  const streams = () => endpoints.flatMap((endpoint) => endpoint.streams);
  return { ...mesh, client, receiver, streams };
}

describe('the limits of a Service', () => {
  it.each<[string, Partial<UnitLimits>, RequestChanges, RequestChanges, number, string]>([
    [
      'targetBytes',
      { targetBytes: 6 },
      { path: '/abc', query: '?d' },
      { path: '/abc', query: '?de' },
      414,
      'target-too-long',
    ],
    [
      'requestHeadFields, Host and traceparent among them',
      { requestHeadFields: 4 },
      { headers: ['a', '', 'b', ''] },
      { headers: ['a', '', 'b', '', 'c', ''] },
      431,
      'headers-too-large',
    ],
    [
      'requestHeadBytes',
      { requestHeadBytes: 300 },
      { headers: ['x', 'v'.repeat(300 - ownBytes - 5)] },
      { headers: ['x', 'v'.repeat(301 - ownBytes - 5)] },
      431,
      'headers-too-large',
    ],
    [
      'requestBodyBytes',
      { requestBodyBytes: 10 },
      { method: 'POST', bodyBytes: 10 },
      { method: 'POST', bodyBytes: 11 },
      413,
      'body-too-large',
    ],
  ])(
    '%s: the limit is taken, one beyond is not, and nothing of it is sent',
    (_name, limits, at, beyond, status, code) => {
      expect(send(limits, at).streams()).toHaveLength(1);
      const { client, streams, failureCounts, recorded, proxy } = send(limits, beyond);
      expect(streams()).toEqual([]);
      expect(client.events).toEqual([`head ${status}`, 'end']);
      expect(client.header('weft-failure')).toBe(code);
      const [[field, value]] = Object.entries(limits) as [[string, number]];
      const { detail } = JSON.parse(client.bodyText);
      expect(detail).toMatch(
        new RegExp(`than ${value} .*\\(spec\\.limits\\.${field} of the Service cart\\.default\\)\\.$`),
      );
      expect(failureCounts).toEqual([code]);
      expect(recorded).toMatchObject([{ destination: 'cart.default', status }]);
      expect([proxy.active, proxy.deadlines.count]).toEqual([0, 0]);
    },
  );

  it('count a request as it is sent: what the caller has said for itself is what the next hop counts too', () => {
    const headers = ['x', 'v'.repeat(300 - ownBytes - 5), ...traceparent];
    const { streams } = send({ requestHeadBytes: 300 }, { headers });
    expect(streams()[0]!.headers.join('').length + 4 * 3).toBe(300);
  });

  it('count what filters add, and the rewritten path', () => {
    const rewritePath = { replace: 'full', path: '/longer' } as const;
    const { client } = send({ targetBytes: 5 }, { path: '/a' }, fakeAction({ rewritePath }));
    expect(client.header('weft-failure')).toBe('target-too-long');
  });

  it('cut off a body of unknown length that passes them, and never end it cleanly', () => {
    const { client, receiver, streams } = send({ requestBodyBytes: 10 }, { method: 'POST', bodyBytes: -1 });
    receiver.onRequestBody(Buffer.alloc(10));
    expect(client.events).toEqual([]);
    receiver.onRequestBody(Buffer.alloc(1));
    expect(client.events).toEqual(['head 413', 'end']);
    expect(JSON.parse(client.bodyText).detail).toBe(
      'The body is larger than 10 bytes (spec.limits.requestBodyBytes of the Service cart.default).',
    );
    receiver.onRequestEnd([]);
    expect(streams().map(({ events }) => events)).toEqual([['destroy']]);
  });

  it.each([
    ['upstream-head-too-large', 'The fields in the answer of a:1 are larger than 65536 bytes (fixed).'],
    ['headers-too-large', 'With what filters add, the head is larger than a link to a:1 carries (512 fields; fixed).'],
  ] as const)('have beside them what nobody can set, and %s says so', (code, detail) => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy } = fakeMesh([endpoint]);
    const client = new FakeClient();
    proxy.accept(fakeHead(), client);
    endpoint.last.fail(failures[code]);
    expect(JSON.parse(client.bodyText).detail).toBe(detail);
  });

  it('do not raise the limit of the listener', () => {
    const mesh = fakeMesh([new FakeEndpoint('a:1', 0)], fakeAction(), {}, { ...none, requestBodyBytes: 100 });
    const client = new FakeClient();
    const receiver = mesh.proxy.accept(fakeHead({ method: 'POST', bodyBytes: -1 }), client, {
      listener: 'link',
      sidecarOf: 'notes.default',
      bodyBytesMax: 10,
      bodyRateMin: 0,
    });
    receiver.onRequestBody(Buffer.alloc(11));
    expect(client.events).toEqual(['head 413', 'end']);
    expect(JSON.parse(client.bodyText).detail).toBe(
      'The body is larger than 10 bytes (--limit link.body-bytes of the sidecar of notes.default).',
    );
  });

  it('count what has arrived before the Service was known', () => {
    let found = (): void => {};
    const endpoint = new FakeEndpoint('a:1', 0);
    const configuration: { current: ReturnType<typeof fakeMesh>['snapshot'] | null } = { current: null };
    const parts = {
      configuration,
      discovery: {
        discover: (_host: string, done: (answer: 'ready') => void) => {
          found = () => done('ready');
        },
      },
    };
    const { proxy, snapshot } = fakeMesh([endpoint], fakeAction(), parts, { ...none, requestBodyBytes: 10 });
    const client = new FakeClient();
    const receiver = proxy.accept(fakeHead({ method: 'POST', bodyBytes: -1 }), client);
    receiver.onRequestBody(Buffer.alloc(11));
    configuration.current = snapshot;
    found();
    expect(client.header('weft-failure')).toBe('body-too-large');
    expect(endpoint.streams).toEqual([]);
  });

  it('refuse an answer whose head is larger: 502, and the endpoint is done with', () => {
    // x, its value and 4.
    for (const [bytes, events] of [
      [256, ['head 200', 'end']],
      [257, ['head 502', 'end']],
    ] as const) {
      const { client, receiver, streams, failureCounts, live } = send({ responseHeadBytes: 256 });
      receiver.onRequestEnd([]);
      streams()[0]!.assign();
      const headers = headerList(['x', 'v'.repeat(bytes - 5)]);
      streams()[0]!.handler.onHead({ status: 200, reason: '', headers, bodyBytes: 0, hasBody: true, far: null });
      if (bytes === 256) streams()[0]!.handler.onEnd([], null);
      expect(client.events).toEqual(events);
      if (bytes === 256) continue;
      expect(client.header('weft-failure')).toBe('upstream-head-too-large');
      expect(JSON.parse(client.bodyText).detail).toBe(
        "The answer's fields are larger than 256 bytes (spec.limits.responseHeadBytes of the Service cart.default).",
      );
      expect(streams().map((stream) => stream.events)).toEqual([['end', 'destroy']]);
      expect(failureCounts).toEqual(['upstream-head-too-large']);
      expect(live).toEqual(['begin 0', 'end 0 failed']);
    }
  });
});
