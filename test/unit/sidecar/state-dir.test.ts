import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type TrustBundle, trustBundleKey } from '../../../src/model/identity.ts';
import { HeldObjects } from '../../../src/sidecar/held-objects.ts';
import { type SidecarState, StateDir } from '../../../src/sidecar/state-dir.ts';
import { service } from '../control/memory-store.ts';

const stateOf = (revision: number, objects = 3): SidecarState => ({
  sidecar: 's1',
  service: 'app',
  namespace: 'default',
  held: new HeldObjects(
    revision,
    new Map(
      Array.from({ length: objects }, (_, n) => [
        `Service/default/s${n}`,
        { version: `${revision}.x`, object: service(`s${n}`, '127.0.0.1:1') },
      ]),
    ),
    new Map([
      ['s0', 's0.default'],
      ['none', ''],
    ]),
  ),
  lastUsedAtMs: new Map([['s0', 17]]),
});

let path = '';
const warnings: string[] = [];
const note = (fields: object, message: string) => {
  // A stack is for what nobody expected.
  expect(fields).toEqual({ path: expect.any(String), reason: expect.not.stringContaining('\n') });
  warnings.push(message);
};
const logger = {
  debug() {},
  info() {},
  warn: (fields: object, message: string) => note(fields, message),
  error: (fields: object, message: string) => note(fields, message),
  fatal() {},
};
const file = () => join(path, 'sidecar-state.jsonl');

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'weft-state-'));
  warnings.length = 0;
});
afterEach(() => rm(path, { recursive: true, force: true }));

const bundle: TrustBundle = {
  kind: 'TrustBundle',
  trustDomain: 'weft.local',
  roots: [{ sha256: 'ab', pem: 'root', addedAt: '2026-01-01T00:00:00Z', retiresAt: null }],
  requiresJoinToken: true,
};

it('keeps the roots that the sidecar believes', async () => {
  const held = HeldObjects.none.with({
    revision: 3,
    changes: [{ key: trustBundleKey, version: '3.x', object: bundle }],
    hosts: new Map(),
  });
  await new StateDir(path, logger).save({ ...stateOf(1), held });
  const loaded = await new StateDir(path, logger).load();
  expect(loaded?.held?.trustBundle).toEqual(bundle);
  expect(loaded?.held?.versions()).toEqual(new Map([[trustBundleKey, '3.x']]));
  expect(stateOf(1).held?.trustBundle).toBeNull();
});

describe('a state that cannot be used is logged and ignored', () => {
  it.each([
    ['a byte that changed', (text: string) => text.replace('127.0.0.1:1', '127.0.0.1:2')],
    ['an end that is missing', (text: string) => text.slice(0, -70)],
    ['a line that is missing', (text: string) => text.split('\n').toSpliced(2, 1).join('\n')],
    ['nothing', () => ''],
    ['something else', () => 'not a state\n'],
    ['a checksum alone', (text: string) => text.split('\n').slice(-2).join('\n')],
  ])('%s', async (_what, damage) => {
    await new StateDir(path, logger).save(stateOf(1));
    await writeFile(file(), damage(await readFile(file(), 'utf8')));
    expect(await new StateDir(path, logger).load()).toBeNull();
    expect(warnings).toEqual(['the saved state cannot be used']);
  });

  it('a directory in its place, a file in the place of its directory', async () => {
    await mkdir(file());
    expect(await new StateDir(path, logger).load()).toBeNull();
    expect(await new StateDir('/dev/null', logger).load()).toBeNull();
    expect(warnings).toHaveLength(2);
  });
});

describe('a state directory', () => {
  it('that is not there yet is no fault', async () => {
    const dir = new StateDir(join(path, 'a', 'b'), logger);
    expect(await dir.load()).toBeNull();
    await dir.save(stateOf(1));
    expect((await dir.load())?.sidecar).toBe('s1');
    expect(warnings).toEqual([]);
  });

  it('gives back what was saved, and is for its owner only', async () => {
    for (const state of [stateOf(7), { ...stateOf(7), held: null }, stateOf(7, 0), stateOf(7, 2_000)]) {
      const dir = new StateDir(path, logger);
      await dir.save(state);
      expect(await new StateDir(path, logger).load()).toEqual(state);
    }
    expect((await stat(file())).mode & 0o077).toBe(0);
  });

  it('ends up with the newest of many saves, and with nothing beside it', async () => {
    const dir = new StateDir(path, logger);
    await Promise.all(Array.from({ length: 20 }, (_, n) => dir.save(stateOf(n + 1, 200))));
    expect((await dir.load())?.held?.revision).toBe(20);
    expect(await readdir(path)).toEqual(['sidecar-state.jsonl']);
  });

  it('keeps the old state when a new one cannot be written, and says so once', async () => {
    const dir = new StateDir('/dev/null/x', logger);
    await dir.save(stateOf(1));
    await dir.save(stateOf(2));
    expect(warnings).toEqual(['the state cannot be saved']);
  });

  // Node's own recursive mkdir would never come back.
  it.skipIf(process.platform !== 'linux')('that cannot be made is said, and does not hang', async () => {
    await new StateDir('/proc/weft/state', logger).save(stateOf(1));
    expect(warnings).toEqual(['the state cannot be saved']);
  });

  it('survives a crash in the middle of a write', async () => {
    const dir = new StateDir(path, logger);
    await dir.save(stateOf(1));
    await writeFile(`${file()}.999.tmp`, 'half');
    await truncate(`${file()}.999.tmp`, 2);
    expect((await dir.load())?.held?.revision).toBe(1);
  });
});
