/** Names that may be a slip of the keyboard for another one. */

/** The known name at most two edits away (Levenshtein), whatever the case of its letters, or null. */
export function nearest(name: string, known: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = editsMax + 1;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/**
 * The name that somebody may have meant who wrote `name`, or null. Stricter than `nearest`, since nothing says yet that `name` is wrong: at
 * most half of it may differ, and names that differ in their numbers only (`cart-1`, `cart-2`) were meant so.
 */
export function slipOf(name: string, known: Iterable<string>): string | null {
  const shape = shapeOf(name);
  const others = [...known].filter((other) => other !== name && shapeOf(other) !== shape);
  const near = nearest(name, others);
  return near !== null && 2 * editDistance(name, near) <= name.length ? near : null;
}

const editsMax = 2;
const shapeOf = (name: string): string => name.replace(/\d+/g, '#');

/** `editsMax + 1` for everything above. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > editsMax) return editsMax + 1;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    if (Math.min(...next) > editsMax) return editsMax + 1;
    row = next;
  }
  return Math.min(row[b.length]!, editsMax + 1);
}
