/**
 * Which requests are looked at more closely: a share of all, chosen by the trace id, so that whoever has the same share chooses the same
 * traces, and what is known of one hop of a call is known of the others.
 */

/** Beyond any number of 32 bits: all. */
const all = 0x1_0000_0000;

/** `ratio` from 0 (none) to 1 (all), as `isSampled` takes it. */
export const thresholdOf = (ratio: number): number => Math.round(ratio * all);

/** `traceId`: its last eight hexadecimal digits decide, which level 2 of the W3C's recommendation wants random. */
export function isSampled(traceId: string, threshold: number): boolean {
  if (threshold === 0) return false;
  return threshold >= all || Number.parseInt(traceId.slice(-8), 16) < threshold;
}
