/** What moving a store does where there is nothing to move, or nothing yet to move it over. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEmbeddedStore } from '../../../src/control/store/embedded.ts';
import { noAccess } from '../../../src/control/store/etcd-location.ts';
import { migrateStore } from '../../../src/control/store/migrate.ts';
import { ManualClock } from './manual-clock.ts';
import { commitOf } from './store-contract.ts';

describe('moving a store', () => {
  const clock = new ManualClock();
  let parent: string;
  const at = (name: string) => join(parent, name);
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'weft-migrate-'));
  });
  afterEach(() => rm(parent, { recursive: true }));

  const open = (name: string) =>
    openEmbeddedStore({ directory: at(name), clock, onBackgroundError: (error) => expect.fail(error.message) });
  const migrate = (from: string, to: string, isDryRun = false) =>
    migrateStore({
      fromUrl: `embedded:${at(from)}`,
      toUrl: `embedded:${at(to)}`,
      etcdAccess: noAccess,
      clock,
      isDryRun,
      onProgress: () => undefined,
    });

  for (const isDryRun of [true, false]) {
    const what = isDryRun ? 'a dry run' : 'a real run';

    it(`says that there is no store, and makes none: ${what}`, async () => {
      await expect(migrate('mistyped', 'to', isDryRun)).rejects.toMatchObject({
        code: 'bad-store',
        message: expect.stringMatching(/There is no store in embedded:.*mistyped.*--from.*--store/),
      });
      expect(await readdir(parent)).toEqual([]);
      await mkdir(at('empty'));
      await expect(migrate('empty', 'to', isDryRun)).rejects.toThrow('There is no store in');
      expect(await readdir(at('empty'))).toEqual([]);
    });

    it(`says so of one in which nothing was ever written, and leaves the target alone: ${what}`, async () => {
      await (await open('opened')).close();
      await expect(migrate('opened', 'to', isDryRun)).rejects.toThrow('There is no store in');
      expect(existsSync(at('to'))).toBe(false);
    });
  }

  it('makes nothing of a target in a dry run, and takes one that was opened and never written for empty', async () => {
    const from = await open('from');
    await from.commit(commitOf({ a: '1' }));
    await from.close();
    await mkdir(at('to'));
    expect(await migrate('from', 'to', true)).toEqual({ revision: 1, objects: 1, revisions: 1 });
    expect(await readdir(at('to'))).toEqual([]);

    await (await open('to')).close();
    expect(await migrate('from', 'to')).toEqual({ revision: 1, objects: 1, revisions: 1 });
    const to = await open('to');
    expect(to.get('a')).toEqual({ key: 'a', value: '1', revision: 1 });
    await to.close();
  });
});
