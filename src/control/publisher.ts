/**
 * Sends every sidecar what its scope says it is to have: one ChangeSet at a time, the next when the last was acknowledged or
 * refused. What changes meanwhile is not queued: the next ChangeSet leads from what the sidecar holds to what is then current.
 */
import { limits } from '../model/limits.ts';
import type { SidecarLease } from '../model/registration.ts';
import type { ConfigKey, UnitName } from '../model/snapshot.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import { encodeControlFrame } from '../wire/control-frame.ts';
import { ConfigIndex } from './config-index.ts';
import type { ControlCounts } from './control-counts.ts';
import { Debounce } from './debounce.ts';
import { type Member, type PushConnection, revisionOf } from './fleet-member.ts';
import { PushFrames } from './push-frames.ts';
import { RegisteredEndpoints } from './registered-endpoints.ts';
import {
  changeSetTo,
  type PublishedObject,
  type Scope,
  type ScopeSource,
  Scopes,
  type Touched,
  type View,
  withoutAnswers,
} from './scope.ts';
import { similarService } from './service-founder.ts';
import type { Revision, Store, StoreClock } from './store/store.ts';

const noDelivery = { tag: 'none' } as const;

export interface PublisherOptions {
  readonly store: Store;
  readonly clock: StoreClock;
  readonly log: LimitedLog;
  readonly counts: ControlCounts;
  /** Called when a sidecar may have come further: it acknowledged, refused, or what changed turned out not to concern it. */
  readonly onProgress: (member: Member) => void;
}

export class Publisher implements ScopeSource {
  readonly #index = new ConfigIndex();
  readonly #endpoints = new RegisteredEndpoints();
  readonly #scopes = new Scopes<Member>(this);
  readonly #frames = new PushFrames();
  readonly #debounce: Debounce;
  readonly #store: Store;
  readonly #log: LimitedLog;
  readonly #clock: StoreClock;
  readonly #counts: ControlCounts;
  readonly #onProgress: (member: Member) => void;
  /** Scopes that a change touched and whose members have not been told yet. */
  #unpublished = new Set<Scope<Member>>();
  #revision: number;

  /** Starts with what the store holds. */
  constructor({ store, clock, log, counts, onProgress }: PublisherOptions) {
    this.#debounce = new Debounce(clock, () => this.#publish());
    this.#store = store;
    this.#log = log;
    this.#clock = clock;
    this.#counts = counts;
    this.#onProgress = onProgress;
    this.#revision = store.revision;
    this.#index.apply(Array.from(store.list(), ({ key, value, revision }) => ({ key, text: value, revision })));
  }

  /** Newest store revision that has been taken in. */
  get revision(): number {
    return this.#revision;
  }

  resolve(host: string, namespace: string): UnitName | null {
    return this.#index.resolve(host, namespace);
  }

  collectReach(unit: UnitName, units: Set<UnitName>, keys: Set<ConfigKey>): void {
    this.#index.collectReach(unit, units, keys);
  }

  published(key: ConfigKey): PublishedObject | null {
    return this.#index.published(key) ?? this.#endpoints.get(key);
  }

  /** The store committed a revision. */
  takeRevision({ revision, changes }: Revision): void {
    this.#revision = revision;
    const touched = this.#index.apply(changes.map(({ key, after }) => ({ key, text: after, revision })));
    this.#touch(touched, revision);
  }

  /** A lease was made, replaced or renewed, or ended (null): the endpoint that it registers comes, changes or goes. */
  takeLease(id: string, lease: SidecarLease | null): void {
    this.#touch({ units: this.#endpoints.put(id, lease), hosts: [], isForAll: false }, null);
  }

  /** A sidecar that was not known. */
  admit(id: string, lease: SidecarLease): Member {
    const scope = this.#scopeOf(lease);
    const member: Member = {
      id,
      lease,
      hasLease: false,
      connection: null,
      elsewhere: null,
      softwareVersion: '',
      hasOlderUwsCore: false,
      hasFounded: false,
      trouble: '',
      scope,
      held: this.#scopes.heldBy(scope, new Map()),
      asked: null,
      heldSequence: 0,
      sequence: 0,
      delivery: noDelivery,
      epoch: null,
      floorRevision: 0,
      behindSinceMs: null,
      seen: null,
    };
    scope.members.add(member);
    return member;
  }

  /** It is gone for good. */
  dismiss(member: Member): void {
    this.#scopes.leave(member, member.scope);
  }

  /** It connected and said what it holds. It always gets a first ChangeSet, which answers its hosts even when nothing else differs. */
  greet(member: Member, connection: PushConnection, held: ReadonlyMap<ConfigKey, string>): void {
    member.connection = connection;
    this.#scopes.refresh(member.scope);
    member.held = this.#scopes.heldBy(member.scope, held);
    member.asked = null;
    member.heldSequence = 0;
    member.sequence = 0;
    member.delivery = noDelivery;
    // What it has acknowledged before counts no longer: it may have been started again from an older state on its disk.
    member.epoch = null;
    member.floorRevision = 0;
    member.behindSinceMs = null;
    this.#send(member);
  }

  /** Its connection ended. A refusal stands; a ChangeSet on its way may or may not have arrived, which its next Hello will tell. */
  disconnect(member: Member): void {
    member.connection = null;
    if (member.delivery.tag === 'sent') member.delivery = noDelivery;
  }

  /** It asks what these hosts are, which the next ChangeSet must say even if it said so before. Comes before `rescope`. */
  ask(member: Member, hosts: readonly string[]): void {
    const { held, delivery } = member;
    const again = hosts.filter(
      (host) => held.hosts.has(host) || (delivery.tag === 'sent' && delivery.view.hosts.has(host)),
    );
    if (again.length > 0) member.asked = new Set([...(member.asked ?? []), ...again]);
  }

  /** Its subscriptions, or its Service, are these now. What it newly needs is sent at once: requests wait for it. */
  rescope(member: Member, lease: SidecarLease): void {
    member.lease = lease;
    const scope = this.#scopeOf(lease);
    if (scope === member.scope) {
      this.#sendUnlessStale(member);
      return;
    }
    // It has no older version of what is new to it, so what it surely has is what it had before.
    member.floorRevision = revisionOf(member, this.#revision);
    member.epoch = null;
    // What the other scope lacks was not changed now.
    member.behindSinceMs = null;
    scope.members.add(member);
    this.#scopes.leave(member, member.scope);
    member.scope = scope;
    this.#scopes.refresh(scope);
    this.#send(member);
  }

  /** False: it acknowledged something that it was not sent. */
  acknowledge(member: Member, sequence: number): boolean {
    const { delivery } = member;
    if (delivery.tag !== 'sent' || delivery.sequence !== sequence) return false;
    const { view } = delivery;
    member.held = view;
    member.heldSequence = sequence;
    member.delivery = noDelivery;
    this.#counts.answers.applied++;
    this.#observe(member, view);
    // It may have left the view's scope meanwhile: no epoch says any more until when it is current, but what it had it has.
    if (delivery.scope === member.scope) member.epoch = view.epoch;
    else member.floorRevision = Math.max(member.floorRevision, view.revision);
    this.#sendUnlessStale(member);
    this.#onProgress(member);
    return true;
  }

  /** False: it refused something that it was not sent. */
  refuse(member: Member, sequence: number, reason: string): boolean {
    const { delivery } = member;
    if (delivery.tag !== 'sent' || delivery.sequence !== sequence) return false;
    member.delivery = { tag: 'refused', view: delivery.view, reason };
    member.behindSinceMs = null;
    this.#counts.answers.refused++;
    this.#log.warn({ sidecar: member.id, revision: delivery.view.revision, reason }, 'a sidecar refused a change');
    this.#sendUnlessStale(member);
    this.#onProgress(member);
    return true;
  }

  close(): void {
    this.#debounce.close();
  }

  #scopeOf({ service, namespace, subscriptions }: SidecarLease): Scope<Member> {
    return this.#scopes.of(service, namespace, subscriptions);
  }

  #touch(touched: Touched, revision: number | null): void {
    const scopes = this.#scopes.touch(touched, revision, this.#clock.nowMs());
    if (scopes.size === 0) return;
    for (const scope of scopes) this.#unpublished.add(scope);
    this.#debounce.trigger();
  }

  #publish(): void {
    const scopes = this.#unpublished;
    this.#unpublished = new Set();
    for (const scope of scopes) {
      const isNew = this.#scopes.refresh(scope);
      for (const member of scope.members) {
        if (isNew) noteBehind(member);
        this.#send(member);
        this.#onProgress(member);
      }
    }
  }

  /** It has acknowledged a view, which had all changes up to it; another one may have come meanwhile. */
  #observe(member: Member, view: View): void {
    if (member.behindSinceMs === null) return;
    this.#counts.applied.observe(this.#clock.nowMs() - member.behindSinceMs);
    const { view: newest } = member.scope;
    member.behindSinceMs = view === newest ? null : newest.touchedAtMs;
  }

  /** A stale scope is published soon, with everything that has changed by then. */
  #sendUnlessStale(member: Member): void {
    if (member.scope.staleSince === null) this.#send(member);
  }

  #send(member: Member): void {
    const { connection, delivery, scope } = member;
    const { view } = scope;
    if (connection === null || delivery.tag === 'sent') return;
    if (delivery.tag === 'refused' && delivery.view === view) return;
    if (member.asked !== null) {
      member.held = withoutAnswers(member.held, member.asked);
      member.asked = null;
    }
    const { held } = member;
    if (held === view) return;
    const changeSet = changeSetTo(view, held);
    if (changeSet.length > limits.pushFrameBytesMax - frameOverheadBytes) {
      member.delivery = { tag: 'refused', view, reason: 'the configuration is larger than a frame may be' };
      this.#log.warn({ sidecar: member.id, bytes: changeSet.length }, 'a change is too large to be sent');
      return;
    }
    member.sequence++;
    member.delivery = { tag: 'sent', sequence: member.sequence, view, scope };
    connection.send(
      member.hasFounded
        ? this.#foundedFrame(member, changeSet)
        : this.#frames.of(changeSet, member.sequence, member.heldSequence),
    );
  }

  /** For this one alone: it is told what nobody else need know. */
  #foundedFrame(member: Member, changeSet: Uint8Array): Uint8Array {
    member.hasFounded = false;
    const { sequence, heldSequence: base } = member;
    return encodeControlFrame({ tag: 'push', sequence, base, changeSet, ...this.#foundedNote(member) });
  }

  #foundedNote({ lease: { service, namespace } }: Member): { foundedService: true; similarService?: string } {
    const similar = similarService(this.#store, service, namespace);
    return { foundedService: true, ...(similar === null ? {} : { similarService: similar }) };
  }
}

/** The first ChangeSet on a connection says how far it is from what it had, and not how long a change takes. */
function noteBehind(member: Member): void {
  const { view } = member.scope;
  if (member.connection !== null && member.heldSequence > 0 && member.held !== view)
    member.behindSinceMs ??= view.touchedAtMs;
}

/** Sequence, base and lengths around a ChangeSet, generously. */
const frameOverheadBytes = 64;
