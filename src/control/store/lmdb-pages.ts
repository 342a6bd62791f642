/**
 * Whether each page that a file of lmdb uses is within the file. lmdb reads through a mapping, where a page beyond the end ends the process (SIGBUS). Free
 * pages at the end need not be in a healthy file, so its length alone does not tell. Layout: liblmdb/mdb.c, `MDB_page`, `MDB_node`, `MDB_ovpage`, `MDB_db`.
 */
import { readSync } from 'node:fs';

const flagsAt = 18;
const lowerAt = 20;
const headerBytes = 24;
const isBranch = 0x01;
const isLeaf = 0x02;

/** Within a node: page number or size, flags, length of the key, key, data. */
const nodeFlagsAt = 4;
const keyBytesAt = 6;
const keyAt = 8;
const isBigData = 0x01;
const isSubDatabase = 0x02;
/** Within the data of a node: an overflow page's number and count; the root of a database. */
const overflowPagesAt = 16;
const subRootAt = 40;
const noPage = 0xffff_ffff_ffff_ffffn;

export interface LmdbPages {
  readonly descriptor: number;
  readonly pageBytes: number;
  readonly fileBytes: number;
}

/** True: all that is reached from these roots is there. Reads the whole file, 1 MiB of it in some ms. @throws Error for what is no page of lmdb. */
export function hasAllPages(roots: readonly bigint[], { descriptor, pageBytes, fileBytes }: LmdbPages): boolean {
  const inFile = BigInt(Math.floor(fileBytes / pageBytes));
  const seen = new Set<bigint>();
  const open = roots.filter((root) => root !== noPage);
  const page = Buffer.alloc(pageBytes);
  for (let number = open.pop(); number !== undefined; number = open.pop()) {
    if (number >= inFile) return false;
    if (seen.has(number)) continue;
    seen.add(number);
    if (readSync(descriptor, page, 0, pageBytes, Number(number) * pageBytes) < pageBytes) return false;
    for (const { tag, first, count } of pagesNamedIn(page)) {
      if (first + count > inFile) return false;
      if (tag === 'tree') open.push(first);
    }
  }
  return true;
}

interface Named {
  /** Pages of a tree name others; those of a large value do not. */
  readonly tag: 'tree' | 'value';
  readonly first: bigint;
  readonly count: bigint;
}

function* pagesNamedIn(page: Buffer): Generator<Named> {
  const flags = page.readUInt16LE(flagsAt);
  if ((flags & (isBranch | isLeaf)) === 0) throw new Error('it has a page that is none of lmdb');
  const nodes = page.readUInt16LE(lowerAt) >> 1;
  for (let i = 0; i < nodes; i++) {
    // Offsets count from behind the header. Beyond the page, Buffer throws a RangeError: it is damaged.
    const node = headerBytes + page.readUInt16LE(headerBytes + 2 * i);
    const nodeFlags = page.readUInt16LE(node + nodeFlagsAt);
    if ((flags & isBranch) !== 0) {
      yield { tag: 'tree', first: BigInt(page.readUInt32LE(node) + nodeFlags * 2 ** 32), count: 1n };
      continue;
    }
    const data = node + keyAt + page.readUInt16LE(node + keyBytesAt);
    if ((nodeFlags & isBigData) !== 0)
      yield {
        tag: 'value',
        first: page.readBigUInt64LE(data),
        count: page.readBigUInt64LE(data + overflowPagesAt),
      };
    else if ((nodeFlags & isSubDatabase) !== 0) {
      const root = page.readBigUInt64LE(data + subRootAt);
      if (root !== noPage) yield { tag: 'tree', first: root, count: 1n };
    }
  }
}
