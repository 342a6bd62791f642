/** The body of a POST to `/v1/traces` of a collector, and what it answers: ExportTraceServiceRequest and -Response of OTLP. */
import $protobuf from 'protobufjs/minimal.js';
import { version } from '../model/version.ts';
import { attributeKey, ProtoBytes } from './proto-bytes.ts';

/** Which process the spans are of: the conventions' `service.*`. */
export interface SpanResource {
  readonly service: string;
  readonly namespace: string;
  /** Never the same for two processes. */
  readonly instance: string;
}

/** Of ExportTraceServiceRequest. */
const resourceSpansField = 1;
/** Of ResourceSpans; of ScopeSpans, InstrumentationScope and Resource. */
const resourceField = 1;
const scopeSpansField = 2;
const scopeField = 1;
const scopeNameField = 1;
const scopeVersionField = 2;
const attributesField = 1;
const key = {
  service: attributeKey('service.name'),
  namespace: attributeKey('service.namespace'),
  instance: attributeKey('service.instance.id'),
} as const;

/** `spans`: as a SpanEncoder has written them, of one resource. */
export function traceRequestOf(
  { service, namespace, instance }: SpanResource,
  spans: readonly Uint8Array[],
): Uint8Array {
  const [inner, scopeSpans, resourceSpans, request] = [
    new ProtoBytes(),
    new ProtoBytes(),
    new ProtoBytes(),
    new ProtoBytes(),
  ];
  inner.textAttribute(attributesField, key.service, service);
  inner.textAttribute(attributesField, key.namespace, namespace);
  inner.textAttribute(attributesField, key.instance, instance);
  resourceSpans.message(resourceField, inner);
  inner.text(scopeNameField, 'weft');
  inner.text(scopeVersionField, version);
  scopeSpans.message(scopeField, inner);
  for (const chunk of spans) scopeSpans.encoded(chunk);
  resourceSpans.message(scopeSpansField, scopeSpans);
  request.message(resourceSpansField, resourceSpans);
  return request.take();
}

/** What the collector did not take, and why in its own words. */
export interface PartialSuccess {
  readonly rejectedSpans: number;
  readonly message: string;
}
const wholeSuccess: PartialSuccess = { rejectedSpans: 0, message: '' };

/** Whatever it is: an answer that cannot be read is one that says nothing. */
export function partialSuccessOf(body: Uint8Array): PartialSuccess {
  const partial = readFields(body)?.get(1);
  if (!(partial instanceof Uint8Array)) return wholeSuccess;
  const fields = readFields(partial);
  const [rejected, message] = [fields?.get(1), fields?.get(2)];
  return { rejectedSpans: typeof rejected === 'number' ? Math.max(0, rejected) : 0, message: textOf(message) };
}

/** The message of a `google.rpc.Status`, which goes with answers of 4xx and 5xx; empty: there is none. */
export const refusalMessageOf = (body: Uint8Array): string => textOf(readFields(body)?.get(2));

const textOf = (value: number | Uint8Array | undefined): string =>
  value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : '';

/** The last value of each field, where it is a number or bytes; null: it is no message. */
function readFields(body: Uint8Array): Map<number, number | Uint8Array> | null {
  const fields = new Map<number, number | Uint8Array>();
  try {
    const reader = $protobuf.Reader.create(body);
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      const wireType = tag & 7;
      if (wireType === 0) fields.set(tag >>> 3, Number(String(reader.int64())));
      else if (wireType === 2) fields.set(tag >>> 3, reader.bytes());
      else reader.skipType(wireType);
    }
  } catch {
    return null;
  }
  return fields;
}
