/** What is encoded, read by the official definitions. */
import { describe, expect, it } from 'vitest';
import type { Span } from '../../../src/model/span.ts';
import { parts } from '../../../src/telemetry/recorder.ts';
import { partialSuccessOf, refusalMessageOf, traceRequestOf } from '../../../src/wire/otlp-request.ts';
import { nanosecondsOf, SpanEncoder } from '../../../src/wire/otlp-span.ts';
import { type DecodedSpan, decodeTraceRequest, encodeTraceResponse } from '../../fixtures/otlp-decoder.ts';

const partsOf = (named: Partial<Record<(typeof parts)[number], number>>): Float64Array =>
  Float64Array.from(parts, (part) => named[part] ?? 0);

const spanWith = (changes: Partial<Span> = {}): Span => ({
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
  spanId: '00f067aa0ba902b7',
  parentId: '53995c3f42cd8ad8',
  traceFlags: 1,
  chosenFor: 'flag',
  direction: 'outbound',
  endedAtMs: 1_790_000_000_000.25,
  wallOffsetMs: 1_789_999_999_000,
  method: 'GET',
  host: 'cart',
  path: '/items/7',
  source: 'web.default',
  destination: 'cart.default',
  route: 'default/cart/0',
  sourceAddress: '127.0.0.1',
  endpoint: '10.0.0.7:9001',
  attempts: 1,
  failedTries: [],
  status: 200,
  answerBytes: 12,
  failure: '',
  farFailure: '',
  reason: '',
  detail: '',
  hop: { totalMs: 2.5, partsMs: partsOf({ wait: 1.5, network: 0.5, own: 0.5 }) },
  isLoopEstimate: false,
  far: null,
  ...changes,
});

const resource = { service: 'web', namespace: 'shop', instance: 'i-1' };

function sent(...spans: Span[]): readonly DecodedSpan[] {
  const encoder = new SpanEncoder(parts);
  const chunks = spans.map((span) => {
    encoder.add(span);
    return encoder.finish();
  });
  return decodeTraceRequest(traceRequestOf(resource, chunks));
}
const only = (changes: Partial<Span> = {}): DecodedSpan => sent(spanWith(changes))[0]!;

describe('a span', () => {
  it('of a call is read as it was', () => {
    expect(only()).toEqual({
      resource: { 'service.name': 'web', 'service.namespace': 'shop', 'service.instance.id': 'i-1' },
      scope: 'weft',
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      spanId: '00f067aa0ba902b7',
      parentId: '53995c3f42cd8ad8',
      name: 'GET cart.default',
      kind: 'SPAN_KIND_CLIENT',
      startNs: 1_789_999_999_997_750_000n,
      endNs: 1_790_000_000_000_250_000n,
      attributes: {
        'http.request.method': 'GET',
        'http.response.status_code': 200,
        'http.response.body.size': 12,
        'url.scheme': 'http',
        'url.path': '/items/7',
        'url.full': 'http://cart/items/7',
        'server.address': 'cart',
        'network.peer.address': '10.0.0.7',
        'network.peer.port': 9001,
        'weft.source': 'web.default',
        'weft.destination': 'cart.default',
        'weft.route': 'default/cart/0',
        'weft.attempts': 1,
        'weft.chosen_for': 'flag',
        'weft.part.wait': 1.5,
        'weft.part.network': 0.5,
        'weft.part.own': 0.5,
      },
      events: [],
      status: { code: 'STATUS_CODE_UNSET', message: '' },
      flags: 0x301,
    });
  });

  it('of a server names its client and its app, and has no parent where it begins a trace', () => {
    const span = only({ direction: 'inbound', parentId: '', endpoint: 'unix:/run/app.sock' });
    expect([span.kind, span.parentId, span.flags]).toEqual(['SPAN_KIND_SERVER', '', 1]);
    expect(span.attributes).toMatchObject({ 'client.address': '127.0.0.1', 'weft.endpoint': 'unix:/run/app.sock' });
    expect(Object.keys(span.attributes)).not.toContain('url.full');
    expect(only({ direction: 'inbound', sourceAddress: 'unknown' }).attributes).not.toHaveProperty('client.address');
  });

  it.each([
    ['[::1]:9001', '::1', 9001],
    ['unix:/run/cart.sock', '/run/cart.sock', undefined],
    ['', undefined, undefined],
  ])('at %j names its peer', (endpoint, address, port) => {
    const { attributes } = only({ endpoint });
    expect([attributes['network.peer.address'], attributes['network.peer.port']]).toEqual([address, port]);
  });

  it.each<[what: string, Partial<Span>, errorType: string | undefined, message: string]>([
    ['well', {}, undefined, ''],
    ['a 404 for its caller', { status: 404 }, '404', ''],
    ['a 404 for who served it', { status: 404, direction: 'inbound' }, undefined, ''],
    ['a 500 for who served it', { status: 500, direction: 'inbound' }, '500', ''],
    [
      'a failure, in words',
      { status: 503, failure: 'no-endpoint', reason: 'The Service has no endpoint.', detail: 'cart.default' },
      'no-endpoint',
      'The Service has no endpoint. (cart.default)',
    ],
    [
      'a failure of the far sidecar',
      { status: 503, farFailure: 'pool-full', reason: 'The limit is reached.' },
      'pool-full',
      'The limit is reached.',
    ],
    [
      'a client that went',
      { status: 499, failure: 'client-gone', reason: 'It went.', direction: 'inbound' },
      'client-gone',
      'It went.',
    ],
  ])('that ended: %s', (_what, changes, errorType, message) => {
    const span = only(changes);
    expect(span.attributes['error.type']).toBe(errorType);
    expect(span.status).toEqual({ code: errorType === undefined ? 'STATUS_CODE_UNSET' : 'STATUS_CODE_ERROR', message });
  });

  it('has each try that another followed as an event, with its time', () => {
    const tried = {
      endpoint: '10.0.0.8:9001',
      failure: 'connect-refused',
      reason: 'The endpoint refused the connection.',
      atMs: 998,
    };
    const { events, attributes } = only({ attempts: 2, failedTries: [tried] });
    expect(attributes).toMatchObject({ 'weft.attempts': 2, 'http.request.resend_count': 1 });
    expect(events).toEqual([
      {
        name: 'weft.attempt.failed',
        timeNs: 1_789_999_999_998_000_000n,
        attributes: {
          'error.type': 'connect-refused',
          'error.message': 'The endpoint refused the connection.',
          'weft.endpoint': '10.0.0.8:9001',
        },
      },
    ]);
  });

  it('has the far hop, and says what is an estimate', () => {
    const far = { totalMs: 1.5, partsMs: partsOf({ wait: 1.25, own: 0.25 }) };
    const { attributes } = only({ far, isLoopEstimate: true });
    expect(attributes).toMatchObject({
      'weft.far.total': 1.5,
      'weft.far.part.wait': 1.25,
      'weft.far.part.own': 0.25,
      'weft.loop.is_estimate': true,
    });
  });

  it('of an odd method keeps its name within few', () => {
    const { name, attributes } = only({ method: 'PROPFIND', destination: '' });
    expect(name).toBe('HTTP');
    expect(attributes).toMatchObject({ 'http.request.method': '_OTHER', 'http.request.method_original': 'PROPFIND' });
  });

  it('of texts beyond ASCII and of large numbers stays what it is', () => {
    const { attributes } = only({ path: '/caf\xe9/\u{1f600}', answerBytes: 2 ** 40 + 1 });
    expect(attributes).toMatchObject({ 'url.path': '/caf\xe9/\u{1f600}', 'http.response.body.size': 2 ** 40 + 1 });
  });
});

describe('a request', () => {
  it('has as many spans as were added, in order', () => {
    const ids = ['1', '2', '3'].map((digit) => digit.repeat(16));
    expect(sent(...ids.map((spanId) => spanWith({ spanId }))).map(({ spanId }) => spanId)).toEqual(ids);
  });
});

describe('times', () => {
  it('since the epoch are nanoseconds that no double holds', () => {
    expect(nanosecondsOf(1_790_000_000_123)).toBe(1_790_000_000_123_000_000n);
    expect(nanosecondsOf(0.000001)).toBe(1n);
    expect(nanosecondsOf(1.9999999)).toBe(2_000_000n);
  });
});

describe('what a collector answers', () => {
  it('says how many spans it rejected, and why', () => {
    expect(partialSuccessOf(encodeTraceResponse(3, 'too old'))).toEqual({ rejectedSpans: 3, message: 'too old' });
    expect(partialSuccessOf(encodeTraceResponse(0, 'slow down'))).toEqual({ rejectedSpans: 0, message: 'slow down' });
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['JSON', Buffer.from('{"partialSuccess":{}}')],
    ['bytes that end in the middle', Buffer.from([0x0a, 0x7f, 0x01])],
    ['a negative number', encodeTraceResponse(-1, '')],
  ])('is a success where it is %s', (_what, body) => {
    expect(partialSuccessOf(body)).toEqual({ rejectedSpans: 0, message: '' });
  });

  it('may have a message for what it refuses', () => {
    // google.rpc.Status: code 3, message.
    expect(refusalMessageOf(Buffer.from([0x08, 3, 0x12, 3, 0x62, 0x61, 0x64]))).toBe('bad');
    expect(refusalMessageOf(Buffer.from('<html>'))).toBe('');
  });
});
