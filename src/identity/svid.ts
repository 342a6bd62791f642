/**
 * X.509-SVIDs (https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md): what a sidecar shows to others. Of a certificate
 * request only the public key is used; whatever names and extensions it asks for are not looked at.
 */
import 'reflect-metadata';
import { createPublicKey, type KeyObject } from 'node:crypto';
import { Pkcs10CertificateRequest } from '@peculiar/x509';
import { type ServiceIdentity, spiffeIdOf } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import { IdentityError } from './identity-error.ts';
import { clientUsage, type IssuedCertificate, serverUsage, signLeaf } from './leaf.ts';
import { publicKeyFrom } from './private-key.ts';
import type { SigningRoot } from './root.ts';

export interface SvidWish {
  readonly csrPem: string;
  /** Who has proved to be this. */
  readonly identity: ServiceIdentity;
  readonly nowMs: number;
  readonly ttlMs: number;
}

/** Rejects with IdentityError `bad-csr`. */
export async function issueSvid(
  root: SigningRoot,
  { csrPem, identity, nowMs, ttlMs }: SvidWish,
): Promise<IssuedCertificate> {
  const publicKey = await publicKeyFrom(await requestedKey(csrPem));
  const names = [{ type: 'url', value: spiffeIdOf(identity) } as const];
  return signLeaf(root, { publicKey, names, usages: [serverUsage, clientUsage], nowMs, ttlMs });
}

const pemPattern =
  /^\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END (NEW )?CERTIFICATE REQUEST-----\s*$/;

/** The key to certify, whose owner has signed the request. */
async function requestedKey(csrPem: string): Promise<KeyObject> {
  if (csrPem.length > limits.csrCharsMax) throw bad(`has more than ${limits.csrCharsMax} characters`);
  // The package would take hex and bare base64 too.
  if (!pemPattern.test(csrPem)) throw bad('is not one CERTIFICATE REQUEST in PEM');
  let key: KeyObject;
  let isSigned: boolean;
  try {
    const request = new Pkcs10CertificateRequest(csrPem);
    key = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: 'der', type: 'spki' });
    // Whatever curve the point claims, the key must be on P-256 before its signature is worth a look.
    if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
      throw bad('has another kind of key than ECDSA on P-256');
    isSigned = await request.verify();
  } catch (cause) {
    if (cause instanceof IdentityError) throw cause;
    throw bad('cannot be read', cause);
  }
  if (!isSigned) throw bad('is not signed by its own key');
  return key;
}

const bad = (what: string, cause?: unknown) => new IdentityError('bad-csr', `The certificate request ${what}.`, cause);
