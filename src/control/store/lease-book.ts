/**
 * The leases of one store, in memory: until when each lasts, and one timer for the earliest end. What is durable is its owner's
 * business; it tells the book what is so, and the book tells it what has ended and which renewals are not yet written.
 */
import { limits } from '../../model/limits.ts';
import type { StoreClock, StoredLease } from './store.ts';

/** A lease with the time it was asked for, which bounds how long a stored one may last after the wall clock was set back. */
export interface BookedLease extends StoredLease {
  readonly ttlMs: number;
}

export class LeaseBook {
  private readonly byId = new Map<string, BookedLease>();
  private readonly clock: StoreClock;
  private readonly onEnded: (ids: readonly string[]) => void;
  /** No lease ends before: its sidecar may still be looking for this control plane. */
  private readonly graceUntilMs: number;
  private armed: { readonly atMs: number; readonly cancel: () => void } | null = null;

  /** `onEnded` is called with all leases that ended by now; they are already out of the book. */
  constructor(clock: StoreClock, onEnded: (ids: readonly string[]) => void) {
    this.clock = clock;
    this.onEnded = onEnded;
    this.graceUntilMs = clock.nowMs() + limits.leaseGraceMs;
  }

  get size(): number {
    return this.byId.size;
  }

  get(id: string): BookedLease | null {
    return this.byId.get(id) ?? null;
  }

  all(): Iterable<BookedLease> {
    return this.byId.values();
  }

  /** The lease as it would be if it were put now. Changes nothing. */
  drawUp(id: string, value: string, ttlMs: number): BookedLease {
    return { id, value, ttlMs, endsAtMs: Math.max(this.clock.nowMs() + ttlMs, this.graceUntilMs) };
  }

  /** A lease from an earlier run: it lasts as long as it did, at most for a whole term from now, and never less than the grace. */
  restore(lease: BookedLease): void {
    const termEndsAtMs = Math.min(lease.endsAtMs, this.clock.nowMs() + lease.ttlMs);
    this.set({ ...lease, endsAtMs: Math.max(termEndsAtMs, this.graceUntilMs) });
  }

  set(lease: BookedLease): void {
    this.byId.set(lease.id, lease);
    if (this.armed === null || lease.endsAtMs < this.armed.atMs) this.armFor(lease.endsAtMs);
  }

  delete(id: string): void {
    // The timer stays: it finds nothing and arms itself for the next end.
    this.byId.delete(id);
  }

  stop(): void {
    this.armed?.cancel();
    this.armed = null;
  }

  private armFor(atMs: number): void {
    this.armed?.cancel();
    const delayMs = Math.min(Math.max(0, atMs - this.clock.nowMs()), limits.leaseCheckMsMax);
    this.armed = { atMs, cancel: this.clock.after(delayMs, () => this.endThoseDue()) };
  }

  /**
   * A renewal does not touch the timer, so it may come early; it then arms itself for the true earliest end. Renewed leases have
   * most of their term before them, so one look at all leases per term is the usual cost.
   */
  private endThoseDue(): void {
    this.armed = null;
    const nowMs = this.clock.nowMs();
    const ended: string[] = [];
    let earliestMs = Number.POSITIVE_INFINITY;
    for (const lease of this.byId.values()) {
      if (lease.endsAtMs <= nowMs) ended.push(lease.id);
      else if (lease.endsAtMs < earliestMs) earliestMs = lease.endsAtMs;
    }
    for (const id of ended) this.byId.delete(id);
    if (earliestMs !== Number.POSITIVE_INFINITY) this.armFor(earliestMs);
    if (ended.length > 0) this.onEnded(ended);
  }
}
