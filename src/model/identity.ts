/**
 * Who is who in the mesh: SPIFFE identities of Services (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md), and the
 * trust bundle, the roots whose certificates every sidecar believes. Pure words; keys and certificates are made in identity/.
 */
import { limits } from './limits.ts';

export interface ServiceIdentity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly service: string;
}

const namePattern = `[a-z0-9]([-a-z0-9]{0,${limits.nameCharsMax - 2}}[a-z0-9])?`;
/** SPIFFE ID of a Service, of any trust domain. */
export const serviceIdPattern = new RegExp(`^spiffe://([a-z0-9._-]{1,255})/ns/(${namePattern})/sa/(${namePattern})$`);
const trustDomainPattern = /^[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?$/;

export const isTrustDomain = (text: string): boolean => trustDomainPattern.test(text);

const namespacePattern = new RegExp(`^${namePattern}$`);
export const isNamespaceName = (text: string): boolean => namespacePattern.test(text);

/**
 * What a sidecar asks for by name (SNI) when it speaks TLS to a control plane, whatever it has called it: the certificate of the mesh's
 * own root, where people are shown one of another CA.
 */
export const controlPlaneServerName = 'control-plane.weft';

/** The path of a Service's identity, the same in every trust domain: `/ns/default/sa/cart`. */
export const identityPath = (namespace: string, service: string): string => `/ns/${namespace}/sa/${service}`;

/** `spiffe://weft.local/ns/default/sa/cart`. */
export const spiffeIdOf = ({ trustDomain, namespace, service }: ServiceIdentity): string =>
  `spiffe://${trustDomain}${identityPath(namespace, service)}`;

/** The inverse of `spiffeIdOf`; null for anything else, also for other kinds of SPIFFE IDs. */
export function parseSpiffeId(text: string): ServiceIdentity | null {
  const found = serviceIdPattern.exec(text);
  if (found === null) return null;
  const [, trustDomain, namespace, , service] = found as unknown as [string, string, string, string, string];
  return { trustDomain, namespace, service };
}

/** One root certificate of the mesh. */
export interface TrustRoot {
  /** Lower-case hex SHA-256 of the certificate's DER: its name everywhere. */
  readonly sha256: string;
  readonly pem: string;
  /** RFC 3339. */
  readonly addedAt: string;
  /** When it leaves the bundle, RFC 3339: everything that it signed has expired then. Null: it stays. */
  readonly retiresAt: string | null;
}

/**
 * What the mesh believes, as it is stored and as it is pushed to every sidecar. There is one, under `trustBundleKey`. Roots overlap: one is
 * added, and acknowledged by the connected sidecars, before anything is signed with it, and leaves after all that it signed has expired.
 */
export interface TrustBundle {
  readonly kind: 'TrustBundle';
  readonly trustDomain: string;
  /** Oldest first, at most `limits.trustRootsMax`. */
  readonly roots: readonly TrustRoot[];
  /** A first join token was made: from then on nobody gets a certificate without one. */
  readonly requiresJoinToken: boolean;
}

export const trustBundleKey = 'TrustBundle/mesh';

/** All roots as one PEM text. */
export const bundlePem = ({ roots }: TrustBundle): string => roots.map(({ pem }) => pem.trim()).join('\n');
