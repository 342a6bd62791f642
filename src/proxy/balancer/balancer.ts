/** What every balancing policy answers, and the endpoints it chooses among. */
import type { LoopEndpoint, PickFacts } from '../tables.ts';

export interface Balancer {
  /** Null only when no endpoint has weight. An endpoint already tried is picked only when all were. Allocates nothing. */
  pick(facts: PickFacts): LoopEndpoint | null;
  /** For people: the load at a position as the policy reckons it, the lower the better; null: it reckons none. */
  scoreAt(position: number): number | null;
  /** For people: the position that `pick` would answer now, where that is not left to chance; `none` where it is. Takes nothing. */
  nextFor(facts: PickFacts): number;
}

/** The endpoints of a Service that have weight. A position is an index into these arrays; the compiled tables speak of positions. */
export interface Candidates {
  readonly endpoints: readonly LoopEndpoint[];
  /** Relative to their average: 1 where all are equal. */
  readonly weights: Float64Array;
}

export const none = -1;

export function isTried(endpoint: LoopEndpoint, tried: readonly number[]): boolean {
  // At most `limits.attemptsMax` long: quicker than a set.
  for (let i = 0; i < tried.length; i++) if (tried[i] === endpoint.slot) return true;
  return false;
}

/** The first position at or after `start`, going round, that was not tried and is not `except`; `none` when there is none. */
export function nextUntried(
  endpoints: readonly LoopEndpoint[],
  start: number,
  tried: readonly number[],
  except: number = none,
): number {
  for (let i = 0, at = start; i < endpoints.length; i++, at = at + 1 === endpoints.length ? 0 : at + 1) {
    if (at !== except && !isTried(endpoints[at]!, tried)) return at;
  }
  return none;
}

/** `position`, or when it was tried the next that was not, or when all were `position` all the same. */
export function preferUntried(endpoints: readonly LoopEndpoint[], position: number, tried: readonly number[]): number {
  if (tried.length === 0) return position;
  const untried = nextUntried(endpoints, position, tried);
  return untried === none ? position : untried;
}

/** A position drawn by weight: the first whose running sum exceeds `random` (0 up to 1) of the whole. */
export function drawByWeight(cumulative: Float64Array, random: number): number {
  const target = random * cumulative[cumulative.length - 1]!;
  let low = 0;
  let high = cumulative.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cumulative[middle]! > target) high = middle;
    else low = middle + 1;
  }
  return low;
}
