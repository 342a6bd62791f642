/** Keys on etcd whose value cannot be read: somebody else has written them. One of them must not keep the others out, and whoever runs etcd must know which. */
import type { StoreClock } from './store.ts';

const tellMs = 1_000;
const keyCharsMax = 300;

export class UnreadableKeys {
  readonly #clock: Pick<StoreClock, 'nowMs'>;
  readonly #onTrouble: (message: string) => void;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #untold = 0;

  constructor(clock: Pick<StoreClock, 'nowMs'>, onTrouble: (message: string) => void) {
    this.#clock = clock;
    this.#onTrouble = onTrouble;
  }

  /** Passed over. One line a second at most, which says for how many it stands. */
  readonly skip = (key: string): void => {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#toldAtMs < tellMs) {
      this.#untold++;
      return;
    }
    const more = this.#untold > 0 ? ` (and ${this.#untold} before it)` : '';
    this.#toldAtMs = nowMs;
    this.#untold = 0;
    this.#onTrouble(
      `The key ${key.slice(0, keyCharsMax)} on etcd${more} has a value that Weft has not written, and is passed over: delete it with \`etcdctl del\`.`,
    );
  };
}
