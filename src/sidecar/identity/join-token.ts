/**
 * What a join token says, read before it is shown to anybody. Nothing here verifies it (the control plane does): this side only needs
 * to know which root the control plane must prove to have.
 */
import { parseSpiffeId, type ServiceIdentity } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';

export interface JoinToken {
  /** The token itself. A secret. */
  readonly text: string;
  readonly identity: ServiceIdentity;
  /** Lower-case hex SHA-256 of the roots, one of which must have issued the control plane's certificate. At least one. */
  readonly rootsSha256: readonly string[];
  /** Ms since the epoch. */
  readonly expiresAtMs: number;
}

/** A join token that may be another one later, see join-token-file.ts. */
export interface JoinTokenSource {
  /** As it was read last. */
  readonly current: JoinToken;
  /** Why what is there now cannot be used, so that `current` is the one before; null: it can. */
  readonly fault: string | null;
  /** Looks what is there now. Never rejects. */
  refresh(): Promise<void>;
}

/** The token cannot be what was meant; `message` says why and what to do. */
export class JoinTokenError extends Error {
  override readonly name = 'JoinTokenError';
  readonly code = 'bad-join-token';
}

const tokenPattern = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Whether it has the form of a token, so that it can be in a header. */
export const isTokenText = (text: string): boolean => text.length <= limits.tokenCharsMax && tokenPattern.test(text);

/** One that stays what it is: that of the environment. */
export const fixedJoinToken = (current: JoinToken): JoinTokenSource => ({
  current,
  fault: null,
  refresh: () => Promise.resolve(),
});

/** @throws JoinTokenError when the text is no join token, or one of another Service. */
export function decodeJoinToken(text: string, service: string, namespace: string): JoinToken {
  const claims = isTokenText(text) ? claimsOf(text) : null;
  const identity = typeof claims?.sub === 'string' ? parseSpiffeId(claims.sub) : null;
  const { aud, exp } = claims ?? {};
  const rootsSha256 = rootsIn(claims);
  if (aud !== 'weft-join' || identity === null || rootsSha256 === null || typeof exp !== 'number')
    throw new JoinTokenError('the join token is none: make one with weft token create --join --service NAME');
  if (identity.service !== service || identity.namespace !== namespace)
    throw new JoinTokenError(
      `the join token is for ${identity.service}.${identity.namespace}, not for ${service}.${namespace}: make one with weft token create --join --service ${service}.${namespace}`,
    );
  return { text, identity, rootsSha256, expiresAtMs: exp * 1_000 };
}

/** The root that has signed it, and the others that the mesh believed then: those of other control planes. Null: it does not say. */
function rootsIn(claims: Record<string, unknown> | null): readonly string[] | null {
  const { root, roots = [] } = claims ?? {};
  if (!isSha256(root) || !Array.isArray(roots) || roots.length > limits.trustRootsMax || !roots.every(isSha256))
    return null;
  return [...new Set([root, ...roots])];
}

const isSha256 = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);

function claimsOf(text: string): Record<string, unknown> | null {
  try {
    const claims: unknown = JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString());
    return typeof claims === 'object' && claims !== null ? { ...claims } : null;
  } catch {
    return null;
  }
}
