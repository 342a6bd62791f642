import { describe, expect, it } from 'vitest';
import { requiringJoinToken } from '../../../src/control/ca/bundle-edits.ts';
import { admitPush, bearerOf } from '../../../src/control/push-admission.ts';
import { signToken, verifyToken } from '../../../src/identity/token.ts';
import { bundleOf, identityOf, newRoot, nowMs } from '../identity/roots.ts';

const [root, foreign] = await Promise.all([newRoot(), newRoot()]);
const cart = identityOf('cart');
const wish = { use: 'push', identity: cart, nowMs, expiresAtMs: nowMs + 1_000 } as const;
const tokens = {
  none: '',
  valid: `Bearer ${await signToken(root, wish)}`,
  join: `Bearer ${await signToken(root, { ...wish, use: 'join' })}`,
  expired: `Bearer ${await signToken(root, { ...wish, expiresAtMs: nowMs - 1_000 })}`,
  foreign: `Bearer ${await signToken(foreign, wish)}`,
  basic: 'Basic YWRtaW46YWRtaW4=',
  words: 'Bearer let me in',
  garbage: 'Bearer a.b.c',
};

const authorityThat = (requiresToken: boolean) => {
  const bundle = requiresToken ? requiringJoinToken(bundleOf(root)) : bundleOf(root);
  return {
    bundle,
    identify: async (token: string) => (await verifyToken(token, { bundle, uses: ['push'], nowMs })).identity,
  };
};

describe('admitPush', () => {
  it.each([
    ['none', /--join-token-file/, null],
    ['join', /it is not a push token/, cart],
    ['expired', /expired/, cart],
    ['foreign', /not signed by a root that this mesh believes/, cart],
    ['basic', /--join-token-file/, null],
    ['words', /--join-token-file/, null],
    ['garbage', /it is not a token of this mesh/, null],
  ] as const)(
    'refuses %s where a token is asked for, and lets it pass elsewhere as nobody',
    async (which, reason, claimed) => {
      expect(await admitPush(authorityThat(true), tokens[which])).toEqual({
        tag: 'refused',
        reason: expect.stringMatching(reason),
        claimed,
      });
      expect(await admitPush(authorityThat(false), tokens[which])).toEqual({ tag: 'admitted', identity: null });
    },
  );

  it('knows whose a valid token is, asked for or not', async () => {
    for (const requires of [true, false])
      expect(await admitPush(authorityThat(requires), tokens.valid)).toEqual({ tag: 'admitted', identity: cart });
  });

  it('does not hide a fault of its own', async () => {
    const broken = { ...authorityThat(true), identify: () => Promise.reject(new TypeError('a fault')) };
    await expect(admitPush(broken, tokens.valid)).rejects.toThrow('a fault');
  });
});

describe('bearerOf', () => {
  it.each([
    [undefined, null],
    ['', null],
    ['Bearer', null],
    ['Bearer ', null],
    ['Bearer a b', null],
    ['Bearer a.b-c_d~e+f/g=', 'a.b-c_d~e+f/g='],
    ['bearer   x  ', 'x'],
  ])('reads %j as %j', (text, token) => {
    expect(bearerOf(text)).toBe(token);
  });
});
