import { beforeAll, describe, expect, it } from 'vitest';
import { makeCertificateRequest } from '../../../../src/identity/certificate-request.ts';
import type { SigningRoot } from '../../../../src/identity/root.ts';
import { issueServerCertificate } from '../../../../src/identity/server-certificate.ts';
import { issueSvid } from '../../../../src/identity/svid.ts';
import { limits } from '../../../../src/model/limits.ts';
import {
  type CredentialParts,
  credentialsOf,
  joinBundles,
} from '../../../../src/sidecar/identity/credentials-check.ts';
import { decodeJoinToken } from '../../../../src/sidecar/identity/join-token.ts';
import { identityOf, newRoot, nowMs } from '../../identity/roots.ts';

let root: SigningRoot;
let other: SigningRoot;
let good: CredentialParts;
let stranger: string;
beforeAll(async () => {
  root = await newRoot();
  other = await newRoot();
  const { csrPem, keyPem } = await makeCertificateRequest();
  const { certificatePem } = await issueSvid(root, { csrPem, identity: identityOf('cart'), nowMs, ttlMs: 3600_000 });
  good = { certificatePem, keyPem, bundlePem: root.certificatePem };
  stranger = (await makeCertificateRequest()).keyPem;
});

describe('credentials that do not belong together', () => {
  it.each<[string, () => Partial<CredentialParts>, RegExp]>([
    ['no certificate', () => ({ certificatePem: 'x' }), /the certificate holds no certificate/],
    [
      'half a certificate',
      () => ({ certificatePem: good.certificatePem.replace(/\n[A-Za-z0-9+/=]{20,}\n-----END/, '\n-----END') }),
      /cannot be read/,
    ],
    ['no bundle', () => ({ bundlePem: '' }), /the trust bundle holds no certificate/],
    ['too many roots', () => ({ bundlePem: `${root.certificatePem}\n`.repeat(limits.trustRootsMax + 1) }), /more than/],
    ['the key of somebody else', () => ({ keyPem: stranger }), /the key is not the one of the certificate/],
    ['no key', () => ({ keyPem: 'x' }), /the key cannot be read/],
    ["somebody else's root", () => ({ bundlePem: other.certificatePem }), /no root of the trust bundle issued/],
    ['a root as certificate', () => ({ certificatePem: root.certificatePem, keyPem: keyOf(root) }), /the one of a CA/],
  ])('%s', (_what, spoiled, message) => {
    expect(() => credentialsOf({ ...good, ...spoiled() }, nowMs)).toThrow(message);
  });

  it('are not used outside their time', () => {
    expect(() => credentialsOf(good, nowMs + 3600_000)).toThrow('expired at 2025-06-01T13:00:00.000Z');
    expect(() => credentialsOf(good, nowMs - limits.certificateBackdateMs - 1_000)).toThrow('do the clocks agree?');
  });
});

const keyOf = ({ key }: SigningRoot): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

describe('credentials', () => {
  it('say who this is, and until when', () => {
    expect(credentialsOf(good, nowMs)).toEqual({
      trustDomain: 'weft.local',
      spiffeId: 'spiffe://weft.local/ns/default/sa/cart',
      ...good,
      expiresAtMs: nowMs + 3600_000,
    });
  });

  it('may be of a workload that is no Service', async () => {
    const { chainPem, keyPem } = await issueServerCertificate(root, {
      trustDomain: 'weft.local',
      nowMs,
      ttlMs: 60_000,
    });
    const certificatePem = chainPem.slice(0, chainPem.indexOf('-----END') + '-----END CERTIFICATE-----'.length);
    expect(credentialsOf({ ...good, certificatePem, keyPem }, nowMs).spiffeId).toBe(
      'spiffe://weft.local/control-plane',
    );
  });
});

describe('bundles', () => {
  it('joined hold each root once, and no more than fit', () => {
    const joined = joinBundles(`${root.certificatePem}\n${other.certificatePem}`, `junk\n${root.certificatePem}`);
    expect(joined.match(/BEGIN/g)).toHaveLength(2);
    expect(joinBundles(joined, joined)).toBe(joined);
  });
});

describe('a join token', () => {
  const claims = { aud: 'weft-join', sub: 'spiffe://weft.local/ns/shop/sa/cart', root: 'ab'.repeat(32), exp: 1_000 };
  const tokenOf = (payload: unknown) => `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.sig`;

  it.each<[string, unknown]>([
    ['null', null],
    ['a push token', { ...claims, aud: 'weft-push' }],
    ['no Service', { ...claims, sub: 'spiffe://weft.local/control-plane' }],
    ['no root', { ...claims, root: undefined }],
    ['a root that is no SHA-256', { ...claims, root: 'AB'.repeat(32) }],
    ['no end', { ...claims, exp: '1000' }],
  ])('is none with %s', (_what, payload) => {
    expect(() => decodeJoinToken(tokenOf(payload), 'cart', 'shop')).toThrow('the join token is none');
  });

  it.each(['', 'a.b.c', 'x'])('is none when it is %j', (text) => {
    expect(() => decodeJoinToken(text, 'cart', 'shop')).toThrow('the join token is none');
  });

  it('of another Service is refused before anybody is asked', () => {
    expect(() => decodeJoinToken(tokenOf(claims), 'cart', 'default')).toThrow(
      'for cart.shop, not for cart.default: make one with weft token create --join --service cart.default',
    );
  });

  it('says for whom it is, and which root to expect', () => {
    const text = tokenOf(claims);
    expect(decodeJoinToken(text, 'cart', 'shop')).toEqual({
      text,
      identity: { trustDomain: 'weft.local', namespace: 'shop', service: 'cart' },
      rootsSha256: ['ab'.repeat(32)],
      expiresAtMs: 1_000_000,
    });
  });
});
