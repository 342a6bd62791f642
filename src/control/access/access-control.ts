/**
 * Who asks, and whether he needs to say so: until a first API token was made nobody does; from then on each request shows one. The last
 * use of a token is kept in memory only, to the minute: nobody wants a write for each read.
 */
import { type Role, roleText } from '../../model/access.ts';
import { limits } from '../../model/limits.ts';
import type { Store, StoreClock } from '../store/store.ts';
import { AccessError } from './access-error.ts';
import { StoredTokens } from './stored-tokens.ts';
import { addingToken, isExpired, removingToken, type StoredToken } from './token-list.ts';
import { isTokenOf, makeTokenSecret, tokenIdIn } from './token-secret.ts';

/** Whoever asks something of the API. `name` null: he has shown nothing, as nobody needs to. */
export interface Requester {
  readonly name: string | null;
  readonly role: Role;
  /** Whether he would be let in again: asked by what goes on for long. */
  readonly isValid: () => boolean;
}

export interface TokenWish {
  /** Null: one is made of its role and id. */
  readonly name: string | null;
  readonly role: Role;
  /** Null: without end. */
  readonly ttlMs: number | null;
}

export interface MadeToken {
  /** The secret, for the only time. */
  readonly text: string;
  readonly token: StoredToken;
}

export interface ListedToken extends StoredToken {
  /** When this control plane was shown it last, to the minute, RFC 3339; null: not since it started. */
  readonly lastUsedAt: string | null;
}

export interface AccessOptions {
  readonly store: Store;
  readonly clock: StoreClock;
  /** node:crypto's. */
  readonly randomBytes: (bytes: number) => Buffer;
}

const lastUseMs = 60_000;

export class AccessControl {
  readonly #store: Store;
  readonly #tokens: StoredTokens;
  readonly #clock: StoreClock;
  readonly #randomBytes: (bytes: number) => Buffer;
  readonly #lastUsedMs = new Map<string, number>();

  constructor({ store, clock, randomBytes }: AccessOptions) {
    this.#store = store;
    this.#tokens = new StoredTokens(store, clock);
    this.#clock = clock;
    this.#randomBytes = randomBytes;
  }

  /** A first token was made, here or by another replica, and also if none is left or valid by now. */
  get requiresToken(): boolean {
    return this.#tokens.wasBegun;
  }

  /**
   * Who shows this bearer; null: he shows nothing. Throws AccessError `token-required`, `token-invalid`, or `out-of-touch` where tokens may have been
   * revoked without its being known here; `evenOutOfTouch` takes what was known last.
   */
  identify(bearer: string | null, evenOutOfTouch = false): Requester {
    // Whoever needs no token may do everything.
    if (!this.requiresToken) return { name: null, role: { tag: 'admin' }, isValid: () => !this.requiresToken };
    if (bearer === null)
      throw new AccessError(
        'token-required',
        'This control plane asks for a token: say --token-file FILE or WEFT_TOKEN, or Authorization: Bearer TOKEN. An admin makes one with `weft token create --role ROLE`.',
      );
    if (!evenOutOfTouch && this.#isOutOfTouch())
      throw new AccessError(
        'out-of-touch',
        `This control plane has not heard of its store for more than ${limits.accessBlindMs / 1000} s, so it does not know which tokens were revoked, and takes none. Ask another one, or again once it reaches the store.`,
      );
    const id = tokenIdIn(bearer);
    if (id === null)
      throw new AccessError(
        'token-invalid',
        'What was shown is no token of the API (weft_...): join and push tokens of sidecars are none.',
      );
    const token = this.#tokens.find(id);
    if (token === null || !isTokenOf(bearer, token.sha256))
      throw new AccessError(
        'token-invalid',
        'The token is not known here: it was revoked, or another mesh has made it.',
      );
    const nowMs = this.#clock.nowMs();
    if (isExpired(token, nowMs))
      throw new AccessError(
        'token-invalid',
        `The token ${token.name} expired at ${token.expiresAt}: an admin makes another with \`weft token create\`.`,
      );
    this.#lastUsedMs.set(id, Math.floor(nowMs / lastUseMs) * lastUseMs);
    const isValid = () =>
      this.#tokens.find(id)?.sha256 === token.sha256 &&
      !isExpired(token, this.#clock.nowMs()) &&
      (evenOutOfTouch || !this.#isOutOfTouch());
    return { name: token.name, role: token.role, isValid };
  }

  /** `who` makes it. Rejects with AccessError and with what the store rejects with. */
  async create({ name, role, ttlMs }: TokenWish, who: string): Promise<MadeToken> {
    const { text, id, sha256 } = makeTokenSecret(this.#randomBytes);
    const nowMs = this.#clock.nowMs();
    const token: StoredToken = {
      id,
      name: name ?? `${role.tag}-${id.slice(0, 6)}`,
      role,
      sha256,
      createdAt: formatTime(nowMs),
      createdBy: who,
      expiresAt: ttlMs === null ? null : formatTime(nowMs + ttlMs),
    };
    const message = `token ${token.name} (${roleText(role)}) made`;
    await this.#tokens.change({ edit: addingToken(token, nowMs), who, message });
    return { text, token };
  }

  list(): readonly ListedToken[] {
    const tokens = this.#tokens.all;
    return tokens.map((token) => {
      const usedMs = this.#lastUsedMs.get(token.id);
      return { ...token, lastUsedAt: usedMs === undefined ? null : formatTime(usedMs) };
    });
  }

  /** By name or id; nobody who shows it is known from now on. Rejects with AccessError and with what the store rejects with. */
  async revoke(nameOrId: string, who: string): Promise<void> {
    const edit = removingToken(nameOrId, this.#clock.nowMs());
    await this.#tokens.change({ edit, who, message: `token ${nameOrId.slice(0, 80)} revoked` });
    const kept = new Set(this.#tokens.all.map(({ id }) => id));
    for (const id of this.#lastUsedMs.keys()) if (!kept.has(id)) this.#lastUsedMs.delete(id);
  }

  #isOutOfTouch(): boolean {
    return this.#clock.nowMs() - this.#store.knownAtMs > limits.accessBlindMs;
  }
}

const formatTime = (ms: number): string => new Date(ms).toISOString();
