/** When to publish: the first change after quiet at once, changes that follow each other closely together. */
import { limits } from '../model/limits.ts';
import type { StoreClock } from './store/store.ts';

/**
 * Runs `flush` at once when the last change is `limits.debounceMs` ago; else when none came for that long, and at the latest
 * `limits.debounceMsMax` after the first that waits.
 */
export class Debounce {
  readonly #clock: StoreClock;
  readonly #flush: () => void;
  #lastChangeAtMs = Number.NEGATIVE_INFINITY;
  /** When the first change that waits came; null when none waits. */
  #waitingSinceMs: number | null = null;
  #cancelTimer: (() => void) | null = null;

  constructor(clock: StoreClock, flush: () => void) {
    this.#clock = clock;
    this.#flush = flush;
  }

  /** Something changed. */
  trigger(): void {
    const nowMs = this.#clock.nowMs();
    const isQuiet = nowMs - this.#lastChangeAtMs >= limits.debounceMs;
    this.#lastChangeAtMs = nowMs;
    if (this.#waitingSinceMs !== null) return;
    if (isQuiet) {
      this.#flush();
      return;
    }
    this.#waitingSinceMs = nowMs;
    this.#wait(limits.debounceMs);
  }

  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#waitingSinceMs = null;
  }

  /** One timer at a time, set again when changes came while it ran: churn costs no timers. */
  #wait(ms: number): void {
    this.#cancelTimer = this.#clock.after(ms, () => {
      const nowMs = this.#clock.nowMs();
      const sinceMs = this.#waitingSinceMs ?? nowMs;
      const leftMs = Math.min(this.#lastChangeAtMs + limits.debounceMs, sinceMs + limits.debounceMsMax) - nowMs;
      // A wall clock that was set back must not hold changes until it has caught up.
      if (leftMs > 0 && leftMs <= limits.debounceMs) {
        this.#wait(leftMs);
        return;
      }
      this.#cancelTimer = null;
      this.#waitingSinceMs = null;
      this.#flush();
    });
  }
}
