import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { defaultListenerLimits } from '../../../src/model/listener-limits.ts';
import { type CheckedHead, checkHead, parseHost, type RawHead, RefusedHead } from '../../../src/proxy/head-check.ts';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { knownOrNew } from '../../../src/proxy/known-fields.ts';

/** `headers`: names and values in turn. */
type RawChanges = Partial<Omit<RawHead, 'headers'>> & { readonly headers?: readonly string[] };

function raw({ headers = host, ...change }: RawChanges = {}): RawHead {
  return {
    method: 'GET',
    target: '/',
    headers: headerList(headers),
    isHttp10: false,
    sourceAddress: '127.0.0.1',
    readAtMs: 1,
    loopMs: 0,
    ...change,
  };
}

function codeOf(change: RawChanges): string {
  const checked = checkHead(raw(change));
  return checked instanceof RefusedHead ? checked.failure.code : 'accepted';
}

function headersOf(headers: string[], isHttp10 = false): string[] {
  const checked = checkHead(raw({ headers, isHttp10 }));
  if (checked instanceof RefusedHead) throw new Error(checked.detail);
  return textsOf(checked.headers);
}

const host = ['Host', 'a'];
const manyFields = Array.from({ length: limits.headerFieldsMax }, (_, i) => [`x${i}`, '']).flat();

describe('checkHead refuses', () => {
  it.each<[string, RawChanges]>([
    ['no Host', { headers: [] }],
    ['two Hosts', { headers: [...host, 'host', 'a'] }],
    ['an empty Host', { headers: ['Host', ''] }],
    ['a Host with user information', { headers: ['Host', 'u@a'] }],
    ['a Host with a path', { headers: ['Host', 'a/b'] }],
    ['a Host with a space', { headers: ['Host', 'a b'] }],
    ['a Host with a bad port', { headers: ['Host', 'a:b'] }],
    ['a Host with a port too large', { headers: ['Host', 'a:65536'] }],
    ['a Host with two ports', { headers: ['Host', 'a:1:2'] }],
    ['a Host that is only a port', { headers: ['Host', ':80'] }],
    ['a Host that is only a dot', { headers: ['Host', '.'] }],
    ['a list of Hosts', { headers: ['Host', 'a, b'] }],
    ['an IPv6 Host without an end', { headers: ['Host', '[::1'] }],
    ['an IPv6 Host with a zone', { headers: ['Host', '[fe80::1%25eth0]'] }],
    ['a bracketed name', { headers: ['Host', '[a]'] }],
    ['something behind an IPv6 Host', { headers: ['Host', '[::1]a'] }],
    ['a Host outside ASCII', { headers: ['Host', 'caf\xe9'] }],
    ['a broken escape in Host', { headers: ['Host', 'a%2'] }],
    ['two Content-Lengths', { headers: [...host, 'Content-Length', '1', 'content-length', '1'] }],
    ['an empty Content-Length', { headers: [...host, 'Content-Length', ''] }],
    ['a signed Content-Length', { headers: [...host, 'Content-Length', '+1'] }],
    ['a negative Content-Length', { headers: [...host, 'Content-Length', '-1'] }],
    ['a fractional Content-Length', { headers: [...host, 'Content-Length', '1.0'] }],
    ['a hexadecimal Content-Length', { headers: [...host, 'Content-Length', '0x1'] }],
    ['a list of Content-Lengths', { headers: [...host, 'Content-Length', '1, 1'] }],
    ['a Content-Length of 16 digits', { headers: [...host, 'Content-Length', '1234567890123456'] }],
    [
      'Content-Length with Transfer-Encoding',
      { headers: [...host, 'Content-Length', '1', 'Transfer-Encoding', 'chunked'] },
    ],
    [
      'Content-Length with an empty Transfer-Encoding',
      { headers: [...host, 'Transfer-Encoding', '', 'Content-Length', '1'] },
    ],
    ['two Transfer-Encodings', { headers: [...host, 'Transfer-Encoding', 'chunked', 'transfer-encoding', 'chunked'] }],
    ['gzip, chunked', { headers: [...host, 'Transfer-Encoding', 'gzip, chunked'] }],
    ['identity', { headers: [...host, 'Transfer-Encoding', 'identity'] }],
    ['chunked with a parameter', { headers: [...host, 'Transfer-Encoding', 'chunked;a=b'] }],
    ['xchunked', { headers: [...host, 'Transfer-Encoding', 'xchunked'] }],
    ['chunked behind a vertical tab', { headers: [...host, 'Transfer-Encoding', '\x0bchunked'] }],
    ['chunked before a tab', { headers: [...host, 'Transfer-Encoding', 'chunked\t'] }],
    ['an empty Transfer-Encoding', { headers: [...host, 'Transfer-Encoding', ''] }],
    ['Transfer-Encoding in HTTP/1.0', { headers: [...host, 'Transfer-Encoding', 'chunked'], isHttp10: true }],
    ['Connection: Host', { headers: [...host, 'Connection', 'close, Host'] }],
    ['Connection: Content-Length', { headers: [...host, 'Connection', 'content-LENGTH'] }],
    ['Connection: Authorization', { headers: [...host, 'Connection', 'x', 'Connection', 'authorization'] }],
    ['a Connection that is not a list of tokens', { headers: [...host, 'Connection', 'a b'] }],
    ['an empty field name', { headers: [...host, '', 'x'] }],
    ['a space in a field name', { headers: [...host, 'a ', 'x'] }],
    ['a colon in a field name', { headers: [...host, 'a:b', 'x'] }],
    ['a field name outside ASCII', { headers: [...host, '\xe9', 'x'] }],
    ['CR in a value', { headers: [...host, 'x', 'a\rb'] }],
    ['LF in a value', { headers: [...host, 'x', 'a\nb'] }],
    ['NUL in a value', { headers: [...host, 'x', 'a\0'] }],
    ['DEL in a value', { headers: [...host, 'x', '\x7f'] }],
    ['a character in a value whose low byte is LF', { headers: [...host, 'x', '\u010a'] }],
    ['a method that is not a token', { method: 'GE T' }],
    ['an empty method', { method: '' }],
    ['an empty target', { target: '' }],
    ['a relative target', { target: 'a' }],
    ['a space in the target', { target: '/a b' }],
    ['a tab in the target', { target: '/a\tb' }],
    ['a NUL in the target', { target: '/\0' }],
    ['DEL in the target', { target: '/\x7f' }],
    ['a fragment', { target: '/a#b' }],
    ['a fragment in the query', { target: '/a?b#c' }],
    ['a byte outside ASCII in the target', { target: '/\xe9' }],
    ['a byte outside ASCII in the query', { target: '/?\xe9' }],
    ['%00', { target: '/%00' }],
    ['a broken escape', { target: '/%4' }],
    ['a backslash', { target: '/a\\b' }],
    ['a dot segment with a parameter', { target: '/a/..;/b' }],
    ['another scheme', { target: 'ftp://a/' }],
    ['an absolute target without host', { target: 'http:///a' }],
    ['an absolute target with user information', { target: 'http://u:p@a/' }],
    ['an absolute target with a bad port', { target: 'http://a:x/' }],
    ['an absolute target and no Host', { target: 'http://a/', headers: [] }],
    ['an absolute target and a bad Host', { target: 'http://a/', headers: ['Host', 'b c'] }],
    ['authority form', { target: 'a:443' }],
  ])('%s', (_, change) => {
    expect(codeOf(change)).toBe('bad-request');
  });

  it.each<[string, string, RawChanges]>([
    ['CONNECT', 'method-not-supported', { method: 'CONNECT', target: 'a:1' }],
    ['an unknown method', 'method-not-supported', { method: 'BREW' }],
    ['TRACE', 'method-not-supported', { method: 'TRACE' }],
    ['a method in lower case', 'method-not-supported', { method: 'get' }],
    ['OPTIONS *', 'method-not-supported', { method: 'OPTIONS', target: '*' }],
    ['another expectation', 'expectation-failed', { headers: [...host, 'Expect', '200-ok'] }],
    ['an expectation more', 'expectation-failed', { headers: [...host, 'Expect', '100-continue, x'] }],
    ['a long target', 'target-too-long', { target: `/${'a'.repeat(limits.targetBytesMax)}` }],
    ['a large field', 'headers-too-large', { headers: [...host, 'x', 'a'.repeat(limits.headBytesMax)] }],
    ['many fields', 'headers-too-large', { headers: [...host, ...manyFields] }],
  ])('%s as %s', (_, code, change) => {
    expect(codeOf(change)).toBe(code);
  });

  it('says nothing of what the client sent', () => {
    const refused = checkHead(raw({ headers: [...host, 'x-secret', 'a\nsecret'] }));
    expect(refused instanceof RefusedHead && refused.detail).not.toContain('secret');
  });
});

describe('checkHead says of what it refuses, for the log,', () => {
  const requestOf = (change: RawChanges) => {
    const checked = checkHead(raw(change));
    return checked instanceof RefusedHead ? checked.request : 'accepted';
  };
  const long = 'x'.repeat(limits.refusalDetailCharsMax);

  it.each<[string, RawChanges, object]>([
    [
      'method, Host and path',
      { target: '/a/../b?key=secret', method: 'TRACE' },
      { method: 'TRACE', host: 'a', path: '/a/../b' },
    ],
    ['a Host that was read before', { headers: ['Host', 'a:b', 'y', '1'] }, { method: 'GET', host: 'a:b', path: '/' }],
    ['a Host that comes later', { headers: ['y', 'a\nb', ...host] }, { method: 'GET', host: 'a', path: '/' }],
    ['the path of an absolute form', { target: 'http://u:secret@a/b?c' }, { method: 'GET', host: 'a', path: '/b' }],
    ['nothing of a target in no form', { target: 'u:secret@a' }, { method: 'GET', host: 'a' }],
    ['no fragment', { target: '/a#secret' }, { method: 'GET', host: 'a', path: '/a' }],
    ['no method that is no token', { method: 'G T' }, { host: 'a', path: '/' }],
    ['no Host where there is none', { headers: [] }, { method: 'GET', path: '/' }],
    ['the asterisk', { method: 'OPTIONS', target: '*' }, { method: 'OPTIONS', host: 'a', path: '*' }],
    [
      'so many characters and no more',
      { method: long + long, target: `/${long}`, headers: ['Host', long + long] },
      { method: long, host: long, path: `/${long.slice(1)}` },
    ],
  ])('%s', (_, change, request) => {
    expect(requestOf(change)).toEqual(request);
  });
});

describe('checkHead accepts', () => {
  it.each([
    ['a', 'a'],
    ['A.B', 'a.b'],
    ['a.', 'a'],
    ['a:80', 'a'],
    ['a.:80', 'a'],
    ['a:', 'a'],
    ['10.0.0.1:8080', '10.0.0.1'],
    ['[::1]', '[::1]'],
    ['[2001:DB8::1]:80', '[2001:db8::1]'],
    ['a_b', 'a_b'],
    ['a%41', 'a%41'],
  ])('Host %s as %s', (field, expected) => {
    expect(parseHost(field)).toBe(expected);
  });

  it('drops hop-by-hop fields, those that Connection nominates, framing, Host and Expect', () => {
    const headers = headersOf(
      // biome-ignore format: pairs
      ['X-A', '1', 'Host', 'a', 'Connection', 'keep-alive, X-B', 'x-b', '2', 'Keep-Alive', '5', 'Proxy-Connection', 'x', 'TE', 'trailers',
        'Trailer', 'x', 'Upgrade', 'h2c', 'HTTP2-Settings', 'x', 'Expect', '100-Continue', 'Content-Length', '5', 'x-A', '3'],
    );
    expect(headers).toEqual(['X-A', '1', 'x-A', '3']);
  });

  it('keeps the announcement of trailers where chunks can carry them, and what Connection named', () => {
    const chunked = ['Host', 'a', 'Trailer', 'X-A', 'X-B', '1', 'trailer', 'X-C', 'Transfer-Encoding', 'chunked'];
    expect(headersOf([...chunked])).toEqual(['X-B', '1', 'Trailer', 'X-A, X-C']);
    expect(headersOf([...chunked, 'Connection', 'Trailer'])).toEqual(['X-B', '1']);
    const checked = checkHead(raw({ headers: [...chunked, 'Connection', 'X-A, close'] }));
    expect(checked).toMatchObject({ nominated: new Set(['x-a', 'close']) });
    expect(checkHead(raw())).toMatchObject({ nominated: null });
  });

  it('keeps obs-text, tabs and empty values', () => {
    expect(headersOf(['Host', 'a', 'x', '\xff\t ', 'y', ''])).toEqual(['x', '\xff\t ', 'y', '']);
  });

  it.each([
    [['Content-Length', '0'], 0],
    [['Content-Length', '007'], 7],
    [['Content-Length', '999999999999999'], 999_999_999_999_999],
    [['Transfer-Encoding', 'Chunked'], -1],
    [[], 0],
  ])('the framing of %j', (fields, bodyBytes) => {
    expect(checkHead(raw({ method: 'POST', headers: [...host, ...fields] }))).toMatchObject({ bodyBytes });
  });

  it.each([
    ['/a?b=c', '/a', '?b=c', 'a', 'a'],
    ['/a/../b?', '/b', '?', 'a', 'a'],
    ['/?/../%zz', '/', '?/../%zz', 'a', 'a'],
    ['http://B:81/c?d', '/c', '?d', 'b', 'B:81'],
    ['HTTPS://b', '/', '', 'b', 'b'],
    ['http://b?c', '/', '?c', 'b', 'b'],
  ])('the target %s', (target, path, query, expectedHost, authority) => {
    expect(checkHead(raw({ target }))).toMatchObject({ path, query, host: expectedHost, authority });
  });

  it('an HTTP/1.0 request without Host, and ignores its Expect', () => {
    expect(checkHead(raw({ headers: ['Expect', 'x'], isHttp10: true }))).toMatchObject({
      host: '',
      authority: '',
      headers: [],
    });
  });

  it.each([
    ['close', true],
    ['x, CLOSE', true],
    ['closed', false],
    ['keep-alive', false],
  ])('Connection: %s', (connection, isLastOfConnection) => {
    expect(checkHead(raw({ headers: [...host, 'Connection', connection] }))).toMatchObject({ isLastOfConnection });
  });
});

describe('checkHead keeps the limits of its listener, to the byte', () => {
  const bounds = {
    listener: 'link',
    sidecarOf: 'a.b',
    headBytesMax: 300,
    headerFieldsMax: 5,
    targetBytesMax: 20,
  } as const;
  const judge = (change: RawChanges): string => {
    const checked = checkHead(raw(change), bounds);
    return checked instanceof RefusedHead ? `${checked.failure.code}: ${checked.detail}` : 'accepted';
  };
  const fields = (count: number) => [...host, ...Array.from({ length: count - 1 }, (_, i) => [`x${i}`, '']).flat()];
  // Host, a and 4; x, its value and 4.
  const ofBytes = (bytes: number) => [...host, 'x', 'v'.repeat(bytes - 9 - 5)];

  it.each<[string, RawChanges, string]>([
    ['a target of 20 bytes', { target: `/${'a'.repeat(19)}` }, 'accepted'],
    [
      'a target of 21 bytes',
      { target: `/${'a'.repeat(20)}` },
      'target-too-long: The target is longer than 20 bytes (--limit link.target-bytes of the sidecar of a.b).',
    ],
    ['5 fields', { headers: fields(5) }, 'accepted'],
    [
      '6 fields',
      { headers: fields(6) },
      'headers-too-large: There are more than 5 fields (--limit link.head-fields of the sidecar of a.b).',
    ],
    ['300 bytes of fields', { headers: ofBytes(300) }, 'accepted'],
    [
      '301 bytes of fields',
      { headers: ofBytes(301) },
      'headers-too-large: The fields are larger than 300 bytes (--limit link.head-bytes of the sidecar of a.b).',
    ],
  ])('%s: %s', (_, change, outcome) => {
    expect(judge(change)).toBe(outcome);
  });
});

describe('a head whose fields are known', () => {
  const fields = ['Host', 'a', 'Accept', '*/*', 'X-Tenant', 'tenant-4711', 'TE', 'trailers', 'Connection', 'x-tenant'];
  const known = () => headerList(fields, knownOrNew);

  it('is judged as it was when they came first', () => {
    const first = checkHead(raw({ headers: fields }));
    for (let i = 0; i < 2; i++) checkHead(raw({ headers: fields }));
    expect(known().map(({ place }) => place >= 0)).toEqual([true, true, true, true, true]);
    const again = checkHead({ ...raw(), headers: known() });
    expect(again).toEqual({ ...first, headers: known().slice(1, 2) });
    expect(textsOf((again as CheckedHead).headers)).toEqual(['Accept', '*/*']);
  });

  it.each([
    ['Host', 'a'],
    ['Content-Length', '5'],
    ['Transfer-Encoding', 'chunked'],
  ])('is refused when it says twice what may come once: %s', (name, value) => {
    const twice = [...host, name, value, name, value];
    for (let i = 0; i < 3; i++) checkHead(raw({ headers: [...host, name, value] }));
    const head = checkHead({ ...raw(), headers: headerList(twice, knownOrNew) });
    expect(head).toBeInstanceOf(RefusedHead);
  });

  it('counts their bytes', () => {
    const many = Array.from({ length: 3 }, () => ['X-Tenant', 'tenant-4711']).flat();
    for (let i = 0; i < 2; i++) checkHead(raw({ headers: [...host, ...many] }));
    const headers = () => headerList([...host, ...many], knownOrNew);
    const bytes = headers().reduce((sum, { name, value }) => sum + name.length + value.length + 4, 0);
    const bounds = { ...defaultListenerLimits.inbound, headBytesMax: bytes };
    expect(checkHead({ ...raw(), headers: headers() }, bounds)).not.toBeInstanceOf(RefusedHead);
    expect(checkHead({ ...raw(), headers: headers() }, { ...bounds, headBytesMax: bytes - 1 })).toBeInstanceOf(
      RefusedHead,
    );
  });
});
