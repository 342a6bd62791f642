/** A file as the source of a sidecar's configuration: read at start, and again when it changes. */
import type { Logger } from '../telemetry/logger.ts';
import { type JudgeManifest, readConfigFile, watchConfigFile } from './config-file.ts';
import type { ConfigSource } from './config-source.ts';
import type { InForce } from './in-force.ts';
import type { SidecarOptions } from './options.ts';
import { Stalenesses } from './stalenesses.ts';

const servicesNamedMax = 10;

/** Rejects with ConfigFileError for a file that cannot be used. */
export async function openFileSource(
  path: string,
  { identityDir, isLinkInsecure }: SidecarOptions,
  inForce: InForce,
  judge: JudgeManifest,
  logger: Logger,
): Promise<ConfigSource> {
  let refused = 0;
  let lastError: string | null = null;
  let revision = 0;
  const stalenesses = new Stalenesses(() => Date.now());
  const apply = async () => {
    await inForce.apply(await readConfigFile(path, judge), ++revision);
    if (identityDir !== null || isLinkInsecure) return;
    const services = linkedServicesIn(inForce);
    if (services.length > 0)
      logger.warn(
        { path, services: services.slice(0, servicesNamedMax), count: services.length },
        'calls over the links in the file will fail with no-identity: name a directory with svid.pem, key.pem and bundle.pem with --identity-dir, or say --insecure-link on both sides',
      );
  };
  const warnIfEmpty = () => {
    if (inForce.snapshot?.units.size === 0)
      logger.warn({ path }, 'there is no Service in the file: whatever is called is unknown');
  };
  const reload = async () => {
    try {
      await apply();
      lastError = null;
      stalenesses.end('refused');
      logger.info({ path, revision }, 'configuration reloaded');
      warnIfEmpty();
    } catch (error) {
      refused++;
      lastError = (error as Error).message;
      stalenesses.begin('refused', `the changed file is refused: ${lastError}`);
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
    start: warnIfEmpty,
    register: () => {},
    setTrouble: () => {},
    markUsed: () => {},
    withdraw: () => Promise.resolve(),
    report: () => false,
    status: () => ({ isConnected: true, nacks: refused, lastError }),
    staleAt: (atMs) => stalenesses.at(atMs),
    close: async () => stopWatching(),
  };
}

/** Those that this sidecar calls over a link, as far as it calls them. */
function linkedServicesIn({ snapshot }: InForce): readonly string[] {
  const units = [...(snapshot?.units.values() ?? [])];
  return units.filter(({ endpoints }) => endpoints.some(({ link }) => link.length > 0)).map(({ name }) => name);
}
