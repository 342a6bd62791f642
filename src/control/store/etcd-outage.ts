/** Whether etcd takes what it is asked to, as the calls of one control plane find it. */
import { EtcdFailure } from './etcd-calls.ts';
import type { StoreClock, StoreOutage } from './store.ts';
import { reasonOf, StoreError } from './store-error.ts';

/** One call that fails may be one member that is away: the next one is asked then. */
const failuresMin = 2;

export class EtcdOutage {
  readonly #clock: Pick<StoreClock, 'nowMs'>;
  /** In a row. */
  #failures = 0;
  #outage: StoreOutage = { sinceMs: 0, reason: '' };

  constructor(clock: Pick<StoreClock, 'nowMs'>) {
    this.#clock = clock;
  }

  get current(): StoreOutage | null {
    return this.#failures < failuresMin ? null : this.#outage;
  }

  /** It began with the first that failed; the newest reason is the one that is told. */
  failed(error: unknown): void {
    this.#failures++;
    const cause = error instanceof StoreError && error.cause instanceof EtcdFailure ? error.cause : error;
    const sinceMs = this.#failures === 1 ? this.#clock.nowMs() : this.#outage.sinceMs;
    this.#outage = { sinceMs, reason: reasonOf(cause) };
  }

  ended(): void {
    this.#failures = 0;
  }
}
