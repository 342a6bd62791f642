import { describe, expect, it } from 'vitest';
import { headerList } from '../../../src/proxy/headers.ts';
import { serializeRequest } from '../../../src/proxy/upstream/http1-request.ts';
import type { UpstreamRequest } from '../../../src/proxy/upstream/upstream.ts';

const get: UpstreamRequest = {
  method: 'GET',
  target: '/a?b',
  headers: headerList(['Host', 'x', 'X-Y', 'z']),
  isChecked: false,
  bodyBytes: 0,
  sendsZeroLength: false,
};

describe('a head that could be read as something else is not written', () => {
  const evil: Record<string, Partial<UpstreamRequest>> = {
    'CRLF in a value': { headers: headerList(['A', 'b\r\nC: d']) },
    'CR in a value': { headers: headerList(['A', 'b\rc']) },
    'LF in a value': { headers: headerList(['A', 'b\nc']) },
    'CRLF at the end of a value': { headers: headerList(['A', 'b\r\n']) },
    'LF at the start of a value': { headers: headerList(['A', '\nb']) },
    'NUL in a value': { headers: headerList(['A', 'b\0']) },
    'a character whose low octet is LF': { headers: headerList(['A', 'b\u010ac']) },
    'a character whose low octet is CR': { headers: headerList(['A', 'b\u560d\u560ac']) },
    'DEL in a value': { headers: headerList(['A', '\x7f']) },
    'CRLF in a name': { headers: headerList(['A\r\nB', 'c']) },
    'a colon in a name': { headers: headerList(['A: b', 'c']) },
    'a blank in a name': { headers: headerList(['A ', 'c']) },
    'an empty name': { headers: headerList(['', 'c']) },
    'a name beyond latin1': { headers: headerList(['\u010a', 'c']) },
    'Content-Length among the headers': { headers: headerList(['content-length', '5']) },
    'Transfer-Encoding among the headers': { headers: headerList(['Transfer-encoding', 'chunked']) },
    'CRLF in the target': { target: '/ HTTP/1.1\r\nA: b\r\n\r\n' },
    'CR in the target': { target: '/\r' },
    'LF in the target': { target: '/\n' },
    'NUL in the target': { target: '/\0' },
    'a blank in the target': { target: '/a b' },
    'a tab in the target': { target: '/a\tb' },
    'a target beyond latin1': { target: '/\u010a' },
    'an empty target': { target: '' },
    'a blank in the method': { method: 'GET /x HTTP/1.1' },
    'CRLF in the method': { method: 'GET\r\n' },
    'an empty method': { method: '' },
  };
  for (const [name, change] of Object.entries(evil)) {
    it(name, () => expect(serializeRequest({ ...get, ...change })).toBeNull());
  }
});

describe('a head', () => {
  it('is written as given, with its framing', () => {
    const lines = 'GET /a?b HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n';
    expect(serializeRequest(get)).toBe(`${lines}\r\n`);
    expect(serializeRequest({ ...get, sendsZeroLength: true })).toBe(`${lines}Content-Length: 0\r\n\r\n`);
    expect(serializeRequest({ ...get, bodyBytes: 12 })).toBe(`${lines}Content-Length: 12\r\n\r\n`);
    expect(serializeRequest({ ...get, bodyBytes: -1 })).toBe(`${lines}Transfer-Encoding: chunked\r\n\r\n`);
  });
  it('keeps latin1, tabs and blanks in values', () => {
    expect(serializeRequest({ ...get, target: '/\xe4', headers: headerList(['A', '\xe4\tb c', 'B', '']) })).toBe(
      'GET /\xe4 HTTP/1.1\r\nA: \xe4\tb c\r\nB: \r\n\r\n',
    );
  });
});
