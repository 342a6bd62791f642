/**
 * Whether a certificate, its key and the roots belong together, and whom they make this sidecar. Where they come from (a control plane,
 * a state directory, files of somebody else's CA), nothing is used that was not checked here.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { fingerprintOf } from '../../identity/root.ts';
import type { TrustRoot } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';
import type { LinkCredentials } from '../../proxy/link/link-identity.ts';

export interface CredentialParts {
  /** The own certificate first, then what stands between it and a root. */
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly bundlePem: string;
}

/** `message` says what does not fit, and to what. */
export class CredentialsError extends Error {
  override readonly name = 'CredentialsError';
  readonly code = 'bad-credentials';
}

/** A leaf and what is above it, the root left out. */
const chainCertificatesMax = 8;
const pemBlock = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
/** Any SPIFFE ID with a path, not only one of a Service: other CAs have names of their own. */
const spiffeIdPattern = /^spiffe:\/\/([a-z0-9._-]{1,255})(?:\/[A-Za-z0-9._-]+)+$/;
const spiffeIdCharsMax = 2_048;

/** @throws CredentialsError when something is missing, does not belong to the rest, or is not valid at `nowMs`. */
export function credentialsOf({ certificatePem, keyPem, bundlePem }: CredentialParts, nowMs: number): LinkCredentials {
  const [leaf, ...above] = certificatesIn(certificatePem, 'the certificate', chainCertificatesMax);
  const roots = certificatesIn(bundlePem, 'the trust bundle', limits.trustRootsMax);
  if (!belongsTo(keyPem, leaf!)) throw new CredentialsError('the key is not the one of the certificate');
  const fault = timeFault(leaf!, nowMs);
  if (fault !== null) throw new CredentialsError(`the certificate ${fault}`);
  if (leaf!.ca) throw new CredentialsError('the certificate is the one of a CA');
  if (!leadsTo(leaf!, above, roots)) throw new CredentialsError('no root of the trust bundle issued the certificate');
  const spiffeId = spiffeIdIn(leaf!);
  if (spiffeId === null) throw new CredentialsError('the certificate does not carry one SPIFFE ID');
  return {
    trustDomain: spiffeIdPattern.exec(spiffeId)![1]!,
    spiffeId,
    certificatePem,
    keyPem,
    bundlePem,
    expiresAtMs: Date.parse(leaf!.validTo),
  };
}

/** Null when there is none, or more than one URI: a certificate names one workload (SPIFFE X509-SVID, section 2). */
export function spiffeIdIn(certificate: X509Certificate): string | null {
  const names = certificate.subjectAltName ?? '';
  // Node quotes a name that holds a comma; cut at commas, it could pose as several. No certificate of ours has one.
  if (names.includes('"')) return null;
  const uris = names.split(', ').filter((name) => name.startsWith('URI:'));
  const spiffeId = uris[0]?.slice('URI:'.length) ?? '';
  return uris.length === 1 && spiffeId.length <= spiffeIdCharsMax && spiffeIdPattern.test(spiffeId) ? spiffeId : null;
}

/** In words, when a certificate is not valid at `nowMs`; else null. */
export function timeFault(certificate: X509Certificate, nowMs: number): string | null {
  if (Date.parse(certificate.validTo) <= nowMs) return `expired at ${utc(certificate.validTo)}`;
  if (Date.parse(certificate.validFrom) > nowMs)
    return `is valid only from ${utc(certificate.validFrom)} on: do the clocks agree?`;
  return null;
}

export const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean =>
  certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);

/**
 * All certificates of a PEM text, at least one.
 * @throws CredentialsError; `what` names the text there.
 */
export function certificatesIn(pem: string, what: string, countMax: number): readonly X509Certificate[] {
  const blocks = pem.match(pemBlock) ?? [];
  if (blocks.length === 0) throw new CredentialsError(`${what} holds no certificate (PEM)`);
  if (blocks.length > countMax) throw new CredentialsError(`${what} holds more than ${countMax} certificates`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw new CredentialsError(`${what} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** The root that issued a certificate; null when none of these did. */
export function issuerAmong(certificatePem: string, roots: readonly TrustRoot[]): TrustRoot | null {
  const certificate = new X509Certificate(certificatePem);
  return roots.find(({ pem }) => isIssuedBy(certificate, new X509Certificate(pem))) ?? null;
}

/** The roots of both texts, each once, those of `first` first and none beyond `limits.trustRootsMax`. */
export function joinBundles(first: string, second: string): string {
  const roots = [first, second].flatMap((pem) => certificatesIn(pem, 'the trust bundle', limits.trustRootsMax));
  const byName = new Map(roots.map((root) => [fingerprintOf(root), root.toString().trim()]));
  return [...byName.values()].slice(0, limits.trustRootsMax).join('\n');
}

/** The names (SHA-256) of the roots of `wanted` that `known` does not have. @throws CredentialsError when either is no bundle. */
export function rootsMissingIn(known: string, wanted: string): readonly string[] {
  const [knownNames, wantedNames] = [known, wanted].map((pem) =>
    certificatesIn(pem, 'the trust bundle', limits.trustRootsMax).map(fingerprintOf),
  );
  return wantedNames!.filter((name) => !knownNames!.includes(name));
}

/** Whatever their order. @throws CredentialsError */
export const hasSameRoots = (first: string, second: string): boolean =>
  rootsMissingIn(first, second).length === 0 && rootsMissingIn(second, first).length === 0;

function belongsTo(keyPem: string, certificate: X509Certificate): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(keyPem));
  } catch (cause) {
    throw new CredentialsError(`the key cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function leadsTo(leaf: X509Certificate, above: readonly X509Certificate[], roots: readonly X509Certificate[]): boolean {
  let certificate = leaf;
  for (const next of [...above, null]) {
    if (roots.some((root) => isIssuedBy(certificate, root))) return true;
    if (next === null || !next.ca || !isIssuedBy(certificate, next)) return false;
    certificate = next;
  }
  return false;
}

const utc = (certificateTime: string): string => new Date(certificateTime).toISOString();
