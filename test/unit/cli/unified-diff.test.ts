import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diffLines, unifiedDiff } from '../../../src/cli/unified-diff.ts';

const texts = fc.array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 25 });

/** By the definition: the length of a longest common subsequence, from which the number of edits follows. */
function editsNeeded(before: readonly string[], after: readonly string[]): number {
  let row = new Array<number>(after.length + 1).fill(0);
  for (const line of before) {
    const next = [0];
    for (const [i, other] of after.entries()) next.push(line === other ? row[i]! + 1 : Math.max(row[i + 1]!, next[i]!));
    row = next;
  }
  return before.length + after.length - 2 * row.at(-1)!;
}

describe('the lines that differ', () => {
  it('lead from one text to the other and back, with as few edits as there can be', () => {
    fc.assert(
      fc.property(texts, texts, (before, after) => {
        const edits = diffLines(before, after);
        const without = (mark: string) => edits.filter((each) => each.mark !== mark).map(({ line }) => line);
        expect(without('+')).toEqual(before);
        expect(without('-')).toEqual(after);
        expect(edits.filter(({ mark }) => mark !== ' ')).toHaveLength(editsNeeded(before, after));
      }),
    );
  });

  it('of texts that have little in common are all of one and all of the other', () => {
    const before = Array.from({ length: 5_000 }, (_, i) => `old ${i}`);
    const after = Array.from({ length: 5_000 }, (_, i) => (i % 50 === 0 ? `old ${i}` : `new ${i}`));
    const edits = diffLines(before, after);
    expect(edits.filter(({ mark }) => mark !== '+').map(({ line }) => line)).toEqual(before);
    expect(edits.filter(({ mark }) => mark !== '-').map(({ line }) => line)).toEqual(after);
  });
});

describe('a unified diff', () => {
  const lines = (...numbers: number[]) => numbers.map((each) => `${each}\n`).join('');

  it('is empty when nothing differs', () => {
    expect(unifiedDiff('', '')).toEqual([]);
    expect(unifiedDiff('a\nb\n', 'a\nb\n')).toEqual([]);
  });

  it('has three lines around a change, and one hunk for changes that are close', () => {
    const before = lines(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20);
    expect(unifiedDiff(before, before.replace('5\n', 'five\n').replace('10\n', ''))).toEqual([
      '@@ -2,12 +2,11 @@',
      ...[' 2', ' 3', ' 4', '-5', '+five', ' 6', ' 7', ' 8', ' 9', '-10', ' 11', ' 12', ' 13'],
    ]);
    expect(unifiedDiff(before, before.replace('2\n', 'two\n').replace('\n20\n', '\n20\n21\n'))).toEqual([
      '@@ -1,5 +1,5 @@',
      ...[' 1', '-2', '+two', ' 3', ' 4', ' 5'],
      '@@ -18,3 +18,4 @@',
      ...[' 18', ' 19', ' 20', '+21'],
    ]);
  });

  it('says of an empty side that it stands before the first line', () => {
    expect(unifiedDiff('', 'a\nb\n')).toEqual(['@@ -0,0 +1,2 @@', '+a', '+b']);
    expect(unifiedDiff('a\n', '')).toEqual(['@@ -1,1 +0,0 @@', '-a']);
  });
});
