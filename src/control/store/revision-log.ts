/** The newest revisions of a store, in memory: bounded by count, age and size, and searchable by the request that made each. */
import { limits } from '../../model/limits.ts';
import type { Revision } from './store.ts';

/** A revision with the id of the request that made it. */
export interface LoggedRevision {
  readonly revision: Revision;
  readonly requestId: string;
}

/** How far back a store remembers. A function of the log alone, no clock: so all replicas of a store agree. */
export interface Retention {
  /** Revisions that are kept, the newest included. */
  readonly countMax: number;
  /** A revision goes when one is made that is more than this younger, ms: whatever was in force in that time can be returned to. */
  readonly ageMsMax: number;
}

export const defaultRetention: Retention = { countMax: limits.revisionsKeptMax, ageMsMax: limits.historyAgeMs };

export class RevisionLog {
  private readonly retention: Retention;
  /** Oldest first, without gaps: entry i has the revision of entry 0 plus i. */
  private readonly entries: LoggedRevision[] = [];
  private readonly byRequestId = new Map<string, number>();
  private chars = 0;

  constructor(retention: Retention = defaultRetention) {
    this.retention = retention;
  }

  /** The revision that `requestId` made, or null when it made none that is still kept. An empty id is nobody's. */
  revisionOf(requestId: string): number | null {
    return this.byRequestId.get(requestId) ?? null;
  }

  /** Adds the next revision. Call `trim` before or after: the log itself forgets nothing. */
  append(entry: LoggedRevision): void {
    this.entries.push(entry);
    this.chars += charsOf(entry);
    if (entry.requestId !== '') this.byRequestId.set(entry.requestId, entry.revision.revision);
  }

  /** Revisions that must go, oldest first, once `next` is added; the newest one stays at any size. */
  surplusWith(next: LoggedRevision | null): readonly number[] {
    let count = this.entries.length + (next === null ? 0 : 1);
    let chars = this.chars + (next === null ? 0 : charsOf(next));
    const { countMax, ageMsMax } = this.retention;
    const newestAtMs = (next ?? this.entries.at(-1))?.revision.atMs ?? 0;
    const surplus: number[] = [];
    for (const entry of this.entries) {
      const isTooOld = newestAtMs - entry.revision.atMs > ageMsMax;
      if (count <= 1 || (count <= countMax && chars <= limits.historyCharsMax && !isTooOld)) break;
      surplus.push(entry.revision.revision);
      count -= 1;
      chars -= charsOf(entry);
    }
    return surplus;
  }

  /** Answers those that it drops. */
  dropOldest(count: number): readonly LoggedRevision[] {
    const dropped = this.entries.splice(0, count);
    for (const entry of dropped) {
      this.chars -= charsOf(entry);
      this.byRequestId.delete(entry.requestId);
    }
    return dropped;
  }

  /** Null: it is empty. */
  get oldest(): number | null {
    return this.entries[0]?.revision.revision ?? null;
  }

  /** Revisions after `from`, oldest first; null when some are not kept, or when `from` lies in the future of this store. */
  after(from: number, newest: number): readonly Revision[] | null {
    if (from === newest) return [];
    const oldest = this.entries[0]?.revision.revision;
    if (from > newest || oldest === undefined || from < oldest - 1) return null;
    return this.entries.slice(from - oldest + 1).map((entry) => entry.revision);
  }

  /** Newest first, at most `limit`. */
  newest(limit: number): readonly Revision[] {
    if (limit <= 0) return [];
    return this.entries
      .slice(-limit)
      .reverse()
      .map((entry) => entry.revision);
  }
}

/** Its keys and values, before and after. */
export function charsOf(entry: LoggedRevision): number {
  let chars = 0;
  for (const change of entry.revision.changes) {
    chars += change.key.length + (change.before?.length ?? 0) + (change.after?.length ?? 0);
  }
  return chars;
}
