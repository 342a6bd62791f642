import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalisePath } from '../../../src/proxy/path.ts';

describe('normalisePath', () => {
  it.each([
    '/%',
    '/%4',
    '/%zz',
    '/a%2',
    '/%00',
    '/a/%00b',
    '/a\\b',
    '/..;/a',
    '/a/..;x=1/b',
    '/.;/a',
    '/%2e%2e;/a',
    '/%2e;x',
  ])('refuses %s', (path) => {
    expect(normalisePath(path)).toBeNull();
  });

  it.each([
    ['/', '/'],
    ['/a', '/a'],
    ['/a/', '/a/'],
    ['/a.b/c..d', '/a.b/c..d'],
    ['/.well-known/x', '/.well-known/x'],
    ['/...', '/...'],
    ['/a;b=c/d', '/a;b=c/d'],
    ['//', '/'],
    ['//a///b//', '/a/b/'],
    ['/.', '/'],
    ['/..', '/'],
    ['/a/.', '/a/'],
    ['/a/..', '/'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/a//../b', '/b'],
    ['/../../etc/passwd', '/etc/passwd'],
    ['/a/%2e%2E/b', '/b'],
    ['/a/.%2e/b', '/b'],
    ['/%41%7e%2D', '/A~-'],
    ['/a%2fb', '/a%2Fb'],
    ['/a%5cb', '/a%5Cb'],
    ['/..%2fa', '/..%2Fa'],
    ['/%c3%a9', '/%C3%A9'],
    ['/%252e%252e/a', '/%252e%252e/a'],
    ['/%25%32%65/a', '/%252e/a'],
    ['/a%0db', '/a%0Db'],
  ])('%s -> %s', (path, normal) => {
    expect(normalisePath(path)).toBe(normal);
  });

  it('is stable, absolute, and never leaves a dot segment or an empty one', () => {
    const piece = fc.constantFrom('/', '.', '..', '%2e', '%2F', '%41', 'a', ';', '%', '%00', '\\', '//', '%5c', '%c3');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const normal = normalisePath(`/${pieces.join('')}`);
        if (normal === null) return;
        expect(normalisePath(normal)).toBe(normal);
        expect(normal.startsWith('/')).toBe(true);
        expect(normal).not.toMatch(/\/\/|\/\.{1,2}(\/|$|;)|%2e|%41|%00/i);
      }),
      { numRuns: 2_000 },
    );
  });
});
