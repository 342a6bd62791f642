/** One resource, judged on its own: its schema, and what a schema cannot say (the rules of the Gateway API, ranges that hang together). */
import { byteLimitRanges, parseBytes } from './byte-size.ts';
import { parseDuration } from './duration.ts';
import { limits } from './limits.ts';
import { isMatchPath, normalMatchPath } from './match-path.ts';
import type { Problem } from './problem.ts';
import {
  type EndpointObject,
  type HTTPRoute,
  type Kind,
  kinds,
  type Resource,
  type RouteFilter,
  type RouteMatch,
  type RouteRule,
  type Service,
  type ServiceLimits,
} from './resources.ts';
import { formatPath, type SchemaProblem, schemaProblems, show } from './schema-problems.ts';

export type Validated = { readonly resource: Resource } | { readonly problems: readonly SchemaProblem[] };
type Keys = readonly (string | number)[];

/** Problems with the way to their place, for whoever knows lines and columns. The value is not changed. */
export function judgeResource(value: unknown): Validated {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return {
      problems: [{ keys: [], isKey: false, message: 'must be an object with apiVersion, kind, metadata and spec' }],
    };
  const { kind, apiVersion } = value as { kind?: unknown; apiVersion?: unknown };
  if (typeof kind !== 'string' || !Object.hasOwn(kinds, kind)) {
    return {
      problems: [
        {
          keys: ['kind'],
          isKey: false,
          message: wanted(`must be one of ${Object.keys(kinds).join(', ')}`, kind),
        },
      ],
    };
  }
  const expected = kinds[kind as Kind].apiVersion;
  if (apiVersion !== expected) {
    return {
      problems: [
        {
          keys: ['apiVersion'],
          isKey: false,
          message: wanted(`must be ${expected} for a ${kind}`, apiVersion),
        },
      ],
    };
  }
  const problems = schemaProblems(kind as Kind, value);
  if (problems.length > 0) return { problems };
  const resource = value as Resource;
  const found: SchemaProblem[] = [];
  const report: Report = (keys, message) => {
    found.push({ keys, isKey: false, message });
  };
  switch (resource.kind) {
    case 'Service':
      judgeService(resource, report);
      break;
    case 'HTTPRoute':
      judgeRoute(resource, report);
      break;
    case 'TrafficPolicy':
      judgeTimeouts(resource.spec.timeouts, ['spec', 'timeouts'], report);
      break;
    default:
      resource satisfies never;
  }
  return found.length > 0 ? { problems: found } : { resource };
}

const wanted = (rule: string, value: unknown): string =>
  value === undefined ? `is missing: ${rule}` : `${rule}, not ${show(value)}`;

/** For values without lines: the REST API. */
export function validateResource(value: unknown): { readonly resource: Resource } | { readonly problems: Problem[] } {
  const judged = judgeResource(value);
  if ('resource' in judged) return judged;
  const object = describeObject(value);
  return {
    problems: judged.problems.map(({ keys, message }) => ({
      ...(object === null ? {} : { object }),
      path: formatPath(keys),
      message,
    })),
  };
}

/** `HTTPRoute default/cart`, as far as the value says so; null when it says nothing. */
export function describeObject(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return null;
  const { kind, metadata } = value as { kind?: unknown; metadata?: { name?: unknown; namespace?: unknown } | null };
  if (typeof kind !== 'string') return null;
  if (typeof metadata?.name !== 'string') return kind.slice(0, 63);
  return `${kind} ${typeof metadata.namespace === 'string' ? metadata.namespace : 'default'}/${metadata.name}`.slice(
    0,
    200,
  );
}

type Report = (keys: Keys, message: string) => void;

// --- Service ---------------------------------------------------------------------------------------------------------------------

function judgeService({ spec }: Service, report: Report): void {
  const seen = new Map<string, number>();
  spec.endpoints?.forEach((endpoint, i) => {
    const address = typeof endpoint === 'string' ? endpoint : endpoint.address;
    const keys: Keys = typeof endpoint === 'string' ? ['spec', 'endpoints', i] : ['spec', 'endpoints', i, 'address'];
    judgePort(address, keys, report);
    const first = seen.get(address);
    if (first !== undefined) report(keys, `${address} is also endpoint ${first}; give an address once, with a weight`);
    else seen.set(address, i);
    if (typeof endpoint === 'object') judgeLink(endpoint.link, ['spec', 'endpoints', i, 'link'], report);
  });
  judgeLimits(spec.limits ?? {}, report);
  const balancer = spec.loadBalancer;
  if (balancer === undefined) return;
  const { policy } = balancer;
  const keys = ['spec', 'loadBalancer'];
  const hashes = policy === 'RingHash' || policy === 'Maglev';
  if (balancer.hashOn !== undefined && !hashes)
    report([...keys, 'hashOn'], `has no meaning for ${policy}; it is for RingHash and Maglev`);
  if (balancer.hashOn === undefined && hashes)
    report(keys, `${policy} needs hashOn, which says what of a request is its key`);
  if (balancer.boundedLoadPercent !== undefined && !hashes)
    report([...keys, 'boundedLoadPercent'], `has no meaning for ${policy}; it is for RingHash and Maglev`);
  if (balancer.ringEntries !== undefined && policy !== 'RingHash')
    report([...keys, 'ringEntries'], `has no meaning for ${policy}; it is for RingHash`);
  if (balancer.decay !== undefined) {
    if (policy !== 'PeakEwma') report([...keys, 'decay'], `has no meaning for ${policy}; it is for PeakEwma`);
    else if (parseDuration(balancer.decay) === 0) report([...keys, 'decay'], 'must be longer than 0s');
  }
}

/** Numbers were held against the schema; what a string stands for is held against the same range. */
function judgeLimits(given: ServiceLimits, report: Report): void {
  for (const [name, [min, max]] of Object.entries(byteLimitRanges)) {
    const value = given[name as keyof typeof byteLimitRanges];
    if (typeof value !== 'string') continue;
    const bytes = parseBytes(value);
    if (bytes < min || bytes > max)
      report(['spec', 'limits', name], `must be ${min} to ${max} bytes, not ${show(value)}`);
  }
}

function judgePort(address: string, keys: Keys, report: Report): void {
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  if (port < 1 || port > 65_535) report(keys, `the port of ${address} must be 1 to 65535`);
}

function judgeLink(link: EndpointObject['link'], keys: Keys, report: Report): void {
  if (typeof link === 'string') judgePort(link, keys, report);
  else
    link?.forEach((address, i) => {
      judgePort(address, [...keys, i], report);
      if (link.indexOf(address) !== i) report([...keys, i], `${address} is in this list already`);
    });
}

// --- HTTPRoute -------------------------------------------------------------------------------------------------------------------

function judgeRoute({ spec }: HTTPRoute, report: Report): void {
  const names = new Set<string>();
  spec.rules?.forEach((rule, i) => {
    const keys: Keys = ['spec', 'rules', i];
    if (rule.name !== undefined && names.has(rule.name))
      report([...keys, 'name'], `another rule of this route is named ${rule.name} too`);
    if (rule.name !== undefined) names.add(rule.name);
    for (const [m, match] of (rule.matches ?? []).entries()) judgeMatch(match, [...keys, 'matches', m], report);
    judgeFilters(rule.filters ?? [], [...keys, 'filters'], rule, report);
    for (const [b, ref] of (rule.backendRefs ?? []).entries())
      judgeBackendFilters(ref.filters ?? [], [...keys, 'backendRefs', b, 'filters'], report);
    judgeTimeouts(rule.timeouts, [...keys, 'timeouts'], report);
    if (rule.backendRefs?.length && rule.filters?.some(({ type }) => type === 'RequestRedirect'))
      report(
        [...keys, 'backendRefs'],
        'a rule with a RequestRedirect filter answers by itself and must not have backendRefs',
      );
  });
}

/** What a normalised path never has, so that a match with it could never apply (Gateway API, HTTPPathMatch; `%00` is refused). */
const unusablePath = /\/\/|\/\.{1,2}(\/|$)|%2F|%00|[#?]/;

function judgeMatch({ path, headers, queryParams, method }: RouteMatch, keys: Keys, report: Report): void {
  const value = path?.value ?? '/';
  const at = [...keys, 'path', 'value'];
  if (path?.type === 'RegularExpression') judgePattern(value, at, report);
  else if (!value.startsWith('/')) report(at, `a path must start with /, ${JSON.stringify(value)} does not`);
  else if (unusablePath.test(normalMatchPath(value)))
    report(
      at,
      `${JSON.stringify(value)} can match no request: paths are normalised first, and have no //, /./, /../, %2F, %00, # or ?`,
    );
  else if (!isMatchPath(value))
    report(
      at,
      `${JSON.stringify(value)} must have characters of a path only: letters, digits, any of -._~!$&'()*+,;=:@/ and % with two hexadecimal digits`,
    );
  if (method === 'CONNECT') report([...keys, 'method'], 'CONNECT is not proxied');
  const judgeValues = (list: typeof headers, field: string, canonical: (name: string) => string) => {
    const seen = new Set<string>();
    list?.forEach((test, i) => {
      if (field === 'headers' && test.name.toLowerCase() === 'host')
        report([...keys, field, i, 'name'], 'Host is what the Service was called by; use hostnames of the route');
      if (seen.has(canonical(test.name)))
        report([...keys, field, i, 'name'], `${test.name} is tested twice; only one test for each name can apply`);
      seen.add(canonical(test.name));
      if (test.type === 'RegularExpression') judgePattern(test.value, [...keys, field, i, 'value'], report);
    });
  };
  judgeValues(headers, 'headers', (name) => name.toLowerCase());
  judgeValues(queryParams, 'queryParams', (name) => name);
}

function judgePattern(source: string, keys: Keys, report: Report): void {
  if (source.length > limits.regexBytesMax) {
    report(keys, `a regular expression may have ${limits.regexBytesMax} characters, this one has ${source.length}`);
    return;
  }
  try {
    // By itself, because `a)(?:b` is one only between the anchors that decisions/ puts around it. No flags, as there.
    new RegExp(source);
  } catch (error) {
    report(keys, `is not a regular expression of JavaScript: ${(error as Error).message}`);
  }
}

const memberOf = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
  RequestMirror: 'requestMirror',
} as const satisfies Record<RouteFilter['type'], keyof RouteFilter>;

function judgeFilters(filters: readonly RouteFilter[], keys: Keys, rule: RouteRule, report: Report): void {
  const seen = new Set<RouteFilter['type']>();
  filters.forEach((filter, i) => {
    judgeFilter(filter, [...keys, i], rule, report);
    if (filter.type !== 'RequestMirror' && seen.has(filter.type))
      report([...keys, i, 'type'], `a rule may have one ${filter.type}`);
    seen.add(filter.type);
  });
  if (seen.has('RequestRedirect') && seen.has('URLRewrite'))
    report(keys, 'RequestRedirect and URLRewrite exclude each other');
}

function judgeBackendFilters(filters: readonly RouteFilter[], keys: Keys, report: Report): void {
  const seen = new Set<RouteFilter['type']>();
  filters.forEach((filter, i) => {
    judgeFilter(filter, [...keys, i], {}, report);
    if (filter.type !== 'RequestHeaderModifier' && filter.type !== 'ResponseHeaderModifier')
      report(
        [...keys, i, 'type'],
        `a backendRef may have header modifiers only, not ${filter.type}: put it on the rule`,
      );
    else if (seen.has(filter.type)) report([...keys, i, 'type'], `a backendRef may have one ${filter.type}`);
    seen.add(filter.type);
  });
}

function judgeFilter(filter: RouteFilter, keys: Keys, rule: RouteRule, report: Report): void {
  const member = memberOf[filter.type];
  if (filter[member] === undefined) report(keys, `a filter of type ${filter.type} needs the field ${member}`);
  for (const other of Object.values(memberOf)) {
    if (other !== member && filter[other] !== undefined)
      report([...keys, other], `does not belong to a filter of type ${filter.type}`);
  }
  const { requestMirror, requestRedirect, urlRewrite } = filter;
  judgePathModifier(requestRedirect?.path, [...keys, 'requestRedirect', 'path'], rule, report);
  judgePathModifier(urlRewrite?.path, [...keys, 'urlRewrite', 'path'], rule, report);
  for (const modifier of ['requestHeaderModifier', 'responseHeaderModifier'] as const)
    judgeModifier(filter[modifier], [...keys, modifier], report);
  if (requestMirror?.percent !== undefined && requestMirror.fraction !== undefined)
    report([...keys, 'requestMirror'], 'percent and fraction exclude each other');
  const fraction = requestMirror?.fraction;
  if (fraction !== undefined && fraction.numerator > (fraction.denominator ?? 100))
    report(
      [...keys, 'requestMirror', 'fraction'],
      'the numerator must not be larger than the denominator (default 100)',
    );
}

/** Framing and routing are the proxy's own: a filter that changed these could split a message or fool the next hop. */
const untouchable: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
  'te',
  'trailer',
  'keep-alive',
  'proxy-connection',
]);

function judgeModifier(modifier: RouteFilter['requestHeaderModifier'], keys: Keys, report: Report): void {
  if (modifier === undefined) return;
  const seen = new Set<string>();
  const judge = (name: string, at: Keys) => {
    const lower = name.toLowerCase();
    if (untouchable.has(lower))
      report(at, `${name} cannot be changed by a filter${lower === 'host' ? '; URLRewrite has hostname' : ''}`);
    if (seen.has(lower)) report(at, `${name} is changed twice`);
    seen.add(lower);
  };
  for (const field of ['set', 'add'] as const)
    for (const [i, { name }] of (modifier[field] ?? []).entries()) judge(name, [...keys, field, i, 'name']);
  for (const [i, name] of (modifier.remove ?? []).entries()) judge(name, [...keys, 'remove', i]);
}

function judgePathModifier(
  path: { readonly type: string; readonly replaceFullPath?: string; readonly replacePrefixMatch?: string } | undefined,
  keys: Keys,
  rule: RouteRule,
  report: Report,
): void {
  if (path === undefined) return;
  const [own, other] =
    path.type === 'ReplaceFullPath'
      ? (['replaceFullPath', 'replacePrefixMatch'] as const)
      : (['replacePrefixMatch', 'replaceFullPath'] as const);
  const value = path[own];
  if (value === undefined) report(keys, `a path of type ${path.type} needs the field ${own}`);
  else if (value !== '' && (!value.startsWith('/') || /[\s#?]/.test(value) || !/^[\x21-\x7e]*$/.test(value)))
    report([...keys, own], `${JSON.stringify(value)} must start with / and have no blanks, # or ?`);
  if (path[other] !== undefined) report([...keys, other], `does not belong to a path of type ${path.type}`);
  const matches = rule.matches ?? [];
  if (
    path.type === 'ReplacePrefixMatch' &&
    matches.some((match) => match.path?.type !== undefined && match.path.type !== 'PathPrefix')
  )
    report(keys, 'ReplacePrefixMatch needs every match of its rule to be a PathPrefix');
}

// --- Timeouts --------------------------------------------------------------------------------------------------------------------

function judgeTimeouts(
  timeouts: { readonly request?: string; readonly backendRequest?: string; readonly idle?: string } | undefined,
  keys: Keys,
  report: Report,
): void {
  if (timeouts === undefined) return;
  const ms = (field: 'request' | 'backendRequest' | 'idle') =>
    timeouts[field] === undefined ? 0 : parseDuration(timeouts[field]);
  for (const field of ['request', 'backendRequest', 'idle'] as const)
    if (ms(field) > limits.timeoutMsMax) report([...keys, field], `may be 24h at most, not ${timeouts[field]}`);
  if (ms('request') !== 0 && ms('backendRequest') > ms('request'))
    report(
      [...keys, 'backendRequest'],
      `${timeouts.backendRequest} must not be longer than request, ${timeouts.request}`,
    );
}
