import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildSnapshot } from '../../../src/model/build-snapshot.ts';
import type { HTTPRoute, Resource, RouteMatch, Service } from '../../../src/model/resources.ts';
import type { ServiceUnit, Snapshot } from '../../../src/model/snapshot.ts';

const serviceOf = (name: string): Service => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name },
  spec: { endpoints: ['127.0.0.1:1'] },
});
const routeOf = (name: string, to: string, matches: RouteMatch[][], creationTimestamp?: string): HTTPRoute => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name, ...(creationTimestamp === undefined ? {} : { creationTimestamp }) },
  spec: {
    parentRefs: [{ group: 'weft.mesh', kind: 'Service', name: to }],
    rules: matches.map((some) => ({ matches: some })),
  },
});
const build = (objects: readonly Resource[], previous: Snapshot | null = null) =>
  buildSnapshot({ objects, revision: 1, namespace: 'default', previous });
const labelsOf = (unit: ServiceUnit) => unit.matches.map(({ action }) => unit.actions[action]!.route);

describe('the older route', () => {
  it('is the one that was created earlier, however the time is written', () => {
    const objects = [
      serviceOf('cart'),
      routeOf('a', 'cart', [[{}]], '2026-01-01T00:00:00.500Z'),
      routeOf('b', 'cart', [[{}]], '2026-01-01T00:00:00Z'),
      routeOf('c', 'cart', [[{}]], '2026-01-01T02:00:00+05:00'),
      routeOf('e', 'cart', [[{}]]),
      routeOf('d', 'cart', [[{}]]),
    ];
    expect(labelsOf(build(objects).units.get('cart.default')!)).toEqual(
      ['d', 'e', 'c', 'b', 'a'].map((name) => `default/${name}/0`),
    );
  });
});

/** What the Gateway API says of HTTPRouteRule.matches, sentence by sentence, and Weft's place for regular expressions. */
interface Candidate {
  readonly route: HTTPRoute;
  readonly rule: number;
  readonly index: number;
  readonly match: RouteMatch;
}
const ranks: readonly ((candidate: Candidate) => number | string)[] = [
  ({ match }) => ['Exact', 'RegularExpression', 'PathPrefix'].indexOf(match.path?.type ?? 'PathPrefix'),
  ({ match }) => -(match.path?.value ?? '/').length,
  ({ match }) => (match.method === undefined ? 1 : 0),
  ({ match }) => -(match.headers?.length ?? 0),
  ({ match }) => -(match.queryParams?.length ?? 0),
  ({ route }) => route.metadata.creationTimestamp ?? '',
  ({ route }) => route.metadata.name,
  ({ rule }) => rule,
  ({ index }) => index,
];
function isBefore(a: Candidate, b: Candidate): boolean {
  for (const rank of ranks) {
    if (rank(a) < rank(b)) return true;
    if (rank(a) > rank(b)) return false;
  }
  return false;
}

const named = (max: number) =>
  fc
    .uniqueArray(fc.constantFrom('x', 'y', 'z'), { maxLength: max })
    .map((names) => names.map((name) => ({ name, value: '1' })));
const aMatch: fc.Arbitrary<RouteMatch> = fc.record(
  {
    path: fc.record({
      type: fc.constantFrom('Exact' as const, 'PathPrefix' as const, 'RegularExpression' as const),
      value: fc.constantFrom('/', '/a', '/b', '/a/b', '/long/path'),
    }),
    method: fc.constantFrom('GET' as const, 'POST' as const),
    headers: named(3),
    queryParams: named(2),
  },
  { requiredKeys: [] },
);
const aRoute = fc.tuple(
  fc.array(fc.array(aMatch, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 }),
  fc.constantFrom(undefined, '2026-01-01T00:00:00.000Z', '2026-01-02T00:00:00.000Z'),
);

describe('the order of matches', () => {
  it('is what comparing them one by one gives, in whatever order the objects come', () => {
    fc.assert(
      fc.property(fc.array(aRoute, { minLength: 1, maxLength: 4 }), fc.boolean(), (specs, isReversed) => {
        const routes = specs.map(([matches, time], i) => routeOf(`r${i}`, 'cart', matches, time));
        const candidates = routes.flatMap((route) =>
          (route.spec.rules ?? []).flatMap((rule, r) =>
            (rule.matches ?? []).map((match, index): Candidate => ({ route, rule: r, index, match })),
          ),
        );
        // Selection by the naive comparison: no sort of the code under test, no sort at all.
        const expected: Candidate[] = [];
        const left = new Set(candidates);
        while (left.size > 0) {
          const first = [...left].reduce((best, one) => (isBefore(one, best) ? one : best));
          left.delete(first);
          expected.push(first);
        }
        const objects = [serviceOf('cart'), ...(isReversed ? routes.toReversed() : routes)];
        const unit = build(objects).units.get('cart.default')!;
        expect(
          unit.matches.map(({ action, path, method, headers, query }) => [
            unit.actions[action]!.route,
            path.value,
            method,
            headers.map(({ name }) => name),
            query.map(({ name }) => name),
          ]),
        ).toEqual(
          expected.map(({ route, rule, match }) => [
            `default/${route.metadata.name}/${rule}`,
            match.path?.value ?? '/',
            match.method ?? null,
            (match.headers ?? []).map(({ name }) => name),
            (match.queryParams ?? []).map(({ name }) => name),
          ]),
        );
      }),
      { numRuns: 200 },
    );
  });
});

describe('a large mesh', () => {
  it('of 10,000 routes and 5,000 Services is built in bounded time, and a change makes again what it touches', () => {
    const services = Array.from({ length: 5_000 }, (_, i) => serviceOf(`s${i}`));
    const routes = Array.from({ length: 10_000 }, (_, i) =>
      routeOf(`r${i}`, `s${i % 5_000}`, [[{ path: { value: `/p${i}` } }]]),
    );
    const startedAtMs = performance.now();
    const before = build([...services, ...routes]);
    // Some 130 ms on two shared cores; the bound only catches a cost that grows with the square.
    expect(performance.now() - startedAtMs).toBeLessThan(5_000);
    expect(before.units.size).toBe(5_000);

    const changed = routes.map((route, i) =>
      i === 7 ? routeOf('r7', 's7', [[{ path: { value: '/elsewhere' } }]]) : route,
    );
    const after = build([...services, ...changed], before);
    expect([...after.units].filter(([name, unit]) => before.units.get(name) !== unit).map(([name]) => name)).toEqual([
      's7.default',
    ]);
  });
});
