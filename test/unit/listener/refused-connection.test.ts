import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { textsOf } from '../../../src/proxy/headers.ts';
import { type Bench, kinds, openBench, parseAnswer, RawClient } from './listener-fakes.ts';

const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: sink\r\n\r\n';
const post = 'POST /p HTTP/1.1\r\nHost: sink\r\n';
const emptyChunked = '0\r\n\r\n';

/** What is handed on for the log is what the client was told. */
function expectFacts(bench: Bench, { body }: ReturnType<typeof parseAnswer>): void {
  const { detail, requestId } = JSON.parse(body);
  expect(bench.refusedHeads).toMatchObject([{ detail, requestId, sourceAddress: '127.0.0.1' }]);
}

describe.each(kinds)('a connection of %s after a refused head', (kind) => {
  let bench: Bench;
  let client: RawClient;
  beforeEach(async () => {
    bench = await openBench(kind);
    bench.proxy.onAccept = (accepted) => accepted.answer({}, 'served');
    client = await RawClient.open(bench);
  });
  afterEach(async () => {
    client.close();
    await bench.listener.close();
  });

  it.each<[string, string, number]>([
    ['two lengths', `${post}Content-Length: 2\r\nContent-Length: 40\r\n\r\nhi`, 400],
    ['two equal lengths', `${post}Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi`, 400],
    ['an empty length', `${post}Content-Length:\r\n\r\n`, 400],
    ['gzip, chunked', `${post}Transfer-Encoding: gzip, chunked\r\n\r\n${emptyChunked}`, 400],
    ['chunked, chunked', `${post}Transfer-Encoding: chunked, chunked\r\n\r\n${emptyChunked}`, 400],
    ['xchunked', `${post}Transfer-Encoding: xchunked\r\n\r\n${emptyChunked}`, 400],
    ['chunked and a comma', `${post}Transfer-Encoding: chunked,\r\n\r\n${emptyChunked}`, 400],
    ['identity, foo', `${post}Transfer-Encoding: identity, foo\r\n\r\n${emptyChunked}`, 400],
    ['two codings', `${post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n${emptyChunked}`, 400],
    ['an empty coding', `${post}Transfer-Encoding:\r\n\r\n`, 400],
    ['a broken coding of the body', `${post}Transfer-Encoding: gzip\r\n\r\nxyz\r\n`, 400],
    ['an expectation', `${post}Expect: 200-maybe\r\nContent-Length: 0\r\n\r\n`, 417],
    ['a bad Host', 'GET /p HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
    ['TRACE', 'TRACE /p HTTP/1.1\r\nHost: sink\r\n\r\n', 501],
    ['a long target', `GET /${'a'.repeat(16 * 1024)} HTTP/1.1\r\nHost: sink\r\n\r\n`, 414],
    ['large fields', `GET / HTTP/1.1\r\nHost: sink\r\nx: ${'y'.repeat(66_000)}\r\n\r\n`, 431],
  ])('serves nothing behind %s and answers once', async (_, request, status) => {
    client.send(request + smuggled + smuggled);
    await client.untilClosed();
    expect(bench.proxy.calls).toHaveLength(0);
    expect(client.received.split('HTTP/1.1 ')).toHaveLength(2);
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(status);
    expect(answer.body).toHaveLength(Number(answer.headers.get('content-length')));
    expect(JSON.parse(answer.body)).toMatchObject({ status });
    expectFacts(bench, answer);
  });

  it('answers HEAD without a body, and closes', async () => {
    client.send('HEAD / HTTP/1.1\r\nHost: a/b\r\n\r\n');
    await client.untilClosed();
    expect(parseAnswer(client.received)).toMatchObject({ status: 400, body: '' });
    client = await RawClient.open(bench);
    client.send(`HEAD / HTTP/1.1\r\nHost: a/b\r\n\r\n${smuggled}`);
    await client.untilClosed();
    expect(bench.proxy.calls).toHaveLength(0);
  });

  it('serves nothing that comes in a segment of its own', async () => {
    client.send(`${post}Content-Length: 2\r\nContent-Length: 40\r\n\r\nhi`);
    await client.untilText('400 Bad Request');
    client.send(smuggled);
    await client.untilClosed();
    expect(bench.proxy.calls).toHaveLength(0);
  });
});

describe('what uWS would serve behind a body', () => {
  let bench: Bench;
  let client: RawClient;
  beforeEach(async () => {
    bench = await openBench('uws');
    client = await RawClient.open(bench);
  });
  afterEach(async () => {
    client.close();
    await bench.listener.close();
  });

  it.each(['', 'Connection: close\r\n'])(
    'is not served when a chunked request is answered as it ends (%j)',
    async (field) => {
      bench.proxy.onAccept = (accepted) => {
        accepted.whenChanged = () => {
          if (accepted.ends === 1) accepted.answer({}, 'x');
        };
      };
      client.send(`${post}${field}Transfer-Encoding: chunked\r\n\r\n${emptyChunked}${smuggled}`);
      await client.untilClosed();
      expect(bench.proxy.calls.map(({ head }) => head.path)).toEqual(['/p']);
    },
  );

  it('is the rest of a body, when the answer came before it', async () => {
    bench.proxy.onAccept = (accepted) => accepted.answer({ status: 413, reason: 'Content Too Large' }, 'no');
    client.send(`${post}Content-Length: ${smuggled.length}\r\n\r\n`);
    await client.untilText('\r\n\r\nno');
    client.send(smuggled);
    await client.untilClosed();
    client = await RawClient.open(bench);
    client.send(`${post}Transfer-Encoding: chunked\r\n\r\n${smuggled.length.toString(16)}\r\n${smuggled}`);
    await client.untilText('413 Content');
    client.send(`\r\n${emptyChunked}${smuggled}`);
    await client.untilClosed();
    expect(bench.proxy.calls.map(({ head }) => head.path)).toEqual(['/p', '/p']);
  });
});

describe('bytes beyond ASCII in a field through uWS', () => {
  it('are passed when they are UTF-8, and refused by name when they are not', async () => {
    const bench = await openBench('uws');
    bench.proxy.onAccept = (accepted) => accepted.answer({}, 'served');
    const client = await RawClient.open(bench);
    client.send('GET / HTTP/1.1\r\nHost: a\r\nX-Name: a\xc3\xa9b\r\n\r\n');
    await client.untilText('served');
    expect(textsOf(bench.proxy.calls[0]!.head.headers)).toEqual(['x-name', 'a\xc3\xa9b']);
    client.received = '';
    client.send('GET / HTTP/1.1\r\nHost: a\r\nX-Name: a\xe9b\r\n\r\n');
    await client.untilClosed();
    const { status, body } = parseAnswer(client.received);
    expect(status).toBe(400);
    expect(JSON.parse(body).detail).toMatch(/x-name .*--outbound-http node/);
    expect(bench.proxy.calls).toHaveLength(1);
    await bench.listener.close();
  });
});

describe('a head that the parser of the edge refuses', () => {
  it.each<[string, string, number]>([
    ['no HTTP at all', 'hello\r\n\r\n', 400],
    ['a field name with a space', 'GET / HTTP/1.1\r\nHost: a\r\nx y: 1\r\n\r\n', 400],
    ['CONNECT', 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n', 501],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['more than it holds', `GET / HTTP/1.1\r\nHost: a\r\nx: ${'y'.repeat(90_000)}\r\n\r\n`, 431],
  ])('is handed on for the log: %s', async (_, request, status) => {
    const bench = await openBench('edge');
    const client = await RawClient.open(bench);
    client.send(request);
    await client.untilClosed();
    const answer = parseAnswer(client.received);
    expect(answer.status).toBe(status);
    expectFacts(bench, answer);
    client.close();
    await bench.listener.close();
  });

  it('is handed on without a request id where nothing can be answered', async () => {
    const bench = await openBench('edge');
    const client = await RawClient.open(bench);
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(limits.pipelinedRequestsMax + 2));
    await client.untilClosed();
    expect(bench.refusedHeads).toEqual([
      { detail: expect.stringContaining('64 requests'), requestId: '', sourceAddress: '127.0.0.1' },
    ]);
    client.close();
    await bench.listener.close();
  });
});
