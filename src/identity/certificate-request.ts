/**
 * A new key and the request to certify it (RFC 2986). The request names nobody: who may be certified as what is decided by whoever
 * issues, from what the caller proves, and never from what the request says.
 */
import 'reflect-metadata';
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509';
import { ecdsaP256, signatureP256 } from './algorithms.ts';
import { privateKeyPem } from './private-key.ts';

export interface CertificateRequest {
  /** PKCS #8, ECDSA on P-256. Never leaves the machine that made it. */
  readonly keyPem: string;
  readonly csrPem: string;
}

/** Takes some 10 ms, and the first time 100 ms more to load what it needs: not for a loop that serves requests. */
export async function makeCertificateRequest(): Promise<CertificateRequest> {
  const keys = await crypto.subtle.generateKey(ecdsaP256, true, ['sign', 'verify']);
  const request = await Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: signatureP256 });
  return { keyPem: privateKeyPem(keys.privateKey), csrPem: request.toString('pem') };
}
