/** Which of its timeouts a request has run into, who let it pass, and what is said of it: how long it was, and by which field it is set. */
import type { Exchange } from './exchange.ts';
import { failures } from './failure.ts';
import { bodyRateMet, type LimitMet } from './limit-met.ts';

/** Null: none. Asked by every sweep for every request in flight; nothing is built before one is met. */
export function timeoutMet(exchange: Exchange, nowMs: number): LimitMet | null {
  const { requestDeadlineMs, perTryDeadlineMs, idleMs, bodyPace, phase } = exchange;
  if (requestDeadlineMs !== 0 && nowMs >= requestDeadlineMs) return requestTimeout(exchange);
  if (perTryDeadlineMs !== 0 && nowMs >= perTryDeadlineMs) return perTryTimeout(exchange);
  if (idleMs !== 0 && nowMs - exchange.movedAtMs >= idleMs) return idleTimeout(exchange);
  // Once an answer has begun, whoever answers takes the body as it comes: the idle timeout is enough then.
  if (bodyPace === null || phase === 'answering') return null;
  const isTooSlow = bodyPace.isTooSlow(nowMs, exchange.requestBytes, exchange.isWaitingForClient);
  return isTooSlow ? bodyRateMet(exchange.bodyLimits) : null;
}

function requestTimeout(exchange: Exchange): LimitMet {
  const { requestMs } = exchange.action!.timeouts;
  return {
    failure: failures['request-timeout'],
    detail: `The answer of ${placeOf(exchange)} was not complete within ${requestMs} ms (timeouts.request).`,
  };
}

function perTryTimeout(exchange: Exchange): LimitMet {
  const { perTryMs } = exchange.action!.timeouts;
  return {
    failure: failures['per-try-timeout'],
    detail: `The answer of ${placeOf(exchange)} did not begin within ${perTryMs} ms (timeouts.backendRequest).`,
  };
}

/** Who let it pass: a client that does not send, one that does not read, or the endpoint. */
function idleTimeout(exchange: Exchange): LimitMet {
  const { phase, isWaitingForClient, attempt, idleMs } = exchange;
  const said = `for ${idleMs} ms (timeouts.idle).`;
  if (phase === 'answering' && attempt?.isHeldBack === true)
    return { failure: failures['answer-unread'], detail: `The client took nothing of the answer ${said}` };
  if (phase !== 'answering' && isWaitingForClient)
    return { failure: failures['request-body-timeout'], detail: `Nothing more of the body came ${said}` };
  return { failure: failures['idle-timeout'], detail: `Nothing came from ${placeOf(exchange)} ${said}` };
}

const placeOf = ({ attempt, head }: Exchange): string => (attempt === null ? head.host : attempt.endpoint.address);
