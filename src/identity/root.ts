/** A root of the mesh: the certificate that is believed, and, where it is used to sign, its key. Read with node:crypto alone, which costs nothing to load. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { IdentityError } from './identity-error.ts';

/** What a root's certificate says. */
export interface RootFacts {
  /** Lower-case hex SHA-256 of the DER. */
  readonly sha256: string;
  readonly subject: string;
  /** ms since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface SigningRoot extends RootFacts {
  readonly certificatePem: string;
  /** An object and not text: whoever prints it sees no key. */
  readonly key: KeyObject;
}

/** @throws Error when this is no certificate. */
export function rootFactsOf(certificatePem: string): RootFacts {
  const certificate = new X509Certificate(certificatePem);
  return {
    sha256: fingerprintOf(certificate),
    subject: certificate.subject.split('\n').reverse().join(', '),
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
  };
}

export const fingerprintOf = ({ fingerprint256 }: X509Certificate): string =>
  fingerprint256.replaceAll(':', '').toLowerCase();

/** The key of a root, checked for its kind. `where` names it in the error. Throws IdentityError `ca-unusable`. */
export function readRootKey(keyPem: string, where: string): KeyObject {
  const key = attempt(() => createPrivateKey(keyPem), `${where} is no private key in PEM without a passphrase`);
  requireP256(key, where);
  return key;
}

/** A root to sign with, checked in every respect but its time. Throws IdentityError `ca-unusable`. */
export function readRoot(certificatePem: string, key: KeyObject, where: string): SigningRoot {
  const certificate = attempt(() => new X509Certificate(certificatePem), `${where} is no certificate in PEM`);
  requireP256(certificate.publicKey, where);
  if (!certificate.ca) throw unusable(`${where} is not the certificate of an authority (basicConstraints CA:TRUE)`);
  // What is no root by itself is not believed by node:tls, whatever the bundle says.
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey))
    throw unusable(`${where} is not signed by itself: a root is needed, an intermediate certificate is not enough`);
  if (!certificate.checkPrivateKey(key)) throw unusable(`${where} does not belong to the key beside it`);
  // Only the first certificate of the file was looked at: only that one is believed.
  return { ...rootFactsOf(certificatePem), certificatePem: certificate.toString(), key };
}

function requireP256(key: KeyObject, where: string): void {
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    throw unusable(`${where} must be an ECDSA key on P-256 (openssl ecparam -name prime256v1 -genkey)`);
}

function attempt<Read>(read: () => Read, otherwise: string): Read {
  try {
    return read();
  } catch (cause) {
    throw unusable(otherwise, cause);
  }
}

const unusable = (message: string, cause?: unknown) => new IdentityError('ca-unusable', `${message}.`, cause);
