/**
 * Who this sidecar is, kept up to date: one interface over its three sources, a control plane, a directory, or none. `openIdentityAgent`
 * chooses; nothing of it is waited for at start.
 */
import type { TrustBundle } from '../../model/identity.ts';
import type { LinkIdentity } from '../../proxy/link/link-identity.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { systemClock } from '../clock.ts';
import type { SidecarOptions } from '../options.ts';
import { askForCertificate } from './certificate-client.ts';
import { makeRequestInThread } from './certificate-request-thread.ts';
import { DirectoryIdentity } from './directory-identity.ts';
import { IdentityFile } from './identity-file.ts';
import { IssuedIdentity } from './issued-identity.ts';
import { decodeJoinToken } from './join-token.ts';

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
  /** What the mesh believes from now on, as pushed. `current` says so when this returns. */
  takeBundle(bundle: TrustBundle): void;
  status(): IdentityStatus;
  /** Resolves when nothing is under way any more. `current` stays. */
  close(): Promise<void>;
}

/** Rejects with JoinTokenError. What the state directory or the identity directory holds is in force when it resolves. */
export async function openIdentityAgent(options: SidecarOptions, logger: Logger): Promise<IdentityAgent> {
  const { identityDir, isLinkInsecure, joinToken, namespace, service, source, stateDir } = options;
  if (isLinkInsecure)
    logger.warn(
      { service, namespace },
      '--insecure-link: the links of this sidecar are NOT encrypted, and nobody proves who he is on them',
    );
  if (identityDir !== null) {
    const identity = new DirectoryIdentity({ path: identityDir, clock: systemClock, logger });
    await identity.load();
    return identity;
  }
  if (isLinkInsecure || source.tag === 'file') return noIdentity();
  const identity = new IssuedIdentity({
    urls: source.urls,
    service,
    namespace,
    joinToken: joinToken === null ? null : decodeJoinToken(joinToken, service, namespace),
    file: stateDir === null ? null : new IdentityFile(stateDir, logger),
    clock: systemClock,
    random: Math.random,
    logger,
    makeRequest: makeRequestInThread,
    ask: askForCertificate,
  });
  await identity.restore();
  return identity;
}

/** For a sidecar that proves nobody's identity, its own included. */
export function noIdentity(): IdentityAgent {
  return {
    current: null,
    onChange: () => () => {},
    first: Promise.resolve(),
    pushToken: null,
    start: () => {},
    takeBundle: () => {},
    status: () => ({ source: 'none', spiffeId: null, expiresAt: null, lastError: null, renewals: 0 }),
    close: () => Promise.resolve(),
  };
}
