/**
 * Whether a directory can be handed to lmdb. lmdb 3.5 ends the process with a segmentation fault when it fails to open an
 * environment (it frees what its own clean-up then reads, env.cpp `openEnv`), so all that could make it fail is found out before.
 */
import { accessSync, closeSync, constants, fstatSync, fsyncSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { hasAllPages } from './lmdb-pages.ts';

/** Room for the first pages and the table of readers of a new environment, with some to spare. */
const firstBytes = 256 * 1024;

/** Layout of a meta page (liblmdb/mdb.c, `MDB_meta` after a page header of 24 bytes). */
const metaBytes = 168;
const magicAt = 24;
const versionAt = 28;
const pageBytesAt = 48;
/** Roots of the free list and of the main database. */
const rootsAt = [88, 136];
const lastPageAt = 144;
const txnIdAt = 152;
const magic = 0xbeefc0de;
const version = 2;

/**
 * False: all is well, but there is no file yet.
 *
 * @throws Error whose message says what is wrong with the directory, or with its file `name`.
 */
export function checkEnvironment(directory: string, name: string): boolean {
  checkRoom(directory);
  for (const file of [name, `${name}-lock`]) checkAccess(join(directory, file));
  return checkMetaPages(join(directory, name));
}

function checkRoom(directory: string): void {
  // One name for all: what a killed process left behind is overwritten and removed.
  const probe = join(directory, 'probe');
  try {
    const descriptor = openSync(probe, 'w', 0o600);
    try {
      const written = writeSync(descriptor, Buffer.alloc(firstBytes));
      if (written < firstBytes) throw new Error('the disk is full');
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } finally {
    rmSync(probe, { force: true });
  }
}

function checkAccess(path: string): void {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (thrown) {
    if (!isMissing(thrown)) throw thrown;
  }
}

function checkMetaPages(path: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (thrown) {
    if (isMissing(thrown)) return false;
    throw thrown;
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw new Error(`${path} is not a file`);
    // lmdb would take an empty file for a new one, and a mesh would have lost all that it was.
    if (stat.size === 0) throw new Error(`${path} was cut short`);
    checkMetas(path, descriptor, stat.size);
    return true;
  } finally {
    closeSync(descriptor);
  }
}

function checkMetas(path: string, descriptor: number, fileBytes: number): void {
  const first = readMeta(path, descriptor, 0);
  const pageBytes = first.readUInt32LE(pageBytesAt);
  if (pageBytes < 512 || pageBytes > 65_536) throw new Error(`${path} is damaged: its pages have ${pageBytes} bytes`);
  const second = readMeta(path, descriptor, pageBytes);
  const newest = second.readBigUInt64LE(txnIdAt) > first.readBigUInt64LE(txnIdAt) ? second : first;
  // Only pages in use count: the last ones, when free, need not be in the file, and then the pages are looked at.
  if ((newest.readBigUInt64LE(lastPageAt) + 1n) * BigInt(pageBytes) <= BigInt(fileBytes)) return;
  const roots = rootsAt.map((rootAt) => newest.readBigUInt64LE(rootAt));
  if (!hasAllPages(roots, { descriptor, pageBytes, fileBytes })) throw new Error(`${path} was cut short`);
}

function readMeta(path: string, descriptor: number, at: number): Buffer {
  const meta = Buffer.alloc(metaBytes);
  const bytes = readSync(descriptor, meta, 0, metaBytes, at);
  if (bytes < metaBytes || meta.readUInt32LE(magicAt) !== magic)
    throw new Error(`${path} is not a file of a store, or is damaged`);
  // The upper half holds flags.
  const found = meta.readUInt32LE(versionAt) & 0xffff;
  if (found !== version) throw new Error(`${path} has version ${found} of lmdb's format, this Weft reads ${version}`);
  return meta;
}

function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT';
}
