/** The one error of this room: bytes that are not what the protocol says. */
export class WireError extends Error {
  readonly code = 'malformed-frame';

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? {} : { cause });
    this.name = 'WireError';
  }
}

/** Runs a decoder of the generated code; its many errors become a WireError. */
export function decodeMessage<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new WireError('the frame is not a message of this protocol', cause);
  }
}
