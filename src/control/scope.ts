/**
 * The scopes: what the sidecars of one Service with the same subscriptions are to have. A scope is computed once for all of them,
 * and computed again only when something that it reaches has changed: the indexes here lead from a changed unit or host to the
 * scopes concerned, so that a change costs nothing to the others. The trust bundle is in every scope.
 */
import { trustBundleKey } from '../model/identity.ts';
import type { ConfigKey, UnitName } from '../model/snapshot.ts';
import { encodeChangeSet } from '../wire/control-frame.ts';
import { encodeChange } from '../wire/resource-codec.ts';
import { MultiMap } from './multi-map.ts';

/** One version of one object, ready to be sent. */
export interface PublishedObject {
  readonly version: string;
  /** The encoded Change: encoded once, kept. */
  encode(): Uint8Array;
}

/** What a sidecar has: as it says in its Hello, or a view that it has acknowledged. */
export interface Held {
  readonly objects: ReadonlyMap<ConfigKey, { readonly version: string }>;
  readonly hosts: ReadonlyMap<string, UnitName | ''>;
  /** Several sidecars hold this very object, so that a ChangeSet from it is worth keeping. */
  readonly isShared: boolean;
}

/** What every sidecar of a scope is to have. Never changes: a scope gets a new view. */
export interface View extends Held {
  readonly objects: ReadonlyMap<ConfigKey, PublishedObject>;
  /** Store revision that it was computed at. */
  readonly revision: number;
  /** When the first change came that made it another one than the view before; of a scope's first view, null. */
  readonly touchedAtMs: number | null;
  readonly epoch: Epoch;
  /** ChangeSets that lead here, by what they build on. Emptied when a newer view takes over. */
  readonly encodings: Map<Held, Uint8Array>;
  /** What a sidecar has that comes back with all objects of this view: it still needs the answers for its hosts. */
  readonly resumed: Held;
}

/** The time in which no revision concerned a scope. Who has a view of it has everything up to `nextChangeAt - 1`. */
export interface Epoch {
  /** The first revision afterwards that concerned the scope; infinity while there is none. */
  nextChangeAt: number;
}

/** Where the views are computed from. */
export interface ScopeSource {
  /** Store revision that everything here is at. */
  readonly revision: number;
  resolve(host: string, namespace: string): UnitName | null;
  /** Adds to `units` and `keys` what a request for the unit can need: itself, its routes, and what their backends reach. */
  collectReach(unit: UnitName, units: Set<UnitName>, keys: Set<ConfigKey>): void;
  published(key: ConfigKey): PublishedObject | null;
}

/** What a change may concern. */
export interface Touched {
  readonly units: Iterable<UnitName>;
  /** Host names, `*.` in front for all below. */
  readonly hosts: Iterable<string>;
  /** It concerns every sidecar, whatever it calls: the trust bundle. */
  readonly isForAll: boolean;
}

export interface Scope<Member> {
  readonly key: string;
  readonly namespace: string;
  /** The unit of the sidecars' own Service, which it always has. */
  readonly ownUnit: UnitName;
  readonly hosts: readonly string[];
  readonly members: Set<Member>;
  view: View;
  units: ReadonlySet<UnitName>;
  /** The first revision since the view was computed that may concern it; infinity: only endpoints did. Null: the view is current. */
  staleSince: number | null;
  /** When that was. */
  staleAtMs: number;
}

/** What every sidecar is to have. */
const keysForAll: readonly ConfigKey[] = [trustBundleKey];
const nothing: Held = { objects: new Map(), hosts: new Map(), isShared: true };

export class Scopes<Member> {
  readonly #source: ScopeSource;
  readonly #scopes = new Map<string, Scope<Member>>();
  readonly #byUnit = new MultiMap<UnitName, Scope<Member>>();
  readonly #byHost = new MultiMap<string, Scope<Member>>();

  constructor(source: ScopeSource) {
    this.#source = source;
  }

  get count(): number {
    return this.#scopes.size;
  }

  /** The scope of these subscriptions, made when it is the first. The caller adds itself to `members` at once. */
  of(service: string, namespace: string, hosts: Iterable<string>): Scope<Member> {
    const sorted = [...new Set(hosts)].sort();
    const key = [namespace, service, ...sorted].join('\n');
    return this.#scopes.get(key) ?? this.#open(key, `${service}.${namespace}`, namespace, sorted);
  }

  leave(member: Member, scope: Scope<Member>): void {
    scope.members.delete(member);
    if (scope.members.size > 0) return;
    this.#scopes.delete(scope.key);
    for (const unit of scope.units) this.#byUnit.remove(unit, scope);
    for (const host of scope.hosts) this.#byHost.remove(host, scope);
  }

  /** Marks the scopes that the change may concern, and answers them. `revision` is null when only endpoints changed. */
  touch({ units, hosts, isForAll }: Touched, revision: number | null, nowMs: number): ReadonlySet<Scope<Member>> {
    const touched = new Set<Scope<Member>>(isForAll ? this.#scopes.values() : []);
    for (const unit of units) addAll(touched, this.#byUnit.get(unit));
    for (const host of hosts) {
      if (host.startsWith('*.')) this.#addBelow(touched, host.slice(1));
      else addAll(touched, this.#byHost.get(host));
    }
    for (const scope of touched) {
      if (scope.staleSince === null) scope.staleAtMs = nowMs;
      scope.staleSince = Math.min(scope.staleSince ?? Number.POSITIVE_INFINITY, revision ?? Number.POSITIVE_INFINITY);
    }
    return touched;
  }

  /** Computes the view anew when something touched it. True: it is another one. */
  refresh(scope: Scope<Member>): boolean {
    if (scope.staleSince === null) return false;
    const { units, objects, hosts } = this.#compute(scope);
    const before = scope.view;
    const isSameEpoch = isSameExceptEndpoints(before, objects, hosts);
    if (!isSameEpoch) before.epoch.nextChangeAt = Math.min(scope.staleSince, this.#source.revision);
    scope.staleSince = null;
    this.#index(scope, units);
    if (isSameEpoch && isSame(before.objects, objects)) return false;
    before.encodings.clear();
    scope.view = this.#viewOf(objects, hosts, isSameEpoch ? before.epoch : newEpoch(), scope.staleAtMs);
    return true;
  }

  /** What a sidecar holds that says so in its Hello. Shared where it is what others hold too, so that encodings are. */
  heldBy(scope: Scope<Member>, versions: ReadonlyMap<ConfigKey, string>): Held {
    if (versions.size === 0) return nothing;
    const { view } = scope;
    if (versions.size === view.objects.size && [...versions].every(([k, v]) => view.objects.get(k)?.version === v))
      return view.resumed;
    const objects = new Map(Array.from(versions, ([key, version]) => [key, { version }]));
    return { objects, hosts: nothing.hosts, isShared: false };
  }

  #open(key: string, ownUnit: UnitName, namespace: string, hosts: readonly string[]): Scope<Member> {
    const draft = { key, ownUnit, namespace, hosts };
    const { units, objects, hosts: answers } = this.#compute(draft);
    const view = this.#viewOf(objects, answers, newEpoch(), null);
    const scope: Scope<Member> = {
      ...draft,
      ...{ members: new Set<Member>(), view, units: new Set<UnitName>(), staleSince: null, staleAtMs: 0 },
    };
    this.#scopes.set(key, scope);
    this.#index(scope, units);
    for (const host of hosts) this.#byHost.add(host, scope);
    return scope;
  }

  #viewOf(objects: View['objects'], hosts: View['hosts'], epoch: Epoch, touchedAtMs: number | null): View {
    const resumed = { objects, hosts: nothing.hosts, isShared: true };
    const { revision } = this.#source;
    return { objects, hosts, isShared: true, epoch, resumed, revision, touchedAtMs, encodings: new Map() };
  }

  #compute({ ownUnit, namespace, hosts }: Pick<Scope<Member>, 'ownUnit' | 'namespace' | 'hosts'>) {
    const units = new Set<UnitName>();
    const keys = new Set<ConfigKey>(keysForAll);
    const answers = new Map<string, UnitName | ''>();
    this.#source.collectReach(ownUnit, units, keys);
    for (const host of hosts) {
      const unit = this.#source.resolve(host, namespace);
      answers.set(host, unit ?? '');
      if (unit !== null) this.#source.collectReach(unit, units, keys);
    }
    const objects = new Map<ConfigKey, PublishedObject>();
    for (const key of keys) {
      const object = this.#source.published(key);
      if (object !== null) objects.set(key, object);
    }
    return { units, objects, hosts: answers };
  }

  #index(scope: Scope<Member>, units: ReadonlySet<UnitName>): void {
    for (const unit of scope.units) if (!units.has(unit)) this.#byUnit.remove(unit, scope);
    for (const unit of units) if (!scope.units.has(unit)) this.#byUnit.add(unit, scope);
    scope.units = units;
  }

  #addBelow(touched: Set<Scope<Member>>, suffix: string): void {
    for (const [host, scopes] of this.#byHost.entries()) if (host.endsWith(suffix)) addAll(touched, scopes);
  }
}

/** The ChangeSet that leads from what is held to the view. Encoded once for all that hold the same. */
export function changeSetTo(view: View, held: Held): Uint8Array {
  const known = view.encodings.get(held);
  if (known !== undefined) return known;
  const changes: Uint8Array[] = [];
  for (const [key, object] of view.objects)
    if (held.objects.get(key)?.version !== object.version) changes.push(object.encode());
  for (const key of held.objects.keys())
    if (!view.objects.has(key)) changes.push(encodeChange({ key, version: '', object: null }));
  const hosts = new Map([...view.hosts].filter(([host, unit]) => held.hosts.get(host) !== unit));
  const encoded = encodeChangeSet({ revision: view.revision, changes, hosts });
  if (held.isShared) view.encodings.set(held, encoded);
  return encoded;
}

/** The same objects, with the answers for these hosts to be given again. */
export function withoutAnswers({ objects, hosts }: Held, again: ReadonlySet<string>): Held {
  return { objects, hosts: new Map([...hosts].filter(([host]) => !again.has(host))), isShared: false };
}

const newEpoch = (): Epoch => ({ nextChangeAt: Number.POSITIVE_INFINITY });
const isEndpoints = (key: ConfigKey): boolean => key.startsWith('EndpointSet/');

/** Endpoints come and go without a revision: they make a new view, but no revision that a sidecar could lack. */
function isSameExceptEndpoints(before: View, objects: View['objects'], hosts: View['hosts']): boolean {
  for (const [host, unit] of hosts) if (before.hosts.get(host) !== unit) return false;
  for (const [key, { version }] of objects)
    if (!isEndpoints(key) && before.objects.get(key)?.version !== version) return false;
  for (const key of before.objects.keys()) if (!isEndpoints(key) && !objects.has(key)) return false;
  return true;
}

function isSame(a: Held['objects'], b: Held['objects']): boolean {
  if (a.size !== b.size) return false;
  for (const [key, { version }] of b) if (a.get(key)?.version !== version) return false;
  return true;
}

function addAll<T>(into: Set<T>, from: Iterable<T>): void {
  for (const member of from) into.add(member);
}
