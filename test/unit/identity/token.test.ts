import { generateKeyPairSync } from 'node:crypto';
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { signToken, verifyToken } from '../../../src/identity/token.ts';
import { limits } from '../../../src/model/limits.ts';
import { decodeJoinToken } from '../../../src/sidecar/identity/join-token.ts';
import { bundleOf, identityOf, newRoot, nowMs } from './roots.ts';

const cart = identityOf('cart', 'shop');
const [root, other] = await Promise.all([newRoot(), newRoot()]);
const wish = { use: 'join', identity: cart, nowMs, expiresAtMs: nowMs + 60_000 } as const;
const expected = { bundle: bundleOf(other, root), uses: ['join', 'push'], nowMs } as const;

/** A token that says what it should not. */
const forged = (claims: object, header: object = {}) =>
  new SignJWT({ sub: 'spiffe://weft.local/ns/shop/sa/cart', aud: 'weft-join', exp: nowMs / 1000 + 60, ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: root.sha256, ...header })
    .sign(root.key);

const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const unsigned = `${base64({ alg: 'none', kid: root.sha256 })}.${base64({ aud: 'weft-join' })}.`;

/** The public key as if it were a shared secret: the classical confusion of algorithms. */
const symmetric = () =>
  new SignJWT({ aud: 'weft-join', sub: 'spiffe://weft.local/ns/shop/sa/cart', exp: nowMs / 1000 + 60 })
    .setProtectedHeader({ alg: 'HS256', kid: root.sha256 })
    .sign(Buffer.from(root.certificatePem));

describe('verifyToken refuses', () => {
  it.each<readonly [string, () => Promise<string> | string, string]>([
    ['no token', () => '', 'token-malformed'],
    ['words', () => 'let me in', 'token-malformed'],
    ['more than a token has', () => 'a'.repeat(5_000), 'token-malformed'],
    ['no signature', () => unsigned, 'token-malformed'],
    ['a shared secret', symmetric, 'token-malformed'],
    ['no root named', () => forged({}, { kid: undefined }), 'token-foreign'],
    ['a root that is not believed', async () => signToken(await newRoot(), wish), 'token-foreign'],
    ['the name of another root', () => forged({}, { kid: other.sha256 }), 'token-foreign'],
    [
      "a believed root's name over another key",
      () =>
        new SignJWT({ aud: 'weft-join' })
          .setProtectedHeader({ alg: 'ES256', kid: root.sha256 })
          .sign(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
      'token-foreign',
    ],
    ['one that has expired', () => signToken(root, { ...wish, expiresAtMs: nowMs - 1000 }), 'token-expired'],
    ['one that expires now', () => signToken(root, { ...wish, expiresAtMs: nowMs }), 'token-expired'],
    ['no expiry', () => forged({ exp: undefined }), 'token-malformed'],
    ['another audience', () => forged({ aud: 'weft-api' }), 'token-misused'],
    ['no audience', () => forged({ aud: undefined }), 'token-misused'],
    ['nobody', () => forged({ sub: undefined }), 'token-malformed'],
    ['a subject that is no Service', () => forged({ sub: 'spiffe://weft.local/control-plane' }), 'token-foreign'],
    ['another trust domain', () => forged({ sub: 'spiffe://other/ns/shop/sa/cart' }), 'token-foreign'],
  ])('%s', async (_, token, code) => {
    await expect(verifyToken(await token(), expected)).rejects.toMatchObject({ name: 'IdentityError', code });
  });

  it('a join token where only a push token will do', async () => {
    const token = await signToken(root, wish);
    await expect(verifyToken(token, { ...expected, uses: ['push'] })).rejects.toMatchObject({ code: 'token-misused' });
  });

  it('a changed subject', async () => {
    const [header, , signature] = (await signToken(root, wish)).split('.');
    const claims = { aud: 'weft-join', sub: 'spiffe://weft.local/ns/shop/sa/admin', exp: nowMs / 1000 + 60 };
    const token = `${header}.${base64(claims)}.${signature}`;
    await expect(verifyToken(token, expected)).rejects.toMatchObject({ code: 'token-foreign' });
  });
});

describe('verifyToken', () => {
  it.each(['join', 'push'] as const)('takes a %s token of any root that is believed', async (use) => {
    for (const signer of [root, other]) {
      const token = await signToken(signer, { ...wish, use });
      expect(await verifyToken(token, expected)).toEqual({ use, identity: cart, expiresAtMs: nowMs + 60_000 });
    }
  });
});

describe('signToken', () => {
  it('says which root to pin, for whom it is, and until when', async () => {
    const token = await signToken(root, wish);
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', kid: root.sha256, typ: 'JWT' });
    expect(decodeJwt(token)).toEqual({
      root: root.sha256,
      sub: 'spiffe://weft.local/ns/shop/sa/cart',
      aud: 'weft-join',
      iat: nowMs / 1000,
      exp: nowMs / 1000 + 60,
    });
    expect(token.length).toBeLessThan(1024);
  });

  it('names the roots of other control planes, its own once, and stays a token with as many as there may be', async () => {
    const many = Array.from({ length: limits.trustRootsMax }, (_, n) => n.toString(16).padStart(64, 'a'));
    const token = await signToken(root, { ...wish, otherRoots: [root.sha256, other.sha256, ...many.slice(2)] });
    expect(decodeJwt(token)).toMatchObject({ root: root.sha256, roots: [other.sha256, ...many.slice(2)] });
    expect(token.length).toBeLessThan(limits.tokenCharsMax / 2);
    expect((await verifyToken(token, expected)).identity).toEqual(cart);
    const { rootsSha256 } = decodeJoinToken(token, 'cart', 'shop');
    expect(rootsSha256).toEqual([root.sha256, other.sha256, ...many.slice(2)]);
  });
});
