/** What the API's port shows to who speaks TLS to it: a certificate of the authority's root, renewed at half of its life and after a rotation. */
import { createSecureContext, type SecureContext } from 'node:tls';
import type { StoreClock } from '../store/store.ts';
import type { CertificateAuthority } from './certificate-authority.ts';

interface Shown {
  readonly context: SecureContext;
  readonly root: string;
  readonly renewAtMs: number;
}

export class ApiCredentials {
  readonly #authority: CertificateAuthority;
  readonly #clock: StoreClock;
  #shown: Shown | null = null;
  /** Many who come at once wait for one certificate. */
  #issuing: Promise<Shown> | null = null;

  constructor(authority: CertificateAuthority, clock: StoreClock) {
    this.#authority = authority;
    this.#clock = clock;
  }

  /** Made by the first connection that asks, so that a start does not pay for it. */
  async context(): Promise<SecureContext> {
    const shown = this.#shown;
    if (shown !== null && shown.root === this.#authority.root.sha256 && this.#clock.nowMs() < shown.renewAtMs)
      return shown.context;
    this.#issuing ??= this.#issue().finally(() => {
      this.#issuing = null;
    });
    this.#shown = await this.#issuing;
    return this.#shown.context;
  }

  async #issue(): Promise<Shown> {
    const [root, nowMs] = [this.#authority.root.sha256, this.#clock.nowMs()];
    const { chainPem, keyPem, expiresAtMs } = await this.#authority.issueServerCertificate();
    const context = createSecureContext({ cert: chainPem, key: keyPem, minVersion: 'TLSv1.3' });
    return { context, root, renewAtMs: nowMs + (expiresAtMs - nowMs) / 2 };
  }
}
