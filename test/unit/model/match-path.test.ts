import { describe, expect, it } from 'vitest';
import { buildSnapshot } from '../../../src/model/build-snapshot.ts';
import { normalMatchPath } from '../../../src/model/match-path.ts';
import type { HTTPRoute, Service } from '../../../src/model/resources.ts';
import { validateResource } from '../../../src/model/validate.ts';
import { normalisePath } from '../../../src/proxy/path.ts';

const service: Service = { apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'cart' }, spec: {} };
const routeTo = (value: string, type: 'Exact' | 'PathPrefix' | 'RegularExpression' = 'Exact'): HTTPRoute => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'cart' },
  spec: {
    parentRefs: [{ group: 'weft.mesh', kind: 'Service', name: 'cart' }],
    rules: [{ matches: [{ path: { type, value } }] }],
  },
});
const messagesOf = (route: HTTPRoute) => {
  const judged = validateResource(route);
  return 'problems' in judged ? judged.problems.map(({ path, message }) => `${path}: ${message}`) : [];
};

describe('a path that no request can have', () => {
  it.each(['/a"b', '/é', '/a b', '/a%', '/a%zz', '/a%4', '/a|b', '/a\\b', '/[x]'])(
    '%j has characters that the Gateway API does not allow',
    (value) => {
      for (const type of ['Exact', 'PathPrefix'] as const)
        expect(messagesOf(routeTo(value, type))).toEqual([
          expect.stringMatching(/^spec\.rules\[0\]\.matches\[0\]\.path\.value: .* characters of a path/),
        ]);
    },
  );

  it.each(['//a', '/a/./b', '/a/..', '/a%2Fb', '/a%2fb', '/a#b', '/a?b', '/a/%2e%2E/b', '/%2e', '/a%00'])(
    '%j is gone, or refused, once the path of a request is normal',
    (value) => {
      expect(messagesOf(routeTo(value))).toEqual([expect.stringMatching(/can match no request/)]);
    },
  );

  it('is nothing that a regular expression is held to', () => {
    expect(messagesOf(routeTo('/[a-z]+"é?', 'RegularExpression'))).toEqual([]);
  });
});

describe('a path with escapes', () => {
  it.each([
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/%41/%7euser', '/A/~user'],
    ['/a%5Cb', '/a%5Cb'],
    ["/!$&'()*+,;=:@-._~", "/!$&'()*+,;=:@-._~"],
  ])('%s is matched as requests have it: %s', (value, normal) => {
    expect(messagesOf(routeTo(value))).toEqual([]);
    expect(normalMatchPath(value)).toBe(normal);
    // The proxy brings the path of a request into the same form, or the two would never meet.
    expect(normalisePath(value)).toBe(normal);
    for (const type of ['Exact', 'PathPrefix'] as const) {
      const { units } = buildSnapshot({
        objects: [service, routeTo(value, type)],
        revision: 1,
        namespace: 'default',
        previous: null,
      });
      expect(units.get('cart.default')?.matches[0]?.path.value).toBe(normal);
    }
  });

  it('is left alone in a regular expression', () => {
    const { units } = buildSnapshot({
      objects: [service, routeTo('/%41+', 'RegularExpression')],
      revision: 1,
      namespace: 'default',
      previous: null,
    });
    expect(units.get('cart.default')?.matches[0]?.path).toEqual({ kind: 'pattern', value: '/%41+' });
  });
});
