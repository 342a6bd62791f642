/** What differs between two texts, line by line, as `diff -u` writes it. */

export interface Edit {
  /** Kept, removed, added. */
  readonly mark: ' ' | '-' | '+';
  readonly line: string;
}

/** Lines around a change. */
const contextLines = 3;
/** The search takes the square of this in steps and memory; texts that differ by more are shown as one removed and one added. */
const editsMax = 1_000;

/** Hunks with their `@@` lines; empty when the texts are the same. */
export function unifiedDiff(before: string, after: string): readonly string[] {
  const edits = diffLines(linesOf(before), linesOf(after));
  const lines: string[] = [];
  let from = 0;
  let oldLine = 1;
  let newLine = 1;
  for (const [start, end] of hunks(edits)) {
    for (const { mark } of edits.slice(from, start)) {
      if (mark !== '+') oldLine++;
      if (mark !== '-') newLine++;
    }
    const hunk = edits.slice(start, end);
    const oldCount = hunk.filter(({ mark }) => mark !== '+').length;
    const newCount = hunk.filter(({ mark }) => mark !== '-').length;
    lines.push(`@@ -${range(oldLine, oldCount)} +${range(newLine, newCount)} @@`);
    for (const { mark, line } of hunk) lines.push(`${mark}${line}`);
    oldLine += oldCount;
    newLine += newCount;
    from = end;
  }
  return lines;
}

const linesOf = (text: string): readonly string[] => (text === '' ? [] : text.replace(/\n$/, '').split('\n'));

/** An empty range is said to stand after the line before it. */
const range = (line: number, count: number): string => `${count === 0 ? line - 1 : line},${count}`;

/** Begin and end of each, with what stands around the changes; those that touch are one. */
function hunks(edits: readonly Edit[]): readonly (readonly [start: number, end: number])[] {
  const found: [number, number][] = [];
  for (const [i, { mark }] of edits.entries()) {
    if (mark === ' ') continue;
    const start = Math.max(0, i - contextLines);
    const end = Math.min(edits.length, i + contextLines + 1);
    const last = found.at(-1);
    if (last !== undefined && start <= last[1]) last[1] = end;
    else found.push([start, end]);
  }
  return found;
}

/** A shortest way from one text to the other, up to `editsMax` (E. Myers, An O(ND) Difference Algorithm and Its Variations, 1986). */
export function diffLines(before: readonly string[], after: readonly string[]): readonly Edit[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start++;
  let oldEnd = before.length;
  let newEnd = after.length;
  while (oldEnd > start && newEnd > start && before[oldEnd - 1] === after[newEnd - 1]) {
    oldEnd--;
    newEnd--;
  }
  return [
    ...marked(' ', before.slice(0, start)),
    ...shortestEdits(before.slice(start, oldEnd), after.slice(start, newEnd)),
    ...marked(' ', before.slice(oldEnd)),
  ];
}

const marked = (mark: Edit['mark'], lines: readonly string[]): Edit[] => lines.map((line) => ({ mark, line }));

/**
 * On diagonal k (lines of `a` taken minus lines of `b` taken) `furthest[k]` is how far into `a` so many edits can lead. `trace` holds it
 * as it was before each number of edits, so that the way can be followed back.
 */
function shortestEdits(a: readonly string[], b: readonly string[]): readonly Edit[] {
  const most = Math.min(a.length + b.length, editsMax);
  const middle = most + 1;
  const furthest = new Int32Array(2 * most + 3);
  const trace: Int32Array[] = [];
  for (let edits = 0; edits <= most; edits++) {
    trace.push(furthest.slice(middle - edits - 1, middle + edits + 2));
    for (let k = -edits; k <= edits; k += 2) {
      const isAdded = k === -edits || (k !== edits && furthest[middle + k - 1]! < furthest[middle + k + 1]!);
      let x = isAdded ? furthest[middle + k + 1]! : furthest[middle + k - 1]! + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++;
      furthest[middle + k] = x;
      if (x >= a.length && x - k >= b.length) return wayBack(a, b, trace);
    }
  }
  return [...marked('-', a), ...marked('+', b)];
}

function wayBack(a: readonly string[], b: readonly string[], trace: readonly Int32Array[]): readonly Edit[] {
  const way: Edit[] = [];
  let x = a.length;
  let y = b.length;
  for (let edits = trace.length - 1; edits >= 0; edits--) {
    const furthest = (k: number): number => trace[edits]![k + edits + 1]!;
    const k = x - y;
    const isAdded = k === -edits || (k !== edits && furthest(k - 1) < furthest(k + 1));
    const earlierX = furthest(isAdded ? k + 1 : k - 1);
    const earlierY = earlierX - (isAdded ? k + 1 : k - 1);
    for (; x > earlierX && y > earlierY; y--) way.push({ mark: ' ', line: a[--x]! });
    if (edits === 0) break;
    way.push(isAdded ? { mark: '+', line: b[--y]! } : { mark: '-', line: a[--x]! });
  }
  return way.reverse();
}
