import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildSnapshot } from '../../../src/model/build-snapshot.ts';
import type { HTTPRoute, RouteRule, Service, TrafficPolicy } from '../../../src/model/resources.ts';
import type { ConfigObject, Snapshot } from '../../../src/model/snapshot.ts';

const service = (name: string): Service => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name },
  spec: { endpoints: ['a:1'] },
});
const routeOf = (name: string, rules: RouteRule[], parents = ['shop']): HTTPRoute => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name },
  spec: { parentRefs: parents.map((parent) => ({ group: 'weft.mesh', kind: 'Service', name: parent })), rules },
});
const ruleTo = (path: string, backend: string): RouteRule => ({
  matches: [{ path: { type: 'Exact', value: path } }],
  backendRefs: [{ name: backend }],
});
const policyOn = (kind: 'Service' | 'HTTPRoute', name: string, request: string): TrafficPolicy => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'TrafficPolicy',
  metadata: { name: `on-${kind.toLowerCase()}-${name}` },
  spec: {
    targetRefs: [{ group: kind === 'Service' ? 'weft.mesh' : 'gateway.networking.k8s.io', kind, name }],
    timeouts: { request },
  },
});

const build = (objects: readonly ConfigObject[], previous: Snapshot | null = null) =>
  buildSnapshot({ objects, revision: 1, namespace: 'default', previous });
const plain = ({ units }: Snapshot) => [...units.values()];

describe('rules of a route', () => {
  const routes = ['a', 'b', 'c'].map((name) =>
    routeOf(name, [ruleTo(`/${name}/1`, 'shop'), ruleTo(`/${name}/2`, 'cart')]),
  );
  const services = [service('shop'), service('cart')];

  it('are the same objects as before when another route changed', () => {
    const before = build([...services, ...routes]).units.get('shop.default')!;
    const changed = routeOf('b', [ruleTo('/b/3', 'shop'), ruleTo('/b/4', 'cart')]);
    const after = build([...services, routes[0]!, changed, routes[2]!]).units.get('shop.default')!;
    const matchOf = (unit: typeof before, path: string) => unit.matches.find((match) => match.path.value === path);
    for (const path of ['/a/1', '/a/2', '/c/1', '/c/2']) expect(matchOf(after, path)).toBe(matchOf(before, path));
    expect(after.actions[4]).toBe(before.actions[4]);
  });

  it('are made anew when a backend appears, or a policy', () => {
    const timeoutOf = (snapshot: Snapshot) => snapshot.units.get('shop.default')!.actions[0]!.timeouts.requestMs;
    const backendOf = (snapshot: Snapshot) => snapshot.units.get('shop.default')!.actions[1]!.backends[0]!.unit;
    const shop = services[0]!;
    const first = build([shop, ...routes]);
    expect(backendOf(first)).toBeNull();
    expect(backendOf(build([...services, ...routes], first))).toBe('cart.default');
    expect(timeoutOf(build([...services, ...routes, policyOn('Service', 'shop', '3s')], first))).toBe(3_000);
    const both = [policyOn('Service', 'shop', '3s'), policyOn('HTTPRoute', 'a', '2s')];
    expect(timeoutOf(build([...services, ...routes, ...both], first))).toBe(2_000);
    expect(timeoutOf(build([...services, ...routes], first))).toBe(0);
  });

  it('are what they would be without any memory, after any changes', () => {
    const name = fc.constantFrom('shop', 'cart', 'none');
    const rule = fc.tuple(fc.constantFrom('/1', '/2', '/22'), name).map(([path, backend]) => ruleTo(path, backend));
    const route = fc
      .tuple(
        fc.constantFrom('a', 'b', 'c'),
        fc.array(rule, { minLength: 1, maxLength: 3 }),
        fc.subarray(['shop', 'cart'], { minLength: 1 }),
      )
      .map(([of, rules, parents]) => routeOf(of, rules, parents));
    const policy = fc
      .tuple(
        fc.constantFrom('Service' as const, 'HTTPRoute' as const),
        fc.constantFrom('shop', 'a'),
        fc.constantFrom('1s', '2s'),
      )
      .map(([kind, on, request]) => policyOn(kind, on, request));
    const change = fc.oneof(route, policy, name.map(service));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 15 }), (changes) => {
        const objects = new Map<string, ConfigObject>();
        let previous: Snapshot | null = null;
        for (const object of changes) {
          objects.set(`${object.kind} ${object.metadata.name}`, object);
          previous = build([...objects.values()], previous);
          const alone = build(structuredClone([...objects.values()]));
          expect(plain(previous)).toEqual(plain(alone));
        }
      }),
      { numRuns: 200 },
    );
  });
});
