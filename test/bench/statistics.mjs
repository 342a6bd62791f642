// Medians and ranges of rounds, and how one contestant's rounds stand to another's.

/** Those that get a ratio: more or less of them is better or worse by itself. `perSecond` says something for busy connections only. */
export const measures = ['cpuUs', 'p50Ms', 'p99Ms', 'perSecond'];

export function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** `{ median, min, max }`; null for no values. */
export function spreadOf(values) {
  if (values === null || values.length === 0) return null;
  return { median: medianOf(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Of one measure, each round against the same round of the baseline; null without one. */
export function ratiosOf(rounds, baselineRounds, measure = 'cpuUs') {
  if (rounds.length === 0 || rounds.length !== baselineRounds?.length) return null;
  return rounds.map((round, i) => round[measure] / baselineRounds[i][measure]);
}

/** Three digits that count, as far as a reader wants them. */
export function short(value) {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** `0.52 (0.49-0.55)`, or `-`. */
export function rangeLine(spread, show = short) {
  if (spread === null) return '-';
  return `${show(spread.median)} (${show(spread.min)}-${show(spread.max)})`;
}
