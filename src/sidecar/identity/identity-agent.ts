/** Who this sidecar is, kept up to date: what it is asked and told, whatever source it comes from. `openIdentityAgent` opens one. */
import type { TrustBundle } from '../../model/identity.ts';
import type { LinkIdentity } from '../../proxy/link/link-identity.ts';
import type { ControlPlaneTrust } from './control-plane-contact.ts';

export interface IdentityStatus {
  readonly source: 'control-plane' | 'directory' | 'none';
  /** Null: there is no certificate (yet). */
  readonly spiffeId: string | null;
  /** RFC 3339. In the past: peers refuse this sidecar. */
  readonly expiresAt: string | null;
  /** Why the last try to get a certificate failed; null when it did not. */
  readonly lastError: string | null;
  /** Certificates that took the place of an earlier one since the start. */
  readonly renewals: number;
}

export interface IdentityAgent extends LinkIdentity {
  /** Resolves once others may be told of this sidecar's link: there is a certificate, or none is meant to be. May never. */
  readonly first: Promise<void>;
  /** For the push channel; null: there is none, or it has expired. */
  readonly pushToken: string | null;
  /** Begins to obtain, and to renew. */
  start(): void;
  /** What a control plane must prove, over TLS, before it is asked anything; null: nothing, it is asked in plain HTTP. */
  readonly controlPlaneTrust: ControlPlaneTrust | null;
  /**
   * What the mesh believes from now on, as pushed; `current` says so when this resolves. Where control planes must prove who they are
   * it rejects with UnprovenBundleError, within `limits.applyMs`, for roots that none of them vouches for, and nothing has changed.
   */
  takeBundle(bundle: TrustBundle): Promise<void>;
  status(): IdentityStatus;
  /** Resolves when nothing is under way any more. `current` stays. */
  close(): Promise<void>;
}
