/** How long to wait before the next try to reach a control plane. */
import { limits } from '../model/limits.ts';

/** A random time within a window of `limits.reconnectFirstMs` that doubles with each failure up to `limits.reconnectMsMax`. */
export class Backoff {
  readonly #random: () => number;
  #windowMs: number = limits.reconnectFirstMs;

  /** `random` gives 0 to 1. All sidecars lose a control plane at the same moment; they must not come back at the same moment. */
  constructor(random: () => number) {
    this.#random = random;
  }

  nextMs(): number {
    const waitMs = this.#random() * this.#windowMs;
    this.#windowMs = Math.min(this.#windowMs * 2, limits.reconnectMsMax);
    return waitMs;
  }

  reset(): void {
    this.#windowMs = limits.reconnectFirstMs;
  }
}
