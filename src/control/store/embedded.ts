/** The embedded store: all state of one control plane in memory, and in one directory on disk before anybody is answered. */
import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { limits } from '../../model/limits.ts';
import { EmbeddedFile, type StoredState } from './embedded-file.ts';
import { LeaseBatch, type LeaseChange } from './lease-batch.ts';
import { type BookedLease, LeaseBook } from './lease-book.ts';
import { type LoggedRevision, type Retention, RevisionLog } from './revision-log.ts';
import type {
  Commit,
  CommitResult,
  Revision,
  Store,
  StoreClock,
  StoredLease,
  StoredObject,
  StoreEvent,
  StoreReplica,
} from './store.ts';
import { reasonOf, StoreError } from './store-error.ts';
import { StoreEvents } from './store-events.ts';

export interface EmbeddedStoreOptions {
  /** Created when it does not exist. One process at a time may have it open. */
  readonly directory: string;
  readonly clock: StoreClock;
  /** How far back history goes; default `defaultRetention`. */
  readonly retention?: Retention;
  /**
   * What went wrong with nobody to answer: leases that could not be written (tried again later), a subscriber that threw. Without
   * it, a warning of the process.
   */
  readonly onBackgroundError?: (error: Error) => void;
}

/**
 * Opens the store in a directory, taking it over at once from a process that was killed.
 *
 * @throws StoreError `store-in-use` (the message names the pid) or `store-unusable`; both messages say what to do.
 */
export async function openEmbeddedStore(options: EmbeddedStoreOptions): Promise<Store> {
  const file = await EmbeddedFile.open(options.directory);
  try {
    return new EmbeddedStore(file, file.read(), options);
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

/** lmdb's keys have 1978 bytes, and a character at most 3. */
const leaseIdCharsMax = 256;

/**
 * A write is one synchronous step: check, write to the file, change the memory, tell the subscribers. That is what puts writes in
 * an order, and why readers always see a whole revision. A commit takes that step when it is asked for; lease changes take it
 * together, once per turn of the event loop.
 */
class EmbeddedStore implements Store {
  readonly replicaId = randomUUID();
  private readonly file: EmbeddedFile;
  private readonly clock: StoreClock;
  private readonly onBackgroundError: (error: Error) => void;
  private readonly objects = new Map<string, StoredObject>();
  private readonly log: RevisionLog;
  private readonly book: LeaseBook;
  private readonly events: StoreEvents;
  private head: number;
  /** Null while no lease change waits for the end of this turn. */
  private gathering: LeaseBatch | null = null;
  /** Ids whose renewal or end is not in the file yet. */
  private readonly unwrittenLeaseIds = new Set<string>();
  private cancelLeaseWrite: (() => void) | null = null;
  private closing: Promise<void> | null = null;

  constructor(file: EmbeddedFile, state: StoredState, options: EmbeddedStoreOptions) {
    this.file = file;
    this.clock = options.clock;
    this.onBackgroundError = options.onBackgroundError ?? ((error) => process.emitWarning(error));
    this.events = new StoreEvents((thrown) =>
      this.onBackgroundError(new Error(`A subscriber of the store failed: ${reasonOf(thrown)}`, { cause: thrown })),
    );
    this.book = new LeaseBook(options.clock, (ids) => this.endLeases(ids));
    this.head = state.head;
    this.log = new RevisionLog(options.retention);
    for (const object of state.objects) this.objects.set(object.key, object);
    for (const entry of state.revisions) this.log.append(entry);
    this.forgetSurplus();
    for (const lease of state.leases) this.book.restore(lease);
  }

  get revision(): number {
    return this.head;
  }

  /** Nobody else writes. */
  get knownAtMs(): number {
    return this.clock.nowMs();
  }

  /** What this disk does not take is said by the write, which is tried anew each time. */
  readonly outage = null;

  get(key: string): StoredObject | null {
    return this.objects.get(key) ?? null;
  }

  list(): Iterable<StoredObject> {
    return this.objects.values();
  }

  async commit(commit: Commit): Promise<CommitResult> {
    this.assertOpen();
    // What was asked for before is told before; and first of all, because whoever hears of it may write what this commit expects.
    this.writeGathered();
    const made = this.log.revisionOf(commit.requestId);
    if (made !== null) return { tag: 'committed', revision: made };
    if (commit.basis !== undefined && commit.basis !== this.head) return { tag: 'outdated', revision: this.head };
    for (const [key, expected] of commit.expect) {
      const actual = this.objects.get(key)?.revision ?? 0;
      if (actual !== expected) return { tag: 'conflict', key, expected, actual };
    }
    const entry = this.drawUp(commit);
    const forgotten = this.log.surplusWith(entry);
    this.file.writeRevision({ entry, forgotten });
    this.log.dropOldest(forgotten.length);
    this.take(entry);
    return { tag: 'committed', revision: entry.revision.revision };
  }

  revisionsAfter(from: number): readonly Revision[] | null {
    return this.log.after(from, this.head);
  }

  madeBy(requestId: string): Revision | null {
    const made = this.log.revisionOf(requestId);
    return made === null ? null : (this.revisionsAfter(made - 1)?.[0] ?? null);
  }

  history(limit: number): readonly Revision[] {
    return this.log.newest(limit);
  }

  /** A renewal is heard by no subscriber: nothing but the end of the lease changes. */
  async putLease(id: string, value: string, ttlMs: number): Promise<void> {
    this.assertOpen();
    assert(id !== '' && id.length <= leaseIdCharsMax, 'whoever takes an id from outside has checked its length');
    const gathered = this.gathering?.get(id);
    const known = gathered === undefined ? this.book.get(id) : gathered;
    const lease = this.book.drawUp(id, value, ttlMs);
    if (gathered === undefined && known?.value === value) {
      this.book.set(lease);
      // Of a shorter term the file need not know when it was renewed: after a start it lasts for the grace in any case (`LeaseBook.restore`).
      if (ttlMs > limits.leaseGraceMs) this.writeLater(id);
      return;
    }
    if (known === null && this.isFullOfLeases()) {
      throw new StoreError(
        'store-full',
        `The store keeps at most ${limits.leasesMax} leases. Withdraw some, then try again.`,
      );
    }
    await this.gather(id, lease);
  }

  async deleteLease(id: string): Promise<void> {
    this.assertOpen();
    const gathered = this.gathering?.get(id);
    if (gathered === undefined && this.book.get(id) === null) return;
    await this.gather(id, null);
  }

  *leases(): Iterable<StoredLease> {
    for (const lease of this.book.all()) yield publicLease(lease);
  }

  async sync(): Promise<void> {}

  /** One process has the store: there are no others. */
  replicas(): Iterable<StoreReplica> {
    return [];
  }

  tell(): void {}

  holderOf(): StoreReplica | null {
    return null;
  }

  isTold(): boolean {
    return true;
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    return this.events.subscribe(listener);
  }

  /** Writes the renewals that are still in memory and lets go of the directory. May be called more than once. */
  close(): Promise<void> {
    this.closing ??= this.closeOnce();
    return this.closing;
  }

  private async closeOnce(): Promise<void> {
    this.book.stop();
    this.writeGathered();
    this.writeUnwrittenLeases();
    // After the write: one that fails asks for another.
    this.cancelLeaseWrite?.();
    this.events.clear();
    await this.file.close();
  }

  private assertOpen(): void {
    if (this.closing !== null)
      throw new StoreError('store-closed', 'The store was closed: nothing more can be written.');
  }

  /** The revision that a commit makes. Deleting what does not exist is no change. */
  private drawUp(commit: Commit): LoggedRevision {
    const changes: { key: string; before: string | null; after: string | null }[] = [];
    for (const [key, after] of commit.changes) {
      const before = this.objects.get(key)?.value ?? null;
      if (before !== null || after !== null) changes.push({ key, before, after });
    }
    const { who, message, atMs, requestId } = commit;
    return { revision: { revision: this.head + 1, who, message, atMs, changes }, requestId };
  }

  /** Makes a revision that is in the file the newest one in memory, and tells the subscribers. */
  private take(entry: LoggedRevision): void {
    const { revision } = entry;
    for (const { key, after } of revision.changes) {
      if (after === null) this.objects.delete(key);
      else this.objects.set(key, { key, value: after, revision: revision.revision });
    }
    this.log.append(entry);
    this.head = revision.revision;
    this.events.emit({ tag: 'revision', revision });
  }

  /** An earlier run may have kept more than this one does. */
  private forgetSurplus(): void {
    const surplus = this.log.surplusWith(null);
    if (surplus.length === 0) return;
    this.file.forgetRevisions(surplus);
    this.log.dropOldest(surplus.length);
  }

  /**
   * Leases end even when the disk is full: traffic must stop going to what has gone. Should the write fail, a later start finds
   * them once more, gives them the usual grace and ends them again.
   */
  private endLeases(ids: readonly string[]): void {
    for (const id of ids) this.unwrittenLeaseIds.add(id);
    this.writeUnwrittenLeases();
    for (const id of ids) this.events.emit({ tag: 'lease', id, lease: null });
  }

  private gather(id: string, lease: BookedLease | null): Promise<void> {
    if (this.gathering === null) {
      this.gathering = new LeaseBatch();
      // After the frames of all sockets that are ready now have been read.
      setImmediate(() => this.writeGathered());
    }
    this.gathering.add({ id, lease });
    return this.gathering.written;
  }

  /** All or none: a disk that refuses one of them refuses the others too. */
  private writeGathered(): void {
    const batch = this.gathering;
    if (batch === null) return;
    this.gathering = null;
    const put: BookedLease[] = [];
    const deletedIds: string[] = [];
    for (const [id, lease] of batch.outcome()) {
      if (lease === null) deletedIds.push(id);
      else put.push(lease);
    }
    try {
      this.file.writeLeases(put, deletedIds);
    } catch (thrown) {
      batch.reject(thrown);
      return;
    }
    for (const change of batch.changes) this.takeLease(change);
    batch.resolve();
  }

  /** Makes a lease change that is in the file true in memory, and tells the subscribers what is new about it. */
  private takeLease({ id, lease }: LeaseChange): void {
    const known = this.book.get(id);
    this.unwrittenLeaseIds.delete(id);
    if (lease === null) this.book.delete(id);
    else this.book.set(lease);
    if (lease?.value !== known?.value) {
      this.events.emit({ tag: 'lease', id, lease: lease === null ? null : publicLease(lease) });
    }
  }

  private isFullOfLeases(): boolean {
    const gathered = this.gathering;
    if (gathered === null) return this.book.size >= limits.leasesMax;
    // Most of what is gathered is new only when a fleet arrives, so that the exact count is seldom needed.
    if (this.book.size + gathered.changes.length < limits.leasesMax) return false;
    let size = this.book.size;
    for (const [id, lease] of gathered.outcome()) size += Number(lease !== null) - Number(this.book.get(id) !== null);
    return size >= limits.leasesMax;
  }

  private writeLater(id: string): void {
    this.unwrittenLeaseIds.add(id);
    this.armLeaseWrite();
  }

  private armLeaseWrite(): void {
    this.cancelLeaseWrite ??= this.clock.after(limits.leaseWriteMs, () => {
      this.cancelLeaseWrite = null;
      this.writeUnwrittenLeases();
    });
  }

  /** One transaction for all of them. What cannot be written stays for the next time. */
  private writeUnwrittenLeases(): void {
    if (this.unwrittenLeaseIds.size === 0) return;
    const put = [];
    const deletedIds = [];
    for (const id of this.unwrittenLeaseIds) {
      const lease = this.book.get(id);
      if (lease === null) deletedIds.push(id);
      else put.push(lease);
    }
    try {
      this.file.writeLeases(put, deletedIds);
      this.unwrittenLeaseIds.clear();
    } catch (thrown) {
      this.armLeaseWrite();
      this.onBackgroundError(thrown instanceof Error ? thrown : new Error(String(thrown)));
    }
  }
}

function publicLease({ id, value, endsAtMs }: StoredLease): StoredLease {
  return { id, value, endsAtMs };
}
