/** Which trailers go on to the next hop, and that they do, whichever way the request is tried. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { passableTrailers } from '../../../src/proxy/trailers.ts';
import { FakeClient, FakeEndpoint, fakeHead, fakeMesh } from './proxy-fakes.ts';

const passable = (trailers: readonly string[], nominated: ReadonlySet<string> | null = null): string[] =>
  textsOf(passableTrailers(headerList(trailers), nominated));

const forbidden = [
  ...['Content-Length', 'transfer-encoding', 'Host', 'Authorization', 'Trailer', 'TE', 'Connection', 'Upgrade'],
  ...['Cookie', 'Set-Cookie', 'Content-Type', 'Content-Encoding', 'If-Match', 'Range', 'Cache-Control', 'Date'],
  ...['X-Forwarded-For', 'Forwarded', 'Via', 'traceparent', 'Weft-Failure', 'Weft-Timing', 'Proxy-Authorization'],
  // To apps behind CGI or WSGI the same fields.
  ...['X_Forwarded_For', 'X-Forwarded_Proto', 'x_real_ip', 'Content_Length', 'Weft_Failure', 'If_Match'],
];

describe('trailers', () => {
  it.each(forbidden)('%s never goes on', (name) => {
    expect(passable(['X-Sum', '1', name, 'x', 'x-sum', '2'])).toEqual(['X-Sum', '1', 'x-sum', '2']);
  });

  it('that Connection named, or that could be read as something else, do not go on either', () => {
    const sent = ['X-Hop', '1', 'X A', '2', '', '3', 'X-B', '4\r\nHost: x', 'X-C', '\u010a', 'ETag', '"5"'];
    expect(passable(sent, new Set(['x-hop']))).toEqual(['ETag', '"5"']);
  });

  it('of more fields or bytes than a head may have are dropped', () => {
    const many = (count: number) => Array.from({ length: count }, (_, i) => [`x${i}`, '']).flat();
    expect(passable(many(limits.headerFieldsMax)).length).toBe(2 * limits.headerFieldsMax);
    expect(passable(many(limits.headerFieldsMax + 1))).toEqual([]);
    expect(passable(['x', 'a'.repeat(limits.headBytesMax)])).toEqual([]);
  });

  it('never split a message, and what passed passes again', () => {
    const name = fc.oneof(fc.constantFrom(...forbidden, 'X-A', 'etag'), fc.string({ unit: 'binary', maxLength: 5 }));
    const fields = fc.array(fc.tuple(name, fc.string({ unit: 'binary', maxLength: 8 })), { maxLength: 8 });
    fc.assert(
      fc.property(fields, (sent) => {
        const passed = passable(sent.flat());
        expect(passed.join('')).not.toMatch(/[\r\n\0]|[^\0-\xff]/);
        expect(passable(passed)).toEqual(passed);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('the trailers of a request', () => {
  const upload = fakeHead({ method: 'PUT', bodyBytes: -1 });
  const sent = ['X-Sum', 'abc', 'Authorization', 'forged'];

  it('reach the endpoint, without those that may not', () => {
    const endpoint = new FakeEndpoint('127.0.0.1:1', 0);
    const receiver = fakeMesh([endpoint]).proxy.accept(upload, new FakeClient());
    receiver.onRequestBody(Buffer.from('body'));
    expect(endpoint.last.trailers).toBeNull();
    receiver.onRequestEnd(headerList(sent));
    expect([endpoint.last.bodyText, endpoint.last.trailers]).toEqual(['body', ['X-Sum', 'abc']]);
  });

  it('reach the endpoint that the request is tried at next', () => {
    const endpoints = [new FakeEndpoint('127.0.0.1:1', 0), new FakeEndpoint('127.0.0.1:2', 1)];
    const receiver = fakeMesh(endpoints).proxy.accept(upload, new FakeClient());
    receiver.onRequestBody(Buffer.from('body'));
    receiver.onRequestEnd(headerList(sent));
    endpoints[0]!.last.fail(failures['connect-failed']);
    expect([endpoints[1]!.last.bodyText, endpoints[1]!.last.trailers]).toEqual(['body', ['X-Sum', 'abc']]);
  });
});

describe('the trailers of an answer', () => {
  it('reach the client, without those that may not', () => {
    const endpoint = new FakeEndpoint('127.0.0.1:1', 0);
    const client = new FakeClient();
    fakeMesh([endpoint]).proxy.accept(fakeHead(), client).onRequestEnd([]);
    endpoint.last.answer(200, [], 'ok', ['X-Sum', 'abc', 'Set-Cookie', 'forged=1', 'Content-Length', '7']);
    expect(client.trailers).toEqual(['X-Sum', 'abc']);
  });
});
