/** Trailers and their announcement at both listeners. */
import { describe, expect, it } from 'vitest';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { uwsBuild } from '../../../src/proxy/listener/uws-core.ts';
import { kinds, ListenerRoom, parseAnswer, plain, unchunk } from './listener-fakes.ts';

describe.each(kinds)('trailers at %s', (kind) => {
  const room = ListenerRoom.forEach(kind);

  it('of a request are reported with their announcement, or neither is', async () => {
    const accepted = await room.call(
      'POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum, X-Hop\r\nConnection: X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n' +
        '1\r\na\r\n0\r\nX-Sum: 1\r\nX-Hop: 2\r\nAuthorization: 3\r\n\r\n',
    );
    await accepted.until(() => accepted.ends === 1);
    // Known: the older uWS core takes trailers for the next request, which it refuses by itself.
    if (kind === 'uws' && uwsBuild().isOlder) {
      await room.client.untilClosed();
      expect([parseAnswer(room.client.received).status, accepted.gone]).toEqual([505, 1]);
    }
    const isPassing = kind === 'edge';
    expect(textsOf(accepted.head.headers)).toEqual(isPassing ? ['Trailer', 'X-Sum, X-Hop'] : []);
    expect(accepted.trailers).toEqual(isPassing ? ['X-Sum', '1'] : []);
  });

  if (kind === 'edge')
    it('of a request that are more than the parser takes are refused in words of their own', async () => {
      const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n';
      const accepted = await room.call(`${chunked}X-Sum: ${'a'.repeat(90_000)}\r\n\r\n`);
      await room.client.untilClosed();
      expect([accepted.ends, accepted.gone, room.bench.refused.map(({ code }) => code)]).toEqual([
        0,
        1,
        ['headers-too-large'],
      ]);
      expect(JSON.parse(parseAnswer(room.client.received).body)).toMatchObject({
        status: 431,
        detail: 'The trailers are larger than 81920 bytes (fixed).',
      });
    });

  it('of an answer in chunks follow their announcement, or neither is sent', async () => {
    const { downstream } = await room.call('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    downstream.head({ ...plain, bodyBytes: -1, headers: headerList(['Trailer', 'X-Sum', 'X-A', '1']) }, null);
    downstream.body(Buffer.from('one'));
    await room.client.untilText('one');
    downstream.body(Buffer.from('two'));
    downstream.end(headerList(['X-Sum', '9']), null);
    await room.client.until(({ received }) => unchunk(parseAnswer(received).body) !== null);
    const { headers, body } = parseAnswer(room.client.received);
    expect([unchunk(body)?.data, headers.get('x-a')]).toEqual(['onetwo', ['1']]);
    expect(headers.get('trailer')).toEqual(kind === 'edge' ? ['X-Sum'] : undefined);
    expect(room.client.received.includes('X-Sum: 9')).toBe(kind === 'edge');
  });

  it('of an answer with a length are not announced', async () => {
    (await room.call('GET / HTTP/1.1\r\nHost: a\r\n\r\n')).answer(
      { headers: headerList(['Trailer', 'X-Sum']) },
      'body',
    );
    await room.client.untilText('\r\n\r\nbody');
    expect(parseAnswer(room.client.received).headers.has('trailer')).toBe(false);
  });
});
