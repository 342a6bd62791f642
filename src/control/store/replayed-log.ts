/** The objects and the newest revisions of a store, as replaying its log has made them. Nothing here waits for anything. */
import { strict as assert } from 'node:assert';
import type { EtcdState } from './etcd-state.ts';
import { charsOf, defaultRetention, type LoggedRevision, type Retention, RevisionLog } from './revision-log.ts';
import type { Commit, CommitResult, Revision, StoredObject } from './store.ts';

export class ReplayedLog {
  readonly objects = new Map<string, StoredObject>();
  readonly log: RevisionLog;
  #head = 0;
  /** Revisions that etcd has and this memory keeps no longer: their number, and their keys and values together. */
  #surplus = { revisions: 0, chars: 0 };

  constructor(retention: Retention = defaultRetention) {
    this.log = new RevisionLog(retention);
  }

  get head(): number {
    return this.#head;
  }

  get surplus(): { readonly revisions: number; readonly chars: number } {
    return this.#surplus;
  }

  /** The oldest revision that is kept. */
  get oldest(): number {
    return this.log.oldest ?? this.#head + 1;
  }

  /** Why nothing may be written; null: nothing speaks against it. */
  obstacleTo({ basis, expect }: Commit): Exclude<CommitResult, { tag: 'committed' }> | null {
    if (basis !== undefined && basis !== this.#head) return { tag: 'outdated', revision: this.#head };
    for (const [key, expected] of expect) {
      const actual = this.objects.get(key)?.revision ?? 0;
      if (actual !== expected) return { tag: 'conflict', key, expected, actual };
    }
    return null;
  }

  /** The revision that a commit makes. Deleting what does not exist is no change. */
  drawUp({ changes: wanted, who, message, atMs, requestId }: Commit): LoggedRevision {
    const changes: { key: string; before: string | null; after: string | null }[] = [];
    for (const [key, after] of wanted) {
      const before = this.objects.get(key)?.value ?? null;
      if (before !== null || after !== null) changes.push({ key, before, after });
    }
    return { revision: { revision: this.#head + 1, who, message, atMs, changes }, requestId };
  }

  /** Replays the next revision. */
  take(entry: LoggedRevision): void {
    const { revision, changes } = entry.revision;
    assert(revision === this.#head + 1, 'revisions are replayed one by one, none left out');
    for (const { key, after } of changes) {
      if (after === null) this.objects.delete(key);
      else this.objects.set(key, { key, value: after, revision });
    }
    this.#head = revision;
    this.#keep(entry);
  }

  /** etcd has forgotten what was the surplus as that began; what has been added to it since is there still. */
  forgotten({ revisions, chars }: ReplayedLog['surplus']): void {
    const now = this.#surplus;
    // A new base in between has counted anew.
    this.#surplus = { revisions: Math.max(0, now.revisions - revisions), chars: Math.max(0, now.chars - chars) };
  }

  /**
   * Begins at the base of a state. What that changes comes as one revision, the base's: those in between are no longer kept, so that
   * nobody can tell them. The state's later revisions are still to be replayed.
   */
  rebase({ base, revisions }: EtcdState): Revision {
    const changes: { key: string; before: string | null; after: string | null }[] = [];
    const gone = new Map(this.objects);
    for (const object of base.objects) {
      const before = gone.get(object.key)?.value ?? null;
      gone.delete(object.key);
      this.objects.set(object.key, object);
      if (before !== object.value) changes.push({ key: object.key, before, after: object.value });
    }
    for (const { key, value } of gone.values()) {
      this.objects.delete(key);
      changes.push({ key, before: value, after: null });
    }
    this.#head = base.revision;
    this.log.dropOldest(Number.POSITIVE_INFINITY);
    this.#surplus = { revisions: 0, chars: 0 };
    for (const entry of revisions) if (entry.revision.revision <= base.revision) this.#keep(entry);
    const made = revisions.find((entry) => entry.revision.revision === base.revision)?.revision;
    const { who, message, atMs } = made ?? { who: 'store', message: 'earlier revisions are no longer kept', atMs: 0 };
    return { revision: base.revision, who, message, atMs, changes };
  }

  #keep(entry: LoggedRevision): void {
    const forgotten = this.log.surplusWith(entry);
    const dropped = this.log.dropOldest(forgotten.length);
    this.log.append(entry);
    if (dropped.length === 0) return;
    const chars = dropped.reduce((sum, one) => sum + charsOf(one), 0);
    this.#surplus = { revisions: this.#surplus.revisions + dropped.length, chars: this.#surplus.chars + chars };
  }
}
