/** `npm run bench:ledger` compares with a build whose files are changed as they are bundled: as long as they are those that it knows. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { bundleWithoutLedger } from '../../bench/without-ledger.mjs';

const directory = mkdtempSync(join(tmpdir(), 'weft-without-ledger-'));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('the build without the ledger can be made, and has none', async () => {
  await bundleWithoutLedger(directory);
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.js'));
  const text = files.map((name) => readFileSync(join(directory, name), 'utf8')).join('\n');
  // Of `recordOutcome` and `LoopDelay`, by what only they do.
  expect(text).toMatch(/\.record\(nowMs ?- ?head\.readAtMs, ?partsMs/);
  expect(text).not.toContain('explainedMs');
  expect(text).not.toContain('endedIdleMs');
});
