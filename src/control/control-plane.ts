/**
 * The control plane, put together: a change comes in through the API, is judged and committed (change.ts), durable in the store, and
 * from there pushed to the sidecars that it concerns (push.ts). Start at `startControlPlane`; what it starts, `close` ends, here.
 */

import { DecisionPool } from '../decisions/pool.ts';
import { RootDirectory } from '../identity/root-directory.ts';
import { limits } from '../model/limits.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type RunningApi, startApi } from './api/server.ts';
import { Watchers } from './api/watch.ts';
import { CertificateAuthority } from './ca/certificate-authority.ts';
import { StoredBundle } from './ca/stored-bundle.ts';
import { UnclaimedRoots } from './ca/unclaimed-roots.ts';
import { Changes } from './change.ts';
import { type RunningPush, startPush } from './push.ts';
import { type EtcdAccess, isEtcdUrl, noAccess } from './store/etcd-location.ts';
import { openStore, shownStoreUrl } from './store/open-store.ts';
import type { Store, StoreClock } from './store/store.ts';
import { World } from './world.ts';

export interface ControlPlaneOptions {
  /** `HOST:PORT` of the API, loopback; port 0 is any free port. */
  readonly listen: string;
  /** `HOST:PORT` of the push port, likewise. */
  readonly push: string;
  /** `embedded:DIR`, or `etcd://HOST:PORT,...` (etcd-location.ts) for several control planes of one mesh. */
  readonly storeUrl: string;
  /** Certificates and password for etcd. Default: none. */
  readonly etcdAccess?: EtcdAccess;
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
    readonly code: 'not-loopback' | 'bad-address',
    message: string,
  ) {
    super(message);
  }
}

/** Rejects with an error made for people, and leaves nothing behind. */
export async function startControlPlane({
  listen,
  push: pushAddress,
  storeUrl,
  etcdAccess = noAccess,
  caDirectory,
  trustDomain = defaultTrustDomain,
  certificateTtlMs = limits.certificateTtlMs,
  logger,
  clock,
  workerFile,
  watchersMax,
}: ControlPlaneOptions): Promise<RunningControlPlane> {
  const api = parseLoopback(listen, 'API');
  const pushAt = parseLoopback(pushAddress, 'push port');
  const open: Partial<Open> = {};
  try {
    const onBackgroundError = (error: Error) => logger.error({ error: error.message }, 'the store failed');
    const store = await openStore(storeUrl, { etcdAccess, clock, onBackgroundError });
    open.store = store;
    const world = new World(store);
    open.world = world;
    const pool = new DecisionPool({
      ...(workerFile === undefined ? {} : { workerFile }),
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
      // An embedded store is one process's own; of one on etcd nobody knows who else will come back to it.
      isOnlyReplica: !isShared,
    });
    open.authority = authority;
    const push = await startPush({ store, authority, ...pushAt, clock, logger });
    open.push = push;
    authority.begin(push.fleet);
    const watchers = new Watchers({ store, clock, ...(watchersMax === undefined ? {} : { watchersMax }) });
    open.watchers = watchers;
    const changes = new Changes({ store, world, clock, compile: (units) => pool.compile(units) });
    const startedAtMs = clock.nowMs();
    const server = await startApi({
      ...api,
      world,
      changes,
      fleet: push.fleet,
      authority,
      watchers,
      store,
      storeName: shownStoreUrl(storeUrl),
      push: push.address,
      startedAtMs,
      clock,
      logger,
    });
    open.server = server;
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

interface Open {
  store: Store;
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
  world,
  pool,
  authority,
  push,
  watchers,
  unclaimed,
  server,
}: Partial<Open>): Promise<void> {
  const failures: unknown[] = [];
  for (const part of [watchers, unclaimed, push, authority, server, pool, world, store]) {
    try {
      await part?.close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

function parseLoopback(address: string, what: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || Number(port) > 65_535)
    throw new ControlPlaneError('bad-address', `${address} is not HOST:PORT.`);
  if (host !== 'localhost' && host !== '::1' && !/^127(\.\d{1,3}){3}$/.test(host))
    throw new ControlPlaneError(
      'not-loopback',
      `The ${what} has no access control yet, so it takes loopback addresses only: use 127.0.0.1, not ${host}.`,
    );
  return { host, port: Number(port) };
}
