/**
 * The number of the newest revision, as most members of etcd have it when they are asked. Usually a plain read tells, for which the leading member
 * asks the others whether it still leads. One that is asked in the moment of an election may be forgotten, and then every read of that member hangs
 * until etcd gives up, which takes it 5 s and two election timeouts (etcd 3.4, `linearizableReadLoop`; mended in 3.5). Writes do not hang then: so
 * whoever has had no answer asks through the log that they go through (docs/adr/0018).
 */
import { limits } from '../../model/limits.ts';
import { type EtcdCalls, EtcdFailure } from './etcd-calls.ts';
import { headOf } from './etcd-state.ts';
import type { StoreClock } from './store.ts';

export class EtcdHead {
  readonly #calls: Pick<EtcdCalls, 'read'>;
  readonly #key: string;
  readonly #clock: StoreClock;
  /** Until then plain reads may hang. */
  #throughLogUntilMs = 0;

  constructor(calls: Pick<EtcdCalls, 'read'>, key: string, clock: StoreClock) {
    this.#calls = calls;
    this.#key = key;
    this.#clock = clock;
  }

  /** 0: there is none yet. Rejects with EtcdFailure: the next try may go another way; and with StoreError where it is no number. */
  async read(): Promise<number> {
    const throughLog = this.#clock.nowMs() < this.#throughLogUntilMs;
    try {
      const { entries } = await this.#calls.read({ from: this.#key, to: `${this.#key}\u0000`, limit: 1, throughLog });
      return entries[0] === undefined ? 0 : headOf(entries[0]);
    } catch (error) {
      const isAway = error instanceof EtcdFailure && error.code === 'unavailable';
      if (isAway) this.#throughLogUntilMs = this.#clock.nowMs() + limits.etcdReadsHangMs;
      throw error;
    }
  }
}
