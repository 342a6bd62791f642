/**
 * Where the control plane keeps its state: one interface, two drivers (embedded now, etcd next). Values are opaque strings; keys
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
  | { readonly tag: 'conflict'; readonly key: string; readonly expected: number; readonly actual: number };

export interface StoredLease {
  readonly id: string;
  readonly value: string;
  /** Wall clock, ms since the epoch: when it ends unless it is renewed. */
  readonly endsAtMs: number;
}

export type StoreEvent =
  | { readonly tag: 'revision'; readonly revision: Revision }
  /** Absent value: withdrawn, or ended. */
  | { readonly tag: 'lease'; readonly id: string; readonly lease: StoredLease | null };

export interface Store {
  /** Newest committed revision; 0 when empty. */
  readonly revision: number;
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
