/** Date stands exactly once in every answer (RFC 9110 section 6.6.1): the origin's at the edge, the core's own behind uWS. */
import { describe, expect, it } from 'vitest';
import { headerList } from '../../../src/proxy/headers.ts';
import type { AnswerHead } from '../../../src/proxy/request.ts';
import { kinds, ListenerRoom, parseAnswer, plain } from './listener-fakes.ts';

const old = 'Sun, 06 Nov 1994 08:49:37 GMT';
const older = 'Sat, 05 Nov 1994 08:49:37 GMT';
const isDate = /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/;

describe.each(kinds)('the Date of an answer through %s', (kind) => {
  const room = ListenerRoom.forEach(kind);

  const datesIn = (text: string) => parseAnswer(text).headers.get('date') ?? [];

  const origins: [said: string, headers: string[]][] = [
    ['one', ['date', old]],
    ['none', []],
    ['two', ['Date', old, 'X-A', '1', 'DATE', older]],
  ];
  const shapes: [shape: string, method: string, fields: string, head: Partial<AnswerHead>][] = [
    ['with a body', 'GET', '', {}],
    ['in chunks', 'GET', '', { bodyBytes: -1 }],
    ['without a body', 'HEAD', '', { bodyBytes: 9, hasBody: false }],
    ['that closes', 'GET', 'Connection: close, a\r\n', {}],
    ['without a body that closes', 'HEAD', 'Connection: close, a\r\n', { bodyBytes: 9, hasBody: false }],
    ['of 204 that closes', 'GET', 'Connection: close, a\r\n', { status: 204, bodyBytes: -1, hasBody: false }],
  ];

  it.each(origins.flatMap((origin) => shapes.map((shape) => [...origin, ...shape] as const)))(
    'is said once when the origin said %s %j, %s',
    async (said, headers, _shape, method, fields, head) => {
      const next = room.bench.proxy.nextCall();
      room.client.send(`${method} / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`);
      const { downstream } = await next;
      const body = head.hasBody === false ? '' : 'body';
      downstream.head({ ...plain, bodyBytes: body.length, ...head, headers: headerList(headers) }, null);
      if (body !== '') downstream.body(Buffer.from(body));
      downstream.end([], null);
      await room.client.untilText(`\r\n\r\n${body}`);
      const dates = datesIn(room.client.received);
      expect(dates).toEqual([expect.stringMatching(isDate)]);
      // The origin's is the better one, and uWS writes its own into nearly every head.
      if (kind === 'edge' && said !== 'none') expect(dates).toEqual([old]);
    },
  );

  it.each([
    ['GET /%00', ''],
    ['HEAD /%00', ''],
    ['GET /', 'Content-Length: x\r\n'],
  ])('is said once when %s is refused', async (line, fields) => {
    room.client.send(`${line} HTTP/1.1\r\nHost: a\r\n${fields}\r\n`);
    await room.client.untilClosed();
    expect(parseAnswer(room.client.received).status).toBe(400);
    expect(datesIn(room.client.received)).toEqual([expect.stringMatching(isDate)]);
  });
});
