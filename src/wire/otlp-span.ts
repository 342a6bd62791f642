/**
 * A hop as a span of OpenTelemetry: names and rules of its conventions for HTTP (stable since 1.23), and the parts of the ledger beside them.
 * https://opentelemetry.io/docs/specs/semconv/http/http-spans/
 */
import type { FailedTry, Span, SpanHop } from '../model/span.ts';
import { type AttributeKey, attributeKey, ProtoBytes } from './proto-bytes.ts';

/** `spans` of `ScopeSpans` in trace.proto, and the fields of `Span`. */
const spansField = 2;
const field = {
  traceId: 1,
  spanId: 2,
  parentSpanId: 4,
  name: 5,
  kind: 6,
  startTime: 7,
  endTime: 8,
  attributes: 9,
  events: 11,
  status: 15,
  flags: 16,
} as const;
const eventField = { time: 1, name: 2, attributes: 3 } as const;
const statusField = { message: 2, code: 3 } as const;
const kindOf = { inbound: 2, outbound: 3 } as const;
const statusError = 2;
/** Beside the W3C's own flags: it is known whether the parent is of another process, and it is. */
const parentIsRemote = 0x300;

const key = {
  method: attributeKey('http.request.method'),
  methodOriginal: attributeKey('http.request.method_original'),
  status: attributeKey('http.response.status_code'),
  resends: attributeKey('http.request.resend_count'),
  answerBytes: attributeKey('http.response.body.size'),
  errorType: attributeKey('error.type'),
  errorMessage: attributeKey('error.message'),
  scheme: attributeKey('url.scheme'),
  path: attributeKey('url.path'),
  url: attributeKey('url.full'),
  server: attributeKey('server.address'),
  client: attributeKey('client.address'),
  peer: attributeKey('network.peer.address'),
  peerPort: attributeKey('network.peer.port'),
  endpoint: attributeKey('weft.endpoint'),
  source: attributeKey('weft.source'),
  destination: attributeKey('weft.destination'),
  route: attributeKey('weft.route'),
  attempts: attributeKey('weft.attempts'),
  failure: attributeKey('weft.failure'),
  farFailure: attributeKey('weft.far.failure'),
  chosenFor: attributeKey('weft.chosen_for'),
  isLoopEstimate: attributeKey('weft.loop.is_estimate'),
  farTotal: attributeKey('weft.far.total'),
} as const;

/** Methods that the convention knows; any other is `_OTHER`, and said beside it. */
const knownMethods: ReadonlySet<string> = new Set(
  'CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE'.split(' '),
);

/** Spans one behind the other, as they stand in a `ScopeSpans`. */
export class SpanEncoder {
  private readonly partKeys: readonly AttributeKey[];
  private readonly farPartKeys: readonly AttributeKey[];
  private readonly spans = new ProtoBytes();
  private readonly body = new ProtoBytes();
  private readonly inner = new ProtoBytes();

  /** `parts`: names of a hop's parts, in their order. */
  constructor(parts: readonly string[]) {
    this.partKeys = parts.map((part) => attributeKey(`weft.part.${part}`));
    this.farPartKeys = parts.map((part) => attributeKey(`weft.far.part.${part}`));
  }

  add(span: Span): void {
    const { body } = this;
    const endedAt = nanosecondsOf(span.endedAtMs);
    body.hex(field.traceId, span.traceId);
    body.hex(field.spanId, span.spanId);
    if (span.parentId !== '') body.hex(field.parentSpanId, span.parentId);
    body.text(field.name, nameOf(span));
    body.int(field.kind, kindOf[span.direction]);
    body.fixed64(field.startTime, endedAt - BigInt(Math.round(span.hop.totalMs * 1e6)));
    body.fixed64(field.endTime, endedAt);
    this.addAttributes(span);
    for (const tried of span.failedTries) this.addFailedTry(tried, span.wallOffsetMs);
    this.addStatus(span);
    body.fixed32(field.flags, span.parentId === '' ? span.traceFlags : span.traceFlags | parentIsRemote);
    this.spans.message(spansField, body);
  }

  /** Those that were added since the last time. */
  finish(): Uint8Array {
    return this.spans.take();
  }

  private addAttributes(span: Span): void {
    const { body } = this;
    addHttp(body, span);
    body.textAttribute(field.attributes, key.source, span.source);
    body.textAttribute(field.attributes, key.destination, span.destination);
    body.textAttribute(field.attributes, key.route, span.route);
    body.intAttribute(field.attributes, key.attempts, span.attempts);
    body.textAttribute(field.attributes, key.failure, span.failure);
    body.textAttribute(field.attributes, key.farFailure, span.farFailure);
    body.textAttribute(field.attributes, key.chosenFor, span.chosenFor);
    addParts(body, this.partKeys, span.hop);
    if (span.isLoopEstimate) body.boolAttribute(field.attributes, key.isLoopEstimate, true);
    if (span.far === null) return;
    body.doubleAttribute(field.attributes, key.farTotal, span.far.totalMs);
    addParts(body, this.farPartKeys, span.far);
  }

  private addStatus(span: Span): void {
    if (errorTypeOf(span) === '') return;
    const { inner } = this;
    const words = span.detail === '' ? span.reason : `${span.reason} (${span.detail})`;
    if (words !== '') inner.text(statusField.message, words);
    inner.int(statusField.code, statusError);
    this.body.message(field.status, inner);
  }

  private addFailedTry(tried: FailedTry, wallOffsetMs: number): void {
    const { inner } = this;
    inner.fixed64(eventField.time, nanosecondsOf(tried.atMs + wallOffsetMs));
    inner.text(eventField.name, 'weft.attempt.failed');
    inner.textAttribute(eventField.attributes, key.errorType, tried.failure);
    inner.textAttribute(eventField.attributes, key.errorMessage, tried.reason);
    inner.textAttribute(eventField.attributes, key.endpoint, tried.endpoint);
    this.body.message(field.events, inner);
  }
}

/** To the microsecond or so, which is what a double has since the epoch; no double holds it in nanoseconds. */
export function nanosecondsOf(ms: number): bigint {
  const whole = Math.floor(ms);
  return BigInt(whole) * 1_000_000n + BigInt(Math.round((ms - whole) * 1e6));
}

const methodOf = (method: string): string => (knownMethods.has(method) ? method : '_OTHER');
/** Of few values: never the path. */
const nameOf = ({ method, destination }: Span): string => {
  const known = knownMethods.has(method) ? method : 'HTTP';
  return destination === '' ? known : `${known} ${destination}`;
};

function addHttp(to: ProtoBytes, span: Span): void {
  const { method, host, path, endpoint, status, direction } = span;
  to.textAttribute(field.attributes, key.method, methodOf(method));
  if (!knownMethods.has(method)) to.textAttribute(field.attributes, key.methodOriginal, method);
  if (status > 0) to.intAttribute(field.attributes, key.status, status);
  if (span.attempts > 1) to.intAttribute(field.attributes, key.resends, span.attempts - 1);
  to.intAttribute(field.attributes, key.answerBytes, span.answerBytes);
  to.textAttribute(field.attributes, key.errorType, errorTypeOf(span));
  to.textAttribute(field.attributes, key.scheme, 'http');
  to.textAttribute(field.attributes, key.path, path);
  to.textAttribute(field.attributes, key.server, host);
  if (direction === 'inbound') {
    if (span.sourceAddress !== 'unknown') to.textAttribute(field.attributes, key.client, span.sourceAddress);
    to.textAttribute(field.attributes, key.endpoint, endpoint);
    return;
  }
  to.textAttribute(field.attributes, key.url, `http://${host}${path}`);
  const colon = endpoint.startsWith('unix:') ? -1 : endpoint.lastIndexOf(':');
  if (colon === -1) {
    to.textAttribute(field.attributes, key.peer, endpoint.slice('unix:'.length));
    return;
  }
  const isBracketed = endpoint.startsWith('[');
  to.textAttribute(field.attributes, key.peer, isBracketed ? endpoint.slice(1, colon - 1) : endpoint.slice(0, colon));
  to.intAttribute(field.attributes, key.peerPort, Number(endpoint.slice(colon + 1)));
}

/** Empty: it went well, as the convention has it: an answer of 4xx is an error of the client, and not of who served it. */
function errorTypeOf({ failure, farFailure, status, direction }: Span): string {
  if (failure !== '') return failure;
  if (farFailure !== '') return farFailure;
  return status >= (direction === 'outbound' ? 400 : 500) ? String(status) : '';
}

/** Those that took no time are left out; the others sum to the span's own length. */
function addParts(to: ProtoBytes, keys: readonly AttributeKey[], { partsMs }: SpanHop): void {
  for (let part = 0; part < keys.length; part++)
    if (partsMs[part]! > 0) to.doubleAttribute(field.attributes, keys[part]!, partsMs[part]!);
}
