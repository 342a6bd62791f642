/** The API tokens that there are, and what can happen to them: values in, a new list out. */
import { isAtLeast, type Role } from '../../model/access.ts';
import { limits } from '../../model/limits.ts';
import { AccessError } from './access-error.ts';

export interface StoredToken {
  /** 12 hex digits; no secret. */
  readonly id: string;
  /** Unique; whoever shows the token is written down under it. */
  readonly name: string;
  readonly role: Role;
  /** Of the token, lower-case hex. */
  readonly sha256: string;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly createdBy: string;
  /** RFC 3339; null: it does not end. */
  readonly expiresAt: string | null;
}

/** As the store has it, under `tokenListKey`. That it is there at all says that a first token was made: from then on each request needs one. */
export interface TokenList {
  readonly kind: 'AccessTokens';
  /** Oldest first, at most `limits.apiTokensMax`. */
  readonly tokens: readonly StoredToken[];
}

export const tokenListKey = 'AccessTokens/mesh';
export const emptyTokenList: TokenList = { kind: 'AccessTokens', tokens: [] };

export type TokenEdit = (list: TokenList) => TokenList;

export const isExpired = ({ expiresAt }: StoredToken, nowMs: number): boolean =>
  expiresAt !== null && Date.parse(expiresAt) <= nowMs;

const isLiveAdmin = (token: StoredToken, nowMs: number): boolean =>
  isAtLeast(token.role, 'admin') && !isExpired(token, nowMs);

/** The edit throws AccessError `name-taken`, `too-many-tokens` or `admin-needed`. */
export const addingToken =
  (token: StoredToken, nowMs: number): TokenEdit =>
  ({ kind, tokens }) => {
    const kept = tokens.filter(
      ({ expiresAt }) => expiresAt === null || Date.parse(expiresAt) > nowMs - limits.apiTokenForgottenMs,
    );
    if (kept.some(({ name, id }) => name === token.name || id === token.id))
      throw new AccessError(
        'name-taken',
        `There is a token ${token.name} already: choose another --name, or revoke that one first.`,
      );
    if (kept.length >= limits.apiTokensMax)
      throw new AccessError(
        'too-many-tokens',
        `There are ${kept.length} tokens, ${limits.apiTokensMax} at most: revoke some that nobody uses (weft token list).`,
      );
    if (![...kept, token].some((each) => isLiveAdmin(each, nowMs)))
      throw new AccessError(
        'admin-needed',
        'The first token must be an admin: with it every request needs a token, and only an admin makes more of them (weft token create --role admin).',
      );
    return { kind, tokens: [...kept, token] };
  };

/** By name or id. The edit throws AccessError `no-such-token` or `admin-needed`. */
export const removingToken =
  (nameOrId: string, nowMs: number): TokenEdit =>
  ({ kind, tokens }) => {
    const gone = tokens.find(({ name, id }) => name === nameOrId || id === nameOrId);
    if (gone === undefined)
      throw new AccessError(
        'no-such-token',
        `There is no token ${nameOrId.slice(0, 80)}: weft token list shows those there are.`,
      );
    const left = tokens.filter((token) => token !== gone);
    if (isLiveAdmin(gone, nowMs) && !left.some((token) => isLiveAdmin(token, nowMs)))
      throw new AccessError(
        'admin-needed',
        `${gone.name} is the last admin, and without one nobody could make another token: make the next one first (weft token create --role admin).`,
      );
    return { kind, tokens: left };
  };
