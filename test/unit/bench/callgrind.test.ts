import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CodeMap, countsOf } from '../../bench/callgrind.mjs';

it('what callgrind counted is read where it lies, and not again where it was called from', () => {
  const text = [
    ...['version: 1', 'positions: instr', 'events: Ir', '', 'ob=(1) /usr/bin/node', 'fn=(1) main', '0x100 3', '+4 2'],
    ...['cob=(2) libc.so.6', 'cfn=(2) memcpy', 'calls=5 0x900', '* 70', '-4 1', '', 'ob=(2)', 'fn=(2)', '0x900 70', ''],
    ...['ob=(1)', 'fn=(3) other', '256 4', ''],
  ].join('\n');
  expect([...countsOf(text)]).toEqual([
    { object: '/usr/bin/node', name: 'main', address: 0x100, instructions: 3 },
    { object: '/usr/bin/node', name: 'main', address: 0x104, instructions: 2 },
    { object: '/usr/bin/node', name: 'main', address: 0x100, instructions: 1 },
    { object: 'libc.so.6', name: 'memcpy', address: 0x900, instructions: 70 },
    { object: '/usr/bin/node', name: 'other', address: 256, instructions: 4 },
  ]);
});

it('compiled code has the newest name that V8 gave its place, up to its end', () => {
  const directory = mkdtempSync(join(tmpdir(), 'weft-callgrind-'));
  try {
    const file = join(directory, 'perf.map');
    writeFileSync(
      file,
      '1000 20 JS:^old file:///a.js:1:2\n2000 10 JS:*f file:///a.js:3:4\n1000 10 JS:*new file:///a.js:1:2\n',
    );
    const map = new CodeMap(file);
    expect([0xfff, 0x1000, 0x100f, 0x1010, 0x2005, 0x2010].map((address) => map.find(address))).toEqual([
      ...[null, 'JS:*new file:///a.js:1:2', 'JS:*new file:///a.js:1:2', null],
      ...['JS:*f file:///a.js:3:4', null],
    ]);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
