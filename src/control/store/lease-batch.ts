/**
 * The lease changes that gather until the file writes them in one transaction. A thousand sidecars that come at once, each with a sync
 * of its own, would hold up the loop for longer than a lease lasts.
 */
import type { BookedLease } from './lease-book.ts';

export interface LeaseChange {
  readonly id: string;
  /** Null: withdrawn. */
  readonly lease: BookedLease | null;
}

export class LeaseBatch {
  /** In the order in which they were asked for. */
  readonly changes: LeaseChange[] = [];
  /** Settles for all of them together. */
  readonly written: Promise<void>;
  private readonly newest = new Map<string, BookedLease | null>();
  private settle: { readonly resolve: () => void; readonly reject: (thrown: unknown) => void } | null = null;

  constructor() {
    this.written = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
  }

  /** The lease as it will be; undefined when nothing of this id is gathered. */
  get(id: string): BookedLease | null | undefined {
    return this.newest.get(id);
  }

  add(change: LeaseChange): void {
    this.changes.push(change);
    this.newest.set(change.id, change.lease);
  }

  /** What is left of each id in the end. */
  outcome(): Iterable<readonly [id: string, lease: BookedLease | null]> {
    return this.newest;
  }

  resolve(): void {
    this.settle?.resolve();
  }

  reject(thrown: unknown): void {
    this.settle?.reject(thrown);
  }
}
