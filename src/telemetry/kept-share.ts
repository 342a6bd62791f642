/**
 * Which of the requests that end a busy loop keeps in its ring of the last ones: all, as long as these then reach back `recentSpanMs`; of more only one in
 * 2, 4, 8 ... of them. Copying each costs more than all else that the ledger does for a request (ADR 24), and of 40,000 a second all would be gone after 25 ms.
 *
 * The trace id decides, as in sampling.ts: what one hop of a call keeps the others keep too, as far as they are no busier, for each smaller share lies within
 * the larger ones.
 */
import { limits } from '../model/limits.ts';

/** The share is fitted to the rate so often, ms, or when so many have ended that a ring of all of them would be full: of a burst these are kept. */
const windowMs = 250;
const windowRequests = limits.recentRequestsMax;
/** `chanceOf` reads so many hexadecimal digits. */
const chanceDigits = 3;
const chancesMax = 16 ** chanceDigits;

/**
 * From 0 to 4,095, out of the last digits before `end` of a trace id, which level 2 of the W3C's recommendation wants random. What are no
 * lower-case digits give some number, too.
 */
export function chanceOf(text: string, end: number): number {
  let chance = 0;
  for (let at = end - chanceDigits; at < end; at++) {
    const code = text.charCodeAt(at);
    // 0 to 9 have the codes 48 to 57, a to f 97 to 102.
    chance = (chance << 4) | ((code <= 57 ? code - 48 : code - 87) & 15);
  }
  return chance;
}

export class KeptShare {
  /** One in so many is kept: a power of two. */
  oneIn = 1;
  private beganAtMs = Number.NEGATIVE_INFINITY;
  private ended = 0;

  /** Asked once for each request that ends, at its end. */
  keeps(chance: number, nowMs: number): boolean {
    if (this.ended >= windowRequests || nowMs - this.beganAtMs >= windowMs) this.fit(nowMs);
    this.ended++;
    return (chance & (this.oneIn - 1)) === 0;
  }

  private fit(nowMs: number): void {
    const inSpan = (this.ended * limits.recentSpanMs) / Math.max(1, nowMs - this.beganAtMs);
    this.oneIn = 1;
    while (inSpan > limits.recentRequestsMax * this.oneIn && this.oneIn < chancesMax) this.oneIn *= 2;
    this.beganAtMs = nowMs;
    this.ended = 0;
  }
}
