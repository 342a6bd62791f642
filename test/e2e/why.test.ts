/** `weft why` of refused heads and of calls that are not sent; the short form of test/faults/why.test.ts. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench, call } from './harness.ts';
import { exchangeBytes, route, service, startWeb } from './static-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const backendRefs = [{ name: 'cart', port: 80 }];
const tenant = { name: 'tenant', value: 'blue' };

describe.each(['1', '2'])('with %s event loops', (loops) => {
  it('says why a head was refused, which method a rule takes, and what would become of a call, which is not sent', async () => {
    let served = 0;
    const app = await bench.app((_request, response) => {
      served++;
      response.end('ok');
    });
    const rules = [
      { name: 'blue', matches: [{ path: { value: '/items' }, method: 'GET', headers: [tenant] }], backendRefs },
      { name: 'all', matches: [{ path: { value: '/items' }, method: 'GET' }], backendRefs },
    ];
    const resources = [service('cart', [app.address]), route(rules)];
    const web = await startWeb(bench, resources, '--loops', loops, '--limit', 'outbound.head-fields=20');
    const { admin, outbound } = web.ready;
    const why = async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await bench.run(['why', '--admin', admin, ...args]);
      expect([code, stderr]).toEqual([0, '']);
      return stdout;
    };

    const flood = Array.from({ length: 30 }, (_, i) => `x-${i}: ${i}\r\n`).join('');
    const refused = await exchangeBytes(outbound, `GET /items HTTP/1.1\r\nHost: cart\r\n${flood}\r\n`);
    expect(await why(/^weft-request-id: (.*)\r$/im.exec(refused)![1]!)).toMatch(
      /^It was refused with 431 headers-too-large before it became a request: .* \(There are more than 20 fields \(--limit outbound\.head-fields\)\)\.\n/,
    );

    const wrong = await call(outbound, 'cart', '/items/7', { method: 'DELETE', headers: { tenant: 'secret' } });
    const told = await why(String(wrong.headers['weft-request-id']));
    expect(told).toMatch(
      /^It failed after [0-9.]+ ms with 404 no-route: .* \(DELETE \/items\/7 of cart\.default: rules take it with GET only\)\.\n/,
    );
    expect(told).toMatch(
      /- default\/cart\/blue: GET path \/items or below, header tenant = blue: no, the method is DELETE/,
    );
    expect(told).toMatch(/version +revision 1\n/);
    expect(told).not.toContain('secret');

    const dry = await why('--method', 'DELETE', '--host', 'cart', '--path', '/items/7');
    expect(dry).toMatch(
      /^It would fail with 404 no-route: .* \(DELETE \/items\/7 of cart\.default: rules take it with GET only\)\.\n/,
    );
    const green = await why('--host', 'cart', '--path', '/items?a=b?c', '-H', 'tenant: green');
    expect(green).toBe(
      [
        `It would go by rule default/cart/all to cart.default, at ${app.address}.`,
        '  called    cart.default, as cart',
        '  version   revision 1',
        '  rules     - default/cart/blue: GET path /items or below, header tenant = blue: no, header tenant is another',
        '            * default/cart/all: GET path /items or below: it matches',
        '  backends  default/cart weight 1',
        '  balancer  LeastRequest of cart.default',
        `  endpoints * ${app.address}  weight 1, 0 requests at it, score 0, next`,
        '  timeouts  request none, backendRequest none, idle 60000 ms',
        '  No request was sent.\n',
      ].join('\n'),
    );
    expect(await why('--host', 'cart', '--path', '/items', '-H', 'tenant: blue')).toContain(
      'by rule default/cart/blue',
    );
    expect(served).toBe(0);
    const { recorded } = JSON.parse((await call(admin, 'admin', '/requests')).body) as { recorded: number };
    expect(recorded).toBe(1);

    const { headers } = await call(outbound, 'cart', '/items', {
      headers: { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` },
    });
    expect(headers['weft-failure']).toBeUndefined();
    expect(await why('a'.repeat(32))).toMatch(
      /^It did not fail[\s\S]*decided +by revision 1, which is in force: asked again[\s\S]*\* default\/cart\/all/,
    );
  });
});
