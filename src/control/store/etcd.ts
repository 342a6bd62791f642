/**
 * The store on etcd: one of several control planes that share one mesh. What is written goes to etcd, and comes back to every one of them, this
 * one included, through the feed; the memory changes there and nowhere else, so that each sees the same in the same order. See docs/store.md.
 */
import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import { limits } from '../../model/limits.ts';
import type { EtcdCalls, EtcdEvent } from './etcd-calls.ts';
import { compact } from './etcd-compaction.ts';
import { EtcdFeed } from './etcd-feed.ts';
import { EtcdKeys } from './etcd-keys.ts';
import { EtcdLeaseWrites } from './etcd-lease-writes.ts';
import { EtcdLeases } from './etcd-leases.ts';
import { EtcdOutage } from './etcd-outage.ts';
import { EtcdProgress } from './etcd-progress.ts';
import { EtcdReplicas } from './etcd-replicas.ts';
import { EtcdSession } from './etcd-session.ts';
import {
  type EtcdLeader,
  type EtcdLease,
  type EtcdState,
  parseLeader,
  parseLease,
  readRevision,
  readState,
  textOf,
} from './etcd-state.ts';
import { EtcdTelling } from './etcd-telling.ts';
import { UnreadableKeys } from './etcd-unreadable.ts';
import { chunkTimeMs, EtcdWriter, openOutcome } from './etcd-writer.ts';
import { ReplayedLog } from './replayed-log.ts';
import type { Retention } from './revision-log.ts';
import { SharedLook } from './shared-look.ts';
import type {
  Commit,
  CommitResult,
  Revision,
  Store,
  StoreClock,
  StoredLease,
  StoredObject,
  StoreEvent,
  StoreOutage,
  StoreReplica,
} from './store.ts';
import { reasonOf, StoreError } from './store-error.ts';
import { StoreEvents } from './store-events.ts';
import { WriteQueue } from './write-queue.ts';

export interface EtcdStoreOptions {
  readonly calls: EtcdCalls;
  /** Of all keys, without slashes at its ends. */
  readonly prefix: string;
  readonly retention?: Retention;
  /** Of leases: what the sidecars were promised. */
  readonly clock: StoreClock;
  /** Of waits for etcd, which answers in its own time whatever a test makes of the other clock. */
  readonly networkClock: StoreClock;
  /** As the members are named in messages. */
  readonly name: string;
  readonly onBackgroundError?: (error: Error) => void;
}

/** etcd's keys have no bound of their own; this is the embedded driver's. */
const leaseIdCharsMax = 256;

/**
 * Reads everything, follows it from there on, and lets the others know.
 *
 * @throws StoreError `store-unavailable` when no member answers within `limits.etcdOpenMs`, `store-unusable`; both messages say what to do.
 */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<Store> {
  const store = new EtcdStore(options);
  try {
    await store.open();
    return store;
  } catch (thrown) {
    await store.close().catch(() => undefined);
    throw thrown;
  }
}

class EtcdStore implements Store {
  readonly replicaId = randomUUID();
  readonly #calls: EtcdCalls;
  readonly #keys: EtcdKeys;
  readonly #networkClock: StoreClock;
  readonly #onBackgroundError: (error: Error) => void;
  readonly #replayed: ReplayedLog;
  readonly #leases: EtcdLeases;
  readonly #replicas: EtcdReplicas;
  readonly #feed: EtcdFeed;
  readonly #session: EtcdSession;
  readonly #queue: WriteQueue;
  readonly #writer: EtcdWriter;
  readonly #leaseWrites: EtcdLeaseWrites;
  readonly #telling: EtcdTelling;
  readonly #progress: EtcdProgress;
  readonly #events: StoreEvents;
  readonly #unreadable: UnreadableKeys;
  readonly #looks: SharedLook;
  readonly #outage: EtcdOutage;
  #headModRevision = 0;
  #baseModRevision = 0;
  #knownAtMs = 0;
  /** Nothing can be written any more, whatever etcd answers. */
  #broken: StoreError | null = null;
  #isOpen = false;
  #closing: Promise<void> | null = null;

  constructor({ calls, prefix, retention, clock, networkClock, name, onBackgroundError }: EtcdStoreOptions) {
    this.#replayed = new ReplayedLog(retention);
    this.#calls = calls;
    this.#keys = new EtcdKeys(prefix);
    this.#networkClock = networkClock;
    this.#onBackgroundError = onBackgroundError ?? ((error) => process.emitWarning(error));
    this.#events = new StoreEvents((thrown) =>
      this.#tellTrouble(`A subscriber of the store failed: ${reasonOf(thrown)}`),
    );
    this.#leases = new EtcdLeases(clock, this.replicaId, (ended) => this.#endLeases(ended));
    this.#replicas = new EtcdReplicas(this.replicaId);
    this.#queue = new WriteQueue(networkClock);
    this.#progress = new EtcdProgress(networkClock);
    this.#looks = new SharedLook(() => this.#catchUp(networkClock.nowMs() + limits.etcdWriteMs));
    this.#outage = new EtcdOutage(networkClock);
    const onTrouble = (message: string): void => this.#tellTrouble(message);
    this.#unreadable = new UnreadableKeys(networkClock, onTrouble);
    this.#writer = new EtcdWriter({ calls, keys: this.#keys, clock: networkClock, name, outage: this.#outage });
    this.#leaseWrites = new EtcdLeaseWrites({
      leases: this.#leases,
      queue: this.#queue,
      writer: this.#writer,
      view: (untilMs) => ({
        holder: this.replicaId,
        isForeign: (id) => this.#leases.isForeign(id),
        seen: () => this.#feed.seen,
        until: (isSo) => this.#progress.until(isSo, untilMs),
        untilMs,
      }),
      onTrouble: (error) => onTrouble(`Leases that have ended are still on etcd: ${reasonOf(error)}`),
    });
    this.#telling = new EtcdTelling({
      enqueue: (write) => this.#enqueue(write),
      write: async (note, untilMs) => {
        const { lease } = this.#session;
        if (lease !== null) await this.#writer.writeNote(this.replicaId, note, lease, untilMs);
        return lease !== null;
      },
      onTrouble,
    });
    this.#feed = new EtcdFeed({
      calls,
      range: this.#keys.live,
      clock: networkClock,
      apply: async (events) => {
        for (const event of events) await this.#applyOne(event);
      },
      relist: async () => this.#takeState(await readState(calls, this.#keys, this.#unreadable.skip)),
      onSeen: () => this.#progress.wake(),
      onTrouble,
    });
    this.#session = new EtcdSession({
      calls,
      keys: this.#keys,
      replicaId: this.replicaId,
      clock: networkClock,
      outage: this.#outage,
      isLeaderless: () => this.#replicas.leader === null,
      onEstablished: () => this.#telling.again(),
      onTick: () => this.#tick(),
      onTrouble,
    });
  }

  async open(): Promise<void> {
    const startMs = this.#networkClock.nowMs();
    const untilMs = startMs + limits.etcdOpenMs;
    const state = await this.#writer.persist(() => readState(this.#calls, this.#keys, this.#unreadable.skip), untilMs);
    if (state.isEmpty) await this.#writer.begin(untilMs);
    this.#feed.start(this.#takeState(state));
    this.#knownAtMs = startMs;
    await this.#writer.persist(() => this.#session.open(), untilMs);
    this.#isOpen = true;
  }

  get revision(): number {
    return this.#replayed.head;
  }

  get knownAtMs(): number {
    return this.#knownAtMs;
  }

  get outage(): StoreOutage | null {
    return this.#outage.current;
  }

  get(key: string): StoredObject | null {
    return this.#replayed.objects.get(key) ?? null;
  }

  list(): Iterable<StoredObject> {
    return this.#replayed.objects.values();
  }

  async commit(commit: Commit): Promise<CommitResult> {
    this.#assertOpen();
    return this.#enqueue((untilMs) => this.#commit(commit, untilMs + chunkTimeMs(commit)).catch(openOutcome));
  }

  revisionsAfter(from: number): readonly Revision[] | null {
    return this.#replayed.log.after(from, this.#replayed.head);
  }

  madeBy(requestId: string): Revision | null {
    const made = this.#replayed.log.revisionOf(requestId);
    return made === null ? null : (this.revisionsAfter(made - 1)?.[0] ?? null);
  }

  history(limit: number): readonly Revision[] {
    return this.#replayed.log.newest(limit);
  }

  /** A renewal is heard by no subscriber. */
  async putLease(id: string, value: string, ttlMs: number): Promise<void> {
    this.#assertOpen();
    assert(id !== '' && id.length <= leaseIdCharsMax, 'whoever takes an id from outside has checked its length');
    await this.#leaseWrites.put(id, value, ttlMs);
  }

  async deleteLease(id: string): Promise<void> {
    this.#assertOpen();
    await this.#leaseWrites.delete(id);
  }

  leases(): Iterable<StoredLease> {
    return this.#leases.all();
  }

  /** Rejects with StoreError `store-unavailable` when etcd does not answer in time. */
  sync(): Promise<void> {
    return this.#looks.take();
  }

  replicas(): Iterable<StoreReplica> {
    return this.#replicas.all();
  }

  tell(compose: () => string): void {
    if (this.#closing === null) this.#telling.tell(compose);
  }

  holderOf(leaseId: string): StoreReplica | null {
    const lease = this.#leases.get(leaseId);
    return lease === null ? null : this.#replicas.get(lease.holder);
  }

  isTold(leaseId: string): boolean {
    const lease = this.#leases.get(leaseId);
    return lease !== null && this.#replicas.toldAt(lease.holder) > lease.modRevision;
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    return this.#events.subscribe(listener);
  }

  /** Finishes what is being written, and lets the others know. May be called more than once. */
  close(): Promise<void> {
    this.#closing ??= this.#closeOnce();
    return this.#closing;
  }

  async #closeOnce(): Promise<void> {
    await this.#queue.idle();
    this.#events.clear();
    await this.#session.close().catch(() => undefined);
    await this.#feed.close();
    // What the feed still brought may have set its timer again.
    this.#leases.stop();
    this.#calls.close();
  }

  /** Behind all that was asked for before, lease changes among it. */
  #enqueue<T>(write: (untilMs: number) => Promise<T>): Promise<T> {
    this.#leaseWrites.seal();
    return this.#queue.add(write);
  }

  #assertOpen(): void {
    if (this.#closing !== null)
      throw new StoreError('store-closed', 'The store was closed: nothing more can be written.');
  }

  async #commit(commit: Commit, untilMs: number): Promise<CommitResult> {
    /** Whether all that was committed before the call has been replayed. */
    let isFresh = false;
    for (;;) {
      if (this.#broken !== null) throw this.#broken;
      const made = this.#replayed.log.revisionOf(commit.requestId);
      if (made !== null) return { tag: 'committed', revision: made };
      const obstacle = this.#replayed.obstacleTo(commit);
      if (obstacle !== null && isFresh) return obstacle;
      const leader = commit.onlyAsLeader === true ? this.#replicas.leader : null;
      if (commit.onlyAsLeader === true && leader?.id !== this.replicaId) return { tag: 'not-leading' };
      const fence = { headModRevision: this.#headModRevision, leader };
      if (obstacle === null) {
        const entry = this.#replayed.drawUp(commit);
        const outcome = await this.#writer.tryRevision(entry, fence, untilMs);
        if (outcome === 'done') {
          const { revision } = entry.revision;
          // Durable, whatever becomes of the feed: at worst this control plane learns of it late.
          if (!(await this.#progress.until(() => this.#replayed.head >= revision, untilMs))) this.#feed.restart();
          return { tag: 'committed', revision };
        }
      }
      if (this.#networkClock.nowMs() >= untilMs) throw this.#writer.unavailable('others are first again and again');
      // Lost the race, or does not know: what is there now decides, and the request id tells whether it was this one after all.
      await this.#catchUp(untilMs);
      isFresh = true;
      if (leader !== null && this.#headModRevision === fence.headModRevision) await this.#whenLed(leader, untilMs);
    }
  }

  /** The fence held nobody else up, so that leadership is over; or etcd did not say. Rejects when that stays so until `untilMs`. */
  async #whenLed(leader: EtcdLeader, untilMs: number): Promise<void> {
    const nowMs = this.#networkClock.nowMs();
    if (nowMs >= untilMs) throw this.#writer.unavailable('it does not tell who leads');
    const isOver = () => this.#replicas.leader?.createRevision !== leader.createRevision;
    await this.#progress.until(isOver, Math.min(untilMs, nowMs + limits.etcdTryMs));
  }

  /** Resolves when this memory has what etcd had when it was asked. */
  async #catchUp(untilMs: number): Promise<void> {
    if (this.#broken !== null) throw this.#broken;
    // While etcd answers, the feed may bring what is newer than the answer.
    const before = this.#replayed.head;
    const { revision, askedAtMs } = await this.#writer.readHead(untilMs);
    this.#requireNotOlder(revision, before);
    const isThere = () => this.#replayed.head >= revision;
    if (!(await this.#progress.until(isThere, Math.min(untilMs, this.#networkClock.nowMs() + limits.etcdTryMs)))) {
      // The member that is watched has lost the others, or the connection is dead and does not know it.
      this.#feed.restart();
      if (!(await this.#progress.until(isThere, untilMs)))
        throw this.#writer.unavailable('it does not tell what has changed');
    }
    this.#knownAtMs = Math.max(this.#knownAtMs, askedAtMs);
  }

  /** Who went on from an older state would take back what sidecars have in force, under revision numbers that are taken. */
  #requireNotOlder(revision: number, before = this.#replayed.head): void {
    if (revision >= before) return;
    this.#broken = new StoreError(
      'store-unusable',
      `The store on etcd is at revision ${revision}, but was at ${before}: etcd was restored from an older state, or emptied. Nothing is written any more. Restart all control planes to go on from what etcd has.`,
    );
    this.#tellTrouble(this.#broken.message);
    throw this.#broken;
  }

  // What etcd has, as it comes

  /** Answers the revision of etcd at which it was so. */
  #takeState(state: EtcdState): number {
    this.#requireNotOlder(state.head);
    const oldest = state.revisions[0]?.revision.revision ?? state.head + 1;
    if (!this.#isOpen || oldest > this.#replayed.head + 1) {
      const jump = this.#replayed.rebase(state);
      if (this.#isOpen) this.#events.emit({ tag: 'revision', revision: jump });
    }
    this.#headModRevision = state.headModRevision;
    this.#baseModRevision = state.baseModRevision;
    for (const entry of state.revisions) {
      if (entry.revision.revision <= this.#replayed.head) continue;
      this.#replayed.take(entry);
      this.#events.emit({ tag: 'revision', revision: entry.revision });
    }
    this.#replicas.setLeader(state.leader);
    const present = new Set(state.notes.map(({ id }) => id));
    for (const { id } of [...this.#replicas.all()]) if (!present.has(id)) this.#dropReplica(id);
    for (const note of state.notes) this.#takeNote(note);
    const leaseIds = new Set(state.leases.map(({ id }) => id));
    for (const { id } of [...this.#leases.all()]) if (!leaseIds.has(id)) this.#dropLease(id, state.etcdRevision + 1);
    for (const lease of state.leases) this.#takeLease(lease);
    return state.etcdRevision;
  }

  async #applyOne(event: EtcdEvent): Promise<void> {
    const isPut = event.tag === 'put';
    const key = this.#keys.parse(isPut ? event.entry.key : event.key);
    switch (key.tag) {
      case 'head':
        // It comes behind its revision, in the same change of etcd.
        if (!isPut) this.#requireNotOlder(0);
        else if (textOf(event.entry) === String(this.#replayed.head)) this.#headModRevision = event.entry.modRevision;
        return;
      case 'revision':
        if (isPut) await this.#replay(key.revision, textOf(event.entry), event.entry.modRevision);
        return;
      case 'base':
        if (isPut) this.#baseModRevision = event.entry.modRevision;
        return;
      case 'lease':
        if (isPut) this.#takeLease(parseLease(key.id, event.entry, this.#unreadable.skip));
        else this.#dropLease(key.id, event.modRevision);
        return;
      case 'replica':
        if (isPut) this.#takeNote({ id: key.id, note: textOf(event.entry), modRevision: event.entry.modRevision });
        else this.#dropReplica(key.id);
        return;
      case 'leader':
        this.#replicas.setLeader(isPut ? parseLeader(event.entry) : null);
        if (!isPut) this.#session.hurry();
        return;
      case 'format':
      case 'unknown':
        return;
      default:
        key satisfies never;
    }
  }

  async #replay(revision: number, text: string, modRevision: number): Promise<void> {
    if (revision <= this.#replayed.head) return;
    if (revision > this.#replayed.head + 1) throw new Error(`revision ${this.#replayed.head + 1} is missing`);
    const untilMs = this.#networkClock.nowMs() + limits.etcdWriteMs;
    const entry = await this.#writer.persist(() => readRevision(this.#calls, this.#keys, revision, text), untilMs);
    this.#replayed.take(entry);
    // The head was moved in the same change of etcd.
    this.#headModRevision = modRevision;
    this.#events.emit({ tag: 'revision', revision: entry.revision });
  }

  #takeLease(lease: EtcdLease | null): void {
    if (lease === null) return;
    this.#leaseWrites.forget(lease.id);
    this.#events.emit(this.#leases.take(lease));
  }

  /** It went at this revision of etcd; what was put later stays. */
  #dropLease(id: string, modRevision: number): void {
    if ((this.#leases.get(id)?.modRevision ?? 0) >= modRevision) return;
    this.#leaseWrites.forget(id);
    this.#events.emit(this.#leases.drop(id));
  }

  #takeNote(note: { readonly id: string; readonly note: string; readonly modRevision: number }): void {
    if (note.id === this.replicaId) return;
    this.#replicas.take(note);
    this.#leases.setLiving(note.id, true);
    this.#events.emit({ tag: 'replica', id: note.id, replica: this.#replicas.get(note.id) });
  }

  #dropReplica(id: string): void {
    if (id === this.replicaId) {
      // Our own lease on etcd has ended while we live.
      if (this.#isOpen) this.#session.hurry();
      return;
    }
    this.#replicas.drop(id);
    this.#leases.setLiving(id, false);
    this.#events.emit({ tag: 'replica', id, replica: null });
  }

  /** Whoever listens hears of it at once: traffic must stop going to what has gone, whether etcd answers or not. */
  #endLeases(ended: readonly EtcdLease[]): void {
    this.#leaseWrites.end(ended);
    for (const { id } of ended) this.#events.emit({ tag: 'lease', id, lease: null });
  }

  /** What is looked after regularly, while etcd answers. */
  async #tick(): Promise<void> {
    await this.sync();
    this.#leaseWrites.writeEnds();
    if (this.#telling.isUntold) this.#telling.again();
    const { leader } = this.#replicas;
    const { surplus, head, oldest, objects } = this.#replayed;
    const isLong = surplus.revisions >= limits.compactAfterRevisions || surplus.chars >= limits.compactAfterChars;
    if (leader?.id !== this.replicaId || !isLong) return;
    const isDone = await compact({
      calls: this.#calls,
      keys: this.#keys,
      leader,
      baseModRevision: this.#baseModRevision,
      head,
      objects: [...objects.values()],
      oldestKept: oldest,
    });
    if (isDone) this.#replayed.forgotten(surplus);
  }

  #tellTrouble(message: string): void {
    this.#onBackgroundError(new Error(message));
  }
}
