/** A private key between WebCrypto, which certificates are made with, and PEM (PKCS #8), which disks and node:tls have. */
import { createPrivateKey, KeyObject, type webcrypto } from 'node:crypto';
import { ecdsaP256 } from './algorithms.ts';

/** The key must be extractable. */
export function privateKeyPem(key: webcrypto.CryptoKey): string {
  return KeyObject.from(key).export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** For signing. Rejects when the PEM is no key on P-256. */
export async function signingKeyFrom(keyPem: string): Promise<webcrypto.CryptoKey> {
  const pkcs8 = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' });
  return crypto.subtle.importKey('pkcs8', pkcs8, ecdsaP256, false, ['sign']);
}
