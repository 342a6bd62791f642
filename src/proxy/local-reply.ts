/** The answers that Weft gives itself: which failure it was, in a header for programs and in JSON for people. */
import { STATUS_CODES } from 'node:http';
import type { Failure } from './failure.ts';
import { fieldOf, type HeaderList, headerList } from './headers.ts';

export interface LocalReply {
  readonly status: number;
  readonly reason: string;
  /** End-to-end fields, without framing. */
  readonly headers: HeaderList;
  readonly body: Buffer;
}

/** Seconds after which a client may try again where nothing was acted upon and the cause passes by itself. */
const retryAfter = '1';

const reasons: readonly string[] = Array.from({ length: 600 }, (_, status) => STATUS_CODES[status] ?? '');

/** The reason phrase that goes with a status, or `Unknown` (RFC 9112 section 4: clients ignore it). */
export function reasonOf(status: number): string {
  return reasons[status] || 'Unknown';
}

/**
 * Builds the reply for a failure. `detail` says in a few words what of this request it was (a host, an address); it is shown to the
 * client. `requestId` is what the log has too. `Retry-After` goes with every 503 after which nothing was acted upon.
 */
export function localReply(failure: Failure, detail: string, requestId: string): LocalReply {
  const { code, status, message } = failure;
  const headers = headerList(['Content-Type', 'application/json', 'Weft-Failure', code, 'Weft-Request-Id', requestId]);
  if (status === 503 && failure.isSafeToRetry) headers.push(fieldOf('Retry-After', retryAfter));
  const body = Buffer.from(`${JSON.stringify({ failure: code, status, message, detail, requestId })}\n`);
  return { status, reason: reasonOf(status), headers, body };
}
