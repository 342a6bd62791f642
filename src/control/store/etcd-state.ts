/** What a store on etcd holds, read as one moment: the snapshot that a reader begins with, the revisions after it, and what lives beside them. */
import { limits } from '../../model/limits.ts';
import { type EtcdCalls, type EtcdEntry, EtcdFailure, readAll } from './etcd-calls.ts';
import { readChunks } from './etcd-chunks.ts';
import type { EtcdKeys } from './etcd-keys.ts';
import type { LoggedRevision } from './revision-log.ts';
import type { StoredObject } from './store.ts';
import { StoreError } from './store-error.ts';

/** Of what is written there. A store with a higher number is left alone. */
export const formatVersion = 1;
/** etcd's own compaction may overtake a reader: it begins anew, so many times. */
const readsMax = 5;

/** A lease as etcd holds it. */
export interface EtcdLease {
  readonly id: string;
  readonly value: string;
  readonly ttlMs: number;
  /** The control plane that put it: as long as that one lives, it alone ends it. */
  readonly holder: string;
  readonly modRevision: number;
}

export interface EtcdNote {
  readonly id: string;
  readonly note: string;
  readonly modRevision: number;
}

export interface EtcdLeader {
  readonly id: string;
  /** Writes of a leader hold only while this is so: a later leadership has another one. */
  readonly createRevision: number;
}

/** Where a reader begins. */
export interface EtcdBase {
  readonly revision: number;
  readonly id: string;
  readonly chunks: number;
}

export interface EtcdState {
  /** etcd's own revision at which all of this was so. */
  readonly etcdRevision: number;
  readonly isEmpty: boolean;
  readonly head: number;
  readonly headModRevision: number;
  readonly baseModRevision: number;
  /** Of the snapshot and of the revisions after it. */
  readonly base: { readonly revision: number; readonly objects: readonly StoredObject[] };
  /** Oldest first, without gaps, the last one being the head; the first may be before the base. */
  readonly revisions: readonly LoggedRevision[];
  readonly leases: readonly EtcdLease[];
  readonly notes: readonly EtcdNote[];
  readonly leader: EtcdLeader | null;
}

/** Rejects with EtcdFailure, and with StoreError `store-unusable` for what contradicts itself. */
export async function readState(calls: Pick<EtcdCalls, 'read'>, keys: EtcdKeys): Promise<EtcdState> {
  for (let tries = 1; ; tries++) {
    try {
      return await readOnce(calls, keys);
    } catch (error) {
      if (!(error instanceof EtcdFailure && error.code === 'compacted') || tries === readsMax) throw error;
    }
  }
}

async function readOnce(calls: Pick<EtcdCalls, 'read'>, keys: EtcdKeys): Promise<EtcdState> {
  // A member that does not answer is found out by a small question sooner than by a large one.
  await calls.read({ ...keys.live, limit: 1 });
  const { entries, etcdRevision } = await readAll(calls, { ...keys.live, limit: limits.etcdPageKeysMax });
  const found = sortOut(entries, keys);
  const head = found.head === null ? 0 : Number(textOf(found.head));
  const base = found.base === null ? null : (JSON.parse(textOf(found.base)) as EtcdBase);
  const objects = base === null ? [] : await readSnapshot(calls, keys, base, etcdRevision);
  const revisions: LoggedRevision[] = [];
  for (const { revision, entry } of found.revisions) {
    // Beyond the head there can only be what a migration that broke off has left.
    if (revision <= head) revisions.push(await readRevision(calls, keys, revision, textOf(entry), etcdRevision));
  }
  checkRevisions(revisions, head, base?.revision ?? 0);
  return {
    etcdRevision,
    isEmpty: entries.length === 0,
    head,
    headModRevision: found.head?.modRevision ?? 0,
    baseModRevision: found.base?.modRevision ?? 0,
    base: { revision: base?.revision ?? 0, objects },
    revisions,
    leases: found.leases,
    notes: found.notes,
    leader: found.leader,
  };
}

interface Found {
  head: EtcdEntry | null;
  base: EtcdEntry | null;
  leader: EtcdLeader | null;
  readonly revisions: { readonly revision: number; readonly entry: EtcdEntry }[];
  readonly leases: EtcdLease[];
  readonly notes: EtcdNote[];
}

function sortOut(entries: readonly EtcdEntry[], keys: EtcdKeys): Found {
  const found: Found = { head: null, base: null, leader: null, revisions: [], leases: [], notes: [] };
  for (const entry of entries) {
    const key = keys.parse(entry.key);
    switch (key.tag) {
      case 'format':
        checkFormat(textOf(entry));
        break;
      case 'head':
        found.head = entry;
        break;
      case 'base':
        found.base = entry;
        break;
      case 'leader':
        found.leader = parseLeader(entry);
        break;
      case 'revision':
        found.revisions.push({ revision: key.revision, entry });
        break;
      case 'lease':
        found.leases.push(parseLease(key.id, entry));
        break;
      case 'replica':
        found.notes.push(parseNote(key.id, entry));
        break;
      case 'unknown':
        break;
      default:
        key satisfies never;
    }
  }
  return found;
}

export const textOf = ({ bytes }: EtcdEntry): string => bytes.toString('utf8');

export function parseLease(id: string, entry: EtcdEntry): EtcdLease {
  const { value, ttlMs, holder } = JSON.parse(textOf(entry)) as Pick<EtcdLease, 'value' | 'ttlMs' | 'holder'>;
  return { id, value, ttlMs, holder, modRevision: entry.modRevision };
}

export const parseNote = (id: string, entry: EtcdEntry): EtcdNote => ({
  id,
  note: textOf(entry),
  modRevision: entry.modRevision,
});

export const parseLeader = (entry: EtcdEntry): EtcdLeader => ({
  id: textOf(entry),
  createRevision: entry.createRevision,
});

/** A revision from its own key, or from the chunks that this names. */
export async function readRevision(
  calls: Pick<EtcdCalls, 'read'>,
  keys: EtcdKeys,
  revision: number,
  text: string,
  etcdRevision?: number,
): Promise<LoggedRevision> {
  const parsed = JSON.parse(text) as LoggedRevision | { readonly id: string; readonly chunks: number };
  if (!('chunks' in parsed)) return parsed;
  const first = keys.revisionChunk(revision, parsed.id, 0);
  const at = etcdRevision === undefined ? {} : { etcdRevision };
  return JSON.parse(await readChunks(calls, { first, count: parsed.chunks, ...at })) as LoggedRevision;
}

async function readSnapshot(
  calls: Pick<EtcdCalls, 'read'>,
  keys: EtcdKeys,
  { revision, id, chunks }: EtcdBase,
  etcdRevision: number,
): Promise<readonly StoredObject[]> {
  if (chunks === 0) return [];
  const first = keys.snapshotChunk(revision, id, 0);
  const text = await readChunks(calls, { first, count: chunks, etcdRevision });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as StoredObject);
}

/** One object a line: JSON has no line breaks within. */
export function* snapshotPieces(objects: Iterable<StoredObject>): Generator<string> {
  for (const object of objects) yield `${JSON.stringify(object)}\n`;
}

function checkFormat(text: string): void {
  if (Number(text) <= formatVersion) return;
  throw new StoreError(
    'store-unusable',
    `The store on etcd was written by a newer Weft (format ${text.slice(0, 20)}, this one reads ${formatVersion}). Use the Weft that wrote it, or name another prefix.`,
  );
}

function checkRevisions(revisions: readonly LoggedRevision[], head: number, base: number): void {
  const oldest = head - revisions.length + 1;
  const isWhole = revisions.every((entry, index) => entry.revision.revision === oldest + index);
  if (
    Number.isSafeInteger(head) &&
    isWhole &&
    base <= head &&
    oldest <= base + 1 &&
    (head === 0 || revisions.length > 0)
  )
    return;
  throw new StoreError(
    'store-unusable',
    `The store on etcd is damaged: its ${revisions.length} revisions do not lead from ${base} to the newest one, ${head}. Restore etcd from a snapshot (\`etcdctl snapshot restore\`), or name an empty prefix.`,
  );
}
