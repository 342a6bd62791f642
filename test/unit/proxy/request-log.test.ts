/** What the access log says of a request that failed, here or at the far sidecar. */
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { noBodyLimits } from '../../../src/model/listener-limits.ts';
import { failures } from '../../../src/proxy/failure.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import { AccessLog } from '../../../src/telemetry/access-log.ts';
import { FakeClient, FakeEndpoint, fakeHead, fakeMesh } from './proxy-fakes.ts';

function loggedMesh(endpoints: FakeEndpoint[]) {
  const lines: Record<string, unknown>[] = [];
  const accessLog = new AccessLog({
    write: (bytes, done) => {
      for (const line of bytes.toString().trimEnd().split('\n')) lines.push(JSON.parse(line));
      done(null);
    },
    atEndOfTurn: (flush) => flush(),
  });
  return { lines, ...fakeMesh(endpoints, undefined, { accessLog }) };
}

describe('the line of a request that failed', () => {
  it('has the detail that the client was shown', () => {
    for (const host of ['cart', 'nobody']) {
      const { proxy, lines } = loggedMesh([]);
      const client = new FakeClient();
      proxy.accept(fakeHead({ host }), client);
      const { failure, detail } = JSON.parse(client.bodyText);
      expect(detail).not.toBe('');
      expect(lines).toMatchObject([{ failure, detail }]);
    }
  });

  it('has it where a limit was met, and where no answer could be given any more', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, lines } = loggedMesh([endpoint]);
    const head = fakeHead({ method: 'POST', bodyBytes: -1 });
    const body = { ...noBodyLimits, bodyBytesMax: 3 };
    proxy.accept(head, new FakeClient(), body).onRequestBody(Buffer.from('1234'));
    const late = proxy.accept(head, new FakeClient(), body);
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: 9, hasBody: true, far: null });
    late.onRequestBody(Buffer.from('1234'));
    proxy.accept(fakeHead(), new FakeClient());
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: 9, hasBody: true, far: null });
    endpoint.last.fail(failures['upstream-reset']);
    const tooLarge = { failure: 'body-too-large', detail: expect.stringMatching(/^The body is larger than 3 bytes/) };
    expect(lines).toMatchObject([tooLarge, tooLarge, { failure: 'answer-cut', detail: 'a:1' }]);
  });

  it('has none where all went well', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, lines } = loggedMesh([endpoint]);
    proxy.accept(fakeHead(), new FakeClient());
    endpoint.last.answer(503);
    expect('detail' in lines[0]!).toBe(false);
    expect('failure' in lines[0]!).toBe(false);
  });

  it('has how far a request had come whose client left', () => {
    const endpoint = new FakeEndpoint('a:1', 0);
    const { proxy, lines } = loggedMesh([endpoint]);
    proxy.accept(fakeHead({ method: 'POST', bodyBytes: 9 }), new FakeClient()).onClientGone();
    const waiting = proxy.accept(fakeHead(), new FakeClient());
    waiting.onRequestEnd([]);
    waiting.onClientGone();
    const reading = proxy.accept(fakeHead(), new FakeClient());
    endpoint.last.handler.onHead({ status: 200, reason: '', headers: [], bodyBytes: 9, hasBody: true, far: null });
    reading.onClientGone();
    expect(lines.map(({ failure, detail }) => `${failure} ${detail}`)).toEqual([
      'client-gone before its body was complete',
      'client-gone before a:1 had answered',
      'client-gone in the middle of the answer of a:1',
    ]);
  });
});

describe('a failure at the far sidecar', () => {
  it('is named in the line of the caller', () => {
    const endpoint = new FakeEndpoint('a:1', 0, true);
    const { proxy, lines } = loggedMesh([endpoint]);
    proxy.accept(fakeHead(), new FakeClient());
    endpoint.last.answer(413, ['Weft-Failure', 'body-too-large']);
    expect(lines).toMatchObject([{ status: 413, farFailure: 'body-too-large' }]);
    expect(lines[0]).not.toHaveProperty('failure');
  });

  it('is not, where another endpoint answered in the end or an app says the word', () => {
    const endpoints = [new FakeEndpoint('a:1', 0, true), new FakeEndpoint('a:2', 1, false)];
    const { proxy, lines } = loggedMesh(endpoints);
    proxy.accept(fakeHead(), new FakeClient());
    const headers = headerList(['Weft-Failure', 'draining']);
    endpoints[0]!.last.handler.onHead({ status: 503, reason: '', headers, bodyBytes: 0, hasBody: true, far: null });
    endpoints[1]!.last.answer(500, ['Weft-Failure', 'internal-error']);
    expect(lines[0]).toMatchObject({ status: 500, attempts: 2 });
    expect(lines[0]).not.toHaveProperty('farFailure');
  });

  it('has a name of bounded length', () => {
    const endpoint = new FakeEndpoint('a:1', 0, true);
    const { proxy, lines } = loggedMesh([endpoint]);
    proxy.accept(fakeHead(), new FakeClient());
    endpoint.last.answer(500, ['Weft-Failure', 'x'.repeat(60_000)]);
    expect(lines[0]!.farFailure).toHaveLength(limits.farFailureCharsMax);
  });
});
