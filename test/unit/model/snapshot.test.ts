import { describe, expect, it } from 'vitest';
import { buildSnapshot } from '../../../src/model/build-snapshot.ts';
import { parseDuration } from '../../../src/model/duration.ts';
import { readManifest } from '../../../src/model/manifest.ts';
import { checkReferences } from '../../../src/model/references.ts';
import type { Resource } from '../../../src/model/resources.ts';
import type { ConfigObject, Snapshot } from '../../../src/model/snapshot.ts';

function resourcesOf(text: string): readonly Resource[] {
  const { resources, problems } = readManifest(text, 'mesh.yaml');
  expect(problems).toEqual([]);
  return resources;
}
const build = (objects: Iterable<ConfigObject>, previous: Snapshot | null = null, namespace = 'default') =>
  buildSnapshot({ objects, revision: 1, namespace, previous });

const cart = 'apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: {}\n---\n';
const next = 'apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: next }\nspec: { port: 8080 }\n---\n';
const route = (name: string, spec: string, metadata = '') => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}${metadata} }
spec: { parentRefs: [{ group: weft.mesh, kind: Service, name: cart }], ${spec} }
---
`;
const policy = (name: string, kind: string, target: string, timeouts: string) => `apiVersion: weft.mesh/v1
kind: TrafficPolicy
metadata: { name: ${name} }
spec: { targetRefs: [{ kind: ${kind}, name: ${target} }], timeouts: ${timeouts} }
---
`;

describe('references that do not fit', () => {
  it.each<[name: string, text: string, expected: RegExp]>([
    [
      'backend missing',
      cart + route('r', 'rules: [{ backendRefs: [{ name: nobody }] }]'),
      /rules\[0\]\.backendRefs\[0\]: refers to Service default\/nobody, which does not exist/,
    ],
    ['parent missing', route('r', ''), /parentRefs\[0\]: refers to Service default\/cart, which does not exist/],
    [
      'mirror missing',
      cart + route('r', 'rules: [{ filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: x } } }] }]'),
      /requestMirror\.backendRef: refers to Service default\/x/,
    ],
    [
      'port',
      cart + next + route('r', 'rules: [{ backendRefs: [{ name: next, port: 80 }] }]'),
      /backendRefs\[0\]\.port: is 80, but Service default\/next has port 8080/,
    ],
    ['a Gateway', cart + route('r', '').replace('group: weft.mesh, kind: Service, ', ''), /refers to a Gateway/],
    [
      'a name that is another Service',
      cart + next + route('r', 'hostnames: [next]'),
      /next is the name of Service default\/next/,
    ],
    [
      'a hostname claimed twice',
      cart +
        next +
        route('a', 'hostnames: [shop.example]') +
        route('b', 'hostnames: [shop.example]').replace('name: cart }]', 'name: next }]'),
      /shop\.example would lead to Service default\/next, but HTTPRoute default\/a claims it for Service default\/cart/,
    ],
    ['policy target', policy('p', 'HTTPRoute', 'r', '{}'), /targets HTTPRoute default\/r, which does not exist/],
    [
      'two policies',
      cart + policy('p', 'Service', 'cart', '{ idle: 1s }') + policy('q', 'Service', 'cart', '{ idle: 2s }'),
      /sets timeouts\.idle of Service default\/cart, which TrafficPolicy default\/p sets too/,
    ],
  ])('%s', (_name, text, expected) => {
    const messages = checkReferences(resourcesOf(text)).map(({ path, message }) => `${path}: ${message}`);
    expect(
      messages.some((message) => expected.test(message)),
      messages.join('\n'),
    ).toBe(true);
  });

  it('nothing is said of what fits', () => {
    expect(
      checkReferences(
        resourcesOf(
          cart +
            next +
            route('r', 'hostnames: [cart, "*.cart.example"], rules: [{ backendRefs: [{ name: next, port: 8080 }] }]') +
            policy('p', 'HTTPRoute', 'r', '{ idle: 1s }'),
        ),
      ),
    ).toEqual([]);
  });
});

describe('a snapshot', () => {
  it('knows a Service by its names, the short one in its own namespace only', () => {
    const objects = resourcesOf(cart + route('r', 'hostnames: ["*.shop.example", shop.example]'));
    expect(build(objects).units.get('cart.default')?.hosts).toEqual([
      'cart.default',
      'cart.default.svc',
      'cart.default.svc.cluster.local',
      'cart',
      'shop.example',
      '*.shop.example',
    ]);
    expect(build(objects, null, 'other').units.get('cart.default')?.hosts).not.toContain('cart');
  });

  it('joins written and registered endpoints by address', () => {
    const [service] = resourcesOf(
      "apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart }\nspec: { endpoints: ['a:1', { address: '[::1]:2', weight: 3, zone: b }] }\n",
    );
    const endpoints = build([
      service!,
      {
        kind: 'EndpointSet',
        namespace: 'default',
        service: 'cart',
        endpoints: [
          { address: 'a:1', zone: 'z', labels: { v: '2' }, weight: 1, link: [] },
          { address: 'c:3', zone: '', labels: {}, weight: 1, link: [] },
        ],
      },
    ]).units.get('cart.default')?.endpoints;
    expect(endpoints).toMatchObject([
      { address: 'a:1', host: 'a', port: 1, zone: 'z', labels: { v: '2' }, hasSidecar: true },
      { address: '[::1]:2', host: '::1', port: 2, weight: 3, zone: 'b', hasSidecar: false },
      { address: 'c:3', hasSidecar: true },
    ]);
  });

  it('knows where each endpoint has its link and who must answer there', () => {
    const [service] = resourcesOf(
      `apiVersion: weft.mesh/v1
kind: Service
metadata: { name: cart, namespace: shop }
spec:
  endpoints:
    - plain:1
    - { address: a:1, link: a:15008 }
    - { address: b:1, link: [b:15008, b:15009], identity: spiffe://other.example/ns/x/sa/y }
    - { address: c:1, identity: spiffe://other.example/ns/x/sa/y }
`,
    );
    const registered = (address: string, ...link: string[]) => ({ address, zone: '', labels: {}, weight: 1, link });
    const endpoints = build([
      service!,
      {
        kind: 'EndpointSet',
        namespace: 'shop',
        service: 'cart',
        endpoints: [
          registered('b:1', 'b:15009', 'b:15010'),
          registered('c:1', 'c:15008'),
          registered('d:1', 'd:15008'),
          registered('e:1'),
        ],
      },
    ]).units.get('cart.shop')?.endpoints;
    const own = '/ns/shop/sa/cart';
    const other = 'spiffe://other.example/ns/x/sa/y';
    expect(endpoints).toMatchObject([
      { address: 'plain:1', link: [], identity: own, hasSidecar: false },
      { address: 'a:1', link: ['a:15008'], identity: own, hasSidecar: true },
      { address: 'b:1', link: ['b:15008', 'b:15009', 'b:15010'], identity: other, hasSidecar: true },
      { address: 'c:1', link: ['c:15008'], identity: other, hasSidecar: true },
      { address: 'd:1', link: ['d:15008'], identity: own, hasSidecar: true },
      { address: 'e:1', link: [], identity: own, hasSidecar: true },
    ]);
  });

  it('orders matches by the precedence of the Gateway API', () => {
    const rules = `rules: [
      { name: root },
      { name: prefix, matches: [{ path: { value: /a/ } }, { path: { value: /a }, headers: [{ name: X, value: "1" }] }, { path: { value: /a }, method: GET }, { path: { value: /a }, queryParams: [{ name: q, value: "1" }] }] },
      { name: pattern, matches: [{ path: { type: RegularExpression, value: /a.* } }] },
      { name: exact, matches: [{ path: { type: Exact, value: /a } }] },
      { name: long, matches: [{ path: { value: /a/b } }] }]`;
    const unit = build(
      resourcesOf(
        cart +
          route(
            'young',
            'rules: [{ name: late, matches: [{ path: { value: /a/b } }] }]',
            ', creationTimestamp: "2026-02-01T00:00:00Z"',
          ) +
          route('old', rules, ', creationTimestamp: "2026-01-01T00:00:00Z"'),
      ),
    ).units.get('cart.default')!;
    expect(
      unit.matches.map(
        ({ action, method, headers, query }) =>
          `${unit.actions[action]?.route.split('/')[2]}${method ?? ''}${headers.length}${query.length}`,
      ),
    ).toEqual([
      'exact00',
      'pattern00',
      'long00',
      'late00',
      'prefixGET00',
      'prefix10',
      'prefix01',
      'prefix00',
      'root00',
    ]);
    expect(unit.matches.find(({ headers }) => headers.length === 1)?.headers).toEqual([{ name: 'x', exact: '1' }]);
  });

  it('gives a prefix rewrite an action for each match, and others one for each rule', () => {
    const rewrite =
      'filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /x } } }]';
    const matches = 'matches: [{ path: { value: /a } }, { path: { value: /b/ } }]';
    const actionsOf = (rule: string) =>
      build(resourcesOf(cart + route('r', `rules: [{ ${matches}, ${rule} }]`))).units.get('cart.default')!.actions;
    expect(actionsOf(rewrite).map(({ rewritePath }) => rewritePath)).toEqual([
      { replace: 'prefix', path: '/x', matchedPrefix: '/a' },
      { replace: 'prefix', path: '/x', matchedPrefix: '/b' },
    ]);
    expect(actionsOf('name: n').length).toBe(1);
  });

  it('takes each timeout from the rule, then the policy on the route, then that on the Service, then the default', () => {
    const text =
      cart +
      route('r', 'rules: [{ timeouts: { request: 1s } }, {}]') +
      policy('p', 'HTTPRoute', 'r', '{ request: 2s, backendRequest: 500ms }') +
      policy('q', 'Service', 'cart', '{ request: 3s, idle: 4s }');
    const unit = build(resourcesOf(text)).units.get('cart.default')!;
    expect(unit.actions.map(({ timeouts }) => timeouts)).toEqual([
      { requestMs: 1_000, perTryMs: 500, idleMs: 4_000 },
      { requestMs: 2_000, perTryMs: 500, idleMs: 4_000 },
    ]);
    expect(unit.timeouts).toEqual({ requestMs: 3_000, perTryMs: 0, idleMs: 4_000 });
  });

  it('leaves a backend that does not exist as null, and notices when it comes', () => {
    const objects = resourcesOf(cart + next + route('r', 'rules: [{ backendRefs: [{ name: next, port: 8080 }] }]'));
    const without = build(objects.filter(({ metadata, kind }) => kind !== 'Service' || metadata.name !== 'next'));
    expect(without.units.get('cart.default')?.actions[0]?.backends[0]).toMatchObject({
      unit: null,
      ref: 'default/next',
    });
    expect(build(objects, without).units.get('cart.default')?.actions[0]?.backends[0]?.unit).toBe('next.default');
  });

  it('holds how many requests may be sent ahead: none unless the Service says so', () => {
    const depthOf = (spec: string) => {
      const { units } = build(resourcesOf(cart.replace('spec: {}', `spec: ${spec}`)));
      return units.get('cart.default')!.pipelinedDepth;
    };
    expect(['{}', '{ pipelining: {} }', '{ pipelining: { maxRequests: 64 } }'].map(depthOf)).toEqual([1, 8, 64]);
  });

  it('holds the limits of a Service, and none where none are set', () => {
    const limited = (limits: string) => build(resourcesOf(cart.replace('spec: {}', `spec: ${limits}`)));
    for (const unlimited of ['{}', '{ limits: {} }'])
      expect(limited(unlimited).units.get('cart.default')?.limits, unlimited).toBeNull();
    expect(limited('{ limits: { requestBodyBytes: 5, targetBytes: 9 } }').units.get('cart.default')?.limits).toEqual({
      requestBodyBytes: 5,
      requestHeadBytes: 0,
      requestHeadFields: 0,
      targetBytes: 9,
      responseHeadBytes: 0,
    });
  });

  it('reads limits in units as the bytes that they are', () => {
    const limited = (limits: string) => build(resourcesOf(cart.replace('spec: {}', `spec: ${limits}`)));
    const limitsOf = (limits: string) => limited(`{ limits: ${limits} }`).units.get('cart.default')?.limits;
    expect(
      limitsOf(
        '{ requestBodyBytes: 10MiB, requestHeadBytes: 64KiB, requestHeadFields: 9, targetBytes: "77", responseHeadBytes: 1KiB }',
      ),
    ).toEqual({
      requestBodyBytes: 10 * 1024 ** 2,
      requestHeadBytes: 65_536,
      requestHeadFields: 9,
      targetBytes: 77,
      responseHeadBytes: 1_024,
    });
    expect(limitsOf('{ requestBodyBytes: 2GiB }')).toEqual(limitsOf(`{ requestBodyBytes: ${2 * 1024 ** 3} }`));
  });

  it('makes again only the units that changed', () => {
    const services = Array.from(
      { length: 2_000 },
      (_, i): Resource => ({ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: `s${i}` }, spec: {} }),
    );
    const before = build(services);
    const changed: Resource = { ...services[7]!, spec: { port: 81 } } as Resource;
    const after = build([...services.slice(0, 7), changed, ...services.slice(8)], before);
    const differing = [...after.units].filter(([name, unit]) => before.units.get(name) !== unit).map(([name]) => name);
    expect(differing).toEqual(['s7.default']);
  });
});

describe('a duration', () => {
  it.each([
    ['2s', 2_000],
    ['1m30s', 90_000],
    ['250ms', 250],
    ['1h', 3_600_000],
    ['0s', 0],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });
  it.each(['', '2', 's', '2 s', '1.5s', '-1s', '123456s', '1s1s1s1s1s'])('%j is none', (text) => {
    expect(() => parseDuration(text)).toThrow(RangeError);
  });
});
