/** Chooses where a sidecar's identity comes from: a control plane, a directory, or nowhere. Nothing of it is waited for at start. */
import type { Logger } from '../../telemetry/logger.ts';
import { systemClock } from '../clock.ts';
import type { SidecarOptions } from '../options.ts';
import { askForBootstrap } from './bootstrap-client.ts';
import { askForCertificate } from './certificate-client.ts';
import { makeRequestInThread } from './certificate-request-thread.ts';
import { DirectoryIdentity } from './directory-identity.ts';
import { DirectoryWithToken } from './directory-with-token.ts';
import type { IdentityAgent } from './identity-agent.ts';
import { IdentityFile } from './identity-file.ts';
import { IssuedIdentity } from './issued-identity.ts';
import { decodeJoinToken, fixedJoinToken, type JoinTokenSource } from './join-token.ts';
import { JoinTokenFile } from './join-token-file.ts';

/** Rejects with JoinTokenError and OtherServiceError. What the state directory or the identity directory holds is in force when it resolves. */
export async function openIdentityAgent(options: SidecarOptions, logger: Logger): Promise<IdentityAgent> {
  const { identityDir, isLinkInsecure, joinToken, namespace, service, source } = options;
  if (isLinkInsecure)
    logger.warn(
      { service, namespace },
      '--insecure-link: the links of this sidecar are NOT encrypted, and nobody proves who he is on them',
    );
  if (identityDir !== null) {
    const identity = new DirectoryIdentity({ path: identityDir, service, namespace, clock: systemClock, logger });
    await identity.load();
    if (joinToken === null || source.tag === 'file') return identity;
    return new DirectoryWithToken(identity, await openIssued(options, source.urls, logger));
  }
  // Where a mesh asks for tokens, the push channel needs the one that comes with a certificate, which no insecure link shows.
  if (source.tag === 'file' || (isLinkInsecure && joinToken === null)) return noIdentity();
  return openIssued(options, source.urls, logger);
}

/** Rejects with JoinTokenError. */
async function openIssued(options: SidecarOptions, urls: readonly string[], logger: Logger): Promise<IdentityAgent> {
  const { namespace, service, stateDir } = options;
  const identity = new IssuedIdentity({
    urls,
    service,
    namespace,
    joinToken: joinTokenOf(options),
    file: stateDir === null ? null : new IdentityFile(stateDir, logger),
    clock: systemClock,
    random: Math.random,
    logger,
    makeRequest: makeRequestInThread,
    ask: askForCertificate,
    askForBootstrap,
  });
  await identity.restore();
  return identity;
}

/** @throws JoinTokenError */
function joinTokenOf({ joinToken, joinTokenFile, namespace, service }: SidecarOptions): JoinTokenSource | null {
  if (joinToken === null) return null;
  const first = decodeJoinToken(joinToken, service, namespace);
  return joinTokenFile === null ? fixedJoinToken(first) : new JoinTokenFile(joinTokenFile, first);
}

/** For a sidecar that proves nobody's identity, its own included. */
export function noIdentity(): IdentityAgent {
  return {
    current: null,
    onChange: () => () => {},
    first: Promise.resolve(),
    pushToken: null,
    start: () => {},
    controlPlaneTrust: null,
    takeBundle: () => Promise.resolve(),
    status: () => ({ source: 'none', spiffeId: null, expiresAt: null, lastError: null, renewals: 0 }),
    close: () => Promise.resolve(),
  };
}
