/** Keys between WebCrypto, which certificates are made with, node:crypto, and PEM (PKCS #8), which disks and node:tls have. */
import { KeyObject, type webcrypto } from 'node:crypto';
import { ecdsaP256 } from './algorithms.ts';

/** The key must be extractable. */
export function privateKeyPem(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** For signing; on P-256. */
export function signingKeyFrom(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  return crypto.subtle.importKey('pkcs8', pkcs8, ecdsaP256, false, ['sign']);
}

/** On P-256. */
export function publicKeyFrom(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const spki = key.export({ type: 'spki', format: 'der' });
  return crypto.subtle.importKey('spki', spki, ecdsaP256, true, ['verify']);
}
