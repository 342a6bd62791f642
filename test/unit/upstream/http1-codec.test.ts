import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { textsOf } from '../../../src/proxy/headers.ts';
import { AnswerParser, type ParseOutcome } from '../../../src/proxy/upstream/http1-codec.ts';
import type { UpstreamHead } from '../../../src/proxy/upstream/upstream.ts';
import type { HeadText } from './recording.ts';

interface Reading {
  outcome: ParseOutcome;
  failureCode: string;
  head: HeadText | null;
  body: string;
  trailers: readonly string[];
  keepsConnection: boolean;
  endsAtClose: boolean;
}

/** Feeds `answer` in pieces that end at `cuts`, from one reused buffer as the connection does. */
function read(answer: string, cuts: readonly number[] = [], method = 'GET'): Reading {
  const bytes = Buffer.from(answer, 'latin1');
  const reused = Buffer.alloc(Math.max(1, bytes.length));
  const parser = new AnswerParser();
  let head: HeadText | null = null;
  let body = '';
  const sink = {
    onHead: (seen: UpstreamHead) => {
      expect(head).toBeNull();
      head = { ...seen, headers: textsOf(seen.headers) };
    },
    onBody: (chunk: Uint8Array) => {
      body += Buffer.from(chunk).toString('latin1');
    },
  };
  parser.begin(sink, method === 'HEAD');
  let outcome: ParseOutcome = 'more';
  let start = 0;
  for (const end of [...cuts, bytes.length]) {
    reused.fill(0x58);
    bytes.copy(reused, 0, start, end);
    outcome = parser.feed(reused, end - start);
    start = end;
    if (outcome !== 'more' && start < bytes.length) return finished(outcome === 'complete' ? 'surplus' : outcome);
    if (outcome !== 'more') break;
  }
  return finished(outcome);

  function finished(last: ParseOutcome): Reading {
    return {
      outcome: last,
      failureCode: last === 'failed' ? parser.failureCode : '',
      head,
      body,
      trailers: textsOf(parser.trailers),
      keepsConnection: parser.keepsConnection,
      endsAtClose: parser.endsAtClose,
    };
  }
}

const everyByte = (answer: string): number[] => Array.from({ length: answer.length }, (_, index) => index + 1);
const ok = 'HTTP/1.1 200 OK\r\n';
const chunkedHead = `${ok}Transfer-Encoding: chunked\r\n\r\n`;

describe('garbage before the end of the head', () => {
  const cases: Record<string, string> = {
    'an SSH banner': 'SSH-2.0-OpenSSH_9.2\r\n',
    'a TLS alert': '\x15\x03\x01\x00\x02\x02\x46',
    'an HTTP/2 settings frame': '\x00\x00\x06\x04\x00\x00\x00\x00\x00',
    'a request instead of an answer': 'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
    'an HTTP/0.9 body': '<html>hello</html>',
    'HTTP/2.0': 'HTTP/2.0 200 OK\r\n\r\n',
    'HTTP/1.2': 'HTTP/1.2 200 OK\r\n\r\n',
    'HTTP/1': 'HTTP/1 200 OK\r\n\r\n',
    'lower-case http': 'http/1.1 200 OK\r\n\r\n',
    'a blank in front': ' HTTP/1.1 200 OK\r\n\r\n',
    'an empty line in front': '\r\nHTTP/1.1 200 OK\r\n\r\n',
    'two blanks before the status': 'HTTP/1.1  200 OK\r\n\r\n',
    'a tab before the status': 'HTTP/1.1\t200 OK\r\n\r\n',
    'a status of two digits': 'HTTP/1.1 20 OK\r\n\r\n',
    'a status of four digits': 'HTTP/1.1 2000 OK\r\n\r\n',
    'a status of letters': 'HTTP/1.1 2OO OK\r\n\r\n',
    'status 000': 'HTTP/1.1 000 No\r\n\r\n',
    'status 099': 'HTTP/1.1 099 No\r\n\r\n',
    'a negative status': 'HTTP/1.1 -20 No\r\n\r\n',
    'a tab after the status': 'HTTP/1.1 200\tOK\r\n\r\n',
    'bare LF after the status line': 'HTTP/1.1 200 OK\nA: b\r\n\r\n',
    'bare CR after the status line': 'HTTP/1.1 200 OK\rA: b\r\n\r\n',
    'NUL in the reason': 'HTTP/1.1 200 O\0K\r\n\r\n',
    'DEL in the reason': 'HTTP/1.1 200 O\x7fK\r\n\r\n',
    'bare LF after a field': `${ok}A: b\nC: d\r\n\r\n`,
    'bare LF as the empty line': `${ok}A: b\r\n\n`,
    'CR CR LF': `${ok}A: b\r\r\n\r\n`,
    'an empty line of CR and something': `${ok}A: b\r\n\rX`,
    'obs-fold with a blank': `${ok}A: b\r\n c\r\n\r\n`,
    'obs-fold with a tab': `${ok}A: b\r\n\tc\r\n\r\n`,
    'a fold in the first line': `${ok} A: b\r\n\r\n`,
    'a blank before the colon': `${ok}A : b\r\n\r\n`,
    'a tab before the colon': `${ok}A\t: b\r\n\r\n`,
    'a blank in the name': `${ok}A B: c\r\n\r\n`,
    'no colon': `${ok}Ab\r\n\r\n`,
    'an empty name': `${ok}: b\r\n\r\n`,
    'NUL in a name': `${ok}A\0: b\r\n\r\n`,
    'a slash in a name': `${ok}A/B: c\r\n\r\n`,
    'obs-text in a name': `${ok}\xe4: b\r\n\r\n`,
    'NUL in a value': `${ok}A: b\0c\r\n\r\n`,
    'ESC in a value': `${ok}A: b\x1bc\r\n\r\n`,
    'DEL in a value': `${ok}A: b\x7f\r\n\r\n`,
    'bare CR in a value': `${ok}A: b\rc\r\n\r\n`,
    'both lengths': `${ok}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'both lengths, the other order': `${ok}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n`,
    'differing lengths': `${ok}Content-Length: 3\r\nContent-Length: 4\r\n\r\n`,
    'the same length twice': `${ok}Content-Length: 3\r\nContent-Length: 3\r\n\r\n`,
    'a list of lengths': `${ok}Content-Length: 3, 3\r\n\r\n`,
    'an empty length': `${ok}Content-Length: \r\n\r\n`,
    'a signed length': `${ok}Content-Length: +3\r\n\r\n`,
    'a negative length': `${ok}Content-Length: -1\r\n\r\n`,
    'a length in hex': `${ok}Content-Length: 0x3\r\n\r\n`,
    'a length with a point': `${ok}Content-Length: 3.0\r\n\r\n`,
    'a length with a blank': `${ok}Content-Length: 1 2\r\n\r\n`,
    'a length of 16 digits': `${ok}Content-Length: 1000000000000000\r\n\r\n`,
    'another transfer coding': `${ok}Transfer-Encoding: gzip\r\n\r\n`,
    'chunked not alone': `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    'chunked not last': `${ok}Transfer-Encoding: chunked, gzip\r\n\r\n`,
    'chunked twice': `${ok}Transfer-Encoding: chunked, chunked\r\n\r\n`,
    'chunked in two fields': `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    identity: `${ok}Transfer-Encoding: identity\r\n\r\n`,
    'an empty transfer coding': `${ok}Transfer-Encoding:\r\n\r\n`,
    'chunked with a parameter': `${ok}Transfer-Encoding: chunked;q=1\r\n\r\n`,
    'chunked in quotes': `${ok}Transfer-Encoding: "chunked"\r\n\r\n`,
    'chunked after a vertical tab': `${ok}Transfer-Encoding: \x0bchunked\r\n\r\n`,
    'chunked in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    'a 101 nobody asked for': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    'a 205 with content': 'HTTP/1.1 205 Reset Content\r\nContent-Length: 1\r\n\r\nx',
    'interim answers without end': 'HTTP/1.1 100 Continue\r\n\r\n'.repeat(limits.interimAnswersMax + 1),
    'garbage in an interim answer': 'HTTP/1.1 103 Early Hints\r\nLink : x\r\n\r\n',
    'more nominated fields than there may be fields': `${ok}Connection: ${'a,'.repeat(limits.headerFieldsMax + 1)}\r\n\r\n`,
  };
  for (const [name, answer] of Object.entries(cases)) {
    it(name, () => {
      for (const cuts of [[], everyByte(answer)]) {
        const reading = read(answer, cuts);
        expect(reading).toMatchObject({ outcome: 'failed', failureCode: 'upstream-garbage', head: null, body: '' });
      }
    });
  }

  it('is noticed at the first wrong octet of a status line, without a line end', () => {
    expect(read('SSH').outcome).toBe('failed');
    expect(read('HTTP/1.1 2x', everyByte('HTTP/1.1 2x')).outcome).toBe('failed');
  });
});

describe('garbage in a chunked body', () => {
  const cases: Record<string, string> = {
    'no size': '\r\n',
    'only an extension': ';a=b\r\n',
    'a letter that is no hex digit': 'g\r\n',
    'a 0x prefix': '0x5\r\nhello\r\n0\r\n\r\n',
    'a sign': '+5\r\nhello\r\n0\r\n\r\n',
    'a negative size': '-1\r\n',
    'a blank in front': ' 5\r\nhello\r\n0\r\n\r\n',
    'a blank behind': '5 \r\nhello\r\n0\r\n\r\n',
    'bare LF after the size': '5\nhello\r\n0\r\n\r\n',
    'bare LF after an extension': '5;a=b\nhello\r\n0\r\n\r\n',
    'CR and no LF after the size': '5\rXhello\r\n0\r\n\r\n',
    'a control in an extension': '5;a=\x01\r\nhello\r\n0\r\n\r\n',
    'NUL in an extension': '5;\0\r\nhello\r\n0\r\n\r\n',
    '16 digits': '0000000000000001\r\nx\r\n0\r\n\r\n',
    'a size beyond 2^53': 'fffffffffffffff\r\n',
    'an underscore': '1_0\r\n',
    'data longer than its size': '5\r\nhelloo\r\n0\r\n\r\n',
    'data shorter than its size': '6\r\nhello\r\n0\r\n\r\n',
    'no CRLF after the data': '5\r\nhello0\r\n\r\n',
    'bare LF after the data': '5\r\nhello\n0\r\n\r\n',
    'CR CR after the data': '5\r\nhello\r\r0\r\n\r\n',
    'a trailer without a colon': '0\r\nabc\r\n\r\n',
    'a trailer with a blank before the colon': '0\r\nA : b\r\n\r\n',
    'a folded trailer': '0\r\nA: b\r\n c\r\n\r\n',
    'bare LF after a trailer': '0\r\nA: b\n\r\n',
    'NUL in a trailer': '0\r\nA: \0\r\n\r\n',
    'bare LF as the end': '0\r\n\n',
    'a long extension': `5;${'a'.repeat(limits.chunkExtensionBytesMax + 1)}`,
    'many extensions': '1;aaaaaaaaaaaaaaa\r\nx\r\n'.repeat(limits.chunkExtensionBytesMax / 16 + 1),
  };
  for (const [name, body] of Object.entries(cases)) {
    it(name, () => {
      for (const cuts of [[], everyByte(chunkedHead + body)]) {
        const reading = read(chunkedHead + body, cuts);
        expect(reading).toMatchObject({ outcome: 'failed', failureCode: 'upstream-garbage' });
        expect(reading.head).not.toBeNull();
      }
    });
  }
  it('content in a chunked 205', () => {
    const reading = read('HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n');
    expect(reading).toMatchObject({ outcome: 'failed', failureCode: 'upstream-garbage', body: '' });
  });
});

describe('limits', () => {
  const field = (bytes: number) => `A: ${'x'.repeat(bytes - 5)}\r\n`;
  const headOf = (bytes: number) => `${ok}${field(bytes - ok.length - 2)}\r\n`;

  it('refuses one octet more than headBytesMax, whole or in pieces, with or without its end', () => {
    const answer = headOf(limits.headBytesMax + 1);
    for (const cuts of [[], [100], [limits.headBytesMax - 1, limits.headBytesMax], everyByte(answer)]) {
      expect(read(answer, cuts)).toMatchObject({ outcome: 'failed', failureCode: 'upstream-head-too-large' });
    }
    expect(read(`${ok}A: ${'x'.repeat(limits.headBytesMax)}`).failureCode).toBe('upstream-head-too-large');
  });
  it('takes exactly headBytesMax, whatever follows', () => {
    const answer = `${headOf(limits.headBytesMax - 19).slice(0, -2)}Content-Length: 2\r\n\r\nok`;
    expect(answer.length).toBe(limits.headBytesMax + 2);
    for (const cuts of [[], [100], [limits.headBytesMax - 1], everyByte(answer)]) {
      expect(read(answer, cuts)).toMatchObject({ outcome: 'complete', body: 'ok' });
    }
  });
  it('counts fields', () => {
    const many = (count: number) => `${ok}${'A: b\r\n'.repeat(count - 1)}Content-Length: 0\r\n\r\n`;
    expect(read(many(limits.headerFieldsMax)).outcome).toBe('complete');
    expect(read(many(limits.headerFieldsMax + 1)).failureCode).toBe('upstream-head-too-large');
  });
  it('drops trailers of more fields than a head may have, and reads no more bytes of them', () => {
    const many = (count: number) => `${chunkedHead}2\r\nok\r\n0\r\n${'A: b\r\n'.repeat(count)}\r\n`;
    expect(read(many(limits.headerFieldsMax)).trailers).toHaveLength(2 * limits.headerFieldsMax);
    const tooMany = many(limits.headerFieldsMax + 1);
    for (const cuts of [[], everyByte(tooMany)]) {
      expect(read(tooMany, cuts)).toMatchObject({ outcome: 'complete', body: 'ok', trailers: [] });
    }
    expect(read(`${tooMany}HTTP/1.1`).outcome).toBe('surplus');
    // A field beyond the limit is dropped unread, but it is a field all the same.
    expect(read(`${tooMany.slice(0, -2)}A b\r\n\r\n`).failureCode).toBe('upstream-garbage');
    const beyondBytes = Math.ceil(limits.headBytesMax / 'A: b\r\n'.length);
    expect(read(many(beyondBytes)).failureCode).toBe('upstream-head-too-large');
    expect(read(`${chunkedHead}0\r\n${field(limits.headBytesMax)}\r\n`).failureCode).toBe('upstream-head-too-large');
  });
  it('reads a trickled head of full length in linear time', () => {
    const answer = headOf(limits.headBytesMax).replace('A:', 'Content-Length: 0\r\nB:').slice(0, -21);
    const started = performance.now();
    read(`${answer}\r\n\r\n`, everyByte(answer));
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

describe('framing by the letter', () => {
  it('Content-Length', () => {
    const reading = read(`${ok}Content-Length: 5\r\n\r\nhello`);
    expect(reading).toMatchObject({ outcome: 'complete', body: 'hello', keepsConnection: true });
    expect(reading.head).toEqual({ status: 200, reason: 'OK', headers: [], bodyBytes: 5, hasBody: true, far: null });
  });
  it('an empty body is over with its head', () => {
    expect(read(`${ok}content-LENGTH:0\r\n\r\n`)).toMatchObject({
      outcome: 'complete',
      head: { bodyBytes: 0, hasBody: true },
    });
  });
  it('a short body is not complete', () => {
    expect(read(`${ok}Content-Length: 5\r\n\r\nhell`)).toMatchObject({ outcome: 'more', endsAtClose: false });
  });
  it('a body longer than said is cut, not ended', () => {
    const reading = read(`${ok}Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n`);
    expect(reading).toMatchObject({ outcome: 'failed', failureCode: 'answer-cut', body: 'hello' });
  });
  it('chunks, extensions, trailers', () => {
    const reading = read(
      `${chunkedHead}5\r\nhello\r\n6;a="b c" ;d\r\n world\r\n00A \t;x\r\n0123456789\r\n0;z\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: x\r\nx-t:\r\n\r\n`,
    );
    expect(reading).toMatchObject({ outcome: 'complete', body: 'hello world0123456789', keepsConnection: true });
    expect(reading.trailers).toEqual(['X-Sum', '1', 'x-t', '']);
    expect(reading.head).toMatchObject({ bodyBytes: -1, hasBody: true });
  });
  it('trailers that Connection names are of this hop', () => {
    const head = `${ok}Connection: keep-alive, X-Hop\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const reading = read(`${head}0\r\nX-Sum: 1\r\nx-hop: 2\r\nKeep-Alive: 3\r\n\r\n`);
    expect([reading.outcome, reading.trailers]).toEqual(['complete', ['X-Sum', '1']]);
  });
  it('octets after the last chunk are surplus', () => {
    expect(read(`${chunkedHead}0\r\n\r\nHTTP/1.1 200 OK\r\n`)).toMatchObject({ outcome: 'surplus', body: '' });
  });
  it('until the connection closes', () => {
    for (const version of ['1.0', '1.1']) {
      const reading = read(`HTTP/${version} 200 OK\r\nConnection: keep-alive\r\n\r\nabc`);
      expect(reading).toMatchObject({ outcome: 'more', body: 'abc', endsAtClose: true, keepsConnection: false });
      expect(reading.head).toMatchObject({ bodyBytes: -1, hasBody: true });
    }
  });
  it('HEAD, 204 and 304 have no body whatever they say', () => {
    expect(read(`${ok}Content-Length: 5\r\n\r\n`, [], 'HEAD')).toMatchObject({
      outcome: 'complete',
      keepsConnection: true,
      head: { bodyBytes: 5, hasBody: false },
    });
    expect(read(chunkedHead, [], 'HEAD')).toMatchObject({ outcome: 'complete', head: { bodyBytes: -1 } });
    expect(read(`${ok}\r\n`, [], 'HEAD')).toMatchObject({ outcome: 'complete', keepsConnection: true });
    expect(read(`${ok}Content-Length: 5\r\n\r\nhello`, [], 'HEAD')).toMatchObject({ outcome: 'surplus', body: '' });
    expect(read('HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: "a"\r\n\r\n')).toMatchObject({
      outcome: 'complete',
      keepsConnection: true,
      head: { bodyBytes: 5, hasBody: false, headers: ['ETag', '"a"'] },
    });
    expect(read('HTTP/1.1 204 No Content\r\n\r\n')).toMatchObject({ outcome: 'complete', keepsConnection: true });
    for (const framing of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
      expect(read(`HTTP/1.1 204 No Content\r\n${framing}\r\n\r\n`)).toMatchObject({
        outcome: 'complete',
        keepsConnection: false,
        head: { bodyBytes: -1, hasBody: false },
      });
    }
  });
  it('an empty 205 is framed like any other', () => {
    expect(read('HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n').outcome).toBe('complete');
    expect(read('HTTP/1.1 205 Reset\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n').outcome).toBe('complete');
  });
  it('loses what is of this hop only, in any case', () => {
    const names = ['TE', 'upgrade', 'Keep-Alive', 'PROXY-CONNECTION', 'HTTP2-Settings'];
    const lines = names.map((name) => `${name}: x\r\n`).join('');
    const reading = read(`${ok}${lines}ETag: "a"\r\nContent-Length: 0\r\n\r\n`);
    expect(reading).toMatchObject({ outcome: 'complete', head: { headers: ['ETag', '"a"'] } });
  });
  it('interim answers are swallowed', () => {
    const reading = read(
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n${ok}Content-Length: 2\r\n\r\nok`,
    );
    expect(reading).toMatchObject({ outcome: 'complete', body: 'ok', head: { status: 200, headers: [] } });
  });
  it('keeps the connection as the version and Connection say', () => {
    const keeps = (version: string, field: string) =>
      read(`HTTP/${version} 200 OK\r\nContent-Length: 0\r\n${field}\r\n`).keepsConnection;
    expect(keeps('1.1', '')).toBe(true);
    expect(keeps('1.1', 'Connection: Close\r\n')).toBe(false);
    expect(keeps('1.1', 'Connection: x\r\nConnection: y, close\r\n')).toBe(false);
    expect(keeps('1.0', '')).toBe(false);
    expect(keeps('1.0', 'Connection: Keep-Alive\r\n')).toBe(true);
    expect(keeps('1.0', 'Connection: keep-alive, close\r\n')).toBe(false);
  });
  it('keeps order, case, duplicates and odd values of fields, and trims blanks around them', () => {
    const reading = read(
      `HTTP/1.1 299 \xe4 b\r\nServer: x/1 (y)\r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\nX:\r\nY: \t z\tz \t\r\nDate: now\r\nZ:\xff:\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(reading.head).toMatchObject({ status: 299, reason: '\xe4 b' });
    expect(reading.head?.headers).toEqual(
      'Server,x/1 (y),set-cookie,a=1,Set-Cookie,b=2,X,,Y,z\tz,Date,now,Z,\xff:'.split(','),
    );
  });
  it('a missing or empty reason', () => {
    expect(read('HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n').head?.reason).toBe('');
    expect(read('HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n').head?.reason).toBe('');
  });
  it('takes out what is of this hop', () => {
    const reading = read(
      `${ok}A: 1\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\nTE: x\r\nUpgrade: h2c\r\nTrailer: X\r\nContent-Length: 0\r\nB: 2\r\n\r\n`,
    );
    expect(reading.head?.headers).toEqual(['A', '1', 'Trailer', 'X', 'B', '2']);
  });
});

describe('properties', () => {
  const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,20}$/).map((name) => `X-${name}`);
  const value = fc.stringMatching(/^[!-~\xa0-\xff]([ -~\xa0-\xff]{0,40}[!-~\xa0-\xff])?$/);
  const headers = fc.array(fc.tuple(token, value), { maxLength: 12 });
  const pieces = fc.array(fc.string({ minLength: 1, maxLength: 200, unit: 'binary-ascii' }), { maxLength: 6 });
  const fieldLines = (fields: readonly (readonly string[])[]) => fields.map(([n, v]) => `${n}: ${v}\r\n`).join('');

  it('any valid answer is read the same in any segmentation', () => {
    const answer = fc
      .tuple(fc.boolean(), headers, pieces, headers, fc.integer({ min: 0, max: 2 }))
      .map(([isChunked, fields, body, trailers, interim]) => ({
        fields,
        body: body.join(''),
        trailers: isChunked ? trailers : [],
        text:
          'HTTP/1.1 100 Continue\r\n\r\n'.repeat(interim) +
          (isChunked
            ? `${ok}${fieldLines(fields)}Transfer-Encoding: chunked\r\n\r\n${body.map((piece) => `${piece.length.toString(16)};x\r\n${piece}\r\n`).join('')}0\r\n${fieldLines(trailers)}\r\n`
            : `${ok}${fieldLines(fields)}Content-Length: ${body.join('').length}\r\n\r\n${body.join('')}`),
      }));
    fc.assert(
      fc.property(answer, fc.array(fc.nat(4000), { maxLength: 12 }), ({ fields, body, trailers, text }, at) => {
        const cuts = [...new Set(at.map((cut) => cut % text.length))].sort((a, b) => a - b);
        const whole = read(text);
        expect(whole).toMatchObject({ outcome: 'complete', body, keepsConnection: true });
        expect(whole.head?.headers).toEqual(fields.flat());
        expect(whole.trailers).toEqual(trailers.flat());
        expect(read(text, cuts)).toEqual(whole);
        expect(read(text, everyByte(text))).toEqual(whole);
      }),
      { numRuns: 150 },
    );
  });

  it('any octets are refused or read the same in any segmentation, and never throw', () => {
    const junk = fc
      .array(
        fc.constantFrom(
          'HTTP/1.1 200 OK\r\n',
          'Content-Length: 3\r\n',
          'Transfer-Encoding: chunked\r\n',
          'A: b\r\n',
          '\r\n',
          '\n',
          '\r',
          '3\r\nabc\r\n',
          '0\r\n\r\n',
          'abc',
          ';',
          ' ',
          '\0',
          ':',
          'HTTP/1.0 204 N\r\n',
          'HTTP/1.1 100 C\r\n\r\n',
        ),
        { maxLength: 12 },
      )
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(junk, (text) => {
        const whole = read(text);
        const single = read(text, everyByte(text));
        expect(single.head).toEqual(whole.head);
        expect(single.body).toBe(whole.body);
        // Whether a body is longer than said can only be seen when both come together.
        if (whole.failureCode === 'answer-cut') expect(single.outcome).toBe('surplus');
        else expect(single.outcome).toBe(whole.outcome);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('stopping', () => {
  it('within onHead and within onBody ends all callbacks', () => {
    const bytes = Buffer.from(`${chunkedHead}1\r\na\r\n1\r\nb\r\n0\r\n\r\n`);
    for (const stopAt of ['head', 'body']) {
      const parser = new AnswerParser();
      const seen: string[] = [];
      parser.begin(
        {
          onHead: () => {
            seen.push('head');
            if (stopAt === 'head') parser.stop();
          },
          onBody: () => {
            seen.push('body');
            parser.stop();
          },
        },
        false,
      );
      expect(parser.feed(bytes, bytes.length)).toBe('more');
      expect(seen).toEqual(stopAt === 'head' ? ['head'] : ['head', 'body']);
    }
  });
});
