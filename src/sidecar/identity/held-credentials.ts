/** The credentials in force, and who wants to hear of new ones. */
import type { LinkCredentials, LinkIdentity } from '../../proxy/link/link-identity.ts';

export class HeldCredentials implements LinkIdentity {
  current: LinkCredentials | null = null;
  /** Resolves once there are any. */
  readonly first: Promise<void>;
  #resolveFirst: () => void = () => {};
  readonly #listeners = new Set<() => void>();

  constructor() {
    this.first = new Promise((resolve) => {
      this.#resolveFirst = resolve;
    });
  }

  /** Expired ones are held, too: peers refuse them. `expiresAt` is RFC 3339. */
  status(): { readonly spiffeId: string | null; readonly expiresAt: string | null } {
    const { current } = this;
    if (current === null) return { spiffeId: null, expiresAt: null };
    return { spiffeId: current.spiffeId, expiresAt: new Date(current.expiresAtMs).toISOString() };
  }

  replace(credentials: LinkCredentials): void {
    this.current = credentials;
    this.#resolveFirst();
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
