/** Where a sidecar's configuration comes from: a file, or control planes. Both look the same from here. */

import type { Staleness } from '../model/decision.ts';
import { splitAddress } from '../model/host-port.ts';
import type { Registration } from '../model/registration.ts';
import type { SeriesDelta } from '../model/report.ts';
import { version } from '../model/version.ts';
import type { Discovery } from '../proxy/discovery.ts';
import type { Logger } from '../telemetry/logger.ts';
import { systemClock } from './clock.ts';
import type { JudgeManifest } from './config-file.ts';
import { hasOlderUwsCore } from './http-cores.ts';
import type { IdentityAgent } from './identity/identity-agent.ts';
import type { InForce } from './in-force.ts';
import type { SidecarOptions } from './options.ts';
import { StateDir } from './state-dir.ts';
import { Subscription } from './subscription.ts';

export interface SourceStatus {
  /** False while no control plane answers; a file always does. */
  readonly isConnected: boolean;
  /** Configurations refused since the start. */
  readonly nacks: number;
  /** Why the last one was refused, or why nobody answers; null when all is well. */
  readonly lastError: string | null;
}

/** What a registration is made of; the addresses follow from the listeners, or from the connection to the control plane. */
export interface RegistrationFacts {
  /** `HOST:PORT` as bound; null: the app is reached over the link only, whose address is the endpoint's then. */
  readonly inbound: string | null;
  /** `HOST:PORT` of the link listeners as bound; empty: none. Not both of them may be missing. */
  readonly link: readonly string[];
  readonly advertise: string | null;
  readonly zone: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface ConfigSource {
  readonly discovery: Discovery;
  /** Resolves once a first configuration is in force. */
  readonly first: Promise<void>;
  /** Begins to connect or to watch. */
  start(): void;
  register(facts: RegistrationFacts): void;
  /** Why nothing is registered yet, for people who ask the control plane; until something is. */
  setTrouble(trouble: string): void;
  /** The host was called lately: its subscription stays. */
  markUsed(host: string): void;
  /** The mesh stops sending here; resolves when the control plane knows, or when it did not answer in time. */
  withdraw(): Promise<void>;
  /** False when nobody takes it now. */
  report(deltas: readonly SeriesDelta[]): boolean;
  status(): SourceStatus;
  /** Whether what was in force then may not have been the newest, ms since the epoch; null: as far as is known it was. */
  staleAt(atMs: number): Staleness | null;
  close(): Promise<void>;
}

/** After a trust bundle was not believed. */
const sayAgainMs = 15_000;

/** Rejects with ConfigFileError for a file that cannot be used. What is on disk is in force when it resolves. */
export async function openConfigSource(
  options: SidecarOptions,
  inForce: InForce,
  identity: IdentityAgent,
  judge: JudgeManifest,
  logger: Logger,
): Promise<ConfigSource> {
  if (options.source.tag === 'control-plane')
    return await openControlPlaneSource(options, options.source.urls, inForce, identity, logger);
  // Whoever has a control plane does without it.
  const { openFileSource } = await import('./file-source.ts');
  return await openFileSource(options.source.path, options, inForce, judge, logger);
}

async function openControlPlaneSource(
  options: SidecarOptions,
  urls: readonly string[],
  inForce: InForce,
  identity: IdentityAgent,
  logger: Logger,
): Promise<ConfigSource> {
  let facts: RegistrationFacts | null = null;
  const register = (localAddress: string | null) => {
    if (facts !== null) subscription.setRegistration(registrationOf(facts, localAddress));
  };
  let cancelSayAgain = () => {};
  // A refusal stands until something changes, and what stood in the way of these roots changes without the control plane's knowing.
  const sayAgainLater = () => {
    cancelSayAgain();
    cancelSayAgain = systemClock.after(sayAgainMs, () => subscription.connectAgain());
  };
  const subscription = new Subscription({
    urls,
    service: options.service,
    namespace: options.namespace,
    softwareVersion: version,
    isLinkInsecure: options.isLinkInsecure,
    hasOlderUwsCore: hasOlderUwsCore(options),
    pushToken: () => identity.pushToken,
    hosts: options.upstreams.map(({ name }) => name),
    stateDir: options.stateDir === null ? null : new StateDir(options.stateDir, logger),
    clock: systemClock,
    random: Math.random,
    logger,
    trust: () => identity.controlPlaneTrust,
    apply: async (held) => {
      // Before it is acknowledged: then the control plane signs with a root that is new in it. What is not believed refuses the whole.
      if (held.trustBundle !== null)
        await identity.takeBundle(held.trustBundle).catch((error: unknown) => {
          sayAgainLater();
          throw error;
        });
      await inForce.apply(held.configObjects(), held.revision);
    },
    onConnected: register,
  });
  let hadToken = identity.pushToken !== null;
  const stopListening = identity.onChange(() => {
    const hasToken = identity.pushToken !== null;
    if (hasToken && !hadToken) subscription.connectNow();
    hadToken = hasToken;
  });
  await subscription.restore();
  return {
    discovery: subscription,
    first: subscription.first,
    start: () => {
      // Where a join token is needed nobody is let in without the push token that comes with the first certificate.
      if (options.joinToken === null) subscription.start();
      else void identity.first.then(() => subscription.start());
    },
    register: (registration) => {
      facts = registration;
      register(subscription.status().localAddress);
    },
    setTrouble: (trouble) => subscription.setTrouble(trouble),
    markUsed: (host) => subscription.markUsed(host),
    withdraw: () => subscription.withdraw(),
    report: (deltas) => subscription.report(deltas),
    status: () => {
      const { lastNack, lastError, ...status } = subscription.status();
      return { ...status, lastError: lastError ?? lastNack };
    },
    staleAt: (atMs) => subscription.staleAt(atMs),
    close: () => {
      stopListening();
      cancelSayAgain();
      return subscription.close();
    },
  };
}

/**
 * What others are told: the name given, or the listener's host, or for a wildcard this machine's address towards the control plane.
 * Null while that is not known: the connection will say it.
 */
export function registrationOf(
  { inbound, link, advertise, zone, labels }: RegistrationFacts,
  localAddress: string | null,
): Registration | null {
  const advertised = (bound: string): string | null => {
    const { host, port } = splitAddress(bound);
    const isWildcard = host === '0.0.0.0' || host === '::';
    const told = advertise ?? (isWildcard ? localAddress : host);
    return told === null ? null : `${told.includes(':') ? `[${told}]` : told}:${port}`;
  };
  const links = link.map(advertised);
  const address = inbound === null ? links[0] : advertised(inbound);
  if (address === undefined || address === null || !links.every((known) => known !== null)) return null;
  return { address, zone, labels, weight: 1, link: links };
}
