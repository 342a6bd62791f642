/** Writes one after the other, in the order in which they were asked for, each with a deadline from then on. */
import { limits } from '../../model/limits.ts';
import type { StoreClock } from './store.ts';
import { StoreError } from './store-error.ts';

interface Write {
  /** Started once at most. */
  readonly run: () => Promise<void>;
}

export class WriteQueue {
  readonly #clock: StoreClock;
  readonly #waiting: Write[] = [];
  #isRunning = false;
  #whenIdle: (() => void)[] = [];

  constructor(clock: StoreClock) {
    this.#clock = clock;
  }

  /**
   * `write` is given the time until which it may try. Rejects with what it rejects with, and with StoreError: `store-full` when too many
   * wait, `store-unavailable` when its time is over before its turn comes, so that it was not begun.
   */
  add<T>(write: (untilMs: number) => Promise<T>): Promise<T> {
    if (this.#waiting.length >= limits.storeWritesPendingMax)
      return Promise.reject(
        new StoreError('store-full', `${this.#waiting.length} writes wait for the store already. Try again.`),
      );
    const untilMs = this.#clock.nowMs() + limits.etcdWriteMs;
    return new Promise<T>((resolve, reject) => {
      const run = async (): Promise<void> => {
        if (this.#clock.nowMs() < untilMs) await write(untilMs).then(resolve, reject);
        else reject(tooLate());
      };
      this.#waiting.push({ run });
      if (!this.#isRunning) void this.#drain();
    });
  }

  /** Resolves when nothing runs or waits. */
  idle(): Promise<void> {
    if (!this.#isRunning) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  async #drain(): Promise<void> {
    this.#isRunning = true;
    // Whoever asks within this turn of the event loop for several lease changes has them written together.
    await Promise.resolve();
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await next.run();
    this.#isRunning = false;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }
}

const tooLate = (): StoreError =>
  new StoreError(
    'store-unavailable',
    'The store is not available: it did not get to this write in time, as those before it take too long. Nothing was written. Try again.',
  );
