import 'reflect-metadata';
import { createPrivateKey, createPublicKey, type webcrypto, X509Certificate } from 'node:crypto';
import {
  DNS,
  Extension,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { describe, expect, it } from 'vitest';
import { makeCertificateRequest } from '../../../src/identity/certificate-request.ts';
import { issueServerCertificate } from '../../../src/identity/server-certificate.ts';
import { issueSvid } from '../../../src/identity/svid.ts';
import { limits } from '../../../src/model/limits.ts';
import { identityOf, newRoot, nowMs, trustDomain } from './roots.ts';

const cart = identityOf('cart', 'shop');
const wishOf = (csrPem: string, ttlMs = 3600_000) => ({ csrPem, identity: cart, nowMs, ttlMs });
const p256 = { name: 'ECDSA', namedCurve: 'P-256' };
const sha256 = { name: 'ECDSA', hash: 'SHA-256' };

type KeyKind = webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams;

async function csrBy(kind: KeyKind, signingAlgorithm: object): Promise<string> {
  const keys = await crypto.subtle.generateKey(kind, true, ['sign', 'verify']);
  return (await Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm })).toString('pem');
}

/** The request with one bit of its signature turned. */
function tampered(csrPem: string): string {
  const der = Buffer.from(csrPem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  der[der.length - 3]! ^= 1;
  return `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
}

describe('issueSvid refuses', () => {
  it.each<readonly [string, () => Promise<string> | string, RegExp]>([
    ['no text', () => '', /not one CERTIFICATE REQUEST in PEM/],
    ['another kind of PEM', async () => (await newRoot()).certificatePem, /not one CERTIFICATE REQUEST/],
    ['what is no DER', () => pem('AAAA'), /cannot be read/],
    ['an empty one', () => pem('MAA='), /cannot be read/],
    ['more than a request has', () => pem('A'.repeat(limits.csrCharsMax)), /more than 8192 characters/],
    ['two of them', async () => (await makeCertificateRequest()).csrPem.repeat(2), /not one/],
    [
      'a key on P-384',
      () => csrBy({ name: 'ECDSA', namedCurve: 'P-384' }, { name: 'ECDSA', hash: 'SHA-384' }),
      /P-256/,
    ],
    [
      'an RSA key',
      () =>
        csrBy(
          {
            name: 'RSASSA-PKCS1-v1_5',
            hash: 'SHA-256',
            publicExponent: new Uint8Array([1, 0, 1]),
            modulusLength: 2048,
          },
          { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
        ),
      /P-256/,
    ],
    ['a wrong signature', async () => tampered((await makeCertificateRequest()).csrPem), /not signed by its own key/],
  ])('%s', async (_, csr, message) => {
    const root = await newRoot();
    const refusal = issueSvid(root, wishOf(await csr()));
    await expect(refusal).rejects.toMatchObject({ code: 'bad-csr', message: expect.stringMatching(message) });
  });
});

const pem = (base64: string) => `-----BEGIN CERTIFICATE REQUEST-----\n${base64}\n-----END CERTIFICATE REQUEST-----\n`;

describe('issueSvid', () => {
  it('certifies the key and the identity, and nothing else', async () => {
    const root = await newRoot();
    const { csrPem, keyPem } = await makeCertificateRequest();
    const { certificatePem, expiresAtMs } = await issueSvid(root, wishOf(csrPem));
    const svid = new X509Certificate(certificatePem);
    const issuer = new X509Certificate(root.certificatePem);
    expect(svid.subjectAltName).toBe('URI:spiffe://weft.local/ns/shop/sa/cart');
    expect(svid.subject).toBe('O=Weft');
    expect(svid.ca).toBe(false);
    expect(svid.checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
    expect(svid.checkIssued(issuer)).toBe(true);
    expect(svid.verify(issuer.publicKey)).toBe(true);
    expect(svid.verify(createPublicKey((await newRoot()).key))).toBe(false);
    // Extended key usages of a server and of a client.
    expect(svid.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(Date.parse(svid.validFrom)).toBe(nowMs - limits.certificateBackdateMs);
    expect(Date.parse(svid.validTo)).toBe(nowMs + 3600_000);
    expect(expiresAtMs).toBe(nowMs + 3600_000);
    expect(svid.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  it('ignores names and extensions of the request', async () => {
    const keys = await crypto.subtle.generateKey(p256, true, ['sign', 'verify']);
    const request = await Pkcs10CertificateRequestGenerator.create({
      name: 'CN=admin',
      keys,
      signingAlgorithm: sha256,
      extensions: [
        new SubjectAlternativeNameExtension([
          { type: DNS, value: 'control-plane' },
          { type: 'url', value: 'spiffe://weft.local/ns/default/sa/admin' },
        ]),
        // basicConstraints CA:TRUE
        new Extension('2.5.29.19', true, new Uint8Array([0x30, 0x03, 0x01, 0x01, 0xff])),
      ],
    });
    const { certificatePem } = await issueSvid(await newRoot(), wishOf(request.toString('pem')));
    const svid = new X509Certificate(certificatePem);
    expect([svid.subject, svid.subjectAltName, svid.ca]).toEqual([
      'O=Weft',
      'URI:spiffe://weft.local/ns/shop/sa/cart',
      false,
    ]);
  });

  it('numbers certificates at random', async () => {
    const root = await newRoot();
    const { csrPem } = await makeCertificateRequest();
    const issued = await Promise.all(Array.from({ length: 8 }, () => issueSvid(root, wishOf(csrPem))));
    const serials = issued.map(({ certificatePem }) => new X509Certificate(certificatePem).serialNumber);
    expect(new Set(serials).size).toBe(8);
  });

  it('never outlives its root', async () => {
    const root = await newRoot(nowMs - limits.rootTtlMs + 60_000);
    const { expiresAtMs } = await issueSvid(root, wishOf((await makeCertificateRequest()).csrPem));
    expect(expiresAtMs).toBe(nowMs + 60_000);
    expect(expiresAtMs).toBe(root.notAfterMs);
  });

  it('names the issuer as the root does, also one that others have made', async () => {
    const keys = await crypto.subtle.generateKey(p256, true, ['sign', 'verify']);
    const made = await X509CertificateGenerator.createSelfSigned({
      name: 'CN=Bücher & Söhne\\, Root, C=DE',
      keys,
      signingAlgorithm: sha256,
      extensions: [new Extension('2.5.29.19', true, new Uint8Array([0x30, 0x03, 0x01, 0x01, 0xff]))],
    });
    const { certificatePem } = await issueSvid(
      { ...(await newRoot()), certificatePem: made.toString('pem') },
      wishOf((await makeCertificateRequest()).csrPem),
    );
    const [svid, issuer] = [new X509Certificate(certificatePem), new X509Certificate(made.toString('pem'))];
    expect(svid.issuer).toBe(issuer.subject);
    expect(svid.checkIssued(issuer)).toBe(true);
  });
});

describe('issueServerCertificate', () => {
  it('names the control plane, localhost and both loopback addresses, and sends the root along', async () => {
    const root = await newRoot();
    const { chainPem, keyPem } = await issueServerCertificate(root, { trustDomain, nowMs, ttlMs: 60_000 });
    const server = new X509Certificate(chainPem);
    expect(server.subjectAltName).toBe(
      'URI:spiffe://weft.local/control-plane, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1',
    );
    expect(server.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(server.checkPrivateKey(createPrivateKey(keyPem))).toBe(true);
    expect(chainPem.endsWith(`${root.certificatePem.trim()}\n`)).toBe(true);
  });
});
