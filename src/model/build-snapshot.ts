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
import type { EndpointSet } from './registration.ts';
import type * as R from './resources.ts';
import { namespaceOf } from './resources.ts';
import { addRoute, byPrecedence, missingBackendsOf, type Surroundings } from './route-rules.ts';
import { qualifiedNames } from './service-names.ts';
import type {
  ConfigObject,
  HashSource,
  ServiceUnit,
  Snapshot,
  Timeouts,
  UnitAction,
  UnitBalancer,
  UnitEndpoint,
  UnitLimits,
  UnitMatch,
  UnitName,
} from './snapshot.ts';
import { finish, type Steps, sorted } from './steps.ts';

export interface SnapshotInput {
  readonly objects: Iterable<ConfigObject>;
  readonly revision: number;
  /** Of the sidecar: a Service there is also called by its short name. */
  readonly namespace: string;
  /** Units whose objects are the same ones as then are taken over as they are. */
  readonly previous: Snapshot | null;
}

export const buildSnapshot = (input: SnapshotInput): Snapshot => finish(snapshotSteps(input));

/** The same a step at a time. What the objects say must not change meanwhile. */
export function* snapshotSteps({ objects, revision, namespace, previous }: SnapshotInput): Steps<Snapshot> {
  const world = yield* World.of(objects);
  const units = new Map<UnitName, ServiceUnit>();
  for (const service of world.services.values()) {
    const sources = yield* world.sourcesOf(service, namespace);
    const before = previous?.units.get(sources.name);
    const isSame = before !== undefined && madeFrom(before, sources.parts);
    units.set(sources.name, isSame ? before : yield* buildUnit(sources, world));
  }
  return { revision, units };
}

/** Objects, or endpoints, that are looked at without a chance to interrupt: some ten microseconds. */
const objectsPerStep = 16;

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

const noPolicies: readonly R.TrafficPolicy[] = [];

/** All objects, by how they refer to each other. `NAMESPACE/NAME` is the key throughout. */
class World {
  readonly services = new Map<string, R.Service>();
  private readonly registered = new Map<string, EndpointSet>();
  private readonly routesByParent = new Map<string, R.HTTPRoute[]>();
  /** By `KIND/NAMESPACE/NAME` of the target. */
  private readonly policies = new Map<string, R.TrafficPolicy[]>();

  static *of(objects: Iterable<ConfigObject>): Steps<World> {
    const world = new World();
    let added = 0;
    for (const object of objects) {
      world.add(object);
      if (++added % objectsPerStep === 0) yield;
    }
    for (const [parent, routes] of world.routesByParent) world.routesByParent.set(parent, yield* sortedByAge(routes));
    for (const policies of world.policies.values())
      policies.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    return world;
  }

  private add(object: ConfigObject): void {
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

  *sourcesOf(service: R.Service, ownNamespace: string): Steps<UnitSources> {
    const namespace = namespaceOf(service);
    const key = `${namespace}/${service.metadata.name}`;
    const registered = this.registered.get(key);
    const routes = this.routesByParent.get(key) ?? [];
    const policies = [...this.policiesOn(service)];
    // Whether the backends exist is all that a unit takes from other Services.
    const around = this.around(service);
    const missing: string[] = [];
    for (const [i, route] of routes.entries()) {
      for (const policy of this.policiesOn(route)) policies.push(policy);
      for (const backend of missingBackendsOf(route, around)) missing.push(backend);
      if (i % objectsPerStep === 0) yield;
    }
    const parts = [service, registered, namespace === ownNamespace, missing.join(' '), ...routes, ...policies];
    return { name: `${service.metadata.name}.${namespace}`, namespace, service, registered, routes, parts };
  }

  policiesOn(target: R.Service | R.HTTPRoute): readonly R.TrafficPolicy[] {
    if (this.policies.size === 0) return noPolicies;
    return this.policies.get(`${target.kind}/${namespaceOf(target)}/${target.metadata.name}`) ?? noPolicies;
  }

  /** The first that says something about this; at most one does (references.ts). */
  timeoutOn(target: R.Service | R.HTTPRoute, field: 'request' | 'backendRequest' | 'idle'): string | undefined {
    for (const { spec } of this.policiesOn(target))
      if (spec.timeouts?.[field] !== undefined) return spec.timeouts[field];
    return undefined;
  }

  around(service: R.Service): Surroundings {
    return {
      service: `${namespaceOf(service)}/${service.metadata.name}`,
      policies: this.policiesOn(service),
      policiesOn: (route) => this.policiesOn(route),
      timeoutsOf: (own, route) => timeoutsOf(own, route, service, this),
      unitOf: (ref, from) => this.unitOf(ref, from),
      hasService: (key) => this.services.has(key),
    };
  }

  private unitOf(ref: { readonly name: string; readonly namespace?: string }, from: string): UnitName | null {
    const namespace = ref.namespace ?? from;
    return this.services.has(`${namespace}/${ref.name}`) ? `${ref.name}.${namespace}` : null;
  }
}

function* buildUnit(sources: UnitSources, world: World): Steps<ServiceUnit> {
  const { name, namespace, service, registered, routes, parts } = sources;
  const { spec, metadata } = service;
  const actions: UnitAction[] = [];
  const matches: UnitMatch[] = [];
  const around = world.around(service);
  for (const route of routes) {
    yield* addRoute(route, around, actions, matches);
    yield;
  }
  const unit: ServiceUnit = {
    name,
    service: metadata.name,
    namespace,
    port: spec.port ?? 80,
    hosts: hostsOf(metadata.name, namespace, parts[2] === true, routes),
    endpoints: yield* joinEndpoints(spec.endpoints ?? [], registered, identityPath(namespace, metadata.name)),
    balancer: balancerOf(spec.loadBalancer),
    timeouts: timeoutsOf({}, null, service, world),
    limits: limitsOf(spec.limits ?? {}),
    pipelinedDepth: spec.pipelining === undefined ? 1 : (spec.pipelining.maxRequests ?? limits.pipelinedDepth),
    // Stable: routes, rules and matches were added in their own order of precedence, which decides between equals.
    matches: yield* sorted(matches, byPrecedence),
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

/** An endpoint as a Service may say it, with what holds for what it does not say. */
export function writtenEndpoint(endpoint: NonNullable<R.Service['spec']['endpoints']>[number]) {
  const said: R.EndpointObject = typeof endpoint === 'string' ? { address: endpoint } : endpoint;
  const { address, weight = 1, zone = '', labels = {}, link = [], identity } = said;
  return { address, weight, zone, labels, link: typeof link === 'string' ? [link] : link, identity };
}

/**
 * Written and registered endpoints, one for each address: the registration adds what the sidecar knows of itself. Who registers is the
 * Service (its lease is for it), so only a written endpoint can have another identity than the Service's own.
 */
function* joinEndpoints(
  written: NonNullable<R.Service['spec']['endpoints']>,
  registered: EndpointSet | undefined,
  ownIdentity: string,
): Steps<UnitEndpoint[]> {
  const byAddress = new Map<string, UnitEndpoint>();
  let joined = 0;
  for (const endpoint of written) {
    const { address, link, identity = ownIdentity, ...facts } = writtenEndpoint(endpoint);
    const links = { hasSidecar: link.length > 0, link, identity };
    byAddress.set(address, { address, ...splitAddress(address), ...facts, ...links });
    if (++joined % objectsPerStep === 0) yield;
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
    if (++joined % objectsPerStep === 0) yield;
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

function* sortedByAge(routes: readonly R.HTTPRoute[]): Steps<R.HTTPRoute[]> {
  const aged: { readonly route: R.HTTPRoute; readonly createdAtMs: number; readonly name: string }[] = [];
  for (const route of routes) {
    const name = `${namespaceOf(route)}/${route.metadata.name}`;
    aged.push({ route, createdAtMs: createdAtMs(route), name });
    if (aged.length % objectsPerStep === 0) yield;
  }
  const inOrder = yield* sorted(aged, (a, b) => a.createdAtMs - b.createdAtMs || (a.name < b.name ? -1 : 1));
  return inOrder.map(({ route }) => route);
}

/** Compared as times: RFC 3339 writes one moment in many ways. Without one (a file): as old as can be, so that the name decides. */
const createdAtMs = ({ metadata }: R.HTTPRoute): number => Date.parse(metadata.creationTimestamp ?? '') || 0;

function addTo<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
