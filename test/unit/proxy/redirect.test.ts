import { describe, expect, it } from 'vitest';
import type { Redirect } from '../../../src/model/snapshot.ts';
import { changePath, redirectLocation } from '../../../src/proxy/shape.ts';
import { fakeHead } from './proxy-fakes.ts';

const redirect = (changes: Partial<Redirect>): Redirect => ({
  scheme: null,
  hostname: null,
  port: null,
  path: null,
  status: 302,
  ...changes,
});

describe('Location of a redirect', () => {
  // Host as sent, host as the listener understood it, what the filter says, where it leads.
  it.each<[authority: string, host: string, changes: Partial<Redirect>, location: string]>([
    ['cart', 'cart', { hostname: 'example.org' }, 'http://example.org/a?b=c'],
    ['cart:8080', 'cart', { hostname: 'example.org' }, 'http://example.org:8080/a?b=c'],
    ['cart:8080', 'cart', { scheme: 'https', hostname: 'example.org' }, 'https://example.org/a?b=c'],
    ['cart:8080', 'cart', { scheme: 'http', hostname: 'example.org' }, 'http://example.org/a?b=c'],
    ['cart', 'cart', { scheme: 'https', port: 443, hostname: 'example.org' }, 'https://example.org/a?b=c'],
    ['cart', 'cart', { scheme: 'https', port: 8443, hostname: 'example.org' }, 'https://example.org:8443/a?b=c'],
    ['cart:8080', 'cart', { port: 80, hostname: 'example.org' }, 'http://example.org/a?b=c'],
    ['cart', 'cart', { port: 8080 }, 'http://cart:8080/a?b=c'],
    ['cart', 'cart', { scheme: 'https', port: 80 }, 'https://cart:80/a?b=c'],
    ['[::1]:8080', '[::1]', {}, 'http://[::1]:8080/a?b=c'],
    ['[::1]', '[::1]', {}, 'http://[::1]/a?b=c'],
    // The dot of a full name and an empty port are valid in Host, and neither is a port.
    ['cart.', 'cart', {}, 'http://cart./a?b=c'],
    ['cart.:8080', 'cart', {}, 'http://cart.:8080/a?b=c'],
    ['cart:', 'cart', {}, 'http://cart/a?b=c'],
    // On a port of its own a Service is called by whatever name the client has for that port.
    ['127.0.0.1:9101', 'cart', {}, 'http://127.0.0.1:9101/a?b=c'],
  ])('from %s (%s) with %o: %s', (authority, host, changes, location) => {
    expect(redirectLocation(fakeHead({ authority, host, path: '/a', query: '?b=c' }), redirect(changes))).toBe(
      location,
    );
  });
});

describe('a path', () => {
  it('replaced as a whole is never empty', () => {
    expect(changePath('/a', { replace: 'full', path: '/b' })).toBe('/b');
    expect(changePath('/a', { replace: 'full', path: '' })).toBe('/');
  });
});
