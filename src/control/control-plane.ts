/**
 * The control plane, put together: a change comes in through the API, is judged and committed (change.ts), durable in the store, and
 * from there pushed to the sidecars that it concerns (push.ts). Start at `startControlPlane`; what it starts, `close` ends, here.
 */

import { randomBytes } from 'node:crypto';
import { DecisionPool } from '../decisions/pool.ts';
import { RootDirectory } from '../identity/root-directory.ts';
import { controlPlaneServerName } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import type { Logger } from '../telemetry/logger.ts';
import { watchLoop } from '../telemetry/loop-delay.ts';
import { readProcess } from '../telemetry/process-reading.ts';
import { AccessControl } from './access/access-control.ts';
import type { HeldBytesOptions } from './api/held-bytes.ts';
import { type RunningApi, startApi } from './api/server.ts';
import { Watchers } from './api/watch.ts';
import { ApiCredentials } from './ca/api-credentials.ts';
import { CertificateAuthority } from './ca/certificate-authority.ts';
import { StoredBundle } from './ca/stored-bundle.ts';
import { TlsFiles } from './ca/tls-files.ts';
import { UnclaimedRoots } from './ca/unclaimed-roots.ts';
import { Changes } from './change.ts';
import { ControlCounts } from './control-counts.ts';
import { type ControlReading, controlFamilies } from './control-metrics.ts';
import { type PushTransport, type RunningPush, startPush } from './push.ts';
import { type EtcdAccess, isEtcdUrl, noAccess } from './store/etcd-location.ts';
import { MeteredStore } from './store/metered-store.ts';
import { openStore } from './store/open-store.ts';
import { defaultRetention, type Retention } from './store/revision-log.ts';
import type { Store, StoreClock } from './store/store.ts';
import { shownStoreUrl } from './store/store-location.ts';
import { World } from './world.ts';

export interface ControlPlaneOptions {
  /** `HOST:PORT` of the API; port 0 is any free port. Beyond loopback it needs a first API token. */
  readonly listen: string;
  /** `HOST:PORT` of the push port, likewise. Beyond loopback it speaks TLS. */
  readonly push: string;
  /** TLS on the push port on loopback too. */
  readonly isPushTls?: boolean;
  /** Beyond loopback without a first token, and plain beside TLS. */
  readonly isInsecure?: boolean;
  /** What people are shown by the API over TLS; default: the certificate of the mesh's root that sidecars are shown. */
  readonly tlsFiles?: { readonly certFile: string; readonly keyFile: string };
  /** Further names and addresses in the certificate of the mesh's root. */
  readonly tlsNames?: readonly string[];
  /** `embedded:DIR`, or `etcd://HOST:PORT,...` (etcd-location.ts) for several control planes of one mesh. */
  readonly storeUrl: string;
  /** Certificates and password for etcd. Default: none. */
  readonly etcdAccess?: EtcdAccess;
  /** How far back history goes; default `defaultRetention`. */
  readonly retention?: Retention;
  /** Where the key of the certificate authority is, or is made. */
  readonly caDirectory: string;
  /** Default `weft.local`. A store keeps the one that it was begun with. */
  readonly trustDomain?: string;
  /** Default `limits.certificateTtlMs`. */
  readonly certificateTtlMs?: number;
  readonly logger: Logger;
  readonly clock: StoreClock;
  /** The pool's bundled worker; default: beside the executable. */
  readonly workerFile?: URL;
  /** Default `limits.watchersMax`. */
  readonly watchersMax?: number;
  readonly heldBytes?: HeldBytesOptions;
}

export const defaultTrustDomain = 'weft.local';

export interface RunningControlPlane {
  /** `HOST:PORT` as bound. */
  readonly api: string;
  readonly push: string;
  close(): Promise<void>;
}

export class ControlPlaneError extends Error {
  override readonly name = 'ControlPlaneError';
  constructor(
    readonly code: 'no-api-token' | 'bad-address',
    message: string,
  ) {
    super(message);
  }
}

/** Rejects with an error made for people, and leaves nothing behind. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<RunningControlPlane> {
  const { caDirectory, clock, heldBytes, isPushTls = false, logger, storeUrl, tlsNames = [], watchersMax } = options;
  const { certificateTtlMs = limits.certificateTtlMs, trustDomain = defaultTrustDomain } = options;
  const { etcdAccess = noAccess, retention = defaultRetention } = options;
  const [apiAt, pushAt] = [parseAddress(options.listen), parseAddress(options.push)];
  const isBeyond = apiAt.isBeyond || pushAt.isBeyond;
  const isInsecure = isBeyond && options.isInsecure === true;
  const open: Partial<Open> = {};
  try {
    const onBackgroundError = (error: Error) => logger.error({ error: error.message }, 'the store failed');
    const opened = await openStore(storeUrl, { etcdAccess, retention, clock, onBackgroundError });
    open.store = opened;
    const counts = new ControlCounts();
    const store = new MeteredStore(opened, counts, clock);
    const access = new AccessControl({ store, clock, randomBytes });
    if (isBeyond && !isInsecure && !access.requiresToken) throw withoutToken(storeUrl);
    const world = new World(store);
    open.world = world;
    const pool = new DecisionPool({
      ...(options.workerFile === undefined ? {} : { workerFile: options.workerFile }),
      onError: (error) => logger.error({ error: String(error) }, 'a worker failed'),
    });
    open.pool = pool;
    const bundle = new StoredBundle(store, clock, trustDomain);
    const isShared = isEtcdUrl(storeUrl);
    const authority = await CertificateAuthority.open({
      bundle,
      directory: new RootDirectory({ path: caDirectory, trustDomain, nowMs: () => clock.nowMs() }),
      clock,
      logger,
      certificateTtlMs,
      serverNames: [apiAt.host, pushAt.host, ...tlsNames],
      // An embedded store is one process's own; of one on etcd nobody knows who else will come back to it.
      isOnlyReplica: !isShared,
    });
    open.authority = authority;
    // Whoever may come from anywhere shows who he is.
    if (!isInsecure && (isBeyond || isPushTls)) await authority.requireJoinTokens();
    const credentials = new ApiCredentials(authority, clock);
    const tlsFiles =
      options.tlsFiles === undefined ? null : await TlsFiles.open({ ...options.tlsFiles, clock, logger });
    const transport: PushTransport =
      pushAt.isBeyond || isPushTls
        ? { tag: 'tls', context: () => credentials.context(), isInsecure: isInsecure && pushAt.isBeyond }
        : { tag: 'loopback' };
    const pushPort = { host: pushAt.host, port: pushAt.port, transport };
    const push = await startPush({ store, authority, clock, logger, counts, ...pushPort });
    open.push = push;
    authority.begin(push.fleet);
    const watchers = new Watchers({ store, clock, ...(watchersMax === undefined ? {} : { watchersMax }) });
    open.watchers = watchers;
    const changes = new Changes({ store, world, clock, compile: (units) => pool.compile(units) });
    const startedAtMs = clock.nowMs();
    const watched = watchLoop();
    open.loop = { close: watched.stop };
    const read = (): ControlReading => ({
      revision: store.revision,
      replicas: push.fleet.replicas().length,
      isLeader: push.fleet.replicas()[0]!.isLeader,
      isSigning: authority.signing !== null,
      sidecars: push.fleet.countHere(),
      pushConnections: push.connections,
      watchers: watchers.count,
      storeAgeMs: clock.nowMs() - store.knownAtMs,
      loop: watched.loop.read(),
      process: readProcess(),
    });
    const server = await startApi({
      host: apiAt.host,
      port: apiAt.port,
      world,
      changes,
      fleet: push.fleet,
      authority,
      access,
      isInsecure,
      isExposed: isInsecure && apiAt.isBeyond,
      tlsContext: (serverName) =>
        tlsFiles === null || serverName === controlPlaneServerName ? credentials.context() : tlsFiles.context(),
      watchers,
      store,
      storeName: shownStoreUrl(storeUrl),
      push,
      startedAtMs,
      clock,
      logger,
      counts,
      metrics: () => pool.renderFamilies(controlFamilies(counts, read())),
      ...(heldBytes === undefined ? {} : { heldBytes }),
    });
    open.server = server;
    if (isBeyond) logReach(logger, isInsecure, server, push, authority);
    const startedAt = new Date(startedAtMs).toISOString();
    push.introduce(() => ({ api: server.address, startedAt, roots: authority.ownRoots }));
    if (isShared) open.unclaimed = new UnclaimedRoots({ bundle, clock, logger, replicas: () => push.fleet.replicas() });
    let closing: Promise<void> | null = null;
    return {
      api: server.address,
      push: push.address,
      close: () => {
        closing ??= closeAll(open);
        return closing;
      },
    };
  } catch (error) {
    await closeAll(open).catch((failure: unknown) =>
      logger.error({ error: String(failure) }, 'what had started could not be ended'),
    );
    throw error;
  }
}

function logReach(
  logger: Logger,
  isInsecure: boolean,
  { address: api }: RunningApi,
  { address: push }: RunningPush,
  { root }: CertificateAuthority,
): void {
  if (isInsecure)
    logger.warn(
      { api, push },
      '--insecure-control-plane: OTHER MACHINES reach API and push port in plain HTTP, and as long as there are no tokens whoever does may do everything',
    );
  else logger.info({ api, push, root: root.sha256 }, 'other machines name the root of the mesh: --ca sha256:ROOT');
}

function withoutToken(storeUrl: string): ControlPlaneError {
  return new ControlPlaneError(
    'no-api-token',
    `Other machines could reach this control plane, and nobody has made an API token yet: make the first one with \`weft token create --role admin --store ${storeUrl}\`, and start it again. (--insecure-control-plane goes without tokens and TLS.)`,
  );
}

interface Open {
  store: Store;
  loop: { close(): void };
  world: World;
  pool: DecisionPool;
  authority: CertificateAuthority;
  push: RunningPush;
  watchers: Watchers;
  unclaimed: UnclaimedRoots;
  server: RunningApi;
}

/**
 * Streams end first, then whoever waits for sidecars is answered, so that no connection is left to hold up the server. What fails to
 * end does not keep the others from it.
 */
async function closeAll({
  store,
  loop,
  world,
  pool,
  authority,
  push,
  watchers,
  unclaimed,
  server,
}: Partial<Open>): Promise<void> {
  const failures: unknown[] = [];
  for (const part of [watchers, unclaimed, push, authority, server, loop, pool, world, store]) {
    try {
      await part?.close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

function parseAddress(address: string) {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535)
    throw new ControlPlaneError('bad-address', `${address} is not HOST:PORT.`);
  const isBeyond = host !== 'localhost' && host !== '::1' && !/^127(\.\d{1,3}){3}$/.test(host);
  return { host, port: Number(port), isBeyond };
}
