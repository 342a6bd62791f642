/** Who waits until what was written has come back through the feed. */
import type { StoreClock } from './store.ts';

export class EtcdProgress {
  readonly #clock: StoreClock;
  readonly #waits = new Set<() => void>();

  constructor(clock: StoreClock) {
    this.#clock = clock;
  }

  /** Resolves with whether it is so, as soon as it is, at `untilMs` at the latest. */
  until(isSo: () => boolean, untilMs: number): Promise<boolean> {
    if (isSo()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const end = (outcome: boolean) => {
        cancel();
        this.#waits.delete(look);
        resolve(outcome);
      };
      const look = () => {
        if (isSo()) end(true);
      };
      const cancel = this.#clock.after(Math.max(0, untilMs - this.#clock.nowMs()), () => end(isSo()));
      this.#waits.add(look);
    });
  }

  /** Something has come: everybody looks. */
  wake(): void {
    for (const look of [...this.#waits]) look();
  }
}
