/** The sidecars of the mesh: everyone whose lease lives or who is connected here. */

import type { SidecarLease } from '../model/registration.ts';
import type { WindowStats } from '../model/report.ts';
import type { ConfigKey } from '../model/snapshot.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import { AppliedWaits } from './applied-waits.ts';
import type { AppliedReport, Fleet, SidecarStatus } from './fleet.ts';
import { type Member, nameOf, type PushConnection, revisionOf, stateOf } from './fleet-member.ts';
import { Publisher } from './publisher.ts';
import type { StatWindow } from './stat-window.ts';
import type { Store, StoreClock, StoredLease, StoreEvent } from './store/store.ts';

export interface SidecarFleetOptions {
  readonly store: Store;
  readonly clock: StoreClock;
  readonly log: LimitedLog;
  readonly statWindow: StatWindow;
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

export class SidecarFleet implements Fleet {
  readonly #store: Store;
  readonly #clock: StoreClock;
  readonly #log: LimitedLog;
  readonly #statWindow: StatWindow;
  readonly #members = new Map<string, Member>();
  readonly #publisher: Publisher;
  readonly #waits: AppliedWaits;
  readonly #unsubscribe: () => void;

  /** Starts with the resources and leases that the store holds, and follows it. */
  constructor({ store, clock, log, statWindow }: SidecarFleetOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    this.#statWindow = statWindow;
    this.#publisher = new Publisher({ store, clock, log, onProgress: (member) => this.#waits.update(member) });
    this.#waits = new AppliedWaits({
      clock,
      members: () => this.#members.values(),
      newest: () => this.#publisher.revision,
    });
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

  list(): readonly SidecarStatus[] {
    const endsAtMs = new Map(Array.from(this.#store.leases(), (lease) => [lease.id, lease.endsAtMs]));
    const nowMs = this.#clock.nowMs();
    return Array.from(this.#members.values(), (member) => ({
      ...nameOf(member),
      connected: member.connection !== null,
      state: stateOf(member),
      revision: revisionOf(member, this.#publisher.revision),
      reason: reasonOf(member),
      subscriptions: member.lease.subscriptions,
      registration: member.lease.registration,
      isLinkInsecure: member.lease.isLinkInsecure,
      softwareVersion: member.softwareVersion,
      hasOlderUwsCore: member.hasOlderUwsCore,
      leaseEndsInMs: Math.max(0, (endsAtMs.get(member.id) ?? nowMs) - nowMs),
    }));
  }

  waitApplied(revision: number, timeoutMs: number): Promise<AppliedReport> {
    return this.#waits.wait(revision, timeoutMs);
  }

  stats(): WindowStats {
    return this.#statWindow.stats();
  }

  /** A sidecar whose lease is in the store greets. A connection that it had before is refused: it has another one now. */
  connect(greeting: Greeting, connection: PushConnection): Member {
    const { lease, softwareVersion, hasOlderUwsCore, held, hasFounded } = greeting;
    const member = this.#members.get(lease.sidecar) ?? this.#admit(lease.sidecar, lease);
    const before = member.connection;
    member.connection = null;
    before?.refuse('replaced', 'another connection came under the name of this sidecar');
    member.softwareVersion = softwareVersion;
    member.hasOlderUwsCore = hasOlderUwsCore;
    member.hasFounded = hasFounded;
    member.trouble = '';
    this.#publisher.rescope(member, lease);
    this.#publisher.greet(member, connection, held);
    this.#waits.update(member);
    return member;
  }

  /** The connection is gone; the sidecar stays until its lease ends. */
  disconnect(member: Member, connection: PushConnection): void {
    if (member.connection !== connection) return;
    this.#publisher.disconnect(member);
    if (member.hasLease) this.#waits.update(member);
    else this.#dismiss(member);
  }

  /** A connected sidecar changed its subscriptions or its registration. It wants to know what the `added` hosts are. */
  change(member: Member, lease: SidecarLease, added: readonly string[]): void {
    this.#publisher.ask(member, added);
    this.#publisher.rescope(member, lease);
    this.#waits.update(member);
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
    this.#unsubscribe();
    this.#waits.close();
    this.#publisher.close();
  }

  #take(event: StoreEvent): void {
    switch (event.tag) {
      case 'revision':
        this.#publisher.takeRevision(event.revision);
        this.#waits.advance();
        return;
      case 'lease':
        this.#takeLease(event.id, event.lease);
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
      if (known.connection === null) this.#dismiss(known);
      return;
    }
    const member = known ?? this.#admit(id, lease);
    member.hasLease = true;
    // While it is connected here its own words are newer than what comes back from the store.
    if (member.connection === null) this.#publisher.rescope(member, lease);
    if (known === undefined) this.#waits.update(member);
  }

  #admit(id: string, lease: SidecarLease): Member {
    const member = this.#publisher.admit(id, lease);
    this.#members.set(id, member);
    return member;
  }

  #dismiss(member: Member): void {
    this.#members.delete(member.id);
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

/** What it refused a change for, or why nobody is sent to its app. What a connection said that is gone may have passed. */
function reasonOf({ delivery, connection, trouble }: Member): string | null {
  if (delivery.tag === 'refused') return delivery.reason;
  return connection === null || trouble === '' ? null : trouble;
}

/** A lease that was written before there was a link says nothing of it. It must do until its sidecar has found this control plane. */
function withLink(lease: SidecarLease): SidecarLease {
  if (lease.isLinkInsecure !== undefined) return lease;
  return { ...lease, isLinkInsecure: false, registration: lease.registration && { ...lease.registration, link: [] } };
}
