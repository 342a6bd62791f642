/**
 * The stored objects with who refers to whom, kept up to date change by change: which unit a host leads to, and which objects a
 * request for a unit can need. The cost of a change is what it refers to, never the size of the mesh.
 */
import { createHash } from 'node:crypto';
import { type TrustBundle, trustBundleKey } from '../model/identity.ts';
import { isObjectKey, namespaceOf, type ObjectKey, type Resource } from '../model/resources.ts';
import { qualifiedSuffixes } from '../model/service-names.ts';
import type { ConfigKey, UnitName } from '../model/snapshot.ts';
import { encodeChange } from '../wire/resource-codec.ts';
import { MultiMap } from './multi-map.ts';
import { endpointSetKey } from './registered-endpoints.ts';
import type { PublishedObject, Touched } from './scope.ts';

/** A stored object as it is now; null: deleted. `text` is what the store holds. */
export interface StoredChange {
  readonly key: ConfigKey;
  readonly text: string | null;
  readonly revision: number;
}

interface Entry extends PublishedObject {
  readonly references: References;
}

/** What an object says about others. */
interface References {
  /** Units that it belongs to: the Service itself, a route's parents, a policy's targets. */
  readonly units: readonly UnitName[];
  /** Routes that a policy targets. */
  readonly routes: readonly ConfigKey[];
  /** Names by which it can be called: a Service's own, a route's hostnames. */
  readonly hosts: readonly string[];
  /** Units that a route sends requests to. */
  readonly backends: readonly UnitName[];
}

export class ConfigIndex {
  readonly #entries = new Map<ConfigKey, Entry>();
  /** Objects by the unit, and policies by the route, that they belong to. */
  readonly #ofUnit = new MultiMap<UnitName, ConfigKey>();
  readonly #ofRoute = new MultiMap<ConfigKey, ConfigKey>();
  /** Routes by the hostname that they claim. */
  readonly #claims = new MultiMap<string, ConfigKey>();

  /** Takes the objects as they are now. Answers what that may concern. */
  apply(changes: Iterable<StoredChange>): Touched {
    const units = new Set<UnitName>();
    const hosts = new Set<string>();
    let isForAll = false;
    for (const { key, text, revision } of changes) {
      if (key === trustBundleKey) isForAll = true;
      // What else the control plane stores for itself, such as its API tokens, is for no sidecar.
      else if (!isObjectKey(key)) continue;
      const before = this.#entries.get(key);
      if (before !== undefined) {
        this.#touch(before.references, units, hosts);
        this.#remove(key, before.references);
      }
      if (text === null) continue;
      const after = entryOf(key, text, revision);
      this.#add(key, after);
      this.#touch(after.references, units, hosts);
    }
    return { units, hosts, isForAll };
  }

  published(key: ConfigKey): PublishedObject | null {
    return this.#entries.get(key) ?? null;
  }

  /**
   * The unit that a host leads to, by the names that build-snapshot.ts gives to units: a Service by `NAME.NAMESPACE`, with `.svc` or
   * `.svc.cluster.local` after it, or by NAME in its own namespace; then a hostname that a route claims, exactly before `*.` with the
   * longest suffix. Null: there is none.
   */
  resolve(host: string, namespace: string): UnitName | null {
    for (const suffix of qualifiedSuffixes) {
      const unit = host.slice(0, host.length - suffix.length);
      if (host.endsWith(suffix) && this.#hasService(unit)) return unit;
    }
    if (!host.includes('.') && this.#hasService(`${host}.${namespace}`)) return `${host}.${namespace}`;
    for (const name of [host, ...wildcardsAbove(host)]) {
      const unit = this.#claimantOf(name);
      if (unit !== null) return unit;
    }
    return null;
  }

  /** See ScopeSource. A unit that does not exist is added all the same: its creation then concerns the scope. */
  collectReach(root: UnitName, units: Set<UnitName>, keys: Set<ConfigKey>): void {
    const open = [root];
    for (let unit = open.pop(); unit !== undefined; unit = open.pop()) {
      if (units.has(unit)) continue;
      units.add(unit);
      const { service, namespace } = splitUnit(unit);
      keys.add(endpointSetKey(namespace, service));
      for (const key of this.#ofUnit.get(unit)) {
        keys.add(key);
        for (const policy of this.#ofRoute.get(key)) keys.add(policy);
        const { backends, hosts } = this.#entries.get(key)!.references;
        open.push(...backends);
        for (const host of hosts) if (host.startsWith('*.')) open.push(...this.#claimantsBelow(host.slice(1)));
      }
    }
  }

  #add(key: ConfigKey, entry: Entry): void {
    this.#entries.set(key, entry);
    for (const unit of entry.references.units) this.#ofUnit.add(unit, key);
    for (const route of entry.references.routes) this.#ofRoute.add(route, key);
    if (key.startsWith('HTTPRoute/')) for (const host of entry.references.hosts) this.#claims.add(host, key);
  }

  #remove(key: ConfigKey, { units, routes, hosts }: References): void {
    this.#entries.delete(key);
    for (const unit of units) this.#ofUnit.remove(unit, key);
    for (const route of routes) this.#ofRoute.remove(route, key);
    for (const host of hosts) this.#claims.remove(host, key);
  }

  #touch(references: References, units: Set<UnitName>, hosts: Set<string>): void {
    for (const unit of references.units) units.add(unit);
    for (const route of references.routes)
      for (const unit of this.#entries.get(route)?.references.units ?? []) units.add(unit);
    for (const host of references.hosts) {
      hosts.add(host);
      // Who has the Service of a wildcard must learn that a name below it now leads elsewhere: see #claimantsBelow.
      for (const wildcard of wildcardsAbove(host)) {
        for (const route of this.#claims.get(wildcard))
          for (const unit of this.#entries.get(route)!.references.units) units.add(unit);
      }
    }
  }

  #hasService(unit: UnitName): boolean {
    const { service, namespace } = splitUnit(unit);
    return this.#entries.has(`Service/${namespace}/${service}`);
  }

  #claimantOf(hostname: string): UnitName | null {
    for (const route of this.#claims.get(hostname))
      for (const unit of this.#entries.get(route)!.references.units) if (this.#hasService(unit)) return unit;
    return null;
  }

  /**
   * Units that claim a name below a wildcard. A sidecar that has the wildcard's Service must have them too, or it would take their
   * names for the wildcard's without asking. Looks at all claims: wildcards are few.
   */
  #claimantsBelow(suffix: string): readonly UnitName[] {
    const units: UnitName[] = [];
    for (const [hostname, routes] of this.#claims.entries()) {
      if (!hostname.endsWith(suffix)) continue;
      for (const route of routes) units.push(...this.#entries.get(route)!.references.units);
    }
    return units;
  }
}

/** `*.b.c` and `*.c` for `a.b.c`, longest first; above `*.b.c` is `*.c`. */
function wildcardsAbove(host: string): readonly string[] {
  const labels = (host.startsWith('*.') ? host.slice(2) : host).split('.');
  return labels.slice(1).map((_, index) => `*.${labels.slice(index + 1).join('.')}`);
}

function entryOf(key: ConfigKey, text: string, revision: number): Entry {
  const object = JSON.parse(text) as Resource | TrustBundle;
  // The hash tells apart two stores that both came to this revision, such as one before and one after its directory was emptied.
  const version = `${revision}.${createHash('sha256').update(text).digest('base64url').slice(0, 11)}`;
  let encoded: Uint8Array | null = null;
  return {
    version,
    references: referencesOf(object),
    encode() {
      encoded ??= encodeChange({ key, version, object });
      return encoded;
    },
  };
}

const noReferences: References = { units: [], routes: [], hosts: [], backends: [] };

function referencesOf(object: Resource | TrustBundle): References {
  if (object.kind === 'TrustBundle') return noReferences;
  const namespace = namespaceOf(object);
  const { name } = object.metadata;
  const unitOf = (ref: { readonly name: string; readonly namespace?: string }): UnitName =>
    `${ref.name}.${ref.namespace ?? namespace}`;
  switch (object.kind) {
    case 'Service': {
      const unit = `${name}.${namespace}`;
      return {
        units: [unit],
        routes: [],
        hosts: [name, ...qualifiedSuffixes.map((suffix) => unit + suffix)],
        backends: [],
      };
    }
    case 'HTTPRoute': {
      const backends = (object.spec.rules ?? []).flatMap(({ backendRefs, filters }) => [
        ...(backendRefs ?? []).flatMap((ref) => [ref, ...mirrorsOf(ref.filters)]),
        ...mirrorsOf(filters),
      ]);
      return {
        units: object.spec.parentRefs.map(unitOf),
        routes: [],
        hosts: object.spec.hostnames ?? [],
        backends: backends.map(unitOf),
      };
    }
    case 'TrafficPolicy': {
      const of = (kind: string) => object.spec.targetRefs.filter((ref) => ref.kind === kind);
      const routes = of('HTTPRoute').map((ref): ObjectKey => `HTTPRoute/${namespace}/${ref.name}`);
      return { units: of('Service').map(unitOf), routes, hosts: [], backends: [] };
    }
    default:
      return object satisfies never;
  }
}

type Filters = NonNullable<NonNullable<Extract<Resource, { kind: 'HTTPRoute' }>['spec']['rules']>[number]['filters']>;
const mirrorsOf = (filters: Filters | undefined) =>
  (filters ?? []).flatMap(({ requestMirror }) => (requestMirror ? [requestMirror.backendRef] : []));

/** `cart.default`: a Service's name has no dot. */
function splitUnit(unit: UnitName): { service: string; namespace: string } {
  const dot = unit.indexOf('.');
  return { service: unit.slice(0, dot), namespace: unit.slice(dot + 1) };
}
