import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { fieldNames } from '../../../src/proxy/field-names.ts';
import { frameShapes, frameType, goawayReason, resetReason } from '../../../src/proxy/link/frames.ts';
import { methodNames } from '../../../src/proxy/link/head-codec.ts';
import { parts } from '../../../src/telemetry/recorder.ts';

const page = readFileSync(new URL('../../../docs/link.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| '));
const cellsOf = (row: string): string[] => row.split('|').map((cell) => cell.trim());

const between = (name: string): string => page.split(`<!-- ${name} -->\n`)[1]!.split(`\n<!-- /${name} -->`)[0]!;

/** As the page has it: `1 GET, 2 HEAD`, broken into lines. */
function numbered(names: readonly string[]): string {
  const lines: string[] = [];
  let line = '';
  names.forEach((name, number) => {
    if (number === 0) return;
    const entry = `${number} ${name}${number === names.length - 1 ? '.' : ','}`;
    if (line !== '' && line.length + entry.length > 150) {
      lines.push(line);
      line = '';
    }
    line = line === '' ? entry : `${line} ${entry}`;
  });
  return [...lines, line].join('\n');
}

describe('docs/link.md', () => {
  it('has every frame with its number, its stream and its lengths', () => {
    const expected = Object.entries(frameType).map(([name, type]) => {
      const { min, max, on } = frameShapes[type]!;
      return [String(type), name.toUpperCase(), on, `${min} to ${max}`];
    });
    const found = rows.map(cellsOf).filter((cells) => /^\d+$/.test(cells[1]!) && /^[A-Z]+$/.test(cells[2]!));
    expect(found.map((cells) => cells.slice(1, 5))).toEqual(expected);
  });

  it('has every number of a name', () => {
    expect(between('fields')).toBe(numbered(fieldNames));
    expect(between('methods')).toBe(numbered(methodNames));
  });

  it('has every reason of RESET and GOAWAY', () => {
    const named = rows.flatMap((row) =>
      [...row.matchAll(/^\| (\d) `([a-z]+)` \|/g)].map(([, number, name]) => `${name} ${number}`),
    );
    const reasons = [resetReason, goawayReason].flatMap((table) =>
      Object.entries(table).map(([name, number]) => `${name} ${number}`),
    );
    expect(named).toEqual(reasons);
  });

  it('has every limit of the link with its value', () => {
    const said = new Map(
      rows
        .map(cellsOf)
        .flatMap(([, name, value]) =>
          /^`[a-zA-Z]+`$/.test(name!) && /^\d+$/.test(value!) ? [[name!.slice(1, -1), Number(value)]] : [],
        ),
    );
    const named = Object.keys(limits).filter((name) => name.startsWith('link'));
    expect(named.length).toBeGreaterThan(10);
    for (const name of [...named, 'connectTimeoutMs', 'lingerMs'])
      expect([name, said.get(name)]).toEqual([name, limits[name as keyof typeof limits]]);
  });

  it('has the parts of a timing in their order', () => {
    expect(page.replace(/\s+/g, ' ')).toContain(parts.map((part, index) => `${part} ${index}`).join(', '));
  });
});
