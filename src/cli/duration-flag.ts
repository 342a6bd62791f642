/** A flag that is a duration within bounds. */
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../model/duration.ts';

/** Answers a parser of milliseconds; `bounds` says in the user's words what is expected, as in `10s to 168h`. */
export function durationFlag(minMs: number, maxMs: number, bounds: string): (text: string) => number {
  return (text) => {
    const durationMs = /^([0-9]+(h|m|s|ms))+$/.test(text) ? parseDuration(text) : Number.NaN;
    if (durationMs >= minMs && durationMs <= maxMs) return durationMs;
    throw new InvalidArgumentError(`Expected a duration of ${bounds}, such as 90s, 30m or 24h.`);
  };
}
