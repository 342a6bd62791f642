/** What a certificate authority answers instead of doing it, and whom it waits for. */
import type { AppliedReport, SidecarName } from '../fleet.ts';

export type AuthorityErrorCode =
  /** The connected sidecars have not acknowledged the root that it would sign with. */
  | 'not-signing'
  /** The sidecars did not acknowledge the next root in time: it stays in the bundle, and nothing is signed with it. */
  | 'not-acknowledged'
  /** The bundle is full; roots leave it by themselves. */
  | 'too-many-roots'
  /** Somebody else writes all the time, or the control plane ends. */
  | 'unavailable'
  /** What only the leader may do was tried by one that leads no more: nothing was changed. */
  | 'not-leading'
  /** The mesh in the store has another trust domain. */
  | 'other-trust-domain';

export class AuthorityError extends Error {
  override readonly name = 'AuthorityError';

  constructor(
    readonly code: AuthorityErrorCode,
    message: string,
    readonly missing: readonly SidecarName[] = [],
    readonly refused: AppliedReport['refused'] = [],
  ) {
    super(message);
  }
}
