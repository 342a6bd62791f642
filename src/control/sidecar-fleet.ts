/** The sidecars of the mesh: everyone whose lease lives or who is connected here. */

import { isServiceNamed } from '../model/recent-request.ts';
import type { SidecarLease } from '../model/registration.ts';
import type { LatencyQuestion, MeshLatency, MeshStats, ReportScope, StatsQuestion } from '../model/report.ts';
import type { ConfigKey } from '../model/snapshot.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import { AppliedWaits } from './applied-waits.ts';
import type { ControlCounts } from './control-counts.ts';
import { Debounce } from './debounce.ts';
import type { AppliedReport, Fleet, GoneSidecar, ReplicaStatus, SidecarStatus } from './fleet.ts';
import { type Member, nameOf, type PushConnection, reasonOf, revisionOf, stateOf } from './fleet-member.ts';
import { composeNote, elsewhereOf, type FleetNote, parseNote, type ReplicaFacts } from './fleet-note.ts';
import { GoneSidecars } from './gone-sidecars.ts';
import { LeaseClaims } from './lease-claims.ts';
import { meshLatencyOf } from './mesh-latency.ts';
import { Publisher } from './publisher.ts';
import { ServedServices } from './served-services.ts';
import type { StatWindow } from './stat-window.ts';
import type { Store, StoreClock, StoredLease, StoreEvent } from './store/store.ts';

export interface SidecarFleetOptions {
  readonly store: Store;
  readonly clock: StoreClock;
  readonly log: LimitedLog;
  readonly statWindow: StatWindow;
  readonly counts: ControlCounts;
}

/** What a sidecar's Hello said of itself beyond its lease. */
export interface Greeting {
  readonly lease: SidecarLease;
  readonly softwareVersion: string;
  readonly hasOlderUwsCore: boolean;
  readonly held: ReadonlyMap<ConfigKey, string>;
  /** See Member. */
  readonly hasFounded: boolean;
}

const unknownFacts: ReplicaFacts = { api: '', startedAt: '', roots: [] };

export class SidecarFleet implements Fleet {
  /** A name is released when its sidecar is no member any more. */
  readonly claims = new LeaseClaims();
  readonly #store: Store;
  readonly #clock: StoreClock;
  readonly #log: LimitedLog;
  readonly #statWindow: StatWindow;
  readonly #members = new Map<string, Member>();
  readonly #publisher: Publisher;
  readonly #waits: AppliedWaits;
  readonly #gone = new GoneSidecars();
  readonly #served = new ServedServices();
  readonly #unsubscribe: () => void;
  /** What the other control planes have told last. */
  readonly #notes = new Map<string, FleetNote>();
  readonly #telling: Debounce;
  #facts: () => ReplicaFacts = () => unknownFacts;

  /** Starts with the resources and leases that the store holds, and follows it. */
  constructor({ store, clock, log, statWindow, counts }: SidecarFleetOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#statWindow = statWindow;
    this.#telling = new Debounce(clock, () =>
      store.tell(() => composeNote(this.#members.values(), this.#publisher.revision, this.#facts())),
    );
    this.#publisher = new Publisher({ store, clock, log, counts, onProgress: (member) => this.#update(member) });
    this.#waits = new AppliedWaits({
      clock,
      members: () => this.#members.values(),
      newest: () => this.#publisher.revision,
      gone: () => this.gone(),
    });
    for (const { id, note } of store.replicas()) this.#takeNote(id, note);
    for (const lease of store.leases()) this.#takeLease(lease.id, lease);
    this.#unsubscribe = store.subscribe((event) => this.#take(event));
  }

  get size(): number {
    return this.#members.size;
  }

  has(id: string): boolean {
    return this.#members.has(id);
  }

  /** Its lease registers an endpoint of this Service already. */
  isRegistered(id: string, service: string, namespace: string): boolean {
    const member = this.#members.get(id);
    if (member === undefined || !member.hasLease) return false;
    const { lease } = member;
    return lease.registration !== null && lease.service === service && lease.namespace === namespace;
  }

  /** Says to the other control planes who this is. */
  introduce(facts: () => ReplicaFacts): void {
    this.#facts = facts;
    this.#telling.trigger();
  }

  list(): readonly SidecarStatus[] {
    const endsAtMs = new Map(Array.from(this.#store.leases(), (lease) => [lease.id, lease.endsAtMs]));
    const nowMs = this.#clock.nowMs();
    return Array.from(this.#members.values(), (member) => {
      const { connection, elsewhere, lease } = member;
      const { softwareVersion, hasOlderUwsCore } = elsewhere ?? member;
      return {
        ...nameOf(member),
        connected: elsewhere === null ? connection !== null : elsewhere.connected,
        ...this.#stateAt(member, nowMs),
        revision: revisionOf(member, this.#publisher.revision),
        reason: reasonOf(member),
        subscriptions: lease.subscriptions,
        registration: lease.registration,
        isLinkInsecure: lease.isLinkInsecure,
        softwareVersion,
        hasOlderUwsCore,
        leaseEndsInMs: Math.max(0, (endsAtMs.get(member.id) ?? nowMs) - nowMs),
      };
    });
  }

  gone(): readonly GoneSidecar[] {
    // One whose lease has ended may be connected still: it is on the list of the others.
    return this.#gone.list(this.#clock.nowMs()).filter(({ sidecar }) => !this.#members.has(sidecar));
  }

  wasServed(unit: string): boolean {
    return this.#served.has(unit);
  }

  countHere(): Readonly<Record<SidecarStatus['state'], number>> {
    const counts = { synced: 0, pending: 0, refused: 0, lost: 0 };
    for (const member of this.#members.values()) if (member.elsewhere === null) counts[stateOf(member)]++;
    return counts;
  }

  replicas(): readonly ReplicaStatus[] {
    const others = [...this.#store.replicas()];
    const counts = new Map<string, number>();
    for (const { id, elsewhere } of this.#members.values()) {
      const holder = elsewhere === null ? '' : (this.#store.holderOf(id)?.id ?? '');
      counts.set(holder, (counts.get(holder) ?? 0) + 1);
    }
    const isLeader = others.every((other) => !other.isLeader);
    return [
      { ...this.#facts(), isLeader, isSelf: true, sidecars: counts.get('') ?? 0 },
      ...others.map((other) => {
        const { api, startedAt, roots } = this.#notes.get(other.id) ?? unknownFacts;
        return { api, startedAt, roots, isLeader: other.isLeader, isSelf: false, sidecars: counts.get(other.id) ?? 0 };
      }),
    ];
  }

  waitApplied(revision: number, timeoutMs: number, percent = 100): Promise<AppliedReport> {
    return this.#waits.wait(revision, timeoutMs, percent);
  }

  stats({ service, seconds }: StatsQuestion = {}): MeshStats {
    const { windowMs, requestsWithoutDetail, series } = this.#statWindow.stats(
      ({ source, destination }) =>
        service === undefined || isServiceNamed(source, service) || isServiceNamed(destination, service),
      seconds,
    );
    return { windowMs, scope: this.#scopeOf(requestsWithoutDetail), series };
  }

  latency(question: LatencyQuestion): MeshLatency {
    const { requestsWithoutDetail, ...latency } = meshLatencyOf(this.#statWindow, question);
    return { ...latency, scope: this.#scopeOf(requestsWithoutDetail) };
  }

  #scopeOf(requestsWithoutDetail: number): ReportScope {
    let [sidecars, sidecarsElsewhere] = [0, 0];
    for (const { connection, elsewhere } of this.#members.values()) {
      if (connection !== null) sidecars++;
      else if (elsewhere?.connected === true) sidecarsElsewhere++;
    }
    const controlPlanes = 1 + [...this.#store.replicas()].length;
    return { controlPlane: this.#facts().api, controlPlanes, sidecars, sidecarsElsewhere, requestsWithoutDetail };
  }

  /** A sidecar whose lease is in the store greets. A connection that it had before is refused: it has another one now. */
  connect(greeting: Greeting, connection: PushConnection): Member {
    const { lease, softwareVersion, hasOlderUwsCore, held, hasFounded } = greeting;
    const member = this.#members.get(lease.sidecar) ?? this.#admit(lease.sidecar, lease);
    const before = member.connection;
    member.connection = null;
    member.elsewhere = null;
    member.hasWithdrawn = false;
    this.#gone.delete(member.id);
    before?.refuse('replaced', 'another connection came under the name of this sidecar');
    member.softwareVersion = softwareVersion;
    member.hasOlderUwsCore = hasOlderUwsCore;
    member.hasFounded = hasFounded;
    member.trouble = '';
    this.#publisher.rescope(member, lease);
    this.#publisher.greet(member, connection, held);
    this.#update(member);
    return member;
  }

  /** The connection is gone; the sidecar stays until its lease ends. */
  disconnect(member: Member, connection: PushConnection): void {
    if (member.connection !== connection) return;
    this.#publisher.disconnect(member);
    if (member.hasWithdrawn) this.#gone.delete(member.id);
    if (member.hasLease) this.#update(member);
    else this.#dismiss(member);
  }

  /** A connected sidecar changed its subscriptions or its registration. It wants to know what the `added` hosts are. */
  change(member: Member, lease: SidecarLease, added: readonly string[]): void {
    this.#publisher.ask(member, added);
    this.#publisher.rescope(member, lease);
    this.#update(member);
  }

  /** False: it acknowledged something that it was not sent. */
  acknowledge(member: Member, sequence: number): boolean {
    return this.#publisher.acknowledge(member, sequence);
  }

  /** False: it refused something that it was not sent. */
  refuse(member: Member, sequence: number, reason: string): boolean {
    return this.#publisher.refuse(member, sequence, reason);
  }

  /** Answers who waits, and follows the store no longer. */
  close(): void {
    this.#telling.close();
    this.#unsubscribe();
    this.#waits.close();
    this.#publisher.close();
  }

  #take(event: StoreEvent): void {
    switch (event.tag) {
      case 'revision':
        this.#publisher.takeRevision(event.revision);
        this.#waits.advance();
        this.#telling.trigger();
        return;
      case 'lease':
        this.#takeLease(event.id, event.lease);
        return;
      case 'replica':
        this.#takeNote(event.id, event.replica?.note ?? null);
        for (const member of this.#members.values()) this.#lookElsewhere(member);
        return;
      default:
        event satisfies never;
    }
  }

  #takeLease(id: string, stored: StoredLease | null): void {
    const lease = stored === null ? null : this.#parse(stored);
    this.#publisher.takeLease(id, lease);
    const known = this.#members.get(id);
    if (lease === null) {
      if (known === undefined) return;
      known.hasLease = false;
      if (!hasTakenLeave(known)) this.#gone.add(id, known.lease, this.#clock.nowMs());
      if (known.connection === null) this.#dismiss(known);
      return;
    }
    const member = known ?? this.#admit(id, lease);
    member.hasLease = true;
    this.#gone.delete(id);
    this.#served.see(
      id,
      lease.registration === null ? null : `${lease.service}.${lease.namespace}`,
      this.#clock.nowMs(),
    );
    this.claims.put({ ...lease, sidecar: id }, stored?.value.length ?? 0);
    // While it is connected here its own words are newer than what comes back from the store.
    if (member.connection === null) this.#publisher.rescope(member, lease);
    this.#lookElsewhere(member);
    if (known === undefined) this.#update(member);
    else this.#telling.trigger();
  }

  #takeNote(replicaId: string, text: string | null): void {
    const note = text === null ? null : parseNote(text);
    if (note === null) this.#notes.delete(replicaId);
    else this.#notes.set(replicaId, note);
  }

  /** What another control plane says of it, where it is connected to that one. */
  #lookElsewhere(member: Member): void {
    const holder = this.#store.holderOf(member.id);
    if (holder === null && member.elsewhere === null) return;
    const { connection } = member;
    if (connection !== null) {
      // It greeted another control plane after this one, so that what it had here is dead, or about to be.
      this.#publisher.disconnect(member);
      connection.refuse('replaced', 'another connection came under the name of this sidecar, to another control plane');
    }
    const note = holder !== null && this.#store.isTold(member.id) ? (this.#notes.get(holder.id) ?? null) : null;
    member.elsewhere = holder === null ? null : elsewhereOf(note, member.id);
    this.#stateAt(member, this.#clock.nowMs());
    this.#waits.update(member);
  }

  /** It came further, or fell back: whoever waits for it looks, here and on other control planes. */
  #update(member: Member): void {
    this.#stateAt(member, this.#clock.nowMs());
    this.#waits.update(member);
    this.#telling.trigger();
  }

  /** Its state now, and how long it has been in it: looked at whenever something of it may have changed. */
  #stateAt(member: Member, nowMs: number): Pick<SidecarStatus, 'state' | 'stateAgeMs'> {
    const state = stateOf(member);
    if (member.seen?.state !== state) member.seen = { state, sinceMs: nowMs };
    return { state, stateAgeMs: Math.max(0, nowMs - member.seen.sinceMs) };
  }

  #admit(id: string, lease: SidecarLease): Member {
    const member = this.#publisher.admit(id, lease);
    this.#members.set(id, member);
    return member;
  }

  #dismiss(member: Member): void {
    this.#members.delete(member.id);
    this.#served.see(member.id, null, this.#clock.nowMs());
    this.claims.release(member.id);
    this.#publisher.dismiss(member);
    this.#waits.remove(member);
  }

  /** Leases are written by control planes only; one that cannot be read is an older or newer version's. */
  #parse({ id, value }: StoredLease): SidecarLease | null {
    try {
      return withLink(JSON.parse(value) as SidecarLease);
    } catch (error) {
      this.#log.warn({ sidecar: id, err: error }, 'a lease in the store cannot be read');
      return null;
    }
  }
}

/** One that another control plane still has connected ends its lease by saying so, too. */
const hasTakenLeave = ({ hasWithdrawn, elsewhere }: Member): boolean => hasWithdrawn || elsewhere?.connected === true;

/** A lease that was written before there was a link says nothing of it. It must do until its sidecar has found this control plane. */
function withLink(lease: SidecarLease): SidecarLease {
  if (lease.isLinkInsecure !== undefined) return lease;
  return { ...lease, isLinkInsecure: false, registration: lease.registration && { ...lease.registration, link: [] } };
}
