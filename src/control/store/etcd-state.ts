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

/** Hears the keys of values that are passed over because nobody can read them. */
export type OnUnreadable = (key: string) => void;

/** Rejects with EtcdFailure, and with StoreError `store-unusable` for what contradicts itself. */
export async function readState(
  calls: Pick<EtcdCalls, 'read'>,
  keys: EtcdKeys,
  onUnreadable: OnUnreadable = () => undefined,
): Promise<EtcdState> {
  for (let tries = 1; ; tries++) {
    try {
      return await readOnce(calls, keys, onUnreadable);
    } catch (error) {
      if (!(error instanceof EtcdFailure && error.code === 'compacted') || tries === readsMax) throw error;
    }
  }
}

async function readOnce(
  calls: Pick<EtcdCalls, 'read'>,
  keys: EtcdKeys,
  onUnreadable: OnUnreadable,
): Promise<EtcdState> {
  // A member that does not answer is found out by a small question sooner than by a large one.
  await calls.read({ ...keys.live, limit: 1 });
  const { entries, etcdRevision } = await readAll(calls, { ...keys.live, limit: limits.etcdPageKeysMax });
  const found = sortOut(entries, keys, onUnreadable);
  const head = found.head === null ? 0 : headOf(found.head);
  const base = found.base === null ? null : baseOf(found.base);
  const objects = base === null ? [] : await readSnapshot(calls, keys, base, etcdRevision);
  const revisions: LoggedRevision[] = [];
  for (const { revision, entry } of found.revisions) {
    // Beyond the head there can only be what a migration that broke off has left.
    if (revision <= head) revisions.push(await readKeptRevision(calls, keys, { revision, entry, etcdRevision }));
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

function sortOut(entries: readonly EtcdEntry[], keys: EtcdKeys, onUnreadable: OnUnreadable): Found {
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
      case 'lease': {
        const lease = parseLease(key.id, entry, onUnreadable);
        if (lease !== null) found.leases.push(lease);
        break;
      }
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

/** Null: it is none, and was told. */
export function parseLease(id: string, entry: EtcdEntry, onUnreadable: OnUnreadable): EtcdLease | null {
  const { value, ttlMs, holder } = (jsonOf(entry) ?? {}) as Partial<Record<keyof EtcdLease, unknown>>;
  if (typeof value === 'string' && typeof holder === 'string' && Number.isFinite(ttlMs))
    return { id, value, ttlMs: ttlMs as number, holder, modRevision: entry.modRevision };
  onUnreadable(entry.key);
  return null;
}

/** The newest revision. @throws StoreError `store-unusable`. */
export function headOf(entry: EtcdEntry): number {
  const text = textOf(entry);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw unreadable(entry, 'the number of the newest revision, as the last key below live/revision/ has it');
}

function baseOf(entry: EtcdEntry): EtcdBase {
  const base = jsonOf(entry) as Partial<EtcdBase> | null;
  if (Number.isSafeInteger(base?.revision) && typeof base?.id === 'string' && Number.isSafeInteger(base.chunks))
    return base as EtcdBase;
  throw unreadable(entry, 'where the snapshot begins');
}

/** Null: it is no JSON, or null. */
function jsonOf(entry: EtcdEntry): unknown {
  try {
    return JSON.parse(textOf(entry));
  } catch {
    return null;
  }
}

const shownChars = 40;

const unreadable = (entry: EtcdEntry, meant: string): StoreError =>
  new StoreError(
    'store-unusable',
    `The store on etcd is damaged: its key ${entry.key} has the value ${JSON.stringify(textOf(entry).slice(0, shownChars))}, which Weft has not written. It must be ${meant}: put that back (\`etcdctl put\`), or restore etcd from a snapshot (\`etcdctl snapshot restore\`).`,
  );

async function readKeptRevision(
  calls: Pick<EtcdCalls, 'read'>,
  keys: EtcdKeys,
  {
    revision,
    entry,
    etcdRevision,
  }: { readonly revision: number; readonly entry: EtcdEntry; readonly etcdRevision: number },
): Promise<LoggedRevision> {
  if (jsonOf(entry) === null) throw unreadable(entry, 'a revision');
  return readRevision(calls, keys, revision, textOf(entry), etcdRevision);
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
