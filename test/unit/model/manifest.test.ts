import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { readManifest } from '../../../src/model/manifest.ts';
import { formatProblem } from '../../../src/model/problem.ts';
import { validateResource } from '../../../src/model/validate.ts';

const problemsOf = (text: string) => readManifest(text, 'mesh.yaml').problems.map(formatProblem);

const service = (spec: string) => `apiVersion: weft.mesh/v1
kind: Service
metadata: { name: cart }
spec: ${spec}
`;
const route = (rule: string) => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: cart }
spec:
  parentRefs: [{ group: weft.mesh, kind: Service, name: cart }]
  rules:
    - ${rule}
`;

describe('every mistake is named with path, line and column', () => {
  it.each<[name: string, text: string, expected: string | RegExp]>([
    ['YAML', 'a: [1, 2', /^mesh\.yaml:1:\d+: /],
    ['tabs', 'a:\n\tb: 1', /^mesh\.yaml:2:1: .*tabs/i],
    ['a key twice', `${service('{}')}spec: {}\n`, /^mesh\.yaml:5:1: Map keys must be unique/],
    ['a key twice, deeper', 'a:\n  - {b: 1, "b": 2}\n', /^mesh\.yaml:2:12: Map keys must be unique/],
    ['no object', '- 1', 'mesh.yaml:1:3: must be an object with apiVersion, kind, metadata and spec'],
    [
      'unknown kind',
      'kind: Pod',
      'mesh.yaml:1:7: Pod: kind: must be one of Service, HTTPRoute, TrafficPolicy, not "Pod"',
    ],
    ['an inherited name as kind', 'kind: toString', /kind: must be one of/],
    ['no kind', 'a: 1', 'mesh.yaml:1:1: kind: is missing: must be one of Service, HTTPRoute, TrafficPolicy'],
    [
      'no version',
      'kind: Service',
      'mesh.yaml:1:1: Service: apiVersion: is missing: must be weft.mesh/v1 for a Service',
    ],
    [
      'wrong version',
      'apiVersion: v1\nkind: Service',
      'mesh.yaml:1:13: Service: apiVersion: must be weft.mesh/v1 for a Service, not "v1"',
    ],
    [
      'no metadata',
      'apiVersion: weft.mesh/v1\nkind: Service\nspec: {}',
      /mesh\.yaml:1:1: Service: the field metadata is missing/,
    ],
    [
      'bad name',
      service('{}').replace('cart', 'Cart_'),
      /3:19: Service default\/Cart_: metadata\.name: must be lower-case letters.*not "Cart_"/,
    ],
    [
      'unknown field',
      service('{ ports: 80 }'),
      /4:9: Service default\/cart: spec\.ports: unknown field, did you mean port\?/,
    ],
    [
      'unknown field far off',
      service('{ zebra: 80 }'),
      /unknown field \(known: protocol, port, endpoints, loadBalancer, limits, pipelining\)/,
    ],
    ['wrong type', service('{ port: "80" }'), /4:15: .*spec\.port: must be a whole number, not "80"/],
    ['out of range', service('{ port: 99999 }'), /spec\.port: must be <= 65535.*not 99999/],
    [
      'endpoint without port',
      service('{ endpoints: [localhost] }'),
      /4:21: .*spec\.endpoints\[0\]: must be HOST:PORT, not "localhost"$/,
    ],
    [
      'endpoint number',
      service('{ endpoints: [80] }'),
      /spec\.endpoints\[0\]: must be HOST:PORT or an object with an address, not 80$/,
    ],
    [
      'endpoint field',
      service("{ endpoints: [{ address: 'a:1', wieght: 2 }] }"),
      /spec\.endpoints\[0\]\.wieght: unknown field, did you mean weight\?/,
    ],
    [
      'label name',
      service("{ endpoints: [{ address: 'a:1', labels: { 'bad key!': x } }] }"),
      /labels\.bad key!: must be a label name/,
    ],
    [
      'label that is an inherited name',
      service("{ endpoints: [{ address: 'a:1', labels: { __proto__: x } }] }"),
      /must be a label name/,
    ],
    [
      'endpoint weight',
      service("{ endpoints: [{ address: 'a:1', weight: -2 }] }"),
      /spec\.endpoints\[0\]\.weight: must be >= 0/,
    ],
    [
      'link that is no address',
      service("{ endpoints: [{ address: 'a:1', link: a }] }"),
      /4:45: .*spec\.endpoints\[0\]\.link: must be HOST:PORT, not "a"$/,
    ],
    [
      'link that is neither form',
      service("{ endpoints: [{ address: 'a:1', link: 15008 }] }"),
      /4:45: .*spec\.endpoints\[0\]\.link: must be HOST:PORT or a list of 1 to 64 of them, not 15008$/,
    ],
    [
      'link in a list that is no address',
      service("{ endpoints: [{ address: 'a:1', link: ['a:2', '?'] }] }"),
      /4:53: .*spec\.endpoints\[0\]\.link\[1\]: must be HOST:PORT, not "\?"$/,
    ],
    [
      'link list that is empty',
      service("{ endpoints: [{ address: 'a:1', link: [] }] }"),
      /4:45: .*spec\.endpoints\[0\]\.link: must NOT have fewer than 1 items$/,
    ],
    [
      'link list that is too long',
      service(`{ endpoints: [{ address: 'a:1', link: [${Array.from({ length: 65 }, (_, i) => `'a:${i + 1}'`)}] }] }`),
      /4:45: .*spec\.endpoints\[0\]\.link: must NOT have more than 64 items$/,
    ],
    [
      'link port',
      service("{ endpoints: [{ address: 'a:1', link: a:0 }] }"),
      /4:45: .*spec\.endpoints\[0\]\.link: the port of a:0 must be 1 to 65535$/,
    ],
    [
      'link twice',
      service("{ endpoints: [{ address: 'a:1', link: ['a:2', 'a:2'] }] }"),
      /4:53: .*spec\.endpoints\[0\]\.link\[1\]: a:2 is in this list already$/,
    ],
    [
      'identity that is a name',
      service("{ endpoints: [{ address: 'a:1', identity: cart }] }"),
      /4:49: .*spec\.endpoints\[0\]\.identity: must be a SPIFFE ID, spiffe:\/\/TRUST-DOMAIN\/ns\/NAMESPACE\/sa\/SERVICE, not "cart"$/,
    ],
    [
      'identity with a name that is too long',
      service(`{ endpoints: [{ address: 'a:1', identity: spiffe://a/ns/b/sa/${'c'.repeat(64)} }] }`),
      /4:49: .*spec\.endpoints\[0\]\.identity: must be a SPIFFE ID/,
    ],
    ['endpoint port', service("{ endpoints: ['a:0'] }"), /the port of a:0 must be 1 to 65535/],
    [
      'endpoint twice',
      service("{ endpoints: ['a:1', { address: 'a:1' }] }"),
      /spec\.endpoints\[1\]\.address: a:1 is also endpoint 0/,
    ],
    [
      'policy',
      service('{ loadBalancer: { policy: Best } }'),
      /policy: must be one of RoundRobin, .*Maglev, not "Best"/,
    ],
    ['hash without key', service('{ loadBalancer: { policy: Maglev } }'), /Maglev needs hashOn/],
    [
      'key without hash',
      service('{ loadBalancer: { policy: Random, hashOn: [{ header: x }] } }'),
      /hashOn: has no meaning for Random/,
    ],
    [
      'two keys in one',
      service('{ loadBalancer: { policy: Maglev, hashOn: [{ header: x, cookie: y }] } }'),
      /hashOn\[0\]/,
    ],
    ['decay', service('{ loadBalancer: { policy: PeakEwma, decay: 0s } }'), /decay: must be longer than 0s/],
    [
      'ringEntries',
      service('{ loadBalancer: { policy: Random, ringEntries: 2048 } }'),
      /ringEntries: has no meaning for Random/,
    ],
    [
      'body limit of nothing',
      service('{ limits: { requestBodyBytes: 0 } }'),
      /limits\.requestBodyBytes: must be >= 1, not 0/,
    ],
    [
      'head limit above the largest',
      service(`{ limits: { requestHeadBytes: ${limits.headBytesMax + 1} } }`),
      /limits\.requestHeadBytes: must be <= 65536, not 65537/,
    ],
    ['fields limit', service('{ limits: { requestHeadFields: 3 } }'), /limits\.requestHeadFields: must be >= 4/],
    ['target limit', service('{ limits: { targetBytes: 16385 } }'), /limits\.targetBytes: must be <= 16384/],
    ['answer limit', service('{ limits: { responseHeadBytes: 1.5 } }'), /responseHeadBytes: must be a whole number/],
    [
      'limit in words',
      service('{ limits: { requestBodyBytes: 10MB } }'),
      /limits\.requestBodyBytes: must be a number of bytes such as 65536, 64KiB or 10MiB, not "10MB"/,
    ],
    [
      'limit in units above the largest',
      service('{ limits: { requestHeadBytes: 65KiB } }'),
      /limits\.requestHeadBytes: must be 256 to 65536 bytes, not "65KiB"/,
    ],
    [
      'limit in units of nothing',
      service('{ limits: { requestBodyBytes: 0GiB } }'),
      /limits\.requestBodyBytes: must be 1 to 9007199254740991 bytes, not "0GiB"/,
    ],
    [
      'limit that is a list',
      service('{ limits: { targetBytes: [] } }'),
      /limits\.targetBytes: must be a number of bytes such as 65536, 64KiB or 10MiB, not a list/,
    ],
    [
      'fields limit in units',
      service('{ limits: { requestHeadFields: 1KiB } }'),
      /Fields: must be a whole number, not "1KiB"/,
    ],
    ['a line of one', service('{ pipelining: { maxRequests: 1 } }'), /pipelining\.maxRequests: must be >= 2, not 1/],
    ['a line without end', service('{ pipelining: { maxRequests: 65 } }'), /maxRequests: must be <= 64, not 65/],
    ['pipelining as a word', service('{ pipelining: true }'), /spec\.pipelining: must be an object/],
    ['an endpoint at a socket', service('{ endpoints: ["unix:/run/docker.sock"] }'), /endpoints\[0\]/],
    ['unknown limit', service('{ limits: { bodyBytes: 1 } }'), /limits\.bodyBytes: unknown field/],
    [
      'duration',
      route('timeouts: { request: 2 }'),
      /timeouts\.request: must be a duration such as 250ms, 2s .*, not 2/,
    ],
    ['duration form', route('timeouts: { request: 2 s }'), /timeouts\.request: must be a duration such as 250ms/],
    [
      'try longer than request',
      route('timeouts: { request: 1s, backendRequest: 2s }'),
      /backendRequest: 2s must not be longer than request, 1s/,
    ],
    [
      'path without slash',
      route('matches: [{ path: { type: Exact, value: v2 } }]'),
      /7:\d+: .*value: a path must start with \//,
    ],
    ['path with dots', route('matches: [{ path: { value: /a/../b } }]'), /can match no request/],
    ['escaped slash', route('matches: [{ path: { value: /a%2Fb } }]'), /can match no request/],
    [
      'bad pattern',
      route("matches: [{ path: { type: RegularExpression, value: '/(' } }]"),
      /is not a regular expression of JavaScript: .*Unterminated group/,
    ],
    [
      'long pattern',
      route(
        `matches: [{ headers: [{ type: RegularExpression, name: x, value: ${'a'.repeat(limits.regexBytesMax + 1)} }] }]`,
      ),
      /may have 1024 characters, this one has 1025/,
    ],
    [
      'header twice',
      route('matches: [{ headers: [{ name: X, value: a }, { name: x, value: b }] }]'),
      /headers\[1\]\.name: x is tested twice/,
    ],
    [
      'Host as a header',
      route('matches: [{ headers: [{ name: Host, value: a }] }]'),
      /headers\[0\]\.name: Host is what/,
    ],
    ['method', route('matches: [{ method: get }]'), /method: must be one of GET, .*not "get"/],
    ['CONNECT', route('matches: [{ method: CONNECT }]'), /CONNECT is not proxied/],
    ['filter type', route('filters: [{ type: ExtensionRef }]'), /type: must be one of RequestHeaderModifier/],
    [
      'filter member',
      route('filters: [{ type: URLRewrite }]'),
      /filters\[0\]: a filter of type URLRewrite needs the field urlRewrite/,
    ],
    [
      'filter other member',
      route('filters: [{ type: URLRewrite, urlRewrite: { hostname: a }, requestRedirect: {} }]'),
      /requestRedirect: does not belong to a filter of type URLRewrite/,
    ],
    [
      'filter twice',
      route(
        'filters: [{ type: URLRewrite, urlRewrite: { hostname: a } }, { type: URLRewrite, urlRewrite: { hostname: b } }]',
      ),
      /filters\[1\]\.type: a rule may have one URLRewrite/,
    ],
    [
      'redirect and rewrite',
      route(
        'filters: [{ type: URLRewrite, urlRewrite: { hostname: a } }, { type: RequestRedirect, requestRedirect: { hostname: b } }]',
      ),
      /exclude each other/,
    ],
    [
      'redirect with backends',
      route(
        '{ filters: [{ type: RequestRedirect, requestRedirect: { hostname: b } }], backendRefs: [{ name: cart }] }',
      ),
      /must not have backendRefs/,
    ],
    [
      'prefix on exact',
      route(
        '{ matches: [{ path: { type: Exact, value: /a } }], filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /b } } }] }',
      ),
      /needs every match of its rule to be a PathPrefix/,
    ],
    [
      'path modifier member',
      route('filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replacePrefixMatch: /b } } }]'),
      /needs the field replaceFullPath/,
    ],
    [
      'backend filter',
      route('backendRefs: [{ name: a, filters: [{ type: URLRewrite, urlRewrite: { hostname: a } }] }]'),
      /a backendRef may have header modifiers only/,
    ],
    [
      'Host by filter',
      route('filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Host, value: x }] } }]'),
      /Host cannot be changed by a filter; URLRewrite has hostname/,
    ],
    [
      'framing by filter',
      route('filters: [{ type: ResponseHeaderModifier, responseHeaderModifier: { remove: [Content-Length] } }]'),
      /Content-Length cannot be changed/,
    ],
    [
      'line break in a value',
      route(
        'filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: "x\\r\\nb: c" }] } }]',
      ),
      /an HTTP field value: no control characters/,
    ],
    [
      'a character that is no byte',
      route(
        'filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: "v\\u010a" }] } }]',
      ),
      /none beyond U\+00FF/,
    ],
    [
      'mirror shares',
      route(
        'filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: a }, percent: 5, fraction: { numerator: 1 } } }]',
      ),
      /percent and fraction exclude each other/,
    ],
    [
      'mirror fraction',
      route(
        'filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: a }, fraction: { numerator: 5, denominator: 4 } } }]',
      ),
      /numerator must not be larger/,
    ],
    ['weight', route('backendRefs: [{ name: a, weight: 1.5 }]'), /weight: must be a whole number, not 1\.5/],
    [
      'the same object twice',
      `${service('{}')}---\n${service('{}')}`,
      /6:1: Service default\/cart: metadata\.name: is here a second time, the first is on line 1/,
    ],
  ])('%s', (_name, text, expected) => {
    const problems = problemsOf(text);
    if (typeof expected === 'string') expect(problems).toContain(expected);
    else
      expect(
        problems.some((problem) => expected.test(problem)),
        problems.join('\n'),
      ).toBe(true);
  });

  it('all of a file at once, and what is right beside them is read', () => {
    const { problems, resources } = readManifest(
      `${service('{ ports: 1, port: x }')}---\n${service('{}').replace('cart', 'web')}---\nkind: Pod\n`,
      'mesh.yaml',
    );
    expect(problems.length).toBe(3);
    expect(resources.map((resource) => resource.metadata.name)).toEqual(['web']);
  });

  it('and what is found later is given its place', () => {
    const text = `${service('{}')}---\n- apiVersion: weft.mesh/v1\n  kind: Service\n  metadata: { name: web }\n  spec:\n    endpoints: [127.0.0.1:1]\n`;
    const { locate } = readManifest(text, 'mesh.yaml');
    const at = (object: string, path: string) => formatProblem(locate({ object, path, message: 'no' }));
    expect(at('Service default/web', 'spec.endpoints[0]')).toBe(
      'mesh.yaml:10:17: Service default/web: spec.endpoints[0]: no',
    );
    expect(at('Service default/web', 'spec.port')).toBe('mesh.yaml:10:5: Service default/web: spec.port: no');
    expect(at('Service default/cart', '')).toBe('mesh.yaml:1:1: Service default/cart: no');
    expect(at('Service default/pay', 'spec')).toBe('Service default/pay: spec: no');
  });

  it('an alias bomb is refused, and a file that is too large is not parsed', () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (let i = 0; i < 8; i++)
      bomb.push(`${'bcdefghi'[i]}: &${'bcdefghi'[i]} [${Array(9).fill(`*${'abcdefgh'[i]}`).join(', ')}]`);
    expect(problemsOf(bomb.join('\n'))[0]).toMatch(/cannot be read: Excessive alias count/);
    expect(problemsOf(' '.repeat(limits.manifestBytesMax + 1))[0]).toMatch(/is larger than/);
  });
});

describe('what is right is read', () => {
  it('from several documents, lists and JSON; an empty text is empty', () => {
    expect(readManifest('', 'f').problems).toEqual([]);
    expect(readManifest('# nothing\n---\n', 'f').resources).toEqual([]);
    const json = JSON.stringify({ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'a' }, spec: {} });
    expect(readManifest(json, 'f').resources.length).toBe(1);
    expect(readManifest(`[${json}]`, 'f').resources.length).toBe(1);
    expect(readManifest(`apiVersion: v1\nkind: List\nitems: [${json}]`, 'f').resources.length).toBe(1);
  });

  it('by the API without lines', () => {
    expect(
      validateResource({ apiVersion: 'weft.mesh/v1', kind: 'Service', metadata: { name: 'a' }, spec: { x: 1 } }),
    ).toEqual({
      problems: [
        {
          object: 'Service default/a',
          path: 'spec.x',
          message: 'unknown field (known: protocol, port, endpoints, loadBalancer, limits, pipelining)',
        },
      ],
    });
    expect(validateResource(JSON.parse('{"__proto__": {"kind": "Service"}}'))).toHaveProperty('problems');
    for (const nonsense of [null, 1, 'x', [], undefined]) expect(validateResource(nonsense)).toHaveProperty('problems');
  });
});
