/** One look at what is there for all who ask while another look is under way. */
export class SharedLook {
  readonly #look: () => Promise<void>;
  #looking: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  /** `look` resolves when all that was there when it began is known. */
  constructor(look: () => Promise<void>) {
    this.#look = look;
  }

  /** Settles as the first look does that begins now or later. */
  take(): Promise<void> {
    if (this.#looking === null) {
      this.#looking = this.#look().finally(() => {
        this.#looking = null;
      });
      return this.#looking;
    }
    // The one under way may have been answered before what is asked for now was committed. One that fails has failed until now.
    this.#next ??= this.#looking
      .finally(() => {
        this.#next = null;
      })
      .then(() => this.take());
    return this.#next;
  }
}
