/**
 * Where the control plane keeps its state: one interface, two drivers (embedded, etcd). Values are opaque strings; keys
 * are `ConfigKey`s. A commit is atomic at any size, and acknowledged only once it is durable.
 */
export interface StoredObject {
  readonly key: string;
  readonly value: string;
  /** Revision of its last change. */
  readonly revision: number;
}

export interface Commit {
  /** Expected revisions: a number, 0 for "must not exist". Keys not named here are not checked. */
  readonly expect: ReadonlyMap<string, number>;
  /** The newest revision when the change was judged: over a later one nothing is written. Left out: any will do. */
  readonly basis?: number;
  /** Nothing is written unless this control plane does what only one of them may do, at the moment of the write. Left out: any may write. */
  readonly onlyAsLeader?: true;
  /** New value, or null to delete. */
  readonly changes: ReadonlyMap<string, string | null>;
  readonly who: string;
  readonly message: string;
  /** Recognises a write that was retried after an unknown outcome. */
  readonly requestId: string;
  readonly atMs: number;
}

export interface Revision {
  readonly revision: number;
  readonly who: string;
  readonly message: string;
  readonly atMs: number;
  /** Key with its value before and after (null: did not exist). */
  readonly changes: readonly { readonly key: string; readonly before: string | null; readonly after: string | null }[];
}

export type CommitResult =
  | { readonly tag: 'committed'; readonly revision: number }
  /** Nothing was written. */
  | { readonly tag: 'conflict'; readonly key: string; readonly expected: number; readonly actual: number }
  /** Nothing was written: others have, since `basis`. `revision` is the newest. */
  | { readonly tag: 'outdated'; readonly revision: number }
  /** Nothing was written: see `onlyAsLeader`. */
  | { readonly tag: 'not-leading' };

export interface StoredLease {
  readonly id: string;
  readonly value: string;
  /** Wall clock, ms since the epoch: when it ends unless it is renewed. */
  readonly endsAtMs: number;
}

/** Another control plane on the same store. */
export interface StoreReplica {
  readonly id: string;
  /** What it says of itself. */
  readonly note: string;
  /** It does what only one of them may do. */
  readonly isLeader: boolean;
}

/** Writes are refused, or would be; what is in memory is served all the same. */
export interface StoreOutage {
  /** Wall clock, ms since the epoch. */
  readonly sinceMs: number;
  /** For people. */
  readonly reason: string;
}

export type StoreEvent =
  | { readonly tag: 'revision'; readonly revision: Revision }
  /** Absent value: withdrawn, or ended. */
  | { readonly tag: 'lease'; readonly id: string; readonly lease: StoredLease | null }
  /** Another control plane came, has another note, or holds other leases; null: it is gone. */
  | { readonly tag: 'replica'; readonly id: string; readonly replica: StoreReplica | null };

export interface Store {
  /** Newest committed revision; 0 when empty. */
  readonly revision: number;
  /**
   * Wall clock: all that was committed by then, by whichever control plane, is in memory here. A store of one process has it at any time; one that
   * is shared looks every few seconds, and falls behind while the store does not answer.
   */
  readonly knownAtMs: number;
  /** Null: as far as is known it takes writes. It is noticed within some seconds, also when nobody writes. */
  readonly outage: StoreOutage | null;
  get(key: string): StoredObject | null;
  list(): Iterable<StoredObject>;
  commit(commit: Commit): Promise<CommitResult>;
  /** Revisions after `from`, oldest first, or null when some of them are no longer kept (relist then). */
  revisionsAfter(from: number): readonly Revision[] | null;
  /** The revision that a commit with this request id made, while it is kept. */
  madeBy(requestId: string): Revision | null;
  /** Newest first. */
  history(limit: number): readonly Revision[];

  /** Creates, replaces or renews: durable before it resolves when the value changed; a mere renewal may be written lazily. */
  putLease(id: string, value: string, ttlMs: number): Promise<void>;
  deleteLease(id: string): Promise<void>;
  leases(): Iterable<StoredLease>;

  /** Resolves once all that was committed before the call, by whichever control plane, is in memory here. */
  sync(): Promise<void>;
  /** Of this control plane; another one after each start. */
  readonly replicaId: string;
  /** The others that are alive. */
  replicas(): Iterable<StoreReplica>;
  /**
   * Tells the others something about this control plane for as long as it lives: soon, and only the newest. `compose` is asked when it
   * is written, so that it speaks of every lease that was put before.
   */
  tell(compose: () => string): void;
  /** The other living control plane that a lease was put by last. Null: this one, or one that is gone. */
  holderOf(leaseId: string): StoreReplica | null;
  /** Whether the note of a lease's holder was written after the lease, and thus speaks of it as it is. */
  isTold(leaseId: string): boolean;

  /** Called after each event is durable, in order. Returns the end of the subscription. */
  subscribe(listener: (event: StoreEvent) => void): () => void;
  close(): Promise<void>;
}

/** Passed into every driver: wall clock, and how to wait (so that tests own the time). */
export interface StoreClock {
  nowMs(): number;
  /** Calls back once after `ms`; the answer cancels it. */
  after(ms: number, run: () => void): () => void;
}
