/** What of requests only the edge knows: it reads ahead, speaks HTTP/1.0, and carries trailers. */
import { describe, expect, it } from 'vitest';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { ListenerRoom, parseAnswer, plain } from './listener-fakes.ts';

describe('what only the edge knows', () => {
  const room = ListenerRoom.forEach('edge');

  it('passes trailers both ways', async () => {
    const next = room.bench.proxy.nextCall();
    room.client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n');
    const accepted = await next;
    await accepted.until(() => accepted.ends === 1);
    expect(accepted.trailers).toEqual(['X-Sum', '1']);
    accepted.downstream.head({ ...plain, bodyBytes: -1 }, null);
    accepted.downstream.body(Buffer.from('body'));
    accepted.downstream.end(headerList(['X-Check', 'ok']), null);
    await room.client.untilText('0\r\nX-Check: ok\r\n\r\n');
  });

  it('takes no request behind an answer that says Connection: close, whoever had it say so', async () => {
    const behind = 'POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx';
    // To a request that expects 100 and never got it, Node's own server says so.
    const first = room.bench.proxy.nextCall();
    room.client.send(`GET /first HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n${behind}`);
    (await first).answer({}, 'one');
    await room.client.untilClosed();
    expect(parseAnswer(room.client.received).headers.get('connection')).toEqual(['close']);
    expect(room.bench.proxy.calls.map(({ head }) => head.path)).toEqual(['/first']);

    // Node drops what its segment holds behind a request for an upgrade, so what comes next may be the middle of a request.
    await room.connect();
    const upgrade = room.bench.proxy.nextCall();
    room.client.send(
      'GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nPOST /lost HTTP/1.1\r\n',
    );
    const accepted = await upgrade;
    room.client.send('GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n');
    accepted.answer({}, 'no tunnel');
    await room.client.untilClosed();
    expect(room.bench.proxy.calls.map(({ head }) => head.path)).toEqual(['/first', '/upgrade']);

    await room.connect();
    const beforeDrain = room.bench.proxy.nextCall();
    room.client.send(`GET /third HTTP/1.1\r\nHost: a\r\n\r\n${behind}`);
    const third = await beforeDrain;
    room.bench.listener.drain();
    third.answer({}, 'three');
    await room.client.untilClosed();
    expect(parseAnswer(room.client.received).headers.get('connection')).toEqual(['close']);
    expect(room.bench.proxy.calls.map(({ head }) => head.path)).toEqual(['/first', '/upgrade', '/third']);
  });

  it('answers HTTP/1.0 with the end of the connection, and cuts it with a reset', async () => {
    const next = room.bench.proxy.nextCall();
    room.client.send('GET http://b/ HTTP/1.0\r\nHost: a\r\n\r\n');
    const accepted = await next;
    expect(accepted.head).toMatchObject({ host: 'b', authority: 'b' });
    accepted.downstream.head({ ...plain, bodyBytes: -1 }, null);
    accepted.downstream.body(Buffer.from('one'));
    await room.client.untilText('one');
    accepted.downstream.body(Buffer.from('two'));
    accepted.downstream.end([], null);
    await room.client.untilClosed();
    expect(room.client.received.endsWith('\r\n\r\nonetwo')).toBe(true);
    expect(room.client.isReset).toBe(false);

    await room.connect();
    const second = room.bench.proxy.nextCall();
    room.client.send('GET / HTTP/1.0\r\nHost: a\r\n\r\n');
    const { downstream } = await second;
    downstream.head({ ...plain, bodyBytes: -1 }, null);
    downstream.body(Buffer.from('one'));
    await room.client.untilText('one');
    downstream.abort();
    await room.client.untilClosed();
    expect(room.client.isReset).toBe(true);
  });

  it('works on pipelined requests one after another, and answers a broken one last', async () => {
    const first = room.bench.proxy.nextCall();
    room.client.send(
      'POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\naPOST /2 HTTP/1.1\r\nHost: a\r\n\r\nBROKEN\r\n\r\n',
    );
    const one = await first;
    await one.until(() => one.ends === 1);
    expect(room.bench.proxy.calls).toHaveLength(1);
    const second = room.bench.proxy.nextCall();
    one.answer({}, 'one');
    (await second).answer({}, 'two');
    await room.client.untilClosed();
    expect(room.client.received.match(/HTTP\/1.1 (\d+)/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 200', 'HTTP/1.1 400']);
  });

  it.each([
    'GET / HTTP/2.0\r\nHost: a\r\n\r\n',
    'GET / HTTP/3.7\r\nHost: a\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'GET / HTTP/0.9\r\nHost: a\r\n\r\n',
    'GET /\r\nHost: a\r\n\r\n',
  ])('speaks no other version: %j', async (request) => {
    room.client.send(request);
    await room.client.untilClosed();
    const { status, headers } = parseAnswer(room.client.received);
    expect(status).toBe(505);
    expect(headers.get('weft-failure')).toEqual(['version-not-supported']);
    expect(room.bench.proxy.calls).toHaveLength(0);
  });

  it('answers 400 to a body that breaks before its answer has begun, and cuts one that has', async () => {
    const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n';
    const first = room.bench.proxy.nextCall();
    room.client.send(chunked);
    const unanswered = await first;
    room.client.send('zz\r\n');
    await room.client.untilClosed();
    const { status, headers } = parseAnswer(room.client.received);
    expect(status).toBe(400);
    expect(headers.get('weft-failure')).toEqual(['bad-request']);
    expect(room.client.isReset).toBe(false);
    expect(unanswered).toMatchObject({ gone: 1, ends: 0 });

    await room.connect();
    const second = room.bench.proxy.nextCall();
    room.client.send(chunked);
    const begun = await second;
    begun.downstream.head({ ...plain, bodyBytes: 10 }, null);
    begun.downstream.body(Buffer.from('part'));
    await room.client.untilText('part');
    room.client.send('zz\r\n');
    await room.client.untilClosed();
    expect(room.client.isReset).toBe(true);
    expect(begun).toMatchObject({ gone: 1, ends: 0 });
  });

  it('treats an upgrade like any other request', async () => {
    const next = room.bench.proxy.nextCall();
    room.client.send('GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    const accepted = await next;
    expect(accepted.head.headers).toEqual([]);
    accepted.answer({ status: 426, reason: 'Upgrade Required' }, 'no');
    await room.client.untilText('\r\n\r\nno');
  });

  it('keeps the case and the order of fields', async () => {
    const next = room.bench.proxy.nextCall();
    room.client.send('GET / HTTP/1.1\r\nB-b: 1\r\nHost: a\r\na-A: 2\r\nB-b: 3\r\n\r\n');
    const accepted = await next;
    expect(textsOf(accepted.head.headers)).toEqual(['B-b', '1', 'a-A', '2', 'B-b', '3']);
    accepted.answer({ headers: headerList(['Z-z', '1', 'y-Y', '2', 'Z-z', '3']) }, 'x');
    await room.client.untilText('\r\n\r\nx');
    expect(room.client.received).toContain('\r\nZ-z: 1\r\ny-Y: 2\r\nZ-z: 3\r\n');
  });
});
