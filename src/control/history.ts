/**
 * What lies between two revisions: which resources differ, and what would lead back. It is told from what each revision has replaced, so the
 * state right after a revision is known as long as all later ones are kept, its own record included or not.
 */
import { limits } from '../model/limits.ts';
import { isObjectKey, type ObjectKey } from '../model/resources.ts';
import { type Steps, sorted } from '../model/steps.ts';
import { isFounding } from './service-founder.ts';
import type { Revision, Store } from './store/store.ts';

/** A resource as the store had it at the first of two revisions, and at the second; null: it did not exist. */
export interface KeyChange {
  readonly key: ObjectKey;
  readonly before: string | null;
  readonly after: string | null;
}

/** The first revision whose state is known. */
export const oldestKnown = (store: Store): number => {
  const oldest = store.history(limits.revisionsFlagMax).at(-1);
  return oldest === undefined ? 0 : oldest.revision - 1;
};

/** The resources that `revisions`, oldest first and without gaps, have changed when all of them are taken together. By key. */
export function* changesOf(revisions: readonly Revision[]): Steps<readonly KeyChange[]> {
  const changes = new Map<ObjectKey, KeyChange>();
  for (const revision of revisions) {
    for (const { key, before, after } of revision.changes) {
      if (!isObjectKey(key)) continue;
      const earlier = changes.get(key);
      changes.set(key, { key, before: earlier === undefined ? before : earlier.before, after });
      yield;
    }
  }
  return yield* differing(changes);
}

/**
 * The same, without the Services that registrations have made meanwhile: whoever goes back takes back what people have changed, and a Service
 * whose sidecars live is not taken away from them. Changed by people afterwards, such a Service goes back to how it was made.
 */
export function* changesByPeople(revisions: readonly Revision[]): Steps<readonly KeyChange[]> {
  const changes = new Map<ObjectKey, KeyChange>();
  for (const revision of revisions) {
    for (const change of revision.changes) {
      const { key, before, after } = change;
      if (!isObjectKey(key)) continue;
      const earlier = changes.get(key);
      if (isFounding(revision, change) && (earlier === undefined || earlier.before === null)) changes.delete(key);
      else changes.set(key, { key, before: earlier === undefined ? before : earlier.before, after });
      yield;
    }
  }
  return yield* differing(changes);
}

/** Of revisions, newest first, those that have changed an object, each with its change of that only; at most `count`. */
export function* revisionsOf(key: ObjectKey, revisions: readonly Revision[], count: number): Steps<Revision[]> {
  const found: Revision[] = [];
  for (const revision of revisions) {
    if (found.length >= count) break;
    const changes = revision.changes.filter((change) => change.key === key);
    if (changes.length > 0) found.push({ ...revision, changes });
    yield;
  }
  return found;
}

function* differing(changes: ReadonlyMap<ObjectKey, KeyChange>): Steps<readonly KeyChange[]> {
  const differ = [...changes.values()].filter(({ before, after }) => before !== after);
  return yield* sorted(differ, (a, b) => (a.key < b.key ? -1 : 1));
}
