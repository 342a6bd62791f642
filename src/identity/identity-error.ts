/** The one error of this room: what is wrong with a key, a certificate, a request or a token. No message repeats what is secret. */
export type IdentityErrorCode =
  /** The files of the certificate authority cannot be used; the message says which, and what to do. */
  | 'ca-unusable'
  /** The certificate request cannot be read, is of another kind of key, or was not signed by its own key. */
  | 'bad-csr'
  /** It cannot be read as one. */
  | 'token-malformed'
  /** None of the roots that are believed has signed it. */
  | 'token-foreign'
  | 'token-expired'
  /** It is for something else. */
  | 'token-misused';

export class IdentityError extends Error {
  override readonly name = 'IdentityError';

  constructor(
    readonly code: IdentityErrorCode,
    message: string,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
