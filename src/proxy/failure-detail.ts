/** What is said of a request that could not be sent anywhere, or whose client left: built when that has happened, and never before. */
import { limits } from '../model/limits.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';
import type { RequestHead } from './request.ts';
import type { LoopAction, LoopEndpoint, LoopService } from './tables.ts';

/** A method that no rule takes looks like a path that is not there: whoever meets it is told the difference. */
export function noRouteDetail(service: LoopService, head: RequestHead, verdicts: Uint8Array | null): string {
  const asked = `${head.method} ${head.path} of ${service.name}`;
  const methods = service.routes?.otherMethods(head, verdicts) ?? [];
  return methods.length === 0 ? asked : `${asked}: rules take it with ${methods.join(', ')} only`;
}

export function noBackendDetail({ route, backends }: LoopAction): string {
  const refs = backends.slice(0, limits.decisionCandidatesMax).map(({ ref }) => ref);
  if (refs.length === 0) return `${route} has no backendRef`;
  return `${route}: ${refs.join(', ')} ${refs.length === 1 ? 'has' : 'have'} weight 0`;
}

export function noEndpointDetail({ name, endpoints, departed }: LoopService): string {
  if (endpoints.length > 0)
    return `${name}: ${endpoints.length === 1 ? 'its endpoint has' : `its ${endpoints.length} endpoints have`} weight 0`;
  if (departed === null) return `${name}: none is written, and none registered`;
  const how = departed.trouble === '' ? '' : `: ${departed.trouble}`;
  return `${name}: its last one, ${departed.address}, has left${how}`;
}

/** How far it had come. Nobody is told. */
export function clientGoneDetail({ phase, attempt, isRequestComplete, head }: Exchange): string {
  const isSending = !isRequestComplete && head.bodyBytes !== 0;
  if (attempt === null) return isSending ? 'before its body was complete' : 'before it was decided where to send it';
  const { address } = attempt.endpoint;
  if (phase === 'answering') return `in the middle of the answer of ${address}`;
  return isSending ? 'before its body was complete' : `before ${address} had answered`;
}

/** What is said of an attempt that failed: the endpoint, what is known beyond that, and the limit where it met one that has no setting. */
export function attemptDetail({ code }: Failure, { address }: LoopEndpoint, detail: string): string {
  if (code === 'upstream-head-too-large')
    return `The fields in the answer of ${address} are larger than ${limits.headBytesMax} bytes (fixed).`;
  if (code === 'headers-too-large')
    return `With what filters add, the head is larger than a link to ${address} carries (${limits.linkFieldsMax} fields; fixed).`;
  return detail === '' ? address : `${address}: ${detail}`;
}
