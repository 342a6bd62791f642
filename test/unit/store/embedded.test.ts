import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openEmbeddedStore } from '../../../src/control/store/embedded.ts';
import { EmbeddedFile } from '../../../src/control/store/embedded-file.ts';
import { hasAllPages } from '../../../src/control/store/lmdb-pages.ts';
import type { Store, StoreEvent } from '../../../src/control/store/store.ts';
import { StoreError } from '../../../src/control/store/store-error.ts';
import { thisProcess } from '../../../src/control/store/store-holder.ts';
import { limits } from '../../../src/model/limits.ts';
import { ManualClock } from './manual-clock.ts';
import { commitOf, storeContract } from './store-contract.ts';

const ignore = (): void => undefined;

/** Of the newer of the two meta pages: `MDB_meta` begins at byte 24. */
function metaOf(file: string) {
  const bytes = readFileSync(file);
  const pageBytes = bytes.readUInt32LE(48);
  const [first, second] = [bytes.subarray(0), bytes.subarray(pageBytes)] as const;
  const newest = second.readBigUInt64LE(152) > first.readBigUInt64LE(152) ? second : first;
  return { pageBytes, roots: [newest.readBigUInt64LE(88), newest.readBigUInt64LE(136)] };
}

storeContract('embedded', async (clock) => {
  const parent = await mkdtemp(join(tmpdir(), 'weft-store-'));
  const openStore = () => openEmbeddedStore({ directory: join(parent, 'store'), clock, onBackgroundError: ignore });
  let store = await openStore();
  return {
    store,
    async reopen() {
      await store.close();
      store = await openStore();
      return store;
    },
    async dispose() {
      await store.close();
      await rm(parent, { recursive: true });
    },
  };
});

describe('embedded store', () => {
  let parent: string;
  let directory: string;
  let clock: ManualClock;
  const opened: Store[] = [];

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'weft-store-'));
    directory = join(parent, 'store');
    clock = new ManualClock();
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    await rm(parent, { recursive: true });
  });

  const openStore = async (onBackgroundError: (error: Error) => void = ignore): Promise<Store> => {
    const store = await openEmbeddedStore({ directory, clock, onBackgroundError });
    opened.push(store);
    return store;
  };

  /** How many transactions were written, by the newest meta page (liblmdb/mdb.c, `MDB_meta.mm_txnid`). */
  const transactionsOf = (): number => {
    const file = readFileSync(join(directory, 'store.mdb'));
    return Math.max(...[0, 4096].map((page) => Number(file.readBigUInt64LE(page + 152))));
  };

  /** Writes to one of the databases of a closed store, as a damaged disk or another Weft would. */
  const tamper = async (database: string, key: string | number, value: string): Promise<void> => {
    const root = open<string, string>({ path: join(directory, 'store.mdb'), noSubdir: true, encoding: 'string' });
    const db = root.openDB<string, string | number>({ name: database, encoding: 'string' });
    db.transactionSync(() => db.putSync(key, value));
    await root.close();
  };

  it('refuses a directory that this process has open, and leaves that store working', async () => {
    const store = await openStore();
    await expect(openStore()).rejects.toMatchObject({
      code: 'store-in-use',
      message: expect.stringContaining(String(process.pid)),
    });
    expect(await store.commit(commitOf({ a: '1' }))).toMatchObject({ tag: 'committed' });
  });

  it('refuses a directory that a living process holds, and takes it over from one that is dead or has only the same pid', async () => {
    await (await openStore()).close();
    const other: ChildProcess = spawn('sleep', ['60']);
    try {
      await once(other, 'spawn');
      const pid = other.pid ?? 0;
      const { dev, ino } = await stat(join(directory, 'store.mdb'));
      const fileId = `${dev}:${ino}`;
      await tamper('meta', 'holder', JSON.stringify({ pid, startTicks: null, fileId }));
      await expect(openStore()).rejects.toMatchObject({
        code: 'store-in-use',
        message: expect.stringContaining(`process ${pid}`),
      });
      await tamper('meta', 'holder', JSON.stringify({ pid, startTicks: '1', fileId }));
      await (await openStore()).close();
      await tamper('meta', 'holder', JSON.stringify({ pid: process.pid, startTicks: '1', fileId }));
      await (await openStore()).close();
      await tamper('meta', 'holder', JSON.stringify({ pid, startTicks: null, fileId }));
      other.kill('SIGKILL');
      await once(other, 'exit');
      await openStore();
    } finally {
      other.kill('SIGKILL');
    }
  });

  it('opens a copy that was made while a process had the original', async () => {
    const other = spawn('sleep', ['60']);
    try {
      await once(other, 'spawn');
      const original = await openStore();
      await original.commit(commitOf({ a: '1' }));
      await original.close();
      const { dev, ino } = await stat(join(directory, 'store.mdb'));
      await tamper('meta', 'holder', JSON.stringify({ pid: other.pid, startTicks: null, fileId: `${dev}:${ino}` }));
      await expect(openStore()).rejects.toMatchObject({ code: 'store-in-use' });
      await cp(directory, join(parent, 'copy'), { recursive: true });
      directory = join(parent, 'copy');
      expect((await openStore()).get('a')?.value).toBe('1');
    } finally {
      other.kill('SIGKILL');
    }
  });

  it('signs with the start of the process', () => {
    expect(thisProcess('1:2').pid).toBe(process.pid);
    if (process.platform === 'linux') expect(thisProcess('1:2').startTicks).toMatch(/^\d+$/);
  });

  it.each([
    ['a file that is no store', async () => writeFile(join(directory, 'store.mdb'), 'x'.repeat(20_000))],
    ['a file that was cut short', async () => truncate(join(directory, 'store.mdb'), 8_192)],
    ['a file that was cut to nothing', async () => truncate(join(directory, 'store.mdb'), 0)],
    ['a file that was cut within its first page', async () => truncate(join(directory, 'store.mdb'), 100)],
    ['a newer format', () => tamper('meta', 'format', '2')],
    ['an object after the head', () => tamper('objects', 'a', '99\nvalue')],
    ['a missing revision', () => tamper('meta', 'head', '5')],
    ['a revision that is no JSON', () => tamper('revisions', 1, '{')],
  ])('refuses %s, and says what to do', async (_what, damage) => {
    const store = await openStore();
    await store.commit(commitOf({ a: '1' }));
    await store.close();
    await damage();
    await expect(openStore()).rejects.toMatchObject({
      name: 'StoreError',
      code: 'store-unusable',
      message: expect.stringMatching(/store.*backup/),
    });
    // A refusal must not hold the directory.
    await expect(openStore()).rejects.toMatchObject({ code: 'store-unusable' });
  });

  it('refuses a file that was cut anywhere, and takes one whose pages are all there', async () => {
    const file = join(directory, 'store.mdb');
    const store = await openStore();
    const values = Array.from({ length: 300 }, (_, i) => [`key${i}`, `${i}`.repeat(i % 10 === 0 ? 5_000 : 50)]);
    await store.commit(commitOf(Object.fromEntries(values)));
    for (let i = 0; i < 20; i++) await store.commit(commitOf({ [`key${i}`]: `again ${i}` }));
    await store.close();
    const { size } = await stat(file);
    for (const part of [0.1, 0.3, 0.5, 0.7, 0.9]) {
      const cut = join(parent, `cut-${part}`);
      await cp(directory, cut, { recursive: true });
      await truncate(join(cut, 'store.mdb'), Math.floor((size * part) / 4096) * 4096);
      await expect(EmbeddedFile.open(cut)).rejects.toThrow(/store\.mdb was cut short.*backup/);
    }
    expect((await openStore()).revision).toBe(21);
    const { pageBytes, roots } = metaOf(file);
    const descriptor = openSync(file, 'r');
    try {
      expect(hasAllPages(roots, { descriptor, pageBytes, fileBytes: size })).toBe(true);
      // The walk itself, whole file or not: without the last used page something is missing.
      expect(hasAllPages(roots, { descriptor, pageBytes, fileBytes: Math.floor(size / 2) })).toBe(false);
    } finally {
      closeSync(descriptor);
    }
  });

  it('refuses a path that is a file', async () => {
    await writeFile(directory, '');
    await expect(openStore()).rejects.toMatchObject({
      code: 'store-unusable',
      message: expect.stringContaining(directory),
    });
  });

  // Node's own recursive mkdir would never come back from the first one.
  it.skipIf(process.platform !== 'linux').each(['/proc/weft-store', '/proc/weft/store', '/dev/null/store'])(
    'refuses %s, where nothing can be made',
    async (impossible) => {
      directory = impossible;
      await expect(openStore()).rejects.toMatchObject({
        code: 'store-unusable',
        message: expect.stringContaining(impossible),
      });
    },
  );

  it('makes the directories above its own, and leaves nothing in it but its files', async () => {
    directory = join(parent, 'a', 'b', 'c');
    await openStore();
    expect((await readdir(directory)).sort()).toEqual(['store.mdb', 'store.mdb-lock']);
  });

  it('makes its directory for its owner alone', async () => {
    await openStore();
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  it('keeps as many revisions as fit, also on disk, and answers null for the others', async () => {
    const store = await openStore();
    const value = 'x'.repeat(limits.historyCharsMax / 8);
    for (let round = 0; round < 12; round += 1) await store.commit(commitOf({ a: `${round}${value}` }));
    const history = store.history(100).map((revision) => revision.revision);
    expect(history[0]).toBe(12);
    expect(history.length).toBeLessThan(5);
    expect(store.revisionsAfter(2)).toBeNull();
    await store.close();
    const again = await openStore();
    expect(again.history(100).map((revision) => revision.revision)).toEqual(history);
    expect(again.get('a')?.value).toBe(`11${value}`);
    // It writes and reads some 100 MB.
  }, 60_000);

  it('writes renewals together after a while, not each at once', async () => {
    const store = await openStore();
    clock.advance(limits.leaseGraceMs);
    await store.putLease('a', 'v', 3_600_000);
    await store.putLease('b', 'v', 3_600_000);
    const before = clock.waiting;
    clock.advance(1_000);
    await store.putLease('a', 'v', 3_600_000);
    await store.putLease('b', 'v', 3_600_000);
    expect(clock.waiting).toBe(before + 1);
    clock.advance(limits.leaseWriteMs);
    expect(clock.waiting).toBe(before);
  });

  it('does not write renewals of a term that the grace outlasts, and loses nothing by it', async () => {
    const store = await openStore();
    clock.advance(limits.leaseGraceMs);
    await store.putLease('a', 'v', limits.leaseMs);
    const before = transactionsOf();
    for (let renewal = 0; renewal < 20; renewal += 1) {
      clock.advance(limits.leaseRenewMs);
      await store.putLease('a', 'v', limits.leaseMs);
    }
    expect(transactionsOf()).toBe(before);
    await store.close();
    const again = await openStore();
    expect([...again.leases()]).toEqual([{ id: 'a', value: 'v', endsAtMs: clock.nowMs() + limits.leaseGraceMs }]);
  });

  it('writes the leases of a fleet that comes at once in a few transactions, not one each', async () => {
    const store = await openStore();
    const before = transactionsOf();
    await Promise.all(Array.from({ length: 1_000 }, (_, i) => store.putLease(`sidecar-${i}`, 'here', 15_000)));
    expect([...store.leases()]).toHaveLength(1_000);
    expect(transactionsOf() - before).toBeLessThanOrEqual(2);
  });

  it('rejects each lease that was to be written, when the disk refuses them, and takes the next ones', async () => {
    const store = await openStore();
    const events: StoreEvent[] = [];
    store.subscribe((event) => events.push(event));
    const refuse = vi.spyOn(EmbeddedFile.prototype, 'writeLeases').mockImplementationOnce(() => {
      throw new StoreError('store-write-failed', 'no room');
    });
    try {
      const asked = await Promise.allSettled([store.putLease('a', '1', 15_000), store.putLease('b', '1', 15_000)]);
      expect(asked.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      expect([[...store.leases()], events]).toEqual([[], []]);
      await store.putLease('a', '1', 15_000);
      expect([...store.leases()]).toMatchObject([{ id: 'a' }]);
    } finally {
      refuse.mockRestore();
    }
  });

  it('rejects a write that lmdb refuses, and goes on with the next', async () => {
    const store = await openStore();
    await expect(store.commit(commitOf({ good: '1', ['k'.repeat(10_000)]: '1' }))).rejects.toMatchObject({
      code: 'store-write-failed',
    });
    expect(store.get('good')).toBeNull();
    expect(await store.commit(commitOf({ a: '1' }))).toEqual({ tag: 'committed', revision: 1 });
    await store.close();
    const again = await openStore();
    expect([...again.list()].map((object) => object.key)).toEqual(['a']);
  });

  it('does not let a commit in between that expected absent what a listener of a lease writes', async () => {
    const store = await openStore();
    store.subscribe((event) => {
      if (event.tag === 'lease') void store.commit(commitOf({ a: 'listener' }, { expect: new Map([['a', 0]]) }));
    });
    const [, late] = await Promise.all([
      store.putLease('sidecar', '1', 60_000),
      store.commit(commitOf({ a: 'late' }, { expect: new Map([['a', 0]]) })),
    ]);
    expect(late).toMatchObject({ tag: 'conflict', actual: 1 });
    expect(store.get('a')?.value).toBe('listener');
  });

  it('tells each of several lease changes at once', async () => {
    const store = await openStore();
    const events: StoreEvent[] = [];
    store.subscribe((event) => events.push(event));
    await Promise.all([
      store.putLease('a', '1', 60_000),
      store.deleteLease('a'),
      store.putLease('a', '1', 60_000),
      store.putLease('a', '2', 60_000),
    ]);
    expect(events.map((event) => event.tag === 'lease' && (event.lease?.value ?? null))).toEqual(['1', null, '1', '2']);
  });

  it('reports a subscriber that throws', async () => {
    const errors: Error[] = [];
    const store = await openStore((error) => errors.push(error));
    store.subscribe(() => {
      throw new Error('the reason');
    });
    await store.commit(commitOf({ a: '1' }));
    expect(errors.map((error) => error.message)).toEqual([expect.stringContaining('the reason')]);
  });
});
