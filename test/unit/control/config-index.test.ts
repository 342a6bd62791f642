import { describe, expect, it } from 'vitest';
import { ConfigIndex } from '../../../src/control/config-index.ts';
import { keyOf, type Resource } from '../../../src/model/resources.ts';
import { policy, route, service } from './memory-store.ts';

function indexOf(...resources: Resource[]) {
  const index = new ConfigIndex();
  let revision = 0;
  const put = (resource: Resource) =>
    index.apply([{ key: keyOf(resource), text: JSON.stringify(resource), revision: ++revision }]);
  const remove = (key: string) => index.apply([{ key, text: null, revision: ++revision }]);
  for (const resource of resources) put(resource);
  const reach = (unit: string) => {
    const units = new Set<string>();
    const keys = new Set<string>();
    index.collectReach(unit, units, keys);
    return { units: [...units].sort(), keys: [...keys].filter((key) => index.published(key) !== null).sort() };
  };
  return { index, put, remove, reach };
}

const touched = ({ units, hosts }: { units: Iterable<string>; hosts: Iterable<string> }) => ({
  units: [...units].sort(),
  hosts: [...hosts].sort(),
});

describe('resolve', () => {
  it('answers null for what nobody claims, and for claims of a Service that does not exist', () => {
    const { index } = indexOf(route('r', 'gone', [], ['a.example.com']));
    expect(index.resolve('cart', 'default')).toBeNull();
    expect(index.resolve('a.example.com', 'default')).toBeNull();
    expect(index.resolve('', 'default')).toBeNull();
    expect(index.resolve('.', 'default')).toBeNull();
  });

  it('knows a Service by its full name, and by its short one in its own namespace only', () => {
    const { index } = indexOf(service('cart'));
    expect(index.resolve('cart', 'default')).toBe('cart.default');
    expect(index.resolve('cart', 'other')).toBeNull();
    expect(index.resolve('cart.default', 'other')).toBe('cart.default');
    expect(index.resolve('cart.default.svc', 'other')).toBe('cart.default');
    expect(index.resolve('cart.default.svc.cluster.local', 'other')).toBe('cart.default');
    expect(index.resolve('cart.svc', 'other')).toBeNull();
  });

  it('prefers an exact claim to a wildcard, and the longest wildcard', () => {
    const { index } = indexOf(
      service('a'),
      service('b'),
      service('c'),
      route('ra', 'a', [], ['*.example.com']),
      route('rb', 'b', [], ['*.shop.example.com']),
      route('rc', 'c', [], ['x.shop.example.com']),
    );
    expect(index.resolve('x.shop.example.com', 'default')).toBe('c.default');
    expect(index.resolve('y.shop.example.com', 'default')).toBe('b.default');
    expect(index.resolve('y.example.com', 'default')).toBe('a.default');
    expect(index.resolve('example.com', 'default')).toBeNull();
  });
});

describe('reach', () => {
  it('follows routes to backends and their routes, with the policies on all of them', () => {
    const { reach } = indexOf(
      service('a'),
      service('b'),
      service('far'),
      service('c'),
      route('ra', 'a', ['b', 'missing']),
      route('rb', 'b', ['c']),
      route('back', 'c', ['a']),
      policy('pa', 'Service', 'a'),
      policy('pr', 'HTTPRoute', 'rb'),
      policy('pf', 'Service', 'far'),
    );
    expect(reach('a.default')).toEqual({
      units: ['a.default', 'b.default', 'c.default', 'missing.default'],
      keys: [
        'HTTPRoute/default/back',
        'HTTPRoute/default/ra',
        'HTTPRoute/default/rb',
        'Service/default/a',
        'Service/default/b',
        'Service/default/c',
        'TrafficPolicy/default/pa',
        'TrafficPolicy/default/pr',
      ],
    });
  });

  it('follows mirrors, and other namespaces', () => {
    const mirrored: Resource = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'r' },
      spec: {
        parentRefs: [{ name: 'a' }],
        rules: [
          {
            filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'm', namespace: 'lab' } } }],
            backendRefs: [
              { name: 'b', filters: [{ type: 'RequestMirror', requestMirror: { backendRef: { name: 'n' } } }] },
            ],
          },
        ],
      },
    };
    expect(indexOf(service('a'), mirrored).reach('a.default').units).toEqual([
      'a.default',
      'b.default',
      'm.lab',
      'n.default',
    ]);
  });

  it('takes along who claims a name below a wildcard, as its sidecars would not ask for that name', () => {
    const { reach } = indexOf(
      service('a'),
      service('b'),
      route('ra', 'a', [], ['*.example.com']),
      route('rb', 'b', [], ['x.example.com']),
    );
    expect(reach('a.default').units).toEqual(['a.default', 'b.default']);
    expect(reach('b.default').units).toEqual(['b.default']);
  });
});

describe('what a change touches', () => {
  it('is the Service and its names', () => {
    const { put } = indexOf();
    const names = ['cart', 'cart.default', 'cart.default.svc', 'cart.default.svc.cluster.local'];
    expect(touched(put(service('cart')))).toEqual({ units: ['cart.default'], hosts: names });
  });

  it('is both parents when a route moves, and the names that it gives up', () => {
    const { put, reach } = indexOf(service('a'), service('b'), route('r', 'a', [], ['old.example.com']));
    expect(touched(put(route('r', 'b', [], ['new.example.com'])))).toEqual({
      units: ['a.default', 'b.default'],
      hosts: ['new.example.com', 'old.example.com'],
    });
    expect(reach('a.default').keys).toEqual(['Service/default/a']);
  });

  it('is the parents of the route that a policy is on, and what a deleted one was on', () => {
    const { put, remove, reach } = indexOf(service('a'), route('r', 'a', []));
    expect(touched(put(policy('p', 'HTTPRoute', 'r'))).units).toEqual(['a.default']);
    expect(reach('a.default').keys).toContain('TrafficPolicy/default/p');
    expect(touched(remove('TrafficPolicy/default/p')).units).toEqual(['a.default']);
    expect(reach('a.default').keys).not.toContain('TrafficPolicy/default/p');
  });

  it('is who has a wildcard, when a name below it is claimed', () => {
    const { put } = indexOf(service('a'), service('b'), route('ra', 'a', [], ['*.example.com']));
    expect(touched(put(route('rb', 'b', [], ['x.y.example.com']))).units).toEqual(['a.default', 'b.default']);
  });

  it('is nothing for what was not there', () => {
    expect(touched(indexOf().remove('Service/default/x'))).toEqual({ units: [], hosts: [] });
  });
});

describe('versions', () => {
  it('differ with the revision and with the content', () => {
    const version = (resource: Resource, revision: number) => {
      const index = new ConfigIndex();
      index.apply([{ key: keyOf(resource), text: JSON.stringify(resource), revision }]);
      return index.published(keyOf(resource))?.version;
    };
    expect(version(service('a'), 3)).toBe(version(service('a'), 3));
    expect(version(service('a'), 3)).not.toBe(version(service('a'), 4));
    expect(version(service('a', '127.0.0.1:1'), 3)).not.toBe(version(service('a', '127.0.0.1:2'), 3));
  });
});
