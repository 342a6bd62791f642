/** Who may open a push connection, and as whom: by the token in the `Authorization` of its upgrade. */
import { IdentityError } from '../identity/identity-error.ts';
import type { TokenUse } from '../identity/token.ts';
import type { ServiceIdentity, TrustBundle } from '../model/identity.ts';

export type Admission =
  /** Null: it has shown nothing, and need not. */
  | { readonly tag: 'admitted'; readonly identity: ServiceIdentity | null }
  /** `reason` is for whoever runs the sidecar. `claimed` is who it said it is, without proof; null: it did not say. */
  | { readonly tag: 'refused'; readonly reason: string; readonly claimed: ServiceIdentity | null };

/** What admission needs of the certificate authority. */
export interface Identifier {
  readonly bundle: TrustBundle;
  identify(token: string, uses: readonly TokenUse[]): Promise<ServiceIdentity>;
}

/** `authorization` is the header's value, or empty. Never rejects for what a peer sent. */
export async function admitPush(authority: Identifier, authorization: string): Promise<Admission> {
  const { requiresJoinToken } = authority.bundle;
  const token = bearerOf(authorization);
  if (token === null) {
    if (!requiresJoinToken) return { tag: 'admitted', identity: null };
    const reason = 'this mesh asks for a token: start the sidecar with --join-token-file';
    return { tag: 'refused', reason, claimed: null };
  }
  try {
    return { tag: 'admitted', identity: await authority.identify(token, ['push']) };
  } catch (error) {
    if (!(error instanceof IdentityError)) throw error;
    // Where nobody needs a token, an old one, of a mesh that was here before or of a machine that slept, is as good as none.
    if (!requiresJoinToken) return { tag: 'admitted', identity: null };
    const { claimedIdentityOf } = await import('../identity/token.ts');
    const reason = `the push token is not valid: ${error.message}`;
    return { tag: 'refused', reason, claimed: claimedIdentityOf(token) };
  }
}

/** Null: there is none (RFC 6750, section 2.1). */
export function bearerOf(authorization: string | undefined): string | null {
  return /^Bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization ?? '')?.[1] ?? null;
}
