/** Where a sidecar's configuration comes from: a file, or control planes. Both look the same from here. */

import { splitAddress } from '../model/build-snapshot.ts';
import type { Registration } from '../model/registration.ts';
import type { SeriesDelta } from '../model/report.ts';
import { version } from '../model/version.ts';
import type { Discovery } from '../proxy/discovery.ts';
import type { Logger } from '../telemetry/logger.ts';
import { systemClock } from './clock.ts';
import { readConfigFile, watchConfigFile } from './config-file.ts';
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

/** What a registration is made of; the address follows from the inbound listener, or from the connection to the control plane. */
export interface RegistrationFacts {
  /** `HOST:PORT` as bound. */
  readonly inbound: string;
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
  /** The host was called lately: its subscription stays. */
  markUsed(host: string): void;
  /** The mesh stops sending here; resolves when the control plane knows, or when it did not answer in time. */
  withdraw(): Promise<void>;
  /** False when nobody takes it now. */
  report(deltas: readonly SeriesDelta[]): boolean;
  status(): SourceStatus;
  close(): Promise<void>;
}

/** Rejects with ConfigFileError for a file that cannot be used. What is on disk is in force when it resolves. */
export async function openConfigSource(
  options: SidecarOptions,
  inForce: InForce,
  logger: Logger,
): Promise<ConfigSource> {
  return options.source.tag === 'file'
    ? await openFileSource(options.source.path, inForce, logger)
    : await openControlPlaneSource(options, options.source.urls, inForce, logger);
}

async function openFileSource(path: string, inForce: InForce, logger: Logger): Promise<ConfigSource> {
  let refused = 0;
  let lastError: string | null = null;
  let revision = 0;
  const apply = async () => inForce.apply(await readConfigFile(path), ++revision);
  const reload = async () => {
    try {
      await apply();
      lastError = null;
      logger.info({ path, revision }, 'configuration reloaded');
    } catch (error) {
      refused++;
      lastError = (error as Error).message;
      logger.error(
        { path, error: lastError },
        'the changed file is refused, the configuration before it stays in force',
      );
    }
  };
  const stopWatching = await watchConfigFile(path, reload);
  try {
    await apply();
  } catch (error) {
    stopWatching();
    throw error;
  }
  return {
    discovery: { discover: (_host, done) => done('unknown-service') },
    first: Promise.resolve(),
    start: () => {},
    register: () => {},
    markUsed: () => {},
    withdraw: () => Promise.resolve(),
    report: () => false,
    status: () => ({ isConnected: true, nacks: refused, lastError }),
    close: async () => stopWatching(),
  };
}

async function openControlPlaneSource(
  options: SidecarOptions,
  urls: readonly string[],
  inForce: InForce,
  logger: Logger,
): Promise<ConfigSource> {
  let facts: RegistrationFacts | null = null;
  const register = (localAddress: string | null) => {
    if (facts !== null) subscription.setRegistration(registrationOf(facts, localAddress));
  };
  const subscription = new Subscription({
    urls,
    service: options.service,
    namespace: options.namespace,
    softwareVersion: version,
    hosts: options.upstreams.map(({ name }) => name),
    stateDir: options.stateDir === null ? null : new StateDir(options.stateDir, logger),
    clock: systemClock,
    random: Math.random,
    logger,
    apply: (held) => inForce.apply(held.configObjects(), held.revision),
    onConnected: register,
  });
  await subscription.restore();
  return {
    discovery: subscription,
    first: subscription.first,
    start: () => subscription.start(),
    register: (registration) => {
      facts = registration;
      register(subscription.status().localAddress);
    },
    markUsed: (host) => subscription.markUsed(host),
    withdraw: () => subscription.withdraw(),
    report: (deltas) => subscription.report(deltas),
    status: () => {
      const { lastNack, lastError, ...status } = subscription.status();
      return { ...status, lastError: lastError ?? lastNack };
    },
    close: () => subscription.close(),
  };
}

/** What others are told: the name given, or the listener's host, or for a wildcard this machine's address towards the control plane. */
function registrationOf(
  { inbound, advertise, zone, labels }: RegistrationFacts,
  localAddress: string | null,
): Registration | null {
  const { host: bound, port } = splitAddress(inbound);
  const isWildcard = bound === '0.0.0.0' || bound === '::';
  const host = advertise ?? (isWildcard ? localAddress : bound);
  // Not connected: the connection will say which address it is.
  if (host === null) return null;
  return { address: `${host.includes(':') ? `[${host}]` : host}:${port}`, zone, labels, weight: 1, link: [] };
}
