import { describe, expect, it } from 'vitest';
import { pathRedaction, patternFault } from '../../../src/telemetry/path-redaction.ts';

describe('a pattern', () => {
  it.each([
    ['', /slash/],
    ['users/*', /slash/],
    ['/users', /segment \*/],
    ['/**/cards', /last segment/],
    ['/users/*.json/*', /whole segment/],
    ['/a***', /segment \*/],
  ])('%j is refused in words', (pattern, why) => {
    expect(patternFault(pattern)).toMatch(why);
  });

  it.each(['/*', '/**', '/users/*', '/users/*/cards/*', '/reset/**'])('%j is one', (pattern) => {
    expect(patternFault(pattern)).toBeNull();
  });
});

describe('a path', () => {
  it.each([
    [['/users/*'], '/users/42', '/users/*'],
    [['/users/*'], '/users/42/orders/7', '/users/*/orders/7'],
    [['/users/*/orders/*'], '/users/42/orders/7', '/users/*/orders/*'],
    [['/users/*/orders/*'], '/users/42/cart/7', '/users/42/cart/7'],
    [['/users/*'], '/users', '/users'],
    [['/users/*'], '/users/', '/users/*'],
    [['/users/*'], '/Users/42', '/Users/42'],
    [['/users/*'], '/v1/users/42', '/v1/users/42'],
    [['/reset/**'], '/reset/a/b/c', '/reset/*'],
    [['/reset/*/**'], '/reset/a/b/c', '/reset/*/*'],
    [['/**'], '/', '/*'],
    [['/users/*', '/users/*/orders/*'], '/users/42/orders/7', '/users/*/orders/*'],
    [['/a/*', '/b/*'], '/b/1', '/b/*'],
  ])('with %j of %s is %s', (patterns, path, expected) => {
    expect(pathRedaction(patterns)!(path)).toBe(expected);
  });

  it('of many segments takes no longer than its length', () => {
    const path = '/a'.repeat(8_000);
    expect(pathRedaction(['/a/*/**'])!(path)).toBe('/a/*/*');
    expect(pathRedaction(Array.from({ length: 64 }, () => '/a/*/a/*/b/*'))!(path)).toBe(path);
  });

  it('leaves as it is where there are no patterns', () => {
    expect(pathRedaction([])).toBeNull();
  });
});
