/**
 * A hop as a span of OpenTelemetry: names and rules of its conventions for HTTP (stable since 1.23), and the parts of the ledger beside them.
 * https://opentelemetry.io/docs/specs/semconv/http/http-spans/
 */
import type { FailedTry, Span, SpanHop } from '../model/span.ts';
import {
  AttributeWriter,
  bytesTag,
  fixed32Tag,
  nanosecondsOf,
  newWriter,
  type ProtoWriter,
  varintTag,
  writeNanoseconds,
} from './otlp-writer.ts';

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

/** Methods that the convention knows; any other is `_OTHER`, and said beside it. */
const knownMethods: ReadonlySet<string> = new Set(
  'CONNECT DELETE GET HEAD OPTIONS PATCH POST PUT QUERY TRACE'.split(' '),
);

/** Spans one behind the other, as they stand in a `ScopeSpans`. */
export class SpanEncoder {
  private readonly partKeys: readonly string[];
  private readonly farPartKeys: readonly string[];
  private writer: ProtoWriter = newWriter();

  /** `parts`: names of a hop's parts, in their order. */
  constructor(parts: readonly string[]) {
    this.partKeys = parts.map((part) => `weft.part.${part}`);
    this.farPartKeys = parts.map((part) => `weft.far.part.${part}`);
  }

  add(span: Span): void {
    const { writer } = this;
    const endedAt = nanosecondsOf(span.endedAtMs);
    writer.uint32(bytesTag(spansField)).fork();
    writer.uint32(bytesTag(field.traceId)).bytes(Buffer.from(span.traceId, 'hex'));
    writer.uint32(bytesTag(field.spanId)).bytes(Buffer.from(span.spanId, 'hex'));
    if (span.parentId !== '') writer.uint32(bytesTag(field.parentSpanId)).bytes(Buffer.from(span.parentId, 'hex'));
    writer.uint32(bytesTag(field.name)).string(nameOf(span));
    writer.uint32(varintTag(field.kind)).uint32(kindOf[span.direction]);
    writeNanoseconds(writer, field.startTime, endedAt - BigInt(Math.round(span.hop.totalMs * 1e6)));
    writeNanoseconds(writer, field.endTime, endedAt);
    this.addAttributes(span);
    for (const tried of span.failedTries) addFailedTry(writer, tried, span.wallOffsetMs);
    addStatus(writer, span);
    const flags = span.parentId === '' ? span.traceFlags : span.traceFlags | parentIsRemote;
    writer.uint32(fixed32Tag(field.flags)).fixed32(flags);
    writer.ldelim();
  }

  /** Those that were added since the last time. */
  finish(): Uint8Array {
    const bytes = this.writer.finish();
    this.writer = newWriter();
    return bytes;
  }

  private addAttributes(span: Span): void {
    const to = new AttributeWriter(this.writer, field.attributes);
    addHttp(to, span);
    to.text('weft.source', span.source);
    to.text('weft.destination', span.destination);
    to.text('weft.route', span.route);
    to.int('weft.attempts', span.attempts);
    to.text('weft.failure', span.failure);
    to.text('weft.far.failure', span.farFailure);
    to.text('weft.chosen_for', span.chosenFor);
    addParts(to, this.partKeys, span.hop);
    if (span.isLoopEstimate) to.bool('weft.loop.is_estimate', true);
    if (span.far === null) return;
    to.double('weft.far.total', span.far.totalMs);
    addParts(to, this.farPartKeys, span.far);
  }
}

const methodOf = (method: string): string => (knownMethods.has(method) ? method : '_OTHER');
/** Of few values: never the path. */
const nameOf = ({ method, destination }: Span): string => {
  const known = knownMethods.has(method) ? method : 'HTTP';
  return destination === '' ? known : `${known} ${destination}`;
};

function addHttp(to: AttributeWriter, span: Span): void {
  const { method, host, path, endpoint, status, direction } = span;
  to.text('http.request.method', methodOf(method));
  if (!knownMethods.has(method)) to.text('http.request.method_original', method);
  if (status > 0) to.int('http.response.status_code', status);
  if (span.attempts > 1) to.int('http.request.resend_count', span.attempts - 1);
  to.int('http.response.body.size', span.answerBytes);
  to.text('error.type', errorTypeOf(span));
  to.text('url.scheme', 'http');
  to.text('url.path', path);
  to.text('server.address', host);
  if (direction === 'inbound') {
    if (span.sourceAddress !== 'unknown') to.text('client.address', span.sourceAddress);
    to.text('weft.endpoint', endpoint);
    return;
  }
  to.text('url.full', `http://${host}${path}`);
  const colon = endpoint.startsWith('unix:') ? -1 : endpoint.lastIndexOf(':');
  if (colon === -1) {
    to.text('network.peer.address', endpoint.slice('unix:'.length));
    return;
  }
  to.text('network.peer.address', endpoint.slice(0, colon).replace(/^\[(.*)\]$/, '$1'));
  to.int('network.peer.port', Number(endpoint.slice(colon + 1)));
}

/** Empty: it went well, as the convention has it: an answer of 4xx is an error of the client, and not of who served it. */
function errorTypeOf({ failure, farFailure, status, direction }: Span): string {
  if (failure !== '') return failure;
  if (farFailure !== '') return farFailure;
  return status >= (direction === 'outbound' ? 400 : 500) ? String(status) : '';
}

/** Those that took no time are left out; the others sum to the span's own length. */
function addParts(to: AttributeWriter, keys: readonly string[], { partsMs }: SpanHop): void {
  for (let part = 0; part < keys.length; part++) if (partsMs[part]! > 0) to.double(keys[part]!, partsMs[part]!);
}

function addStatus(writer: ProtoWriter, span: Span): void {
  if (errorTypeOf(span) === '') return;
  const words = span.detail === '' ? span.reason : `${span.reason} (${span.detail})`;
  writer.uint32(bytesTag(field.status)).fork();
  if (words !== '') writer.uint32(bytesTag(statusField.message)).string(words);
  writer.uint32(varintTag(statusField.code)).uint32(statusError).ldelim();
}

function addFailedTry(writer: ProtoWriter, tried: FailedTry, wallOffsetMs: number): void {
  writer.uint32(bytesTag(field.events)).fork();
  writeNanoseconds(writer, eventField.time, nanosecondsOf(tried.atMs + wallOffsetMs));
  writer.uint32(bytesTag(eventField.name)).string('weft.attempt.failed');
  const to = new AttributeWriter(writer, eventField.attributes);
  to.text('error.type', tried.failure);
  to.text('error.message', tried.reason);
  to.text('weft.endpoint', tried.endpoint);
  writer.ldelim();
}
