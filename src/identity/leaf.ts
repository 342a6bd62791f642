/** A certificate that certifies nothing further: what all that a root signs have in common. */
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type JsonGeneralName,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { limits } from '../model/limits.ts';
import { signatureP256 } from './algorithms.ts';
import { signingKeyFrom } from './private-key.ts';
import type { SigningRoot } from './root.ts';
import { randomSerial } from './serial.ts';

export interface LeafWish {
  readonly publicKey: webcrypto.CryptoKey;
  /** The whole identity: the subject says nothing. */
  readonly names: readonly JsonGeneralName[];
  /** Also, or only, for whoever accepts connections. */
  readonly usages: readonly ExtendedKeyUsage[];
  readonly nowMs: number;
  /** How long it is valid, from now. */
  readonly ttlMs: number;
}

export interface IssuedCertificate {
  readonly certificatePem: string;
  /** ms since the epoch, whole seconds as certificates have them. Never later than the root's own end. */
  readonly expiresAtMs: number;
}

export async function signLeaf(
  root: SigningRoot,
  { publicKey, names, usages, nowMs, ttlMs }: LeafWish,
): Promise<IssuedCertificate> {
  const issuer = new X509Certificate(root.certificatePem);
  const expiresAtMs = Math.floor(Math.min(nowMs + ttlMs, root.notAfterMs) / 1000) * 1000;
  const certificate = await X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: 'O=Weft',
    issuer: issuer.subjectName,
    // Clocks disagree: what is valid here must be so elsewhere.
    notBefore: new Date(nowMs - limits.certificateBackdateMs),
    notAfter: new Date(expiresAtMs),
    publicKey,
    signingKey: await signingKeyFrom(root.key),
    signingAlgorithm: signatureP256,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([...usages]),
      new SubjectAlternativeNameExtension([...names]),
      await AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { certificatePem: certificate.toString('pem'), expiresAtMs };
}

export const serverUsage = ExtendedKeyUsage.serverAuth;
export const clientUsage = ExtendedKeyUsage.clientAuth;
