/**
 * The text of an API token, `weft_ID_SECRET`: an id that is no secret and by which it is found, and 256 random bits.
 *
 * What is kept of it is one SHA-256. A slow hash (argon2, scrypt) is for passwords, which somebody can guess: of 2^256 texts nobody
 * guesses one, however fast he can try, and a slow hash at each request would be a way to keep the control plane busy.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

const secretBytes = 32;
const idBytes = 6;
const tokenPattern = /^weft_([0-9a-f]{12})_[\w-]{43}$/;

export interface TokenSecret {
  /** The whole token. Shown once, kept nowhere. */
  readonly text: string;
  /** 12 hex digits. */
  readonly id: string;
  /** Of the whole token, lower-case hex. */
  readonly sha256: string;
}

/** `randomBytes` is node:crypto's, or a test's. */
export function makeTokenSecret(randomBytes: (bytes: number) => Buffer): TokenSecret {
  const id = randomBytes(idBytes).toString('hex');
  const text = `weft_${id}_${randomBytes(secretBytes).toString('base64url')}`;
  return { text, id, sha256: hashOf(text).toString('hex') };
}

/** The id that a text names; null: it has not the form of a token. */
export const tokenIdIn = (text: string): string | null => tokenPattern.exec(text)?.[1] ?? null;

/** In a time that says nothing about where they differ. */
export const isTokenOf = (text: string, sha256: string): boolean =>
  timingSafeEqual(hashOf(text), Buffer.from(sha256, 'hex'));

const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest();
