/** A failure that is met again and again: logged when it is another one than before, else once a minute. */
import type { Clock } from '../clock.ts';

const logAgainMs = 60_000;

export class RepeatedFailure {
  readonly #clock: Clock;
  /** Why the last try failed; null when it did not. */
  reason: string | null = null;
  #loggedReason = '';
  #loggedAtMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Notes it, and calls `log` when it is to be logged. */
  note(reason: string, log: (reason: string) => void): void {
    this.reason = reason;
    const nowMs = this.#clock.nowMs();
    if (reason === this.#loggedReason && nowMs - this.#loggedAtMs < logAgainMs) return;
    this.#loggedReason = reason;
    this.#loggedAtMs = nowMs;
    log(reason);
  }

  /** It went well: the same failure would be news again. */
  clear(): void {
    this.reason = null;
    this.#loggedReason = '';
  }
}
