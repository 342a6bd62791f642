/** Identities for links in tests: certificates made as the control plane makes them, good ones and those that must be refused. */
import { makeCertificateRequest } from '../../../src/identity/certificate-request.ts';
import type { SigningRoot } from '../../../src/identity/root.ts';
import { issueSvid } from '../../../src/identity/svid.ts';
import { spiffeIdOf } from '../../../src/model/identity.ts';
import type { LinkCredentials, LinkIdentity } from '../../../src/proxy/link/link-identity.ts';

export interface CredentialsWish {
  readonly service?: string;
  readonly trustDomain?: string;
  /** Roots that are believed; default: the signing one. */
  readonly believes?: readonly SigningRoot[];
  /** When it was issued and for how long, ms; default: now, for an hour. */
  readonly issuedAtMs?: number;
  readonly ttlMs?: number;
}

export async function credentialsBy(
  root: SigningRoot,
  {
    service = 'web',
    trustDomain = 'weft.local',
    believes = [root],
    issuedAtMs = Date.now(),
    ttlMs = 3600_000,
  }: CredentialsWish = {},
): Promise<LinkCredentials> {
  const { keyPem, csrPem } = await makeCertificateRequest();
  const identity = { trustDomain, namespace: 'default', service };
  const { certificatePem, expiresAtMs } = await issueSvid(root, { csrPem, identity, nowMs: issuedAtMs, ttlMs });
  return {
    trustDomain,
    spiffeId: spiffeIdOf(identity),
    certificatePem,
    keyPem,
    bundlePem: believes.map((one) => one.certificatePem).join('\n'),
    expiresAtMs,
  };
}

/** An identity that the test replaces. */
export class FakeIdentity implements LinkIdentity {
  private readonly listeners = new Set<() => void>();

  constructor(public current: LinkCredentials | null) {}

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  replace(current: LinkCredentials | null): void {
    this.current = current;
    for (const listener of this.listeners) listener();
  }
}
