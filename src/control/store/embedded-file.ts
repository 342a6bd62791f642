/**
 * The file of the embedded store: an lmdb environment of one directory, held by one process at a time. Each method that writes is
 * one transaction, synced to disk when it returns, or not there at all when it throws.
 *
 * Transactions are synchronous on purpose. lmdb's own queue (`transaction`, `put`) answers a full disk with a rejection that nobody
 * can catch, which ends the process, and `overlappingSync` answers before the sync. A commit of ten objects takes 0.15 ms on two cores, and
 * what one fdatasync takes on the disk at hand; the control plane's loop serves no requests of the mesh.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import type { BookedLease } from './lease-book.ts';
import { checkEnvironment } from './lmdb-check.ts';
import type { LoggedRevision } from './revision-log.ts';
import type { StoredObject } from './store.ts';
import { reasonOf, StoreError } from './store-error.ts';
import { isAlive, type StoreHolder, thisProcess } from './store-holder.ts';

/** Of what is written below. A file with a higher number is left alone. */
const formatVersion = 1;
/** Within the directory. */
export const fileName = 'store.mdb';

/** Directories this process has open: its own signature in a file says nothing about itself. */
const openHere = new Set<string>();

/** Everything a file holds. */
export interface StoredState {
  readonly head: number;
  readonly objects: readonly StoredObject[];
  /** Oldest first, without gaps, the last one being `head`. */
  readonly revisions: readonly LoggedRevision[];
  readonly leases: readonly BookedLease[];
}

export interface RevisionWrite {
  readonly entry: LoggedRevision;
  /** Revisions that are no longer kept. */
  readonly forgotten: readonly number[];
}

export class EmbeddedFile {
  private readonly directory: string;
  private readonly root: RootDatabase<string, string>;
  /** `format`, `head` and `holder`. */
  private readonly meta: Database<string, string>;
  private readonly objects: Database<string, string>;
  private readonly revisions: Database<string, number>;
  private readonly leases: Database<string, string>;

  private constructor(directory: string, root: RootDatabase<string, string>) {
    this.directory = directory;
    this.root = root;
    this.meta = root.openDB({ name: 'meta', encoding: 'string' });
    this.objects = root.openDB({ name: 'objects', encoding: 'string' });
    this.revisions = root.openDB<string, number>({ name: 'revisions', encoding: 'string' });
    this.leases = root.openDB({ name: 'leases', encoding: 'string' });
  }

  /**
   * Creates the directory (0700) when there is none, and takes hold of it.
   *
   * @throws StoreError `store-in-use` or `store-unusable`.
   */
  static async open(path: string): Promise<EmbeddedFile> {
    const directory = prepareDirectory(path);
    if (openHere.has(directory)) throw inUse(directory, process.pid);
    let root: RootDatabase<string, string> | null = null;
    openHere.add(directory);
    try {
      if (!checkEnvironment(directory, fileName)) await createEnvironment(directory);
      root = openEnvironment(join(directory, fileName));
      const file = new EmbeddedFile(directory, root);
      file.takeHold();
      syncPath(directory);
      return file;
    } catch (thrown) {
      await root?.close();
      openHere.delete(directory);
      throw thrown instanceof StoreError ? thrown : unusable(directory, reasonOf(thrown), thrown);
    }
  }

  /** @throws StoreError `store-unusable` when what is there contradicts itself. */
  read(): StoredState {
    try {
      const head = Number(this.meta.get('head') ?? '0');
      const objects: StoredObject[] = [];
      for (const { key, value } of this.objects.getRange()) objects.push(parseObject(key, value, head));
      const revisions: LoggedRevision[] = [];
      for (const { value } of this.revisions.getRange()) revisions.push(JSON.parse(value) as LoggedRevision);
      checkRevisions(revisions, head);
      const leases: BookedLease[] = [];
      for (const { value } of this.leases.getRange()) leases.push(JSON.parse(value) as BookedLease);
      return { head, objects, revisions, leases };
    } catch (thrown) {
      throw unusable(this.directory, `its content is damaged: ${reasonOf(thrown)}`, thrown);
    }
  }

  /** Writes the changed objects, the revision and the head. @throws StoreError `store-write-failed`, and nothing is written. */
  writeRevision({ entry, forgotten }: RevisionWrite): void {
    const { revision } = entry;
    this.write(() => {
      for (const { key, after } of revision.changes) {
        if (after === null) this.objects.removeSync(key);
        else this.objects.putSync(key, `${revision.revision}\n${after}`);
      }
      this.revisions.putSync(revision.revision, JSON.stringify(entry));
      for (const old of forgotten) this.revisions.removeSync(old);
      this.meta.putSync('head', String(revision.revision));
    });
  }

  /** Fills a file that has nothing yet. @throws StoreError `store-write-failed`, and nothing is written. */
  writeAll({ head, objects, revisions }: Omit<StoredState, 'leases'>): void {
    this.write(() => {
      for (const { key, value, revision } of objects) this.objects.putSync(key, `${revision}\n${value}`);
      for (const entry of revisions) this.revisions.putSync(entry.revision.revision, JSON.stringify(entry));
      this.meta.putSync('head', String(head));
    });
  }

  /** @throws StoreError `store-write-failed`, and nothing is written. */
  forgetRevisions(forgotten: readonly number[]): void {
    this.write(() => {
      for (const revision of forgotten) this.revisions.removeSync(revision);
    });
  }

  /** @throws StoreError `store-write-failed`, and nothing is written. */
  writeLeases(put: Iterable<BookedLease>, deletedIds: Iterable<string>): void {
    this.write(() => {
      for (const lease of put) this.leases.putSync(lease.id, JSON.stringify(lease));
      for (const id of deletedIds) this.leases.removeSync(id);
    });
  }

  /** Lets go of the directory. */
  async close(): Promise<void> {
    try {
      this.write(() => this.meta.removeSync('holder'));
    } finally {
      await this.root.close();
      openHere.delete(this.directory);
    }
  }

  /**
   * The signature is read and written in one transaction, and lmdb gives that to one process at a time, so two that start together
   * cannot both find a stale one. The kernel releases the lock of a process that is killed in between.
   */
  private takeHold(): void {
    this.root.transactionSync(() => {
      const format = Number(this.meta.get('format') ?? formatVersion);
      if (!(format <= formatVersion)) {
        throw unusable(
          this.directory,
          `it was written by a newer Weft (format ${format}, this one reads ${formatVersion})`,
        );
      }
      const signed = this.meta.get('holder');
      const holder = signed === undefined ? null : (JSON.parse(signed) as StoreHolder);
      const fileId = fileIdOf(join(this.directory, fileName));
      // A copy that was made while a process had the original carries that signature, but nobody has the copy open.
      const isOfThisFile = holder?.fileId === fileId;
      if (holder !== null && isOfThisFile && holder.pid !== process.pid && isAlive(holder))
        throw inUse(this.directory, holder.pid);
      this.meta.putSync('format', String(formatVersion));
      this.meta.putSync('holder', JSON.stringify(thisProcess(fileId)));
    });
  }

  private write(action: () => void): void {
    try {
      this.root.transactionSync(action);
    } catch (thrown) {
      throw new StoreError(
        'store-write-failed',
        `The store in ${this.directory} could not write: ${reasonOf(thrown)}. Nothing was changed. Check that its disk has room and is writable, then try again.`,
        thrown,
      );
    }
  }
}

function openEnvironment(path: string): RootDatabase<string, string> {
  return open<string, string>({ path, noSubdir: true, encoding: 'string', maxDbs: 8, overlappingSync: false });
}

/**
 * Makes the file under another name and gives it its own once it is whole: so an empty file is never one that a killed process has
 * begun, and is refused as damaged. A link, other than a rename, leaves alone what another process was faster to create.
 */
async function createEnvironment(directory: string): Promise<void> {
  const temporary = join(directory, `${fileName}.${process.pid}.new`);
  const remove = () => {
    for (const path of [temporary, `${temporary}-lock`]) rmSync(path, { force: true });
  };
  remove();
  try {
    await openEnvironment(temporary).close();
    syncPath(temporary);
    linkSync(temporary, join(directory, fileName));
  } catch (thrown) {
    if (!hasCode(thrown, 'EEXIST')) throw thrown;
  } finally {
    remove();
  }
}

function prepareDirectory(path: string): string {
  try {
    const isNew = makeDirectory(resolve(path));
    const directory = realpathSync(path);
    if (isNew) {
      // The umask may take bits from mkdir's mode, but the owner needs all three.
      chmodSync(directory, 0o700);
      syncPath(dirname(directory));
    }
    if (!statSync(directory).isDirectory()) throw new Error('it is not a directory');
    return directory;
  } catch (thrown) {
    throw unusable(path, reasonOf(thrown), thrown);
  }
}

/**
 * Makes a directory and those above it; false when it is there. Node's own `recursive` never ends where a directory exists in which
 * the system knows no such file, as in /proc.
 */
function makeDirectory(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (thrown) {
    if (hasCode(thrown, 'EEXIST')) return false;
    if (!hasCode(thrown, 'ENOENT')) throw thrown;
    makeDirectory(dirname(path));
    mkdirSync(path, { mode: 0o700 });
    return true;
  }
}

/** Device and inode: what a copy does not have in common with its original. */
function fileIdOf(path: string): string {
  const { dev, ino } = statSync(path, { bigint: true });
  return `${dev}:${ino}`;
}

const hasCode = (thrown: unknown, code: string): boolean =>
  thrown instanceof Error && 'code' in thrown && thrown.code === code;

/** Makes a file durable, or the names in a directory: without it a power cut could take away a file whose content was synced. */
function syncPath(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function parseObject(key: string, stored: string, head: number): StoredObject {
  const end = stored.indexOf('\n');
  const revision = Number(stored.slice(0, end));
  if (end < 1 || !Number.isSafeInteger(revision) || revision < 1 || revision > head) {
    throw new Error(`object ${key} is of a revision after the newest one, ${head}`);
  }
  return { key, value: stored.slice(end + 1), revision };
}

function checkRevisions(revisions: readonly LoggedRevision[], head: number): void {
  const oldest = head - revisions.length + 1;
  const isWhole = revisions.every((entry, index) => entry.revision.revision === oldest + index);
  if (!Number.isSafeInteger(head) || !isWhole || (head > 0 && revisions.length === 0)) {
    throw new Error(`the revisions do not lead up to the newest one, ${head}`);
  }
}

function inUse(directory: string, pid: number): StoreError {
  return new StoreError(
    'store-in-use',
    `The store in ${directory} is in use by process ${pid}. Stop that process, or give this one a directory of its own.`,
  );
}

function unusable(directory: string, reason: string, cause?: unknown): StoreError {
  return new StoreError(
    'store-unusable',
    `The store in ${directory} cannot be used: ${reason}. Check the directory and its permissions, restore it from a backup, use the Weft that wrote it, or name an empty directory.`,
    cause,
  );
}
