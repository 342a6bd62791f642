/**
 * Shortens the log of a store on etcd: a snapshot of all objects becomes the base that readers begin with, and the revisions that are no
 * longer kept go. Only the leader does it, and each of its writes holds only while it still leads.
 */
import { randomUUID } from 'node:crypto';
import type { EtcdCalls, EtcdCondition } from './etcd-calls.ts';
import { chunksOf } from './etcd-chunks.ts';
import type { EtcdKeys } from './etcd-keys.ts';
import { type EtcdBase, type EtcdLeader, snapshotPieces } from './etcd-state.ts';
import type { StoredObject } from './store.ts';

export interface Compaction {
  readonly calls: EtcdCalls;
  readonly keys: EtcdKeys;
  /** This control plane's leadership. */
  readonly leader: EtcdLeader;
  /** Of the base that is there now; 0: none. */
  readonly baseModRevision: number;
  readonly head: number;
  /** As of the head. Taken at once: they may change while this runs. */
  readonly objects: readonly StoredObject[];
  /** Revisions before this one go. */
  readonly oldestKept: number;
}

/** False: somebody else leads by now, or has moved the base; what this has written beside it is removed by the next one. Rejects with EtcdFailure. */
export async function compact(compaction: Compaction): Promise<boolean> {
  const { calls, keys, leader, baseModRevision, head, objects, oldestKept } = compaction;
  const leads: EtcdCondition = { key: keys.leader, at: 'createRevision', is: leader.createRevision };
  const base = await writeSnapshot(calls, keys, [leads], head, objects);
  if (base === null) return false;
  const outcome = await calls.write(
    [leads, { key: keys.base, at: 'modRevision', is: baseModRevision }],
    [
      { tag: 'put', key: keys.base, value: JSON.stringify(base) },
      ...keys.revisionsBefore(oldestKept).map((range) => ({ tag: 'delete-range', ...range }) as const),
      { tag: 'delete-range', ...keys.snapshotsBefore(head) },
    ],
  );
  return outcome.tag === 'done';
}

/** The chunks of a snapshot, each under the conditions. Null: they hold no longer. */
export async function writeSnapshot(
  calls: Pick<EtcdCalls, 'write'>,
  keys: EtcdKeys,
  conditions: readonly EtcdCondition[],
  revision: number,
  objects: readonly StoredObject[],
): Promise<EtcdBase | null> {
  const id = randomUUID();
  let chunks = 0;
  for (const value of chunksOf(snapshotPieces(objects))) {
    const key = keys.snapshotChunk(revision, id, chunks);
    const outcome = await calls.write(conditions, [{ tag: 'put', key, value }]);
    if (outcome.tag === 'refused') return null;
    chunks++;
  }
  return { revision, id, chunks };
}
