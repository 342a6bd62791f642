/**
 * Cold work in steps, for a loop that serves requests in between: a generator that yields wherever it may be interrupted, some ten
 * microseconds apart. Who drives it decides how long it runs at a time: `finish` to its end, decisions/slices.ts in slices.
 */
export type Steps<Result> = Generator<void, Result, void>;

/** Does all of it now: where nobody waits for the loop. */
export function finish<Result>(steps: Steps<Result>): Result {
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}

/** Sorted by the engine at a time: some 20 µs. */
const runLength = 64;

/** A sorted copy; elements that compare as equal keep their order. */
export function* sorted<Item>(items: readonly Item[], compare: (a: Item, b: Item) => number): Steps<Item[]> {
  let runs: Item[][] = [];
  for (let from = 0; from < items.length; from += runLength) {
    runs.push(items.slice(from, from + runLength).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const merged: Item[][] = [];
    for (let i = 0; i + 1 < runs.length; i += 2) merged.push(yield* merge(runs[i]!, runs[i + 1]!, compare));
    if (runs.length % 2 === 1) merged.push(runs.at(-1)!);
    runs = merged;
  }
  return runs[0] ?? [];
}

function* merge<Item>(
  left: readonly Item[],
  right: readonly Item[],
  compare: (a: Item, b: Item) => number,
): Steps<Item[]> {
  const merged: Item[] = [];
  let l = 0;
  let r = 0;
  while (l < left.length || r < right.length) {
    const isLeft = r === right.length || (l < left.length && compare(left[l]!, right[r]!) <= 0);
    merged.push(isLeft ? left[l++]! : right[r++]!);
    if (merged.length % runLength === 0) yield;
  }
  return merged;
}
