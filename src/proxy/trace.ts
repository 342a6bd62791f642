/** The trace that a request belongs to, as its head says it. */
import { continueTrace, type RandomIds, type Trace } from '../telemetry/trace-context.ts';
import { fieldIds } from './field-names.ts';
import { fieldValue, joinedFieldValue } from './headers.ts';
import type { RequestHead } from './request.ts';

/** `threshold`: of traces that begin here so many are sampled (telemetry/sampling.ts). */
export function traceOfHead({ headers, source }: RequestHead, ids: RandomIds, threshold: number): Trace {
  // A sidecar that has proved who it is has written the one there is.
  if (source !== '') return continueTrace(fieldValue(headers, fieldIds.traceparent), ids, true, threshold);
  // Several are none that is valid (section 3.2).
  return continueTrace(joinedFieldValue(headers, fieldIds.traceparent), ids, false, threshold);
}
