/** What the flags of a listener make of paths and of the fields that say who called, seen by a raw origin behind real sidecars. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call, type Running } from './harness.ts';
import { echo, exchangeBytes, route, type Seen, service, startCart, startWeb, valuesOf } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** An app that notes what reached it, with a sidecar that is reached at its edge and over its link, and a caller. */
async function mesh(cartFlags: readonly string[], webFlags: readonly string[] = []) {
  const seen: Seen[] = [];
  const app = await bench.app(echo('cart', (request) => seen.push(request)));
  const link = ['--link', '127.0.0.1:0', '--insecure-link'];
  const cart = await startCart(bench, app.address, [], '127.0.0.1:0', ...link, ...cartFlags);
  const endpoint = { address: cart.ready.inbound, link: cart.ready.link };
  const rewrite = {
    type: 'URLRewrite',
    urlRewrite: { path: { type: 'ReplacePrefixMatch', replacePrefixMatch: '/new' } },
  };
  const rules = [
    {
      matches: [{ path: { type: 'PathPrefix', value: '/old' } }],
      filters: [rewrite],
      backendRefs: [{ name: 'cart', port: 80 }],
    },
    { matches: [{ path: { type: 'PathPrefix', value: '/a' } }], backendRefs: [{ name: 'cart', port: 80 }] },
  ];
  const web = await startWeb(bench, [service('cart', [endpoint]), route(rules)], '--insecure-link', ...webFlags);
  const send = async ({ ready }: Running, line: string, fields: readonly string[] = []) => {
    const at = ready.inbound ?? ready.outbound;
    const head = [line, 'Host: cart', 'Connection: close', ...fields, '', ''].join('\r\n');
    const answer = await exchangeBytes(at, head);
    return { status: Number(answer.slice(9, 12)), answer, seen: seen.at(-1) };
  };
  return { cart, web, send, seen };
}

const said = ['X-Forwarded-For: 6.6.6.6', 'X-Forwarded-Proto: https', 'Forwarded: for=6.6.6.6', 'X-Real-IP: 6.6.6.6'];
const fieldsOf = ({ headers }: Seen) => ({
  for: valuesOf(headers, 'x-forwarded-for'),
  proto: valuesOf(headers, 'x-forwarded-proto'),
  host: valuesOf(headers, 'x-forwarded-host'),
  forwarded: valuesOf(headers, 'forwarded'),
  realIp: valuesOf(headers, 'x-real-ip'),
  via: valuesOf(headers, 'via'),
});

describe('the fields that say who called', () => {
  it('are appended at the edge, and pass outbound and link as they came', async () => {
    const { cart, web, send } = await mesh([]);
    const edge = await send(cart, 'GET /a HTTP/1.1', said);
    expect(fieldsOf(edge.seen!)).toEqual({
      ...{ for: ['6.6.6.6, 127.0.0.1'], proto: ['https'], host: ['cart'] },
      ...{ forwarded: ['for=6.6.6.6'], realIp: ['6.6.6.6'], via: [] },
    });
    const inside = await send(web, 'GET /a HTTP/1.1', said);
    expect(fieldsOf(inside.seen!)).toEqual({
      ...{ for: ['6.6.6.6'], proto: ['https'], host: [] },
      ...{ forwarded: ['for=6.6.6.6'], realIp: ['6.6.6.6'], via: [] },
    });
  });

  it('are what each listener was told', async () => {
    const { cart, web, send } = await mesh(
      ['--x-forwarded', 'inbound=replace', '--forwarded', 'inbound=append', '--via', 'link=on'],
      ['--x-forwarded', 'outbound=append', '--via', 'outbound=on'],
    );
    const edge = await send(cart, 'GET /a HTTP/1.0', said);
    expect(fieldsOf(edge.seen!)).toEqual({
      ...{ for: ['127.0.0.1'], proto: ['http'], host: ['cart'] },
      ...{ forwarded: ['for=127.0.0.1;host=cart;proto=http'], realIp: [], via: [] },
    });
    const inside = await send(web, 'GET /a HTTP/1.1', ['Via: 1.1 edge']);
    expect(fieldsOf(inside.seen!)).toMatchObject({ for: ['127.0.0.1'], via: ['1.1 edge', '1.1 weft', '1.1 weft'] });
  });
});

describe('paths', () => {
  const odd = '/a//%7eb/../%2f?x=/../y';

  it('are normal at every hop by default', async () => {
    const { cart, web, send } = await mesh([]);
    for (const sidecar of [cart, web])
      expect((await send(sidecar, `GET ${odd} HTTP/1.1`)).seen!.url).toBe('/a/%2F?x=/../y');
  });

  it('that are raw reach the app byte for byte over every hop that leaves them so, and are routed as normal', async () => {
    const { cart, web, send } = await mesh(
      ['--paths', 'link=raw', '--paths', 'inbound=raw'],
      ['--paths', 'outbound=raw'],
    );
    for (const sidecar of [cart, web]) expect((await send(sidecar, `GET ${odd} HTTP/1.1`)).seen!.url).toBe(odd);
    // The rule for /old applies, whatever it is written like, and what it rewrites is the normal form.
    expect((await send(web, 'GET /b/..//%6fld/%7ec HTTP/1.1')).seen!.url).toBe('/new/~c');
    expect((await send(web, 'GET /a/../b HTTP/1.1')).status).toBe(404);
    expect((await send(web, 'GET /a/%00 HTTP/1.1')).status).toBe(400);
  });

  it('that are refused are 400 at the listener that refuses, and nowhere else', async () => {
    const { cart, web, send, seen } = await mesh(['--paths', 'inbound=refuse', '--paths', 'link=refuse']);
    const refused = await send(cart, `GET ${odd} HTTP/1.1`);
    expect([refused.status, refused.answer]).toEqual([400, expect.stringMatching(/weft-failure: path-not-normal/i)]);
    expect(refused.answer).toContain('(--paths inbound=refuse of the sidecar of ');
    expect(refused.answer).not.toContain('not valid HTTP');
    expect(seen).toEqual([]);
    // What comes over the link was made normal by the caller's sidecar.
    expect((await send(web, `GET ${odd} HTTP/1.1`)).seen!.url).toBe('/a/%2F?x=/../y');
    expect((await send(cart, 'GET /a?x=/../y HTTP/1.1')).status).toBe(200);
  });
});

describe('the listeners', () => {
  it('are in /config with what is in force', async () => {
    const { cart } = await mesh(['--paths', 'inbound=refuse', '--limit', 'inbound.body-bytes=1MiB']);
    const { listeners } = JSON.parse((await call(cart.ready.admin, 'admin', '/config')).body);
    expect(Object.keys(listeners).sort()).toEqual(['inbound', 'link', 'outbound']);
    expect(listeners.inbound).toMatchObject({
      ...{ address: cart.ready.inbound, core: 'node:http', paths: 'refuse', xForwarded: 'append', forwarded: 'off' },
      ...{ via: 'off', limits: { 'body-bytes': 1_048_576, 'head-time': '10s', 'requests-per-connection': 'none' } },
    });
    expect(listeners.link).toMatchObject({ address: cart.ready.link, limits: { 'body-rate': 0 } });
  });
});

describe('the HTTP cores', () => {
  it('are in the log and in /config', async () => {
    const { cart } = await mesh([]);
    const { http } = JSON.parse((await call(cart.ready.admin, 'admin', '/config')).body);
    expect(http).toMatchObject({ outbound: { core: 'uWebSockets.js' }, inbound: { core: 'node:http' } });
    expect(cart.logs()).toMatch(/"listener":"outbound","core":"uWebSockets\.js"/);
  });
});
