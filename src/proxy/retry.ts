/** Whether a failed attempt may be made once more. Pure: the proxy supplies the facts. */
import { limits } from '../model/limits.ts';
import type { Failure } from './failure.ts';

/** RFC 9110 section 9.2.2. */
const idempotent: ReadonlySet<string> = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE']);

export interface AttemptFacts {
  readonly method: string;
  readonly failure: Failure;
  /** The attempt ran on a kept connection: the endpoint may have closed it before it saw the request. */
  readonly isReusedConnection: boolean;
  /** All request body bytes received so far are still at hand. */
  readonly isBodyAtHand: boolean;
  /** Attempts made so far, this one included. */
  readonly attempts: number;
}

/**
 * True when no byte of the request can have been acted upon, or the method may be repeated and the connection was a stale one
 * (RFC 9112 section 9.3.1), or the link, or the line of requests that it stood in, broke before there was an answer. Anything else is the business of a retry policy, and there is none by default: retried POSTs have paid people twice.
 */
export function mayTryAgain(facts: AttemptFacts): boolean {
  if (facts.attempts >= limits.attemptsMax || !facts.isBodyAtHand) return false;
  if (facts.failure.isSafeToRetry) return true;
  const { code } = facts.failure;
  const isLost =
    code === 'link-lost' || code === 'pipeline-lost' || (code === 'stale-connection' && facts.isReusedConnection);
  return isLost && idempotent.has(facts.method);
}
