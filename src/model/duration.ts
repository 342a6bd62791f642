/** Durations as the Gateway API writes them (GEP-2257): `2s`, `1m30s`, `250ms`. */
const unitMs = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const;
const form = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/;
const step = /([0-9]{1,5})(ms|h|m|s)/g;

/** Milliseconds. Throws RangeError for anything that is not a duration; what a schema let through is one. */
export function parseDuration(text: string): number {
  if (!form.test(text)) throw new RangeError(`not a duration: ${text}`);
  let ms = 0;
  for (const [, count, unit] of text.matchAll(step)) ms += Number(count) * unitMs[unit as keyof typeof unitMs];
  return ms;
}
