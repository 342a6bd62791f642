/**
 * The end of a turn of this thread's event loop: one immediate for all that waits for it, and for who watches the loop. An immediate of its own for each,
 * three a turn of an inbound loop, would cost as much again for each of them.
 */

let due: (() => void)[] = [];
/** The list before, empty: so that none is made in a turn. */
let spare: (() => void)[] = [];
let immediate: NodeJS.Immediate | null = null;
const watchers: (() => void)[] = [];

/** Calls it once, when the callbacks of this turn have run: in the check phase, as `setImmediate` does, and in the order of asking. */
export function atTurnEnd(run: () => void): void {
  if (due.push(run) > 1) return;
  if (immediate === null) immediate = setImmediate(endTurn);
  // The one of the watcher lets the loop sleep.
  else immediate.ref();
}

/**
 * Calls it at the end of every turn, behind what `atTurnEnd` has; the answer ends that. The immediate is not referenced then: it runs in every check phase, and
 * unlike a referenced one keeps neither the loop from sleeping nor the process alive.
 */
export function watchTurnEnds(seen: () => void): () => void {
  watchers.push(seen);
  immediate ??= setImmediate(endTurn).unref();
  return () => {
    const at = watchers.indexOf(seen);
    if (at !== -1) watchers.splice(at, 1);
  };
}

function endTurn(): void {
  const runs = due;
  due = spare;
  immediate = null;
  let at = 0;
  try {
    while (at < runs.length) runs[at++]!();
  } finally {
    // Of these one has thrown: the others are not to suffer for it.
    for (; at < runs.length; at++) atTurnEnd(runs[at]!);
    runs.length = 0;
    spare = runs;
    for (let i = 0; i < watchers.length; i++) watchers[i]!();
    if (watchers.length > 0 && immediate === null) immediate = setImmediate(endTurn).unref();
  }
}
