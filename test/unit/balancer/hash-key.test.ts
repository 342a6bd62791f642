import { describe, expect, it } from 'vitest';
import { hashKeyOf, hashText, murmur3, noKey, xxhash } from '../../../src/proxy/hash-key.ts';
import { requestOf } from '../../fixtures/service-unit.ts';

describe('murmur3', () => {
  it.each([
    ['', 0],
    ['hello', 0x248bfa47],
    ['hello, world', 0x149bbb7f],
    ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
  ])('agrees with the reference on %j', (text, hash) => {
    expect(murmur3(text)).toBe(hash);
  });
});

describe('hash keys', () => {
  const request = requestOf('/users/42/?tenant=a%20b&tenant=c', {
    headers: ['X-User', 'ann', 'Cookie', 'other=1; xsession=no', 'cookie', 'session=s1'],
    sourceAddress: '10.1.2.3',
  });

  it('is none without a source, or when the request carries none of them', () => {
    expect(hashKeyOf([], request)).toBe(noKey);
    expect(hashKeyOf([{ from: 'header', name: 'x-none' }], request)).toBe(noKey);
    expect(hashKeyOf([{ from: 'cookie', name: 'ession' }], request)).toBe(noKey);
    expect(hashKeyOf([{ from: 'query', name: 'user' }], request)).toBe(noKey);
    expect(hashKeyOf([{ from: 'path-segment', index: 2 }], request)).toBe(noKey);
    expect(hashKeyOf([{ from: 'path-segment', index: 0 }], requestOf('/'))).toBe(noKey);
  });

  it.each([
    [{ from: 'header', name: 'x-user' } as const, 'ann'],
    [{ from: 'cookie', name: 'session' } as const, 's1'],
    [{ from: 'query', name: 'tenant' } as const, 'a b'],
    [{ from: 'path-segment', index: 1 } as const, '42'],
    [{ from: 'source-address' } as const, '10.1.2.3'],
  ])('reads %j', (source, key) => {
    expect(hashKeyOf([source], request)).toBe(murmur3(key));
  });

  it('takes the first source that is present', () => {
    const sources = [
      { from: 'header', name: 'x-none' },
      { from: 'path-segment', index: 0 },
      { from: 'source-address' },
    ] as const;
    expect(hashKeyOf(sources, request)).toBe(murmur3('users'));
  });

  it('hashes more than 64 characters with xxHash', () => {
    expect(hashText('x'.repeat(64))).toBe(murmur3('x'.repeat(64)));
    expect(hashText('x'.repeat(65))).toBe(xxhash.h32('x'.repeat(65)));
  });
});
