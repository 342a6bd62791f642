/** Which path leaves for the upstream when a listener's paths are raw. */
import { describe, expect, it } from 'vitest';
import { FakeClient, FakeEndpoint, fakeAction, fakeHead, fakeMesh } from './proxy-fakes.ts';

const head = fakeHead({ path: '/a/c', forwardedPath: '/a//b/../%63', query: '?d=%7e' });

describe('a raw path', () => {
  it('is forwarded as it came', () => {
    const endpoint = new FakeEndpoint('127.0.0.1:1', 0);
    fakeMesh([endpoint]).proxy.accept(head, new FakeClient());
    expect(endpoint.last.request.target).toBe('/a//b/../%63?d=%7e');
  });

  it('that a filter rewrites is made of the normal form, which is what the rule matched', () => {
    const endpoint = new FakeEndpoint('127.0.0.1:1', 0);
    const rewritePath = { replace: 'prefix', path: '/x', matchedPrefix: '/a' } as const;
    fakeMesh([endpoint], fakeAction({ rewritePath })).proxy.accept(head, new FakeClient());
    expect(endpoint.last.request.target).toBe('/x/c?d=%7e');
  });

  it('that is redirected is made of the normal form', () => {
    const client = new FakeClient();
    const redirect = { scheme: null, hostname: 'shop', port: null, path: null, status: 302 } as const;
    fakeMesh([new FakeEndpoint('127.0.0.1:1', 0)], fakeAction({ redirect })).proxy.accept(head, client);
    expect(client.header('location')).toBe('http://shop/a/c?d=%7e');
  });
});
