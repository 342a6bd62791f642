/** Starts a control plane in this process and announces it when it is ready. */
import { join, resolve } from 'node:path';
import { startControlPlane } from '../control/control-plane.ts';
import { embeddedDirectory } from '../control/store/store-location.ts';
import { formatAddress, type HostPort } from '../model/host-port.ts';
import { type EtcdFlags, readEtcdAccess } from './etcd-flags.ts';
import { serveUntilSignal } from './lifetime.ts';
import { openProcessLogger } from './log-level.ts';
import { explainStartFailure } from './start-failure.ts';
import type { Terminal } from './terminal.ts';

export interface ControlPlaneFlags extends EtcdFlags {
  readonly listen: HostPort;
  readonly push: HostPort;
  /** `embedded:DIR` or `etcd://...`, as checked. */
  readonly store: string;
  readonly caDir?: string;
  readonly trustDomain: string;
  readonly historyCount: number;
  /** Ms. */
  readonly historyAge: number;
  /** Ms. */
  readonly certificateTtl: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsName?: readonly string[];
  readonly pushTls?: true;
  readonly insecureControlPlane?: true;
}

/** Answers that wait for sidecars are cut after this; the change they wait for is committed all the same. */
const stopMs = 5_000;

/** Resolves with the exit code, once the control plane was told to stop and has. */
export function serveControlPlane(flags: ControlPlaneFlags, terminal: Terminal): Promise<number> {
  const logger = openProcessLogger('control-plane');
  const start = async () => {
    const { api, push, close } = await startExplained(flags, logger);
    terminal.out(JSON.stringify({ ready: 'control-plane', api, push }));
    return { stop: close };
  };
  return serveUntilSignal(start, stopMs, logger);
}

async function startExplained(flags: ControlPlaneFlags, logger: ReturnType<typeof openProcessLogger>) {
  const {
    listen,
    push,
    store,
    caDir,
    trustDomain,
    certificateTtl,
    historyCount,
    historyAge,
    tlsCert,
    tlsKey,
    tlsName = [],
  } = flags;
  const etcdAccess = await readEtcdAccess(flags, [store], process.env);
  const directory = embeddedDirectory(store);
  try {
    return await startControlPlane({
      listen: formatAddress(listen),
      push: formatAddress(push),
      storeUrl: store,
      retention: { countMax: historyCount, ageMsMax: historyAge },
      etcdAccess,
      // Beside the store and never in it: who copies a store takes no key along.
      caDirectory: resolve(caDir ?? (directory === null ? '.weft/ca' : join(directory, '..', 'ca'))),
      trustDomain,
      certificateTtlMs: certificateTtl,
      ...(tlsCert === undefined || tlsKey === undefined
        ? {}
        : { tlsFiles: { certFile: resolve(tlsCert), keyFile: resolve(tlsKey) } }),
      tlsNames: tlsName,
      isPushTls: flags.pushTls === true,
      isInsecure: flags.insecureControlPlane === true,
      logger,
      clock: systemClock,
    });
  } catch (error) {
    throw explainStartFailure('control plane', error);
  }
}

const systemClock = {
  nowMs: () => Date.now(),
  after: (ms: number, run: () => void) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
