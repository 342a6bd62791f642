/**
 * The leases of a store on etcd, as one control plane knows them. Whoever put a lease holds it: while that control plane lives, which etcd
 * knows, it alone ends it, so that a renewal is a matter of its own memory and costs etcd nothing. The leases of one that is gone end here
 * too, a term after it went, unless their sidecars have found another control plane by then.
 */
import type { EtcdLease } from './etcd-state.ts';
import { type BookedLease, LeaseBook } from './lease-book.ts';
import type { StoreClock, StoredLease, StoreEvent } from './store.ts';

type LeaseEvent = Extract<StoreEvent, { tag: 'lease' }>;

export class EtcdLeases {
  readonly #clock: StoreClock;
  readonly #ownId: string;
  readonly #byId = new Map<string, EtcdLease>();
  /** Those that end here. */
  readonly #book: LeaseBook;
  /** The others that live. */
  readonly #living = new Set<string>();

  /** `onEnded` hears of each lease that ended by now, as etcd may still have it; it is already out of here. */
  constructor(clock: StoreClock, ownId: string, onEnded: (ended: readonly EtcdLease[]) => void) {
    this.#clock = clock;
    this.#ownId = ownId;
    this.#book = new LeaseBook(clock, (ids) => onEnded(ids.map((id) => this.#remove(id))));
  }

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): EtcdLease | null {
    return this.#byId.get(id) ?? null;
  }

  /** Whether this control plane holds it, so that its renewal is no news to anybody. */
  isOwn(id: string): boolean {
    return this.#byId.get(id)?.holder === this.#ownId;
  }

  /** Held by a living other one. */
  isForeign(id: string): boolean {
    const holder = this.#byId.get(id)?.holder;
    return holder !== undefined && this.#living.has(holder);
  }

  /** Only for one of our own, with its value unchanged. */
  renew(id: string, ttlMs: number): void {
    const lease = this.#byId.get(id);
    if (lease !== undefined) this.#book.set(this.#book.drawUp(id, lease.value, ttlMs));
  }

  /** As it would be booked if it were put now. */
  drawUp(id: string, value: string, ttlMs: number): BookedLease {
    return this.#book.drawUp(id, value, ttlMs);
  }

  /** A lease as etcd has it now. Answers what is new about it. */
  take(lease: EtcdLease): LeaseEvent | null {
    const known = this.#byId.get(lease.id);
    if (known !== undefined && known.modRevision >= lease.modRevision) return null;
    this.#byId.set(lease.id, lease);
    this.#decideEnd(lease);
    if (known?.value === lease.value) return null;
    return { tag: 'lease', id: lease.id, lease: this.#public(lease) };
  }

  /** etcd has it no longer. */
  drop(id: string): LeaseEvent | null {
    if (!this.#byId.has(id)) return null;
    this.#remove(id);
    return { tag: 'lease', id, lease: null };
  }

  /** Another control plane came or went. */
  setLiving(replicaId: string, isAlive: boolean): void {
    if (this.#living.has(replicaId) === isAlive) return;
    if (isAlive) this.#living.add(replicaId);
    else this.#living.delete(replicaId);
    for (const lease of this.#byId.values()) if (lease.holder === replicaId) this.#decideEnd(lease);
  }

  *all(): Iterable<StoredLease> {
    for (const lease of this.#byId.values()) yield this.#public(lease);
  }

  stop(): void {
    this.#book.stop();
  }

  #decideEnd({ id, value, ttlMs, holder }: EtcdLease): void {
    if (this.#living.has(holder)) this.#book.delete(id);
    else this.#book.set(this.#book.drawUp(id, value, ttlMs));
  }

  #remove(id: string): EtcdLease {
    const lease = this.#byId.get(id)!;
    this.#byId.delete(id);
    this.#book.delete(id);
    return lease;
  }

  /** What another one renews lasts for a term at most. */
  #public({ id, value, ttlMs }: EtcdLease): StoredLease {
    return { id, value, endsAtMs: this.#book.get(id)?.endsAtMs ?? this.#clock.nowMs() + ttlMs };
  }
}
