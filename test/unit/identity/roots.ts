/** Roots, identities and bundles for tests, made as a control plane makes them. */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { readRoot, type SigningRoot } from '../../../src/identity/root.ts';
import { makeRootCertificate } from '../../../src/identity/root-certificate.ts';
import type { ServiceIdentity, TrustBundle } from '../../../src/model/identity.ts';

/** Whole seconds, as certificates have them. */
export const nowMs = Date.parse('2025-06-01T12:00:00Z');
export const trustDomain = 'weft.local';

export async function newRoot(atMs = nowMs): Promise<SigningRoot> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = createPrivateKey(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return readRoot(await makeRootCertificate({ key, trustDomain, nowMs: atMs }), key, 'root.crt');
}

export const bundleOf = (...roots: readonly SigningRoot[]): TrustBundle => ({
  kind: 'TrustBundle',
  trustDomain,
  roots: roots.map(({ sha256, certificatePem }) => ({
    sha256,
    pem: certificatePem,
    addedAt: new Date(nowMs).toISOString(),
    retiresAt: null,
  })),
  requiresJoinToken: false,
});

export const identityOf = (service: string, namespace = 'default'): ServiceIdentity => ({
  trustDomain,
  namespace,
  service,
});
