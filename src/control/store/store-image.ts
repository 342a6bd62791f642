/** All of a store as a value, to be carried from one place to another: read from where no control plane serves, written to where nothing is yet. */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../../model/limits.ts';
import { EmbeddedFile, fileName } from './embedded-file.ts';
import type { EtcdCalls, EtcdOperation } from './etcd-calls.ts';
import { chunksOf } from './etcd-chunks.ts';
import { writeSnapshot } from './etcd-compaction.ts';
import type { EtcdKeys } from './etcd-keys.ts';
import { type EtcdBase, formatVersion, readState, textOf } from './etcd-state.ts';
import { ReplayedLog } from './replayed-log.ts';
import type { LoggedRevision } from './revision-log.ts';
import type { StoredObject } from './store.ts';
import { StoreError } from './store-error.ts';

/** Leases are no part of it: living sidecars register again. */
export interface StoreImage {
  readonly revision: number;
  readonly objects: readonly StoredObject[];
  /** As far as they are kept, oldest first, the last one being `revision`. */
  readonly revisions: readonly LoggedRevision[];
}

type ImageCalls = Pick<EtcdCalls, 'read' | 'write' | 'close'>;

/** One end of a migration. All reject with StoreError and, on etcd, EtcdFailure. */
export interface ImageStore {
  read(): Promise<StoreImage>;
  /** Null: nothing is there. Else what is. */
  occupied(): Promise<string | null>;
  /** All or nothing, as whoever opens it will see it. `onProgress` hears how many of the revisions are there. */
  write(image: StoreImage, onProgress: (revisions: number) => void): Promise<void>;
  close(): Promise<void>;
}

/** Looks without making anything: opening makes a store where there is none. */
export const hasEmbeddedStore = (directory: string): boolean => existsSync(join(directory, fileName));

/** Holds the directory until it is closed, so that no control plane can. */
export async function openEmbeddedImage(directory: string): Promise<ImageStore> {
  const file = await EmbeddedFile.open(directory);
  return {
    read: async () => {
      const { head, objects, revisions } = file.read();
      return { revision: head, objects, revisions };
    },
    occupied: async () => {
      const { head, leases } = file.read();
      return head === 0 && leases.length === 0 ? null : `revision ${head}`;
    },
    write: async ({ revision, objects, revisions }, onProgress) => {
      file.writeAll({ head: revision, objects, revisions });
      onProgress(revisions.length);
    },
    close: () => file.close(),
  };
}

export function openEtcdImage(calls: ImageCalls, keys: EtcdKeys): ImageStore {
  return {
    read: async () => {
      const state = await readState(calls, keys);
      requireNobody(state.notes.length);
      const replayed = new ReplayedLog();
      replayed.rebase(state);
      for (const entry of state.revisions) if (entry.revision.revision > replayed.head) replayed.take(entry);
      return { revision: state.head, objects: [...replayed.objects.values()], revisions: state.revisions };
    },
    occupied: async () => {
      const { head, notes } = await readState(calls, keys);
      requireNobody(notes.length);
      return head === 0 ? null : `revision ${head}`;
    },
    write: (image, onProgress) => writeToEtcd(calls, keys, image, onProgress),
    close: async () => calls.close(),
  };
}

/** What is written while a store is copied would be lost, or contradict the copy. */
function requireNobody(replicas: number): void {
  if (replicas === 0) return;
  throw new StoreError(
    'store-in-use',
    `${replicas === 1 ? 'A control plane serves' : `${replicas} control planes serve`} from the store on etcd. Stop all of them, then try again (one that was killed counts for ${limits.replicaLeaseMs / 1000} s).`,
  );
}

/** Nothing below the head's key exists before that is there, so that a copy that breaks off has not begun. */
async function writeToEtcd(
  calls: ImageCalls,
  keys: EtcdKeys,
  { revision, objects, revisions }: StoreImage,
  onProgress: (revisions: number) => void,
): Promise<void> {
  await clearEmptyStore(calls, keys);
  const isEmpty = { key: keys.head, at: 'createRevision', is: 0 } as const;
  const write = async (operations: readonly EtcdOperation[]) => {
    const outcome = await calls.write([isEmpty], operations);
    if (outcome.tag === 'refused') throw written();
  };
  // What one that broke off has left.
  await write([
    { tag: 'delete-range', ...keys.bulk },
    ...keys.revisionsBefore(Number.MAX_SAFE_INTEGER).map((range) => ({ tag: 'delete-range', ...range }) as const),
  ]);
  const base = await writeSnapshot(calls, keys, [isEmpty], revision, objects);
  if (base === null) throw written();
  let done = 0;
  for (const entry of revisions) {
    await writeRevision(entry, keys, write);
    onProgress(++done);
  }
  const outcome = await calls.write(
    [isEmpty],
    [
      { tag: 'put', key: keys.format, value: String(formatVersion) },
      { tag: 'put', key: keys.base, value: JSON.stringify(base) },
      { tag: 'put', key: keys.head, value: String(revision) },
    ],
  );
  // Tried twice, the first try may have done it.
  if (outcome.tag === 'refused' && (await baseIdOf(calls, keys)) !== base.id) throw written();
}

/** A store in which nothing was ever written has its keys all the same: a control plane makes them when it starts. */
async function clearEmptyStore(calls: ImageCalls, keys: EtcdKeys): Promise<void> {
  const { entries } = await calls.read({ from: keys.head, to: `${keys.head}\u0000`, limit: 1 });
  const head = entries[0];
  if (head === undefined || Number(textOf(head)) !== 0) return;
  // Refused, either an earlier try has done it or somebody else has written: the next write's condition tells.
  await calls.write(
    [{ key: keys.head, at: 'modRevision', is: head.modRevision }],
    [keys.head, keys.base, keys.format].map((key) => ({ tag: 'delete', key }) as const),
  );
}

async function baseIdOf(calls: ImageCalls, keys: EtcdKeys): Promise<string | null> {
  const { entries } = await calls.read({ from: keys.base, to: `${keys.base}\u0000`, limit: 1 });
  return entries[0] === undefined ? null : (JSON.parse(textOf(entries[0])) as EtcdBase).id;
}

const written = (): StoreError =>
  new StoreError(
    'store-in-use',
    'Somebody else has written to the store on etcd meanwhile: nothing was copied. Stop every control plane that uses it, then try again; if the target has something of its own by then, name another prefix.',
  );

async function writeRevision(
  entry: LoggedRevision,
  keys: EtcdKeys,
  write: (operations: readonly EtcdOperation[]) => Promise<void>,
): Promise<void> {
  const { revision } = entry.revision;
  const text = JSON.stringify(entry);
  let value = text;
  if (Buffer.byteLength(text) > limits.etcdChunkBytesMax) {
    const id = randomUUID();
    let chunks = 0;
    for (const chunk of chunksOf([text])) {
      await write([{ tag: 'put', key: keys.revisionChunk(revision, id, chunks), value: chunk }]);
      chunks++;
    }
    value = JSON.stringify({ id, chunks });
  }
  await write([{ tag: 'put', key: keys.revision(revision), value }]);
}
