/** An answer that breaks before anything of it has left: the client hears why. */
import { describe, expect, it } from 'vitest';
import { failures } from '../../../src/proxy/failure.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import { FakeClient, FakeEndpoint, fakeHead, fakeMesh } from './proxy-fakes.ts';

function answered(hasLeft: boolean, changes: Parameters<typeof fakeHead>[0] = {}) {
  const endpoint = new FakeEndpoint('a:1', 0);
  const mesh = fakeMesh([endpoint]);
  const client = new FakeClient();
  client.hasLeft = hasLeft;
  const receiver = mesh.proxy.accept(fakeHead(changes), client, {
    listener: 'inbound',
    bodyBytesMax: 10,
    bodyRateMin: 0,
  });
  const { handler } = endpoint.last;
  endpoint.last.assign();
  const headers = headerList(['X-A', 'b']);
  handler.onHead({ status: 200, reason: 'OK', headers, bodyBytes: -1, hasBody: true, far: null });
  handler.onBody(Buffer.from('part'));
  return { ...mesh, client, receiver, stream: endpoint.last };
}

describe('an answer of which nothing has left', () => {
  it.each(['upstream-garbage', 'answer-cut', 'upstream-reset', 'link-lost'] as const)('ends as %s', (code) => {
    const { client, stream, proxy, failureCounts, recorded, retries } = answered(false);
    stream.fail(failures[code]);
    expect(client.events).toEqual(['head 200', 'retract', 'head 502', 'end']);
    expect(client.header('weft-failure')).toBe(code);
    expect(client.header('x-a')).toBeUndefined();
    expect(JSON.parse(client.bodyText)).toMatchObject({ failure: code });
    expect([failureCounts, retries]).toEqual([[code], []]);
    expect(recorded).toMatchObject([{ status: 502, isFailure: true }]);
    expect([proxy.active, proxy.deadlines.count]).toEqual([0, 0]);
  });

  it('ends as what the clock or its client did', () => {
    const late = answered(false);
    late.clock.nowMs += 60_001;
    late.receiver.onRequestEnd([]);
    (late.receiver as unknown as { onSweep(nowMs: number): void }).onSweep(late.clock.nowMs);
    expect(late.client.events).toEqual(['head 200', 'retract', 'head 504', 'end']);
    const large = answered(false, { method: 'POST', bodyBytes: -1 });
    large.receiver.onRequestBody(Buffer.alloc(11));
    expect(large.client.events).toEqual(['head 200', 'retract', 'head 413', 'end']);
    expect(large.stream.events).toContain('destroy');
  });

  it('ends as garbage when its listener cannot send its head', () => {
    const { client, receiver, stream, failureCounts, recorded, live } = answered(false);
    receiver.onAnswerRefused();
    expect(client.events).toEqual(['head 200', 'retract', 'head 502', 'end']);
    expect(client.header('weft-failure')).toBe('upstream-garbage');
    expect([stream.events, failureCounts, live.at(-1)]).toEqual([['destroy'], ['upstream-garbage'], 'end 0 failed']);
    expect(recorded).toMatchObject([{ status: 502, isFailure: true }]);
    receiver.onAnswerRefused();
    expect(client.events).toHaveLength(4);
  });

  it('ends as garbage also when that is found as it ends', () => {
    const { client, receiver, stream, failureCounts, recorded } = answered(false);
    const end = client.end.bind(client);
    client.end = (...said) => {
      client.end = end;
      receiver.onAnswerRefused();
      expect(said).toHaveLength(2);
    };
    stream.handler.onEnd([], null);
    expect(client.events).toEqual(['head 200', 'retract', 'head 502', 'end']);
    expect([failureCounts, recorded.map(({ status }) => status)]).toEqual([['upstream-garbage'], [502]]);
  });

  it('says of a limit that was met how large it is and where it is set', () => {
    const large = answered(false, { method: 'POST', bodyBytes: -1 });
    large.receiver.onRequestBody(Buffer.alloc(11));
    expect(JSON.parse(large.client.bodyText)).toMatchObject({
      failure: 'body-too-large',
      detail: 'The body is larger than 10 bytes (--limit inbound.body-bytes).',
    });
    const broken = answered(false);
    broken.stream.fail(failures['upstream-garbage']);
    expect(JSON.parse(broken.client.bodyText)).toMatchObject({ detail: 'a:1' });
  });
});

it('an answer that has begun to leave is cut', () => {
  const { client, stream, failureCounts } = answered(true);
  stream.fail(failures['upstream-reset']);
  expect(client.events).toEqual(['head 200', 'abort']);
  expect(failureCounts).toEqual(['answer-cut']);
});
