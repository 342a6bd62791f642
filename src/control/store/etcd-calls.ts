/**
 * What the store asks of etcd, in its own words: reads, fenced writes, leases, a watch. `EtcdClient` (etcd-client.ts) does it over the
 * network; a test can put itself in between and lose an answer.
 */

export interface EtcdEntry {
  readonly key: string;
  readonly bytes: Buffer;
  /** etcd's own revision of its last change, and of its creation. */
  readonly modRevision: number;
  readonly createRevision: number;
}

export interface EtcdPage {
  readonly entries: readonly EtcdEntry[];
  /** There are more behind the last one. */
  readonly hasMore: boolean;
  /** etcd's own newest revision when it answered. */
  readonly etcdRevision: number;
}

export interface EtcdCondition {
  readonly key: string;
  /** etcd's revision of its last change, or of its creation; 0: it does not exist. */
  readonly at: 'modRevision' | 'createRevision';
  readonly is: number;
}

export type EtcdOperation =
  /** Only if the key is at `ifModRevision`, where that is given; 0: only if it does not exist. Other operations are done all the same. */
  | {
      readonly tag: 'put';
      readonly key: string;
      readonly value: string | Uint8Array;
      readonly lease?: string;
      readonly ifModRevision?: number;
    }
  | { readonly tag: 'delete'; readonly key: string; readonly ifModRevision?: number }
  /** Keys from `from` up to, without, `to`. */
  | { readonly tag: 'delete-range'; readonly from: string; readonly to: string };

export type EtcdOutcome =
  /** Of each operation, whether it changed anything. `etcdRevision` is the one it was done in, if any did. */
  | { readonly tag: 'done'; readonly etcdRevision: number; readonly changed: readonly boolean[] }
  /** A condition did not hold: nothing was done. */
  | { readonly tag: 'refused' };

export type EtcdEvent =
  | { readonly tag: 'put'; readonly entry: EtcdEntry }
  | { readonly tag: 'delete'; readonly key: string; readonly modRevision: number };

export interface EtcdWatchListener {
  /** All events of one or several revisions of etcd, `etcdRevision` being the last one. */
  readonly onEvents: (events: readonly EtcdEvent[], etcdRevision: number) => void;
  /** Once, and nothing after it. `isCompacted`: etcd no longer has what was to be watched from. */
  readonly onEnd: (reason: { readonly isCompacted: boolean; readonly message: string }) => void;
}

export interface EtcdCalls {
  /**
   * Up to `limit` keys from `from` up to, without, `to`, in their order; as they were at `etcdRevision` when it is given. Linearizable.
   * `throughLog`: asked as a write is, which costs etcd one, and changes nothing.
   */
  read(range: {
    readonly from: string;
    readonly to: string;
    readonly limit: number;
    readonly etcdRevision?: number;
    readonly throughLog?: boolean;
  }): Promise<EtcdPage>;
  /** All conditions hold, then all operations; at most `limits.etcdOperationsMax` of them. */
  write(conditions: readonly EtcdCondition[], operations: readonly EtcdOperation[]): Promise<EtcdOutcome>;
  /** Answers its id. */
  grantLease(ttlMs: number): Promise<string>;
  /** False: it has ended. */
  keepLease(lease: string): Promise<boolean>;
  endLease(lease: string): Promise<void>;
  /** From the first change after `afterEtcdRevision`. Returns the end of it, after which the listener hears nothing. */
  watch(
    range: { readonly from: string; readonly to: string; readonly afterEtcdRevision: number },
    listener: EtcdWatchListener,
  ): () => void;
  /** The member that is asked does not do well, though it answers: the next call goes to the next one. (One that fails is left anyway.) */
  leaveMember(): void;
  close(): void;
}

export type EtcdFailureCode =
  /** No member, or no answer in time. A write may have been done. */
  | 'unavailable'
  /** The wrong user, password or certificate, or no right to these keys. */
  | 'refused'
  /** etcd no longer has the revision that was asked for. */
  | 'compacted'
  /** etcd's database has reached its quota. */
  | 'no-space'
  | 'no-such-lease'
  | 'other';

/** A call to etcd that failed. Calls are tried once: whoever makes one knows whether it may be made again. */
export class EtcdFailure extends Error {
  override readonly name = 'EtcdFailure';

  constructor(
    readonly code: EtcdFailureCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Every key of a range, page by page, as they were at one revision of etcd. */
export async function readAll(
  calls: Pick<EtcdCalls, 'read'>,
  { from, to, limit, etcdRevision }: { from: string; to: string; limit: number; etcdRevision?: number },
): Promise<{ readonly entries: readonly EtcdEntry[]; readonly etcdRevision: number }> {
  const entries: EtcdEntry[] = [];
  let at = etcdRevision;
  let next = from;
  for (;;) {
    const page = await calls.read({ from: next, to, limit, ...(at === undefined ? {} : { etcdRevision: at }) });
    at ??= page.etcdRevision;
    entries.push(...page.entries);
    const last = page.entries.at(-1);
    if (!page.hasMore || last === undefined) return { entries, etcdRevision: at };
    // The key right after it.
    next = `${last.key}\u0000`;
  }
}
