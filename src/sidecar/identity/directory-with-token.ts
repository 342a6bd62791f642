/**
 * An identity out of files for the links, beside one that the control planes issue, which opens the push channel and nothing else: a mesh that asks for
 * tokens takes also a sidecar whose certificate is another CA's.
 */
import type { TrustBundle } from '../../model/identity.ts';
import type { LinkCredentials } from '../../proxy/link/link-identity.ts';
import type { ControlPlaneTrust } from './control-plane-contact.ts';
import type { IdentityAgent, IdentityStatus } from './identity-agent.ts';

export class DirectoryWithToken implements IdentityAgent {
  readonly #directory: IdentityAgent;
  readonly #issued: IdentityAgent;
  readonly first: Promise<void>;

  constructor(directory: IdentityAgent, issued: IdentityAgent) {
    this.#directory = directory;
    this.#issued = issued;
    // Of the link others are told over the push channel, which opens with what is issued.
    this.first = Promise.all([directory.first, issued.first]).then(() => undefined);
  }

  get current(): LinkCredentials | null {
    return this.#directory.current;
  }

  get pushToken(): string | null {
    return this.#issued.pushToken;
  }

  get controlPlaneTrust(): ControlPlaneTrust | null {
    return this.#issued.controlPlaneTrust;
  }

  onChange(listener: () => void): () => void {
    const ends = [this.#directory.onChange(listener), this.#issued.onChange(listener)];
    return () => {
      for (const end of ends) end();
    };
  }

  start(): void {
    this.#directory.start();
    this.#issued.start();
  }

  /** Of the mesh's own roots, which vouch for control planes; links believe bundle.pem. */
  takeBundle(bundle: TrustBundle): Promise<void> {
    return this.#issued.takeBundle(bundle);
  }

  status(): IdentityStatus {
    const status = this.#directory.status();
    return { ...status, lastError: status.lastError ?? this.#issued.status().lastError };
  }

  async close(): Promise<void> {
    await Promise.all([this.#directory.close(), this.#issued.close()]);
  }
}
