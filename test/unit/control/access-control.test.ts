import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { AccessControl, type TokenWish } from '../../../src/control/access/access-control.ts';
import { tokenListKey } from '../../../src/control/access/token-list.ts';
import { ControlCounts } from '../../../src/control/control-counts.ts';
import { Publisher } from '../../../src/control/publisher.ts';
import { isTokenName, mayWriteIn } from '../../../src/model/access.ts';
import { limits } from '../../../src/model/limits.ts';
import { LimitedLog } from '../../../src/telemetry/limited-log.ts';
import { ManualClock, MemoryStore, silentLogger } from './memory-store.ts';

function room() {
  const clock = new ManualClock();
  const store = new MemoryStore(clock);
  const access = new AccessControl({ store, clock, randomBytes });
  const make = (name: string, more: Partial<TokenWish> = {}) =>
    access.create({ name, role: { tag: 'admin' }, ttlMs: null, ...more }, 'test');
  return { clock, store, access, make };
}

describe('a control plane without tokens', () => {
  it('lets everybody do everything, whatever he shows', () => {
    const { access } = room();
    for (const bearer of [null, 'nonsense'])
      expect(access.identify(bearer)).toMatchObject({ name: null, role: { tag: 'admin' } });
    expect(access.requiresToken).toBe(false);
  });

  it('needs no store to do so: nothing can have been revoked', () => {
    const { access, clock, store } = room();
    store.cutOffAtMs = clock.nowMs();
    clock.advance(2 * limits.accessBlindMs);
    expect(access.identify(null)).toMatchObject({ name: null, role: { tag: 'admin' } });
  });

  it('makes an admin first: others could make no further ones', async () => {
    const { access, store, make } = room();
    for (const role of [{ tag: 'reader' }, { tag: 'editor', namespaces: ['shop'] }] as const)
      await expect(make('x', { role })).rejects.toMatchObject({
        code: 'admin-needed',
        message: expect.stringContaining('weft token create --role admin'),
      });
    expect(store.commits).toEqual([]);
    expect(access.requiresToken).toBe(false);
  });
});

describe('a token', () => {
  it.each([
    ['nothing', () => null, 'token-required', /weft token create/],
    ['a JWT', () => 'eyJh.eyJz.c2ln', 'token-invalid', /join and push tokens of sidecars are none/],
    ['another id', (text: string) => text.replace(/_[0-9a-f]{12}_/, '_000000000000_'), 'token-invalid', /not known/],
    ['another secret', (text: string) => `${text.slice(0, -2)}AA`, 'token-invalid', /not known/],
    ['a bit more', (text: string) => `${text}A`, 'token-invalid', /no token of the API/],
  ] as const)('is not matched by %s', async (_what, show, code, message) => {
    const { access, make } = room();
    const { text } = await make('alice');
    // The last characters are AA once in 4096 runs; another secret is another one all the same.
    const shown = show(text) === text ? null : show(text);
    let thrown: unknown;
    try {
      access.identify(shown);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ name: 'AccessError', code, message: expect.stringMatching(message) });
  });

  it('is known by name, by its role, from all replicas, and not once it was revoked', async () => {
    const { access, clock, store, make } = room();
    await make('alice');
    const { text, token } = await make('shop-ci', { role: { tag: 'editor', namespaces: ['shop'] } });
    const other = new AccessControl({ store, clock, randomBytes });
    for (const each of [access, other]) {
      const requester = each.identify(text);
      expect(requester).toMatchObject({ name: 'shop-ci', role: { tag: 'editor', namespaces: ['shop'] } });
      expect(requester.isValid()).toBe(true);
    }
    const requester = other.identify(text);
    await access.revoke(token.id, 'alice');
    expect(requester.isValid()).toBe(false);
    for (const each of [access, other]) expect(() => each.identify(text)).toThrow(/revoked/);
    // The name is free again, and the old text stays what it was.
    await make('shop-ci');
    expect(() => access.identify(text)).toThrow(/revoked/);
  });

  it('ends when it says so, and an end of all of them opens nothing', async () => {
    const { access, clock, make } = room();
    const { text } = await make('alice', { ttlMs: 60_000 });
    clock.advance(59_999);
    const requester = access.identify(text);
    clock.advance(1);
    expect(() => access.identify(text)).toThrow(/alice expired at /);
    expect(requester.isValid()).toBe(false);
    expect(() => access.identify(null)).toThrow(/asks for a token/);
    // Whoever has the store makes the next one, which must be an admin again.
    await expect(make('bob', { role: { tag: 'reader' } })).rejects.toMatchObject({ code: 'admin-needed' });
    await make('bob');
  });

  it('is written as a hash, and never pushed', async () => {
    const { clock, store, make } = room();
    const publisher = new Publisher({
      store,
      clock,
      log: new LimitedLog(clock, silentLogger),
      counts: new ControlCounts(),
      onProgress: () => undefined,
    });
    store.subscribe((event) => event.tag === 'revision' && publisher.takeRevision(event.revision));
    const { text, token } = await make('alice');
    expect(text).toMatch(/^weft_[0-9a-f]{12}_[\w-]{43}$/);
    const written = JSON.stringify([...store.list(), ...store.commits]);
    expect(written).toContain(token.sha256);
    expect(written).not.toContain(text.slice(-43));
    expect(publisher.revision).toBe(1);
    expect(store.commits[0]).toMatchObject({ who: 'test', message: 'token alice (admin) made' });
    expect(store.commits[0]!.changes.map(({ key }) => key)).toEqual([tokenListKey]);
    publisher.close();
  });

  it('is not taken while the store is out of touch, for it may have been revoked there', async () => {
    const { access, clock, store, make } = room();
    const { text } = await make('alice');
    const requester = access.identify(text);
    store.cutOffAtMs = clock.nowMs();
    clock.advance(limits.accessBlindMs);
    expect(access.identify(text).name).toBe('alice');
    clock.advance(1);
    for (const bearer of [text, `${text.slice(0, -2)}AA`, 'nonsense'])
      expect(() => access.identify(bearer)).toThrow(
        expect.objectContaining({ code: 'out-of-touch', message: expect.stringContaining('more than 15 s') }),
      );
    expect(() => access.identify(null)).toThrow(expect.objectContaining({ code: 'token-required' }));
    // What goes on for long ends too.
    expect(requester.isValid()).toBe(false);
    // Where what was known last must do, it does, and nothing else.
    expect(access.identify(text, true)).toMatchObject({ name: 'alice' });
    expect(() => access.identify('nonsense', true)).toThrow(expect.objectContaining({ code: 'token-invalid' }));
    store.cutOffAtMs = null;
    expect(requester.isValid()).toBe(true);
    expect(access.identify(text).name).toBe('alice');
  });

  it('says to the minute when it was used last, and writes nothing for it', async () => {
    const { access, clock, store, make } = room();
    const { text } = await make('alice');
    expect(access.list()).toMatchObject([{ name: 'alice', lastUsedAt: null }]);
    clock.advance(61_000);
    const writes = store.commits.length;
    access.identify(text);
    const usedMs = Date.parse(access.list()[0]!.lastUsedAt!);
    expect(usedMs % 60_000).toBe(0);
    expect(clock.nowMs() - usedMs).toBeLessThan(60_000);
    expect(store.commits).toHaveLength(writes);
  });
});

describe('the list of tokens', () => {
  it('has each name once, and a bound', async () => {
    const { make, access } = room();
    await make('alice');
    await expect(make('alice')).rejects.toMatchObject({ code: 'name-taken' });
    for (let i = 1; i < limits.apiTokensMax; i++) await make(`t${i}x`);
    await expect(make('more')).rejects.toMatchObject({ code: 'too-many-tokens' });
    expect(access.list()).toHaveLength(limits.apiTokensMax);
  });

  it('forgets what has expired long ago', async () => {
    const { make, access, clock } = room();
    await make('alice');
    await make('old', { ttlMs: 1_000 });
    clock.advance(limits.apiTokenForgottenMs);
    await make('bob');
    expect(access.list().map(({ name }) => name)).toEqual(['alice', 'old', 'bob']);
    clock.advance(1_000);
    await make('eve');
    expect(access.list().map(({ name }) => name)).toEqual(['alice', 'bob', 'eve']);
  });

  it('keeps one admin who can make others', async () => {
    const { make, access, clock } = room();
    await make('alice', { ttlMs: 60_000 });
    await make('reader', { role: { tag: 'reader' } });
    await expect(access.revoke('alice', 'alice')).rejects.toMatchObject({ code: 'admin-needed' });
    await make('bob');
    await access.revoke('alice', 'bob');
    await expect(access.revoke('nobody', 'bob')).rejects.toMatchObject({ code: 'no-such-token' });
    await access.revoke('reader', 'bob');
    expect(access.list().map(({ name }) => name)).toEqual(['bob']);
    clock.advance(1);
  });

  it('loses no token to two who write at once', async () => {
    const { make, access } = room();
    await make('alice');
    await Promise.all([make('one'), make('two'), make('three')]);
    expect(access.list().map(({ name }) => name)).toEqual(['alice', 'one', 'two', 'three']);
  });
});

describe('roles', () => {
  it('say where one may write', () => {
    const may = (...args: Parameters<typeof mayWriteIn>) => mayWriteIn(...args);
    expect(may({ tag: 'reader' }, 'shop')).toBe(false);
    expect(may({ tag: 'editor', namespaces: ['shop'] }, 'shop')).toBe(true);
    expect(may({ tag: 'editor', namespaces: ['shop'] }, 'shop2')).toBe(false);
    expect(may({ tag: 'admin' }, 'shop')).toBe(true);
  });

  it.each([
    ['alice', true],
    ['shop-ci.v2', true],
    ['a'.repeat(63), true],
    ['a'.repeat(64), false],
    ['', false],
    ['Alice', false],
    ['a b', false],
    ['-a', false],
    ['anonymous', false],
    ['certificate-authority', false],
    ['registration', false],
    ['0123456789ab', false],
  ])('a token may be called %j: %s', (name, isName) => {
    expect(isTokenName(name)).toBe(isName);
  });
});
