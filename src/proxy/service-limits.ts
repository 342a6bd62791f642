/** What a Service takes of a request, judged on the request as it would be sent, and what its answers may be. */
import type { UnitLimits } from '../model/snapshot.ts';
import { type Failure, failures } from './failure.ts';
import type { HeaderList } from './headers.ts';
import type { UpstreamRequest } from './upstream/upstream.ts';

/** Why the Service does not get this request; null: it does. A body of unknown length is counted as it arrives (exchange.ts). */
export function serviceLimitMet({ target, headers, bodyBytes }: UpstreamRequest, limits: UnitLimits): Failure | null {
  if (limits.targetBytes !== 0 && target.length > limits.targetBytes) return failures['target-too-long'];
  if (limits.requestHeadFields !== 0 && headers.length > 2 * limits.requestHeadFields)
    return failures['headers-too-large'];
  if (isHeadLarger(headers, limits.requestHeadBytes)) return failures['headers-too-large'];
  return limits.requestBodyBytes !== 0 && bodyBytes > limits.requestBodyBytes ? failures['body-too-large'] : null;
}

/** Each field counts its name, its value and 4 for colon, blank and line end. `bytesMax` 0: no limit. */
export function isHeadLarger(headers: HeaderList, bytesMax: number): boolean {
  if (bytesMax === 0) return false;
  let bytes = 2 * headers.length;
  for (const text of headers) bytes += text.length;
  return bytes > bytesMax;
}
