/** Why a token was not taken, made or revoked; the message says what to do. */
export type AccessErrorCode =
  /** Nothing, or nothing that could be a token, was shown. */
  | 'token-required'
  /** What was shown is no token of this mesh, was revoked, or has expired. */
  | 'token-invalid'
  | 'name-taken'
  | 'no-such-token'
  | 'too-many-tokens'
  /** Without an admin nobody could make another token. */
  | 'admin-needed'
  /** The store was not heard for too long: what was revoked or made meanwhile is not known here. */
  | 'out-of-touch'
  /** Others write all the time. */
  | 'unavailable';

export class AccessError extends Error {
  override readonly name = 'AccessError';

  constructor(
    readonly code: AccessErrorCode,
    message: string,
  ) {
    super(message);
  }
}
