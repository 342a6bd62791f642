/** The fields that say who called, by the policy of a listener. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { failures } from '../../../src/proxy/failure.ts';
import { type ForwardingPolicy, forwardingAcceptor, writeForwarding } from '../../../src/proxy/forwarding.ts';
import { textsOf } from '../../../src/proxy/headers.ts';
import type { RequestChanges } from '../../fixtures/service-unit.ts';
import { FakeClient, FakeEndpoint, fakeAction, fakeHead, fakeMesh } from './proxy-fakes.ts';

const off: ForwardingPolicy = { xForwarded: 'off', forwarded: 'off', addsVia: false };

function written(policy: Partial<ForwardingPolicy>, changes: RequestChanges = {}): string[] {
  const head = fakeHead({ sourceAddress: '10.0.0.9', authority: 'cart:80', ...changes });
  writeForwarding(head, { ...off, ...policy });
  return textsOf(head.headers);
}

const known = ['X-Forwarded-Proto', 'https', 'X-Forwarded-Host', 'shop.example'];

describe('X-Forwarded fields', () => {
  it('are begun where there are none', () => {
    const all = ['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'http', 'X-Forwarded-Host', 'cart:80'];
    expect(written({ xForwarded: 'append' })).toEqual(all);
    expect(written({ xForwarded: 'replace' })).toEqual(all);
  });

  it('that are appended keep the chain, and the protocol and host that the first hop saw', () => {
    const headers = ['x-forwarded-for', '1.1.1.1, 2.2.2.2', 'A', 'b', ...known, 'X-Forwarded-For', '3.3.3.3'];
    expect(written({ xForwarded: 'append' }, { headers })).toEqual([
      'A',
      'b',
      ...known,
      'X-Forwarded-For',
      '1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9',
    ]);
  });

  it('that are empty add nothing to the list', () => {
    const headers = ['X-Forwarded-For', '', 'X-Forwarded-For', '1.1.1.1'];
    expect(written({ xForwarded: 'append' }, { headers }).at(1)).toBe('1.1.1.1, 10.0.0.9');
  });

  it('name an IPv6 peer bare and without its zone, and a peer without an address unknown', () => {
    expect(written({ xForwarded: 'append' }, { sourceAddress: 'fe80::1%eth0' })[1]).toBe('fe80::1');
    expect(written({ xForwarded: 'append' }, { sourceAddress: '' })[1]).toBe('unknown');
  });

  it('have no host where the request has none', () => {
    const fields = written({ xForwarded: 'append', forwarded: 'append' }, { authority: '', host: '' });
    expect(fields).toEqual([
      ...['X-Forwarded-For', '10.0.0.9', 'X-Forwarded-Proto', 'http'],
      ...['Forwarded', 'for=10.0.0.9;proto=http'],
    ]);
  });

  it('pass as they came where they are off', () => {
    const headers = ['X-Forwarded-For', '1.1.1.1', 'X_Forwarded_For', '6.6.6.6', 'Forwarded', 'for="x'];
    expect(written({ addsVia: true }, { headers: [...headers] })).toEqual([...headers, 'Via', '1.1 weft']);
  });
});

describe('Forwarded', () => {
  it.each<[peer: string, authority: string, element: string]>([
    ['10.0.0.9', 'cart', 'for=10.0.0.9;host=cart;proto=http'],
    ['10.0.0.9', 'cart:80', 'for=10.0.0.9;host="cart:80";proto=http'],
    ['2001:db8::1', '[::1]:80', 'for="[2001:db8::1]";host="[::1]:80";proto=http'],
    ['fe80::1%eth0', 'cart', 'for="[fe80::1]";host=cart;proto=http'],
    ['', 'cart', 'for=unknown;host=cart;proto=http'],
  ])('of %j to %j is %s', (sourceAddress, authority, element) => {
    expect(written({ forwarded: 'append' }, { sourceAddress, authority })).toEqual(['Forwarded', element]);
  });

  it('is appended to what came, and to nothing of it that leaves a quote open', () => {
    const mine = 'for=10.0.0.9;host="cart:80";proto=http';
    const kept = (...values: string[]) =>
      written({ forwarded: 'append' }, { headers: values.flatMap((value) => ['forwarded', value]) });
    expect(kept('for=1.1.1.1', 'for="[::2]:8"')).toEqual(['Forwarded', `for=1.1.1.1, for="[::2]:8", ${mine}`]);
    expect(kept('for="6.6.6.6', 'for=1.1.1.1')).toEqual(['Forwarded', `for=1.1.1.1, ${mine}`]);
    expect(kept('for="a\\"')).toEqual(['Forwarded', mine]);
    expect(kept('for="a\\"b"')).toEqual(['Forwarded', `for="a\\"b", ${mine}`]);
  });
});

describe('Via', () => {
  it('comes behind those that came, and says the version of the request', () => {
    expect(written({ addsVia: true }, { headers: ['Via', '1.1 edge'] })).toEqual([
      'Via',
      '1.1 edge',
      'Via',
      '1.1 weft',
    ]);
    expect(written({ addsVia: true }, { isHttp10: true })).toEqual(['Via', '1.0 weft']);
  });
});

const forged = fc.tuple(
  fc.constantFrom(
    ...['Forwarded', 'forwarded', 'X-Forwarded-For', 'x-forwarded-host', 'X-Forwarded-Proto', 'X-Forwarded-Port'],
    ...['X-Forwarded-Prefix', 'X-Real-IP', 'X_Forwarded_For', 'x-forwarded_proto', 'X_REAL_IP'],
  ),
  fc.constantFrom('6.6.6.6', 'for=6.6.6.6', 'for="6.6.6.6', 'https', ''),
);
const innocent = fc.tuple(fc.constantFrom('Accept', 'X-Forward', 'Cookie', 'X_A'), fc.constantFrom('1', '2'));
const fields = fc.array(fc.oneof(forged, innocent), { maxLength: 12 });

describe('whatever a peer says of itself', () => {
  it('is gone after replace by either policy, and nothing else is', () => {
    fc.assert(
      fc.property(fields, fc.constantFrom('xForwarded', 'forwarded'), (sent, replaced) => {
        const after = written({ [replaced]: 'replace' }, { headers: sent.flat() });
        const others = sent.filter(([name]) => /^(accept|x-forward|cookie|x_a)$/i.test(name)).flat();
        expect(after.slice(0, others.length)).toEqual(others);
        expect(after.slice(others.length)).toEqual(written({ [replaced]: 'replace' }));
      }),
    );
  });

  it('stands in front of the peer after append, on one line, and under no other spelling', () => {
    fc.assert(
      fc.property(fields, (sent) => {
        const after = written({ xForwarded: 'append', forwarded: 'append' }, { headers: sent.flat() });
        const lines = (name: string) => after.filter((_, i) => i % 2 === 1 && after[i - 1]!.toLowerCase() === name);
        const said = sent.filter(([name, value]) => name.toLowerCase() === 'x-forwarded-for' && value !== '');
        expect(lines('x-forwarded-for')).toEqual([[...said.map(([, value]) => value), '10.0.0.9'].join(', ')]);
        expect(lines('forwarded').length).toBe(1);
        expect(lines('forwarded')[0]).toMatch(/(^|, )for=10\.0\.0\.9;host="cart:80";proto=http$/);
        const names = after.filter((_, i) => i % 2 === 0);
        expect(names.filter((name) => /_(forwarded|real)|forwarded_/i.test(name))).toEqual([]);
      }),
    );
  });
});

describe('a listener', () => {
  const policy: ForwardingPolicy = { xForwarded: 'append', forwarded: 'append', addsVia: true };

  it('that says nothing of who called is the proxy itself', () => {
    const { proxy } = fakeMesh([]);
    expect(forwardingAcceptor(proxy, off)).toBe(proxy);
  });

  it('says it once, however often the request is tried', () => {
    const endpoints = [new FakeEndpoint('127.0.0.1:1', 0), new FakeEndpoint('127.0.0.1:2', 1)];
    const requestHeaders = { set: [['X-Forwarded-Proto', 'https']], add: [], remove: [] } as const;
    const { proxy } = fakeMesh(endpoints, fakeAction({ requestHeaders }));
    const head = fakeHead({ headers: ['X-Forwarded-For', '1.1.1.1'] });
    forwardingAcceptor(proxy, policy).accept(head, new FakeClient());
    endpoints[0]!.last.fail(failures['connect-failed']);
    const [first, second] = endpoints.map(({ last }) => last.headers);
    expect(second).toEqual(first);
    expect(second!.filter((field) => !/^(traceparent|00-.*)$/.test(field))).toEqual([
      ...['Host', 'cart', 'X-Forwarded-For', '1.1.1.1, 127.0.0.1', 'X-Forwarded-Host', 'cart'],
      // What a route's filter says of a field comes after it, and wins.
      ...['Forwarded', 'for=127.0.0.1;host=cart;proto=http', 'Via', '1.1 weft', 'X-Forwarded-Proto', 'https'],
    ]);
  });
});
