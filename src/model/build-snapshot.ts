/**
 * Joins resources and registered endpoints into a snapshot: one unit per Service, defaults filled in, matches in order of precedence.
 * References that lead nowhere become null, because a sidecar holds only what it calls; whether they may is checked before a commit
 * (references.ts).
 */

import { inBytes } from './byte-size.ts';
import { parseDuration } from './duration.ts';
import { splitAddress } from './host-port.ts';
import { identityPath } from './identity.ts';
import { limits } from './limits.ts';
import { normalMatchPath } from './match-path.ts';
import type { EndpointSet } from './registration.ts';
import type * as R from './resources.ts';
import { namespaceOf } from './resources.ts';
import { qualifiedNames } from './service-names.ts';
import type {
  ConfigObject,
  HashSource,
  HeaderChange,
  PathChange,
  Redirect,
  ServiceUnit,
  Snapshot,
  Timeouts,
  UnitAction,
  UnitBackend,
  UnitBalancer,
  UnitEndpoint,
  UnitLimits,
  UnitMatch,
  UnitMirror,
  UnitName,
  ValueTest,
} from './snapshot.ts';

export interface SnapshotInput {
  readonly objects: Iterable<ConfigObject>;
  readonly revision: number;
  /** Of the sidecar: a Service there is also called by its short name. */
  readonly namespace: string;
  /** Units whose objects are the same ones as then are taken over as they are. */
  readonly previous: Snapshot | null;
}

export function buildSnapshot({ objects, revision, namespace, previous }: SnapshotInput): Snapshot {
  const world = new World(objects);
  const units = new Map<UnitName, ServiceUnit>();
  for (const service of world.services.values()) {
    const sources = world.sourcesOf(service, namespace);
    const before = previous?.units.get(sources.name);
    units.set(
      sources.name,
      before !== undefined && madeFrom(before, sources.parts) ? before : buildUnit(sources, world),
    );
  }
  return { revision, units };
}

/** What each unit was made from, so that a later snapshot can tell whether to make it again. */
const partsOf = new WeakMap<ServiceUnit, readonly unknown[]>();

function madeFrom(unit: ServiceUnit, parts: readonly unknown[]): boolean {
  const before = partsOf.get(unit);
  return before !== undefined && before.length === parts.length && before.every((part, i) => part === parts[i]);
}

interface UnitSources {
  readonly name: UnitName;
  readonly namespace: string;
  readonly service: R.Service;
  readonly registered: EndpointSet | undefined;
  /** Oldest first, then by name (Gateway API: precedence between routes). */
  readonly routes: readonly R.HTTPRoute[];
  /** Everything above and what else the unit depends on, to be compared by identity. */
  readonly parts: readonly unknown[];
}

/** All objects, by how they refer to each other. `NAMESPACE/NAME` is the key throughout. */
class World {
  readonly services = new Map<string, R.Service>();
  private readonly registered = new Map<string, EndpointSet>();
  private readonly routesByParent = new Map<string, R.HTTPRoute[]>();
  /** By `KIND/NAMESPACE/NAME` of the target. */
  private readonly policies = new Map<string, R.TrafficPolicy[]>();

  constructor(objects: Iterable<ConfigObject>) {
    for (const object of objects) {
      switch (object.kind) {
        case 'Service':
          this.services.set(`${namespaceOf(object)}/${object.metadata.name}`, object);
          break;
        case 'EndpointSet':
          this.registered.set(`${object.namespace}/${object.service}`, object);
          break;
        case 'HTTPRoute':
          for (const parent of new Set(
            object.spec.parentRefs.map((ref) => `${ref.namespace ?? namespaceOf(object)}/${ref.name}`),
          ))
            addTo(this.routesByParent, parent, object);
          break;
        case 'TrafficPolicy':
          for (const { kind, name } of object.spec.targetRefs)
            addTo(this.policies, `${kind}/${namespaceOf(object)}/${name}`, object);
          break;
        case 'TrustBundle':
          break;
        default:
          object satisfies never;
      }
    }
    for (const routes of this.routesByParent.values()) routes.sort(byAge);
    for (const policies of this.policies.values())
      policies.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  sourcesOf(service: R.Service, ownNamespace: string): UnitSources {
    const namespace = namespaceOf(service);
    const key = `${namespace}/${service.metadata.name}`;
    const registered = this.registered.get(key);
    const routes = this.routesByParent.get(key) ?? [];
    const policies = [...this.policiesOn(service), ...routes.flatMap((route) => this.policiesOn(route))];
    // Whether the backends exist is all that a unit takes from other Services.
    const missing = routes
      .flatMap((route) => backendKeysOf(route).filter((backend) => !this.services.has(backend)))
      .join(' ');
    const parts = [service, registered, namespace === ownNamespace, missing, ...routes, ...policies];
    return { name: `${service.metadata.name}.${namespace}`, namespace, service, registered, routes, parts };
  }

  policiesOn(target: R.Service | R.HTTPRoute): readonly R.TrafficPolicy[] {
    return this.policies.get(`${target.kind}/${namespaceOf(target)}/${target.metadata.name}`) ?? [];
  }

  /** The first that says something about this; at most one does (references.ts). */
  timeoutOn(target: R.Service | R.HTTPRoute, field: 'request' | 'backendRequest' | 'idle'): string | undefined {
    for (const { spec } of this.policiesOn(target))
      if (spec.timeouts?.[field] !== undefined) return spec.timeouts[field];
    return undefined;
  }

  unitOf(ref: { readonly name: string; readonly namespace?: string }, from: string): UnitName | null {
    const namespace = ref.namespace ?? from;
    return this.services.has(`${namespace}/${ref.name}`) ? `${ref.name}.${namespace}` : null;
  }
}

function buildUnit({ name, namespace, service, registered, routes, parts }: UnitSources, world: World): ServiceUnit {
  const { spec, metadata } = service;
  const actions: UnitAction[] = [];
  const matches: UnitMatch[] = [];
  for (const route of routes) addRoute(route, service, world, actions, matches);
  const unit: ServiceUnit = {
    name,
    service: metadata.name,
    namespace,
    port: spec.port ?? 80,
    hosts: hostsOf(metadata.name, namespace, parts[2] === true, routes),
    endpoints: joinEndpoints(spec.endpoints ?? [], registered, identityPath(namespace, metadata.name)),
    balancer: balancerOf(spec.loadBalancer),
    timeouts: timeoutsOf({}, null, service, world),
    limits: limitsOf(spec.limits ?? {}),
    // Stable: routes, rules and matches were added in their own order of precedence, which decides between equals.
    matches: matches.sort(byPrecedence),
    actions,
  };
  partsOf.set(unit, parts);
  return unit;
}

function hostsOf(name: string, namespace: string, isOwnNamespace: boolean, routes: readonly R.HTTPRoute[]): string[] {
  const hosts = new Set(qualifiedNames(name, namespace));
  if (isOwnNamespace) hosts.add(name);
  const claimed = routes.flatMap((route) => route.spec.hostnames ?? []);
  for (const host of claimed) if (!host.startsWith('*.')) hosts.add(host);
  for (const host of claimed) if (host.startsWith('*.')) hosts.add(host);
  return [...hosts];
}

/**
 * Written and registered endpoints, one for each address: the registration adds what the sidecar knows of itself. Who registers is the
 * Service (its lease is for it), so only a written endpoint can have another identity than the Service's own.
 */
function joinEndpoints(
  written: NonNullable<R.Service['spec']['endpoints']>,
  registered: EndpointSet | undefined,
  ownIdentity: string,
): UnitEndpoint[] {
  const byAddress = new Map<string, UnitEndpoint>();
  for (const endpoint of written) {
    const {
      address,
      weight = 1,
      zone = '',
      labels = {},
      link = [],
      identity = ownIdentity,
    }: R.EndpointObject = typeof endpoint === 'string' ? { address: endpoint } : endpoint;
    const links = typeof link === 'string' ? [link] : link;
    const facts = { weight, zone, labels, hasSidecar: links.length > 0, link: links, identity };
    byAddress.set(address, { address, ...splitAddress(address), ...facts });
  }
  for (const { address, weight, zone, labels, link } of registered?.endpoints ?? []) {
    const before = byAddress.get(address);
    byAddress.set(address, {
      address,
      ...splitAddress(address),
      weight: before?.weight ?? weight,
      zone: zone === '' ? (before?.zone ?? '') : zone,
      labels: { ...before?.labels, ...labels },
      hasSidecar: true,
      link: before === undefined ? link : [...new Set([...before.link, ...link])],
      identity: before?.identity ?? ownIdentity,
    });
  }
  return [...byAddress.values()];
}

function balancerOf(spec: R.LoadBalancer | undefined): UnitBalancer {
  return {
    policy: spec?.policy ?? 'LeastRequest',
    hashOn: (spec?.hashOn ?? []).map(hashSourceOf),
    boundedLoadPercent: spec?.boundedLoadPercent ?? 0,
    ringEntries: spec?.ringEntries ?? limits.ringEntriesMin,
    decayMs: parseDuration(spec?.decay ?? '10s'),
  };
}

/** Null where none is set, so that requests to such a Service are not looked at for it. */
function limitsOf(spec: R.ServiceLimits): UnitLimits | null {
  if (Object.keys(spec).length === 0) return null;
  const none = { requestBodyBytes: 0, requestHeadBytes: 0, requestHeadFields: 0, targetBytes: 0, responseHeadBytes: 0 };
  return { ...none, ...inBytes(spec) };
}

function hashSourceOf(on: R.HashOn): HashSource {
  if (on.header !== undefined) return { from: 'header', name: on.header.toLowerCase() };
  if (on.cookie !== undefined) return { from: 'cookie', name: on.cookie };
  if (on.query !== undefined) return { from: 'query', name: on.query };
  if (on.pathSegment !== undefined) return { from: 'path-segment', index: on.pathSegment };
  return { from: 'source-address' };
}

/** Per field: the rule's own, then a policy on the route, then one on the Service, then the default. */
function timeoutsOf(
  own: NonNullable<R.RouteRule['timeouts']>,
  route: R.HTTPRoute | null,
  service: R.Service,
  world: World,
): Timeouts {
  const effective = (field: 'request' | 'backendRequest' | 'idle', fallbackMs: number) => {
    const text =
      (field === 'idle' ? undefined : own[field]) ??
      (route === null ? undefined : world.timeoutOn(route, field)) ??
      world.timeoutOn(service, field);
    return text === undefined ? fallbackMs : parseDuration(text);
  };
  return {
    requestMs: effective('request', 0),
    perTryMs: effective('backendRequest', 0),
    idleMs: effective('idle', limits.idleTimeoutMs),
  };
}

// --- Routes ----------------------------------------------------------------------------------------------------------------------

function addRoute(
  route: R.HTTPRoute,
  service: R.Service,
  world: World,
  actions: UnitAction[],
  matches: UnitMatch[],
): void {
  const namespace = namespaceOf(route);
  (route.spec.rules ?? [{}]).forEach((rule, ruleIndex) => {
    const label = `${namespace}/${route.metadata.name}/${rule.name ?? ruleIndex}`;
    const timeouts = timeoutsOf(rule.timeouts ?? {}, route, service, world);
    const replacesPrefix =
      rule.filters?.some(
        (filter) => (filter.urlRewrite ?? filter.requestRedirect)?.path?.type === 'ReplacePrefixMatch',
      ) ?? false;
    let shared = -1;
    for (const match of rule.matches?.length ? rule.matches : [{}]) {
      const path = pathOf(match.path);
      if (shared === -1 || replacesPrefix) {
        shared = actions.length;
        actions.push(buildAction(rule, label, path.value, timeouts, namespace, world));
      }
      matches.push({
        path,
        method: match.method ?? null,
        headers: (match.headers ?? []).map(headerTest),
        query: (match.queryParams ?? []).map(valueTest),
        action: shared,
      });
    }
  });
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
  world: World,
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
      mirrors.push({ unit: world.unitOf(requestMirror.backendRef, namespace), fraction: fractionOf(requestMirror) });
  }
  const backends = (rule.backendRefs ?? []).map((ref): UnitBackend => {
    const { requestHeaders, responseHeaders } = headerChanges(ref.filters);
    return {
      unit: world.unitOf(ref, namespace),
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

/** `NAMESPACE/NAME` of everything that a route sends requests to. */
function backendKeysOf(route: R.HTTPRoute): string[] {
  const namespace = namespaceOf(route);
  const key = (ref: { readonly name: string; readonly namespace?: string }) =>
    `${ref.namespace ?? namespace}/${ref.name}`;
  return (route.spec.rules ?? []).flatMap(({ backendRefs = [], filters = [] }) => [
    ...backendRefs.map(key),
    ...filters.flatMap(({ requestMirror }) => (requestMirror === undefined ? [] : [key(requestMirror.backendRef)])),
  ]);
}

// --- Precedence (Gateway API, HTTPRouteRule.matches) -----------------------------------------------------------------------------

const pathRank = { exact: 0, pattern: 1, prefix: 2 } as const;

function byPrecedence(a: UnitMatch, b: UnitMatch): number {
  return (
    pathRank[a.path.kind] - pathRank[b.path.kind] ||
    b.path.value.length - a.path.value.length ||
    Number(b.method !== null) - Number(a.method !== null) ||
    b.headers.length - a.headers.length ||
    b.query.length - a.query.length
  );
}

function byAge(a: R.HTTPRoute, b: R.HTTPRoute): number {
  const ages = [a, b].map(createdAtMs) as [number, number];
  if (ages[0] !== ages[1]) return ages[0] - ages[1];
  const names = [a, b].map((route) => `${namespaceOf(route)}/${route.metadata.name}`) as [string, string];
  return names[0] < names[1] ? -1 : 1;
}

/** Compared as times: RFC 3339 writes one moment in many ways. Without one (a file): as old as can be, so that the name decides. */
const createdAtMs = ({ metadata }: R.HTTPRoute): number => Date.parse(metadata.creationTimestamp ?? '') || 0;

function addTo<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
