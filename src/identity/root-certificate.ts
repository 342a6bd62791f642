/** Makes the self-signed certificate of a new root. */
import 'reflect-metadata';
import { createPublicKey, type KeyObject } from 'node:crypto';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { limits } from '../model/limits.ts';
import { signatureP256 } from './algorithms.ts';
import { publicKeyFrom, signingKeyFrom } from './private-key.ts';
import { randomSerial } from './serial.ts';

export interface RootWish {
  readonly key: KeyObject;
  readonly trustDomain: string;
  readonly nowMs: number;
}

/** PEM, valid for `limits.rootTtlMs`. */
export async function makeRootCertificate({ key, trustDomain, nowMs }: RootWish): Promise<string> {
  const serialNumber = randomSerial();
  const publicKey = await publicKeyFrom(createPublicKey(key));
  // Roots overlap, and a chain is built by names first: each has its own.
  const name = `CN=Weft root ${serialNumber.slice(0, 8)}, O=Weft`;
  const certificate = await X509CertificateGenerator.create({
    serialNumber,
    subject: name,
    issuer: name,
    notBefore: new Date(nowMs - limits.certificateBackdateMs),
    notAfter: new Date(nowMs + limits.rootTtlMs),
    publicKey,
    signingKey: await signingKeyFrom(key),
    signingAlgorithm: signatureP256,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
      await SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return certificate.toString('pem');
}
