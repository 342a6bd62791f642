/** The list of API tokens as the store has it: read without asking, changed by compare-and-swap, so that replicas share one. */
import { randomUUID } from 'node:crypto';
import type { Store, StoreClock } from '../store/store.ts';
import { AccessError } from './access-error.ts';
import { emptyTokenList, type StoredToken, type TokenEdit, type TokenList, tokenListKey } from './token-list.ts';

const triesMax = 5;

export interface TokenChange {
  readonly edit: TokenEdit;
  /** Whom the history names. */
  readonly who: string;
  readonly message: string;
}

export class StoredTokens {
  readonly #store: Store;
  readonly #clock: StoreClock;
  #parsed = { revision: 0, list: emptyTokenList, byId: new Map<string, StoredToken>() };

  constructor(store: Store, clock: StoreClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** A first token was made, whatever has become of it. */
  get wasBegun(): boolean {
    return this.#store.get(tokenListKey) !== null;
  }

  get all(): readonly StoredToken[] {
    return this.#read().list.tokens;
  }

  find(id: string): StoredToken | null {
    return this.#read().byId.get(id) ?? null;
  }

  /** Rejects with AccessError, the edit's or `unavailable`, and with what the store rejects with. */
  async change({ edit, who, message }: TokenChange): Promise<void> {
    for (let tries = 1; tries <= triesMax; tries++) {
      const { list } = this.#read();
      const expected = this.#store.get(tokenListKey)?.revision ?? 0;
      const result = await this.#store.commit({
        expect: new Map([[tokenListKey, expected]]),
        changes: new Map([[tokenListKey, JSON.stringify(edit(list))]]),
        who,
        message,
        requestId: randomUUID(),
        atMs: this.#clock.nowMs(),
      });
      if (result.tag === 'committed') return;
    }
    throw new AccessError('unavailable', 'The tokens were changed by others all the time: say it again.');
  }

  #read() {
    const stored = this.#store.get(tokenListKey);
    if (stored !== null && stored.revision !== this.#parsed.revision) {
      const list = JSON.parse(stored.value) as TokenList;
      this.#parsed = { revision: stored.revision, list, byId: new Map(list.tokens.map((token) => [token.id, token])) };
    }
    return this.#parsed;
  }
}
