import { describe, expect, it } from 'vitest';
import type { PathChange, Redirect } from '../../../src/model/snapshot.ts';
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { changeHeaders, changePath, redirectLocation, upstreamHeaders } from '../../../src/proxy/shape.ts';
import { fakeHead } from './proxy-fakes.ts';

describe('a path that is changed', () => {
  // The table of HTTPPathModifier.replacePrefixMatch (Gateway API v1), and what it leaves open.
  it.each([
    ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
    ['/foo', '/foo', '/xyz', '/xyz'],
    ['/foo/', '/foo', '/xyz', '/xyz/'],
    ['/foo/bar', '/foo', '', '/bar'],
    ['/foo/', '/foo', '', '/'],
    ['/foo', '/foo', '', '/'],
    ['/foo/', '/foo', '/', '/'],
    ['/foo', '/foo', '/', '/'],
    ['/bar', '/', '/xyz', '/xyz/bar'],
    ['/', '/', '/xyz', '/xyz/'],
  ])('%s with prefix %s replaced by %j is %s', (path, matchedPrefix, replacement, expected) => {
    const change: PathChange = { replace: 'prefix', path: replacement, matchedPrefix };
    expect(changePath(path, change)).toBe(expected);
  });

  it('is the new one when it is replaced as a whole', () => {
    expect(changePath('/a/b', { replace: 'full', path: '/c' })).toBe('/c');
  });
});

describe('a redirect', () => {
  const location = (
    changes: Partial<Redirect>,
    head = fakeHead({ path: '/a', query: '?q=1', host: 'cart', authority: 'cart:8080' }),
  ) => redirectLocation(head, { scheme: null, hostname: null, port: null, path: null, status: 302, ...changes });

  it.each<[name: string, changes: Partial<Redirect>, expected: string]>([
    ['of nothing keeps scheme, host, port, path and query', {}, 'http://cart:8080/a?q=1'],
    ['to another host keeps the port of the request', { hostname: 'shop' }, 'http://shop:8080/a?q=1'],
    ['to another scheme takes its own port', { scheme: 'https' }, 'https://cart/a?q=1'],
    ['to a port says it', { port: 9000 }, 'http://cart:9000/a?q=1'],
    ['leaves out the default port of http', { port: 80 }, 'http://cart/a?q=1'],
    ['leaves out the default port of https', { scheme: 'https', port: 443 }, 'https://cart/a?q=1'],
    ['says a port that is not the default of its scheme', { scheme: 'https', port: 80 }, 'https://cart:80/a?q=1'],
    ['changes the path and keeps the query', { path: { replace: 'full', path: '/b' } }, 'http://cart:8080/b?q=1'],
  ])('%s', (_name, changes, expected) => {
    expect(location(changes)).toBe(expected);
  });

  it('of a request without a port has none', () => {
    expect(location({}, fakeHead({ path: '/a', authority: 'cart' }))).toBe('http://cart/a');
  });
});

describe('header fields', () => {
  it('are removed, set and added without touching the order of the others', () => {
    const headers = headerList(['A', '1', 'x-old', 'o', 'B', '2', 'X-OLD', 'p', 'C', '3']);
    changeHeaders(headers, { set: [['x-Old', 'new']], add: [['B', '4']], remove: ['c'] });
    expect(textsOf(headers)).toEqual(['A', '1', 'B', '2', 'x-Old', 'new', 'B', '4']);
  });

  it('lose a tracestate whose traceparent did not count', () => {
    const head = fakeHead({ headers: ['tracestate', 'a=b', 'X', 'y'] });
    const sent = (isTimingForwarded: boolean, isTraceValid: boolean) =>
      textsOf(upstreamHeaders(head, 'cart', 'tp', isTimingForwarded, isTraceValid));
    expect(sent(false, false)).toEqual(['Host', 'cart', 'X', 'y', 'traceparent', 'tp']);
    expect(sent(true, true)).toEqual([
      'Host',
      'cart',
      'tracestate',
      'a=b',
      'X',
      'y',
      'traceparent',
      'tp',
      'Weft-Timing',
      '1',
    ]);
  });
});
