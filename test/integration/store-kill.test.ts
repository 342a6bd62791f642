/** No acknowledged write is lost when the process that made it is killed, and the next one takes over at once. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../src/control/store/embedded.ts';
import type { Store } from '../../src/control/store/store.ts';
import { ManualClock } from '../unit/store/manual-clock.ts';

const kills = 14;

let parent: string;
let directory: string;
let program: string;

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'weft-kill-'));
  directory = join(parent, 'store');
  program = join(parent, 'store-writer.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('../fixtures/store-writer.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    plugins: [
      {
        // The bundle lies outside the checkout, where the native package is not found by its name.
        name: 'lmdb-by-path',
        setup({ onResolve }) {
          const path = new URL('../../node_modules/lmdb/node-index.js', import.meta.url).href;
          onResolve({ filter: /^lmdb$/ }, () => ({ path, external: true }));
        },
      },
    ],
  });
});
afterAll(() => rm(parent, { recursive: true }));

const openStore = (): Promise<Store> => openEmbeddedStore({ directory, clock: new ManualClock() });

/** Starts a writer and kills it after so many acknowledgements; answers the newest ones of each kind. */
async function writeAndKill(acknowledgements: number): Promise<{ revision: number; lease: number }> {
  const child: ChildProcessByStdio<null, Readable, null> = spawn(process.execPath, [program, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
      if (printed.split('\n').length > acknowledgements) child.kill('SIGKILL');
    });
    const [, signal] = await once(child, 'close', { signal: AbortSignal.timeout(20_000) });
    expect(signal).toBe('SIGKILL');
    const newest = (kind: string): number =>
      Number([...printed.matchAll(new RegExp(`^${kind} (\\d+)$`, 'gm'))].at(-1)?.[1] ?? 0);
    return { revision: newest('revision'), lease: newest('lease') };
  } finally {
    child.kill('SIGKILL');
  }
}

/** Every object is what the newest revision that changed it says, and the newest revision is the head. */
function checkConsistency(store: Store): void {
  const history = store.history(Number.MAX_SAFE_INTEGER);
  expect(history).toHaveLength(store.revision);
  expect(history[0]?.revision).toBe(store.revision);
  const expected = new Map<string, { key: string; value: string; revision: number }>();
  for (const revision of [...history].reverse()) {
    for (const { key, before, after } of revision.changes) {
      expect(before).toBe(expected.get(key)?.value ?? null);
      if (after === null) expected.delete(key);
      else expected.set(key, { key, value: after, revision: revision.revision });
    }
  }
  expect(new Map([...store.list()].map((object) => [object.key, object]))).toEqual(expected);
}

it(`loses no acknowledged write in ${kills} kills`, async () => {
  let acknowledgedBefore = 0;
  for (let kill = 1; kill <= kills; kill += 1) {
    const acknowledged = await writeAndKill(kill * 11);
    expect(acknowledged.revision).toBeGreaterThan(acknowledgedBefore);
    const store = await openStore();
    try {
      // At most the write that was under way is there beyond the acknowledged ones.
      expect(store.revision - acknowledged.revision).toBeGreaterThanOrEqual(0);
      expect(store.revision - acknowledged.revision).toBeLessThanOrEqual(1);
      expect(store.get('counter')).toMatchObject({ value: String(store.revision), revision: store.revision });
      expect(Number([...store.leases()][0]?.value)).toBeGreaterThanOrEqual(acknowledged.lease);
      checkConsistency(store);
      acknowledgedBefore = store.revision;
    } finally {
      await store.close();
    }
  }
});

it('refuses a second process while the first one runs, and names it', async () => {
  const child = spawn(process.execPath, [program, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data', { signal: AbortSignal.timeout(20_000) });
    await expect(openStore()).rejects.toMatchObject({
      code: 'store-in-use',
      message: expect.stringContaining(`process ${child.pid}`),
    });
  } finally {
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    child.stdout.resume();
    await closed;
  }
});
