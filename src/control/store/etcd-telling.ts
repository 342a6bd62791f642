/** What a control plane tells the others of itself: the newest, as soon as it can be written, and again when it was lost. */
import { reasonOf } from './store-error.ts';

export interface EtcdTellingOptions {
  /** Has a write done behind those that were asked for before. */
  readonly enqueue: (write: (untilMs: number) => Promise<void>) => Promise<void>;
  /** False: the others do not know of this control plane just now. */
  readonly write: (note: string, untilMs: number) => Promise<boolean>;
  readonly onTrouble: (message: string) => void;
}

export class EtcdTelling {
  readonly #options: EtcdTellingOptions;
  #compose: (() => string) | null = null;
  #isQueued = false;
  #isUntold = false;

  constructor(options: EtcdTellingOptions) {
    this.#options = options;
  }

  /** The last note is not with the others. */
  get isUntold(): boolean {
    return this.#isUntold;
  }

  tell(compose: () => string): void {
    this.#compose = compose;
    this.again();
  }

  again(): void {
    if (this.#compose === null || this.#isQueued) return;
    this.#isQueued = true;
    this.#isUntold = true;
    const { enqueue, write, onTrouble } = this.#options;
    enqueue(async (untilMs) => {
      this.#isQueued = false;
      // Only now: of every lease that was written before, it speaks as it is.
      const isTold = await write(this.#compose!(), untilMs);
      if (isTold && !this.#isQueued) this.#isUntold = false;
    }).catch((error: unknown) => {
      this.#isQueued = false;
      onTrouble(`The other control planes could not be told: ${reasonOf(error)}`);
    });
  }
}
