/** The one error of a store: what went wrong, as a code, and in its message what to do about it. */
export type StoreErrorCode =
  /** The address of a store that cannot be meant. */
  | 'bad-store'
  /** Another process, named in the message, has the directory open. */
  | 'store-in-use'
  /** It cannot be read or written, is damaged, or was written by a newer Weft. */
  | 'store-unusable'
  /** No member of etcd answers, or too few for a write. What was to be written may be written or not: its request id will tell. */
  | 'store-unavailable'
  /** Nothing was written; the same write may be sent again. */
  | 'store-write-failed'
  /** A bound of limits.ts is reached. */
  | 'store-full'
  | 'store-closed';

export class StoreError extends Error {
  readonly code: StoreErrorCode;

  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StoreError';
    this.code = code;
  }
}

/** The same with a remark, if it is that the store is not available: what became of what was asked is known to who has asked. */
export function withRemark(error: unknown, remark: string): unknown {
  if (!(error instanceof StoreError) || error.code !== 'store-unavailable') return error;
  return new StoreError(error.code, `${error.message} ${remark}`, error.cause);
}

/** The message of anything that was thrown, for use inside another message. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
