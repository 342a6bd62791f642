/** Spans of a call over several hops, as a collector reads them that decodes by the official definitions; and the access log of the same call. */
import { get, type RequestListener } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parts } from '../../src/telemetry/recorder.ts';
import { type DecodedSpan, decodeTraceRequest } from '../fixtures/otlp-decoder.ts';
import { Bench, call, type Running, until } from './harness.ts';
import { manifest, type Resource, service, startWeb } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

interface Collector {
  readonly url: string;
  readonly spans: DecodedSpan[];
  /** Of requests that could not be read: the test's own verdict. */
  readonly faults: string[];
  status: number;
  posts: number;
}

async function startCollector(): Promise<Collector> {
  const chunksOf = (request: Parameters<RequestListener>[0]) =>
    new Promise<Buffer>((resolve) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.once('end', () => resolve(Buffer.concat(chunks)));
    });
  const { address } = await bench.app(async (request, response) => {
    const body = await chunksOf(request);
    collector.posts++;
    if (request.url !== '/v1/traces' || request.headers['content-type'] !== 'application/x-protobuf')
      collector.faults.push(`${request.url} ${request.headers['content-type']}`);
    try {
      if (collector.status === 200) collector.spans.push(...decodeTraceRequest(body));
    } catch (error) {
      collector.faults.push(String(error));
    }
    response.writeHead(collector.status).end();
  });
  const collector: Collector = { url: `http://${address}`, spans: [], faults: [], status: 200, posts: 0 };
  return collector;
}

/** web's app -> web -> cart -> cart's app, which calls pay with the traceparent that it got -> cart -> pay -> pay's app. */
async function startChain(
  more: readonly string[],
  loops = '1',
): Promise<{ web: Running; cart: Running; pay: Running }> {
  const listeners = ['--admin', '127.0.0.1:0', '--outbound', '127.0.0.1:0', '--insecure-link', '--loops', loops];
  const sidecar = (name: string, resources: Resource[], args: readonly string[]) =>
    bench.weft([
      'sidecar',
      '--service',
      name,
      ...listeners,
      ...args,
      ...more,
      '--config',
      bench.file(`${name}.yaml`, manifest(resources)),
    ]);
  const beside = (app: string) => ['--app', app, '--inbound', '127.0.0.1:0', '--link', '127.0.0.1:0'];
  const payApp = await bench.app(
    (request, response) => void response.writeHead(request.url === '/broken' ? 500 : 200).end('paid'),
  );
  const pay = await sidecar('pay', [], beside(payApp.address));
  let cartOutbound = '';
  const cartApp = await bench.app((request, response) => {
    const [hostname, port] = cartOutbound.split(':');
    const { traceparent } = request.headers;
    get({ hostname, port, path: request.url, headers: { host: 'pay', traceparent } }, (answer) => {
      answer.resume().once('end', () => response.writeHead(answer.statusCode!).end('ordered'));
    });
  });
  const at = ({ ready }: Running) => [{ address: ready.inbound, link: ready.link }];
  const cart = await sidecar('cart', [service('pay', at(pay))], beside(cartApp.address));
  cartOutbound = cart.ready.outbound;
  const web = await sidecar('web', [service('cart', at(cart))], []);
  await until('cart answers', async () => (await call(web.ready.outbound, 'cart', '/warm')).status === 200);
  return { web, cart, pay };
}

/** A sidecar that calls an app, which has none, and endpoints that are not there. */
async function startAlone(...more: readonly string[]): Promise<Running> {
  const app = await bench.app(
    (request, response) => void response.writeHead(request.url === '/broken' ? 500 : 200).end(),
  );
  return startWeb(bench, [service('cart', [app.address]), service('gone', ['127.0.0.1:1', '127.0.0.1:2'])], ...more);
}

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const appSpan = '00f067aa0ba902b7';
const calledBy = (flags: string) => ({ headers: { traceparent: `00-${traceId}-${appSpan}-${flags}` } });
const sumOfParts = ({ attributes }: DecodedSpan) =>
  parts.reduce((sum, part) => sum + Number(attributes[`weft.part.${part}`] ?? 0), 0);
describe('spans', () => {
  it.each(['1', '2'])(
    'of a call over two links hang together and have the ledger, with %s event loops',
    async (loops) => {
      const collector = await startCollector();
      const { web } = await startChain(['--otlp-endpoint', collector.url, '--trace-sample', '0'], loops);
      await call(web.ready.outbound, 'cart', '/order?card=4111', calledBy('01'));
      const ours = () => collector.spans.filter((span) => span.traceId === traceId);
      await until('four spans have come', async () => ours().length === 4);
      expect(collector.faults).toEqual([]);
      const by = (name: string, kind: string) =>
        ours().find(({ resource, kind: of }) => resource['service.name'] === name && of === `SPAN_KIND_${kind}`)!;
      const [webOut, cartIn, cartOut, payIn] = [
        by('web', 'CLIENT'),
        by('cart', 'SERVER'),
        by('cart', 'CLIENT'),
        by('pay', 'SERVER'),
      ];
      expect([webOut.parentId, cartIn.parentId, cartOut.parentId, payIn.parentId]).toEqual([
        appSpan,
        webOut.spanId,
        cartIn.spanId,
        cartOut.spanId,
      ]);
      for (const span of ours()) {
        expect(Math.abs(sumOfParts(span) - Number(span.endNs - span.startNs) / 1e6)).toBeLessThan(0.000_002);
        expect(span.attributes).toMatchObject({
          'url.path': '/order',
          'http.response.status_code': 200,
          'weft.chosen_for': 'flag',
        });
        expect(JSON.stringify({ ...span, startNs: 0, endNs: 0 })).not.toContain('4111');
        expect(span.flags & 1).toBe(1);
      }
      // What the caller says of the far hop is that hop's own total to its first byte.
      expect(webOut.attributes['weft.far.total']).toBeLessThanOrEqual(
        Number(cartIn.endNs - cartIn.startNs) / 1e6 + 0.001,
      );
      expect(new Set(ours().map(({ resource }) => resource['service.instance.id'])).size).toBe(3);
      expect(ours()).toHaveLength(4);
    },
  );

  it('are of the share of new traces, and beyond it of what failed, with the reason and every try', async () => {
    const collector = await startCollector();
    const web = await startAlone('--otlp-endpoint', collector.url, '--trace-sample', '0');
    for (const [host, path] of [
      ['cart', '/unsampled'],
      ['gone', '/failed'],
      ['cart', '/broken'],
    ] as const)
      await call(web.ready.outbound, host, path, calledBy('00'));
    const at = (path: string) => collector.spans.filter(({ attributes }) => attributes['url.path'] === path);
    await until('their spans have come', async () => at('/failed').length === 1 && at('/broken').length === 1);
    expect(at('/broken')[0]!.attributes).toMatchObject({ 'error.type': '500', 'weft.chosen_for': 'failure' });
    const [span] = at('/failed');
    expect(span).toMatchObject({
      name: 'GET gone.default',
      status: {
        code: 'STATUS_CODE_ERROR',
        message: expect.stringMatching(/^The endpoint refused the connection\. \(127\.0\.0\.1:[12]\)$/),
      },
      attributes: { 'error.type': 'connect-refused', 'weft.failure': 'connect-refused', 'weft.chosen_for': 'failure' },
    });
    expect(span!.flags & 1).toBe(0);
    expect(span!.events.length).toBe(Number(span!.attributes['weft.attempts']) - 1);
    expect(span!.events.length).toBeGreaterThan(0);
    for (const { timeNs, attributes } of span!.events) {
      expect(attributes['error.message']).toBe('The endpoint refused the connection.');
      expect(timeNs >= span!.startNs && timeNs <= span!.endNs).toBe(true);
    }
    expect(at('/unsampled')).toEqual([]);
    expect(collector.faults).toEqual([]);
  });

  it('wait while their collector cannot take them, traffic does not, and the last ones leave with the sidecar', async () => {
    const collector = await startCollector();
    collector.status = 503;
    const web = await startAlone('--otlp-endpoint', collector.url, '--trace-sample', '100%');
    for (let i = 0; i < 20; i++) expect((await call(web.ready.outbound, 'cart', `/kept/${i}`)).status).toBe(200);
    await until('it was tried', async () => collector.posts > 0);
    const { body } = await call(web.ready.admin, 'admin', '/metrics');
    expect(body).toContain('\nweft_spans_exported_total 0\n');
    collector.status = 200;
    await call(web.ready.outbound, 'cart', '/last');
    await web.kill('SIGTERM');
    const paths = collector.spans.map(({ attributes }) => attributes['url.path']);
    expect(paths).toEqual(expect.arrayContaining(['/kept/0', '/kept/19', '/last']));
    expect(collector.faults).toEqual([]);
  });
});

describe('the access log', () => {
  it('has what failed in words, the share of the rest, and no secret', async () => {
    const flags = [
      '--access-log',
      '--access-log-sample',
      '0',
      '--access-log-header',
      'x-tenant',
      '--redact-path',
      '/reset/*',
    ];
    const web = await startAlone(...flags);
    await call(web.ready.outbound, 'cart', '/well');
    const headers = { 'x-tenant': 'blue', cookie: 'secret', ...calledBy('00').headers };
    await call(web.ready.outbound, 'nobody', '/reset/t0ken?q=secret', { headers });
    const lines = () =>
      web
        .logs()
        .split('\n')
        .filter((line) => line.includes('"traceId"'));
    await until('the line is there', async () => lines().length > 0);
    expect(JSON.parse(lines().at(-1)!)).toMatchObject({
      path: '/reset/*',
      status: 404,
      failure: 'unknown-service',
      reason: 'No Service or route claims this host.',
      detail: 'nobody',
      traceId,
      headers: { 'x-tenant': 'blue' },
    });
    expect(lines()).toHaveLength(1);
    expect(web.logs()).not.toMatch(/t0ken|secret/);
  });
});
