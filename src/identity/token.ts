/**
 * Tokens: JWTs (RFC 7519) that a root has signed. A *join* token lets a sidecar obtain its Service's first certificate; a *push* token,
 * handed out with each certificate, opens the push channel and renews the certificate. Any root that is believed verifies, so every
 * replica of the control plane takes the tokens of the others.
 */
import { X509Certificate } from 'node:crypto';
import { decodeJwt, errors, jwtVerify, SignJWT } from 'jose';
import { parseSpiffeId, type ServiceIdentity, spiffeIdOf, type TrustBundle } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import { IdentityError } from './identity-error.ts';
import type { SigningRoot } from './root.ts';

export type TokenUse = 'join' | 'push';

export interface TokenWish {
  readonly use: TokenUse;
  /** Of a join token: SHA-256 of the roots beside the signer's whose control planes its bearer may meet first. Default: none. */
  readonly otherRoots?: readonly string[];
  readonly identity: ServiceIdentity;
  readonly nowMs: number;
  readonly expiresAtMs: number;
}

export interface TokenClaims {
  readonly use: TokenUse;
  readonly identity: ServiceIdentity;
  /** ms since the epoch. */
  readonly expiresAtMs: number;
}

export interface TokenExpectation {
  readonly bundle: TrustBundle;
  /** What it may be for. */
  readonly uses: readonly TokenUse[];
  readonly nowMs: number;
}

const algorithm = 'ES256';
const audienceOf = (use: TokenUse): string => `weft-${use}`;

export function signToken(
  root: SigningRoot,
  { use, otherRoots = [], identity, nowMs, expiresAtMs }: TokenWish,
): Promise<string> {
  // A sidecar that has nothing but a join token pins these roots when it first meets a control plane.
  const roots = otherRoots.filter((sha256) => sha256 !== root.sha256);
  return new SignJWT({ root: root.sha256, ...(roots.length === 0 ? {} : { roots }) })
    .setProtectedHeader({ alg: algorithm, kid: root.sha256, typ: 'JWT' })
    .setSubject(spiffeIdOf(identity))
    .setAudience(audienceOf(use))
    .setIssuedAt(Math.floor(nowMs / 1000))
    .setExpirationTime(Math.floor(expiresAtMs / 1000))
    .sign(root.key);
}

/** Rejects with IdentityError `token-malformed`, `token-foreign`, `token-expired` or `token-misused`. */
export async function verifyToken(token: string, { bundle, uses, nowMs }: TokenExpectation): Promise<TokenClaims> {
  if (token.length > limits.tokenCharsMax)
    throw new IdentityError('token-malformed', `a token has at most ${limits.tokenCharsMax} characters`);
  const { payload } = await jwtVerify(token, ({ kid }) => keyOf(bundle, kid), {
    algorithms: [algorithm],
    audience: uses.map(audienceOf),
    requiredClaims: ['exp', 'sub'],
    currentDate: new Date(nowMs),
  }).catch((error: unknown) => {
    throw explain(error, uses);
  });
  const identity = parseSpiffeId(payload.sub!);
  if (identity === null || identity.trustDomain !== bundle.trustDomain)
    throw new IdentityError('token-foreign', 'it is for somebody of another trust domain');
  const use = uses.find((each) => [payload.aud].flat().includes(audienceOf(each)))!;
  return { use, identity, expiresAtMs: payload.exp! * 1000 };
}

/** Whose token it says it is, which nothing proves: for a log. Null: it does not say. */
export function claimedIdentityOf(token: string): ServiceIdentity | null {
  if (token.length > limits.tokenCharsMax) return null;
  try {
    const { sub } = decodeJwt(token);
    return typeof sub === 'string' ? parseSpiffeId(sub) : null;
  } catch {
    return null;
  }
}

function keyOf({ roots }: TrustBundle, kid: string | undefined) {
  const root = roots.find(({ sha256 }) => sha256 === kid);
  if (root === undefined)
    throw new IdentityError('token-foreign', 'it was not signed by a root that this mesh believes');
  return new X509Certificate(root.pem).publicKey;
}

function explain(error: unknown, uses: readonly TokenUse[]): IdentityError {
  if (error instanceof IdentityError) return error;
  if (error instanceof errors.JWTExpired) return new IdentityError('token-expired', 'it has expired', error);
  if (error instanceof errors.JWTClaimValidationFailed && error.claim === 'aud')
    return new IdentityError('token-misused', `it is not a ${uses.join(' or ')} token`, error);
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return new IdentityError('token-foreign', 'its signature is wrong', error);
  return new IdentityError('token-malformed', 'it is not a token of this mesh', error);
}
