/** Roots whose time has come leave the trust bundle by themselves, whichever control plane is there to see it. */
import type { Logger } from '../../telemetry/logger.ts';
import type { StoreClock } from '../store/store.ts';
import { reasonOf } from '../store/store-error.ts';
import { retiresAtMsOf, withoutRetired } from './bundle-edits.ts';
import type { StoredBundle } from './stored-bundle.ts';

/** A timer cannot wait for longer than 24 days, and clocks are set: looked at once a day at least. */
const checkMsMax = 24 * 3600_000;
const retryMs = 5_000;

export class Retirement {
  readonly #bundle: StoredBundle;
  readonly #clock: StoreClock;
  readonly #logger: Logger;
  readonly #unsubscribe: () => void;
  #cancel: () => void = () => {};
  #isClosed = false;

  constructor(bundle: StoredBundle, clock: StoreClock, logger: Logger) {
    this.#bundle = bundle;
    this.#clock = clock;
    this.#logger = logger;
    this.#unsubscribe = bundle.onChange(() => this.#schedule());
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#cancel();
  }

  #schedule(waitMsMin = 0): void {
    this.#cancel();
    const firstAtMs = Math.min(...this.#bundle.current.roots.map(retiresAtMsOf));
    if (this.#isClosed || firstAtMs === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.max(waitMsMin, Math.min(firstAtMs - this.#clock.nowMs(), checkMsMax));
    this.#cancel = this.#clock.after(waitMs, () => void this.#retire());
  }

  async #retire(): Promise<void> {
    try {
      await this.#bundle.change(withoutRetired(this.#clock.nowMs()), 'a root has left: all that it signed has expired');
      this.#schedule();
    } catch (error) {
      if (!this.#isClosed) this.#logger.error({ error: reasonOf(error) }, 'a root could not leave the trust bundle');
      this.#schedule(retryMs);
    }
  }
}
