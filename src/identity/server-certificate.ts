/** The certificate of a control plane's own API, issued by its root and sent with it, so that a sidecar can pin the root at first contact. */
import { isIP } from 'node:net';
import { ecdsaP256 } from './algorithms.ts';
import { type IssuedCertificate, serverUsage, signLeaf } from './leaf.ts';
import { privateKeyPem } from './private-key.ts';
import type { SigningRoot } from './root.ts';

export interface ServerCertificateWish {
  readonly trustDomain: string;
  /** Names and addresses beside those of loopback; what names no machine (0.0.0.0) is left out. */
  readonly names?: readonly string[];
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
  { trustDomain, names = [], nowMs, ttlMs }: ServerCertificateWish,
): Promise<ServerCertificate> {
  const keys = await crypto.subtle.generateKey(ecdsaP256, true, ['sign', 'verify']);
  const issued = await signLeaf(root, {
    publicKey: keys.publicKey,
    names: [
      { type: 'url', value: controlPlaneIdOf(trustDomain) },
      { type: 'dns', value: 'localhost' },
      { type: 'ip', value: '127.0.0.1' },
      { type: 'ip', value: '::1' },
      ...[...new Set(names)].filter((name) => !own.includes(name)).map(subjectNameOf),
    ],
    usages: [serverUsage],
    nowMs,
    ttlMs,
  });
  const chainPem = `${issued.certificatePem.trim()}\n${root.certificatePem.trim()}\n`;
  return { ...issued, keyPem: privateKeyPem(keys.privateKey), chainPem };
}

/** Said in each certificate, or no name of one machine. */
const own: readonly string[] = ['localhost', '127.0.0.1', '::1', '0.0.0.0', '::'];

const subjectNameOf = (value: string) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }) as const;
