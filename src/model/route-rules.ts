/**
 * What a route says, in the words of a unit: its matches, and what happens to what they match. Made once for each Service that the route is
 * attached to, and again only when the route changes, or what it depends on: of 10,000 rules a change makes a few anew.
 */
import { normalMatchPath } from './match-path.ts';
import type * as R from './resources.ts';
import { namespaceOf } from './resources.ts';
import type {
  HeaderChange,
  PathChange,
  Redirect,
  Timeouts,
  UnitAction,
  UnitBackend,
  UnitMatch,
  UnitMirror,
  UnitName,
  ValueTest,
} from './snapshot.ts';
import type { Steps } from './steps.ts';

/** What a route takes from the mesh around it. */
export interface Surroundings {
  /** `NAMESPACE/NAME` of the Service that the route is attached to. */
  readonly service: string;
  /** The policies on that Service. */
  readonly policies: readonly R.TrafficPolicy[];
  policiesOn(route: R.HTTPRoute): readonly R.TrafficPolicy[];
  timeoutsOf(own: NonNullable<R.RouteRule['timeouts']>, route: R.HTTPRoute): Timeouts;
  /** Null when there is no such Service. */
  unitOf(ref: ServiceRef, from: string): UnitName | null;
  hasService(key: string): boolean;
}

interface ServiceRef {
  readonly name: string;
  readonly namespace?: string;
}

interface RouteRules {
  readonly service: string;
  /** What they were made from, beside the route. */
  readonly missing: string;
  readonly policies: readonly R.TrafficPolicy[];
  readonly ownPolicies: readonly R.TrafficPolicy[];
  /** Index of the first action within the unit. */
  readonly first: number;
  readonly matches: readonly UnitMatch[];
  readonly actions: readonly UnitAction[];
}

const made = new WeakMap<R.HTTPRoute, readonly RouteRules[]>();

/** Adds the route's rules, in their order. */
export function* addRoute(
  route: R.HTTPRoute,
  around: Surroundings,
  actions: UnitAction[],
  matches: UnitMatch[],
): Steps<void> {
  const before = made.get(route) ?? [];
  const known = before.find(({ service }) => service === around.service);
  const missing = missingBackendsOf(route, around).join(' ');
  const ownPolicies = around.policiesOn(route);
  let rules = known;
  if (
    rules === undefined ||
    rules.missing !== missing ||
    !isSame(rules.policies, around.policies) ||
    !isSame(rules.ownPolicies, ownPolicies)
  ) {
    const { service, policies } = around;
    rules = { service, missing, policies, ownPolicies, ...(yield* rulesOf(route, around, actions.length)) };
  } else if (rules.first !== actions.length) rules = yield* movedTo(actions.length, rules);
  if (rules !== known) made.set(route, [...before.filter((one) => one !== known), rules]);
  for (const action of rules.actions) actions.push(action);
  for (const match of rules.matches) matches.push(match);
}

function* movedTo(first: number, rules: RouteRules): Steps<RouteRules> {
  const matches: UnitMatch[] = [];
  for (const match of rules.matches) {
    matches.push({ ...match, action: match.action - rules.first + first });
    if (matches.length % matchesPerStep === 0) yield;
  }
  return { ...rules, first, matches };
}

const isSame = (a: readonly unknown[], b: readonly unknown[]) =>
  a === b || (a.length === b.length && a.every((x, i) => x === b[i]));

/** Copied without a chance to interrupt: some ten microseconds. */
const matchesPerStep = 64;

function* rulesOf(
  route: R.HTTPRoute,
  around: Surroundings,
  first: number,
): Steps<Pick<RouteRules, 'first' | 'matches' | 'actions'>> {
  const namespace = namespaceOf(route);
  const actions: UnitAction[] = [];
  const matches: UnitMatch[] = [];
  for (const [ruleIndex, rule] of (route.spec.rules ?? [{}]).entries()) {
    const label = `${namespace}/${route.metadata.name}/${rule.name ?? ruleIndex}`;
    const timeouts = around.timeoutsOf(rule.timeouts ?? {}, route);
    const replacesPrefix =
      rule.filters?.some(
        (filter) => (filter.urlRewrite ?? filter.requestRedirect)?.path?.type === 'ReplacePrefixMatch',
      ) ?? false;
    let shared = -1;
    for (const match of rule.matches?.length ? rule.matches : [{}]) {
      const path = pathOf(match.path);
      if (shared === -1 || replacesPrefix) {
        shared = first + actions.length;
        actions.push(buildAction(rule, label, path.value, timeouts, namespace, around));
      }
      matches.push({
        path,
        method: match.method ?? null,
        headers: (match.headers ?? []).map(headerTest),
        query: (match.queryParams ?? []).map(valueTest),
        action: shared,
      });
    }
    yield;
  }
  return { first, matches, actions };
}

function pathOf(match: R.PathMatch | undefined): UnitMatch['path'] {
  const written = match?.value ?? '/';
  if (match?.type === 'RegularExpression') return { kind: 'pattern', value: written };
  const value = normalMatchPath(written);
  switch (match?.type) {
    case 'Exact':
      return { kind: 'exact', value };
    default:
      // `/v2/` is the same prefix as `/v2` (Gateway API: a trailing slash is ignored).
      return { kind: 'prefix', value: value.length > 1 && value.endsWith('/') ? value.slice(0, -1) : value };
  }
}

const valueTest = ({ type, name, value }: R.QueryParamMatch): ValueTest =>
  type === 'RegularExpression' ? { name, pattern: value } : { name, exact: value };
const headerTest = ({ type, name, value }: R.HeaderMatch): ValueTest =>
  valueTest({ ...(type === undefined ? {} : { type }), name: name.toLowerCase(), value });

function buildAction(
  rule: R.RouteRule,
  label: string,
  matchedPath: string,
  timeouts: Timeouts,
  namespace: string,
  around: Surroundings,
): UnitAction {
  const { requestHeaders, responseHeaders } = headerChanges(rule.filters);
  let redirect: Redirect | null = null;
  let rewriteHost: string | null = null;
  let rewritePath: PathChange | null = null;
  const mirrors: UnitMirror[] = [];
  for (const { requestRedirect, urlRewrite, requestMirror } of rule.filters ?? []) {
    if (requestRedirect !== undefined) redirect = redirectOf(requestRedirect, matchedPath);
    if (urlRewrite !== undefined) {
      rewriteHost = urlRewrite.hostname ?? null;
      rewritePath = pathChangeOf(urlRewrite.path, matchedPath);
    }
    if (requestMirror !== undefined)
      mirrors.push({ unit: around.unitOf(requestMirror.backendRef, namespace), fraction: fractionOf(requestMirror) });
  }
  const backends = (rule.backendRefs ?? []).map((ref): UnitBackend => {
    const { requestHeaders, responseHeaders } = headerChanges(ref.filters);
    return {
      unit: around.unitOf(ref, namespace),
      ref: `${ref.namespace ?? namespace}/${ref.name}`,
      weight: ref.weight ?? 1,
      requestHeaders,
      responseHeaders,
    };
  });
  return {
    route: label,
    requestHeaders,
    responseHeaders,
    redirect,
    rewriteHost,
    rewritePath,
    mirrors,
    backends,
    timeouts,
  };
}

function headerChanges(
  filters: readonly R.RouteFilter[] | undefined,
): Pick<UnitAction, 'requestHeaders' | 'responseHeaders'> {
  const request = filters?.find((filter) => filter.requestHeaderModifier !== undefined)?.requestHeaderModifier;
  const response = filters?.find((filter) => filter.responseHeaderModifier !== undefined)?.responseHeaderModifier;
  return { requestHeaders: headerChangeOf(request), responseHeaders: headerChangeOf(response) };
}

function headerChangeOf(modifier: R.HeaderModifier | undefined): HeaderChange | null {
  if (modifier === undefined) return null;
  const pairs = (list: R.HeaderModifier['set']) => (list ?? []).map(({ name, value }) => [name, value] as const);
  return {
    set: pairs(modifier.set),
    add: pairs(modifier.add),
    remove: (modifier.remove ?? []).map((name) => name.toLowerCase()),
  };
}

function pathChangeOf(path: R.PathModifier | undefined, matchedPrefix: string): PathChange | null {
  if (path === undefined) return null;
  if (path.type === 'ReplaceFullPath') return { replace: 'full', path: path.replaceFullPath ?? '/' };
  return { replace: 'prefix', path: path.replacePrefixMatch ?? '/', matchedPrefix };
}

function redirectOf({ scheme, hostname, port, path, statusCode }: R.RequestRedirect, matchedPath: string): Redirect {
  return {
    scheme: scheme ?? null,
    hostname: hostname ?? null,
    port: port ?? null,
    path: pathChangeOf(path, matchedPath),
    status: statusCode ?? 302,
  };
}

function fractionOf({ percent, fraction }: R.RequestMirror): number {
  if (percent !== undefined) return percent / 100;
  return fraction === undefined ? 1 : fraction.numerator / (fraction.denominator ?? 100);
}

/** What a route says of others is asked again with every change of anything. */
const backendKeys = new WeakMap<R.HTTPRoute, readonly string[]>();

/** `NAMESPACE/NAME` of everything that a route sends requests to, each once. */
export function missingBackendsOf(
  route: R.HTTPRoute,
  { hasService }: Pick<Surroundings, 'hasService'>,
): readonly string[] {
  const keys = backendKeysOf(route);
  return keys.every(hasService) ? none : keys.filter((backend) => !hasService(backend));
}

const none: readonly string[] = [];

function backendKeysOf(route: R.HTTPRoute): readonly string[] {
  const known = backendKeys.get(route);
  if (known !== undefined) return known;
  const namespace = namespaceOf(route);
  const keys = new Set<string>();
  const add = (ref: ServiceRef) => keys.add(`${ref.namespace ?? namespace}/${ref.name}`);
  for (const { backendRefs = [], filters = [] } of route.spec.rules ?? []) {
    for (const ref of backendRefs) add(ref);
    for (const { requestMirror } of filters) if (requestMirror !== undefined) add(requestMirror.backendRef);
  }
  const list = [...keys];
  backendKeys.set(route, list);
  return list;
}

// --- Precedence (Gateway API, HTTPRouteRule.matches) -----------------------------------------------------------------------------

const pathRank = { exact: 0, pattern: 1, prefix: 2 } as const;

/** Between equals the order in which they were added decides: older route, name, rule. */
export function byPrecedence(a: UnitMatch, b: UnitMatch): number {
  return (
    pathRank[a.path.kind] - pathRank[b.path.kind] ||
    b.path.value.length - a.path.value.length ||
    Number(b.method !== null) - Number(a.method !== null) ||
    b.headers.length - a.headers.length ||
    b.query.length - a.query.length
  );
}
