/** What a Service takes of a request, judged on the request as it would be sent, and what its answers may be. */
import type { UnitLimits, UnitName } from '../model/snapshot.ts';
import type { HeaderList } from './headers.ts';
import { bodyTooLarge, fieldsTooLarge, type LimitMet, ofService, targetTooLong, tooManyFields } from './limit-met.ts';
import type { UpstreamRequest } from './upstream/upstream.ts';

/** Why the Service does not get this request; null: it does. A body of unknown length is counted as it arrives (exchange.ts). */
export function serviceLimitMet(request: UpstreamRequest, limits: UnitLimits, service: UnitName): LimitMet | null {
  const { target, headers, bodyBytes } = request;
  const { targetBytes, requestHeadFields, requestHeadBytes, requestBodyBytes } = limits;
  if (targetBytes !== 0 && target.length > targetBytes)
    return targetTooLong(targetBytes, ofService(service, 'targetBytes'));
  if (requestHeadFields !== 0 && headers.length > requestHeadFields)
    return tooManyFields(requestHeadFields, ofService(service, 'requestHeadFields'));
  if (isHeadLarger(headers, requestHeadBytes))
    return fieldsTooLarge(requestHeadBytes, ofService(service, 'requestHeadBytes'));
  if (requestBodyBytes === 0 || bodyBytes <= requestBodyBytes) return null;
  return bodyTooLarge(requestBodyBytes, ofService(service, 'requestBodyBytes'));
}

/** Each field counts its name, its value and 4 for colon, blank and line end. `bytesMax` 0: no limit. */
export function isHeadLarger(headers: HeaderList, bytesMax: number): boolean {
  if (bytesMax === 0) return false;
  let bytes = 4 * headers.length;
  for (const { name, value } of headers) bytes += name.length + value.length;
  return bytes > bytesMax;
}
