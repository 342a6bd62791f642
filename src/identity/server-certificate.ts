/** The certificate of a control plane's own API, issued by its root and sent with it, so that a sidecar can pin the root at first contact. */

import { ecdsaP256 } from './algorithms.ts';
import { type IssuedCertificate, serverUsage, signLeaf } from './leaf.ts';
import { privateKeyPem } from './private-key.ts';
import type { SigningRoot } from './root.ts';

export interface ServerCertificateWish {
  readonly trustDomain: string;
  readonly nowMs: number;
  readonly ttlMs: number;
}

export interface ServerCertificate extends IssuedCertificate {
  /** PKCS #8. */
  readonly keyPem: string;
  /** Its own certificate, then the root. */
  readonly chainPem: string;
}

/** What a SPIFFE ID of a control plane is, in its trust domain. */
export const controlPlaneIdOf = (trustDomain: string): string => `spiffe://${trustDomain}/control-plane`;

export async function issueServerCertificate(
  root: SigningRoot,
  { trustDomain, nowMs, ttlMs }: ServerCertificateWish,
): Promise<ServerCertificate> {
  const keys = await crypto.subtle.generateKey(ecdsaP256, true, ['sign', 'verify']);
  const issued = await signLeaf(root, {
    publicKey: keys.publicKey,
    names: [
      { type: 'url', value: controlPlaneIdOf(trustDomain) },
      { type: 'dns', value: 'localhost' },
      { type: 'ip', value: '127.0.0.1' },
      { type: 'ip', value: '::1' },
    ],
    usages: [serverUsage],
    nowMs,
    ttlMs,
  });
  const chainPem = `${issued.certificatePem.trim()}\n${root.certificatePem.trim()}\n`;
  return { ...issued, keyPem: privateKeyPem(keys.privateKey), chainPem };
}
