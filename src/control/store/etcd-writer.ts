/** Writes of a store to etcd, each tried until it is done or its time is over, and what is said when etcd does not take them. */
import { randomUUID } from 'node:crypto';
import { limits } from '../../model/limits.ts';
import { type EtcdCalls, EtcdFailure, type EtcdOperation, type EtcdOutcome } from './etcd-calls.ts';
import { chunksOf } from './etcd-chunks.ts';
import { EtcdHead } from './etcd-head.ts';
import type { EtcdKeys } from './etcd-keys.ts';
import type { EtcdOutage } from './etcd-outage.ts';
import { type EtcdLeader, type EtcdLease, formatVersion } from './etcd-state.ts';
import type { LoggedRevision } from './revision-log.ts';
import type { Commit, StoreClock } from './store.ts';
import { StoreError, withRemark } from './store-error.ts';

export interface EtcdWriterOptions {
  readonly calls: EtcdCalls;
  readonly keys: EtcdKeys;
  readonly clock: StoreClock;
  /** The members, for messages. */
  readonly name: string;
  /** Told of every call that is made here. */
  readonly outage: EtcdOutage;
}

export class EtcdWriter {
  readonly #calls: EtcdCalls;
  readonly #keys: EtcdKeys;
  readonly #clock: StoreClock;
  readonly #name: string;
  readonly #outage: EtcdOutage;
  readonly #head: EtcdHead;

  constructor({ calls, keys, clock, name, outage }: EtcdWriterOptions) {
    this.#calls = calls;
    this.#keys = keys;
    this.#clock = clock;
    this.#name = name;
    this.#outage = outage;
    this.#head = new EtcdHead(calls, keys.head, clock);
  }

  /** For the first one on an empty etcd. */
  async begin(untilMs: number): Promise<void> {
    const { format } = this.#keys;
    const isAbsent = { key: format, at: 'modRevision', is: 0 } as const;
    const put = { tag: 'put', key: format, value: String(formatVersion) } as const;
    await this.persist(() => this.#calls.write([isAbsent], [put]), untilMs);
  }

  /** The number of the newest revision, 0 before the first; and when that was asked for which etcd has answered with. */
  async readHead(untilMs: number): Promise<{ readonly revision: number; readonly askedAtMs: number }> {
    let askedAtMs = 0;
    const revision = await this.persist(() => {
      askedAtMs = this.#clock.nowMs();
      return this.#head.read();
    }, untilMs);
    return { revision, askedAtMs };
  }

  /** Does what may be done twice: tried with one member after the other until it is done. Rejects with StoreError at `untilMs`, or at once when trying again is useless. */
  async persist<T>(run: () => Promise<T>, untilMs: number): Promise<T> {
    for (;;) {
      try {
        const done = await run();
        this.#outage.ended();
        return done;
      } catch (error) {
        await this.#bear(error, untilMs);
      }
    }
  }

  /**
   * Tries to make `entry` the next revision, once: it holds while the fence stands. `unclear`: somebody was faster, or etcd did not say;
   * whether it is there is seen by its request id.
   */
  async tryRevision(
    entry: LoggedRevision,
    { headModRevision, leader }: RevisionFence,
    untilMs: number,
  ): Promise<'done' | 'unclear'> {
    const { revision } = entry.revision;
    const text = JSON.stringify(entry);
    const id = randomUUID();
    const isLarge = Buffer.byteLength(text) > limits.etcdChunkBytesMax;
    const chunks = isLarge ? await this.#writeChunks(text, revision, id, untilMs) : 0;
    const value = isLarge ? JSON.stringify({ id, chunks }) : text;
    try {
      const outcome = await this.#calls.write(
        [
          { key: this.#keys.head, at: 'modRevision', is: headModRevision },
          ...(leader === null
            ? []
            : [{ key: this.#keys.leader, at: 'createRevision', is: leader.createRevision } as const]),
        ],
        [
          { tag: 'put', key: this.#keys.revision(revision), value },
          { tag: 'put', key: this.#keys.head, value: String(revision) },
        ],
      );
      this.#outage.ended();
      if (outcome.tag === 'done') return 'done';
    } catch (error) {
      // What becomes of the chunks is as open as the rest.
      await this.#bear(error, untilMs);
      return 'unclear';
    }
    if (isLarge) await this.#dropChunks(revision, id, chunks);
    return 'unclear';
  }

  /** Resolves when each is as wanted, and known to be: a value to put, or null to withdraw. */
  async writeLeases(
    wanted: Iterable<readonly [id: string, lease: { readonly value: string; readonly ttlMs: number } | null]>,
    view: LeaseView,
  ): Promise<void> {
    const open = [...wanted];
    while (open.length > 0) {
      const some = open.splice(0, limits.etcdOperationsMax);
      open.unshift(...(await this.#writeSomeLeases(some, view)));
    }
  }

  /** Those that nobody has put again since. */
  async deleteLeases(ended: readonly EtcdLease[], untilMs: number): Promise<void> {
    for (let begin = 0; begin < ended.length; begin += limits.etcdOperationsMax) {
      const operations = ended
        .slice(begin, begin + limits.etcdOperationsMax)
        .map(
          ({ id, modRevision }) => ({ tag: 'delete', key: this.#keys.lease(id), ifModRevision: modRevision }) as const,
        );
      await this.persist(() => this.#calls.write([], operations), untilMs);
    }
  }

  /** What a control plane says of itself; nothing when its presence has ended meanwhile. */
  async writeNote(replicaId: string, note: string, lease: string, untilMs: number): Promise<void> {
    const put = { tag: 'put', key: this.#keys.replica(replicaId), value: note, lease } as const;
    await this.persist(
      () =>
        this.#calls.write([], [put]).catch((error: unknown) => {
          if (!(error instanceof EtcdFailure && error.code === 'no-such-lease')) throw error;
        }),
      untilMs,
    );
  }

  unavailable(reason: string, cause?: unknown): StoreError {
    return new StoreError(
      'store-unavailable',
      `The store on etcd (${this.#name}) is not available: ${reason}. Check that most of its members run and can be reached from here, then try again.`,
      cause,
    );
  }

  /** Answers the lease changes that must be tried again, as somebody else has changed the same ones. */
  async #writeSomeLeases<T extends { readonly value: string; readonly ttlMs: number }>(
    wanted: readonly (readonly [id: string, lease: T | null])[],
    view: LeaseView,
  ): Promise<(readonly [string, T | null])[]> {
    const asked = wanted
      .map(([id, lease]) => ({ id, lease, before: view.known(id)?.modRevision ?? 0 }))
      .filter(({ id, lease, before }) => lease !== null || (before !== 0 && !view.isForeign(id)));
    if (asked.length === 0) return [];
    const operations = asked.map(({ id, lease, before }): EtcdOperation => {
      const key = this.#keys.lease(id);
      if (lease === null) return { tag: 'delete', key, ifModRevision: before };
      const { value, ttlMs } = lease;
      const text = JSON.stringify({ value, ttlMs, holder: view.holder });
      return { tag: 'put', key, value: text, ifModRevision: before };
    });
    let outcome: EtcdOutcome;
    try {
      outcome = await this.#calls.write([], operations);
    } catch (error) {
      await this.#bear(error, view.untilMs);
      // If it was done after all, the same again is refused, and what is there by then is what is wanted.
      return asked.map(({ id, lease }) => [id, lease]);
    }
    const { changed, etcdRevision } = outcome as Extract<EtcdOutcome, { tag: 'done' }>;
    if (changed.includes(true)) await view.until(() => view.seen() >= etcdRevision);
    const again: (readonly [string, T | null])[] = [];
    for (const [index, { id, lease, before }] of asked.entries()) {
      if (changed[index]) continue;
      const isNews = () => (view.known(id)?.modRevision ?? 0) !== before;
      if (!(await view.until(isNews))) throw this.unavailable('it does not tell what has changed');
      const known = view.known(id);
      const isSo = lease === null ? known === null : known?.value === lease.value && known.holder === view.holder;
      if (!isSo) again.push([id, lease]);
    }
    return again;
  }

  async #writeChunks(text: string, revision: number, id: string, untilMs: number): Promise<number> {
    let chunks = 0;
    for (const value of chunksOf([text])) {
      const put = { tag: 'put', key: this.#keys.revisionChunk(revision, id, chunks), value } as const;
      await this.persist(() => this.#calls.write([], [put]), untilMs);
      chunks++;
    }
    return chunks;
  }

  /** What fails here goes with the revisions around it, when they are no longer kept. */
  async #dropChunks(revision: number, id: string, chunks: number): Promise<void> {
    const [from, to] = [this.#keys.revisionChunk(revision, id, 0), this.#keys.revisionChunk(revision, id, chunks)];
    await this.#calls.write([], [{ tag: 'delete-range', from, to }]).catch(() => undefined);
  }

  /** Resolves when it is worth another try; else says for people what was thrown. */
  async #bear(error: unknown, untilMs: number): Promise<void> {
    if (!(error instanceof EtcdFailure)) throw error;
    this.#outage.failed(error);
    const { code, message } = error;
    if (code === 'no-space')
      throw new StoreError(
        'store-write-failed',
        `etcd's database is full: ${message}. Nothing was written. Compact and defragment it (\`etcdctl compact\`, \`etcdctl defrag\`), then \`etcdctl alarm disarm\`; etcd's --auto-compaction-retention keeps it small.`,
        error,
      );
    if (code !== 'unavailable')
      throw new StoreError(
        'store-unusable',
        `The store on etcd (${this.#name}) cannot be used: ${message}. Check the user, the password, the certificates and the user's rights to the prefix.`,
        error,
      );
    if (this.#clock.nowMs() + limits.etcdRetryMs >= untilMs) throw this.unavailable(message, error);
    await new Promise<void>((resolve) => this.#clock.after(limits.etcdRetryMs, resolve));
  }
}

/** For what a commit throws: etcd may have done what it did not answer. */
export function openOutcome(error: unknown): never {
  throw withRemark(
    error,
    'The change may have been written or not: sent again with the same Idempotency-Key it is made once.',
  );
}

/** What must still be so on etcd for a revision to be written. */
export interface RevisionFence {
  /** etcd's revision of the last change of the head. */
  readonly headModRevision: number;
  /** Whoever writes as the leader must still have this leadership; null: anybody may write. */
  readonly leader: EtcdLeader | null;
}

/** What a large change may take beyond a usual one, ms. */
export function chunkTimeMs({ changes }: Commit): number {
  let chars = 0;
  for (const value of changes.values()) chars += value?.length ?? 0;
  return Math.floor(chars / limits.etcdChunkBytesMax) * limits.etcdChunkWriteMs;
}

/** What a write of leases must know of those there are. */
export interface LeaseView {
  /** Who holds what is put. */
  readonly holder: string;
  readonly known: (id: string) => EtcdLease | null;
  /** Held by another living control plane: that one withdraws it, if anybody does. */
  readonly isForeign: (id: string) => boolean;
  /** etcd's revision up to which everything is known. */
  readonly seen: () => number;
  /** Waits, until `untilMs`. */
  readonly until: (isSo: () => boolean) => Promise<boolean>;
  readonly untilMs: number;
}
