/** The push half of a control plane: the port that sidecars connect to, and the fleet that they are. */

import type { SecureContext } from 'node:tls';
import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Logger } from '../telemetry/logger.ts';
import { ControlCounts } from './control-counts.ts';
import type { Fleet } from './fleet.ts';
import type { ReplicaFacts } from './fleet-note.ts';
import { LeaseWriter } from './lease-writer.ts';
import { admitPush, type Identifier } from './push-admission.ts';
import { openPushListener } from './push-listener.ts';
import { PushSession } from './push-session.ts';
import type { PushListenerOptions } from './push-socket.ts';
import { openTlsPushListener } from './push-tls-listener.ts';
import { ServiceFounder } from './service-founder.ts';
import { SidecarFleet } from './sidecar-fleet.ts';
import { StatWindow } from './stat-window.ts';
import type { Store, StoreClock } from './store/store.ts';

export interface PushOptions {
  readonly store: Store;
  /** Says whose a push token is. */
  readonly authority: Identifier;
  /** Without brackets. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: StoreClock;
  readonly logger: Logger;
  /** Default: nobody reads them. */
  readonly counts?: ControlCounts;
  /** Default: loopback. */
  readonly transport?: PushTransport;
}

export type PushTransport =
  /** Plain WebSockets on uWebSockets.js, for this machine. */
  | { readonly tag: 'loopback' }
  /** For other machines. `isInsecure`: plain WebSockets too. */
  | { readonly tag: 'tls'; readonly context: () => Promise<SecureContext>; readonly isInsecure: boolean };

export interface RunningPush {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  readonly speaksTls: boolean;
  readonly speaksPlain: boolean;
  readonly fleet: Fleet;
  /** Those to the port that are open. */
  readonly connections: number;
  /** Says to the other control planes on the store who this is. */
  introduce(facts: () => ReplicaFacts): void;
  /** Ends all connections and answers who waits. Leases live on, so that the sidecars find their endpoints in the next control plane. */
  close(): Promise<void>;
}

export class PushError extends Error {
  override readonly name = 'PushError';
  readonly code = 'not-loopback';
}

/** Rejects with PushError when strangers would reach uWebSockets.js, and with ListenError when the port cannot be bound. */
export async function startPush(options: PushOptions): Promise<RunningPush> {
  const { store, authority, host, port, clock, logger, transport = { tag: 'loopback' } } = options;
  const { counts = new ControlCounts() } = options;
  if (transport.tag === 'loopback' && !isLoopback(host))
    throw new PushError(`the push port takes ${host} over TLS only`);
  const log = new LimitedLog(clock, logger);
  const statWindow = new StatWindow(() => clock.nowMs());
  const fleet = new SidecarFleet({ store, clock, log, statWindow, counts });
  const founder = new ServiceFounder(store, clock);
  const rooms = { fleet, leases: new LeaseWriter(store), founder, statWindow, log };
  try {
    const listening: PushListenerOptions = {
      host,
      port,
      clock,
      log,
      onRefused: (code) => counts.refused('push', code),
      admit: (authorization) => admitPush(authority, authorization),
      open: (connection, identity) => new PushSession(connection, rooms, identity),
    };
    const isTls = transport.tag === 'tls';
    const listener = isTls
      ? await openTlsPushListener({ ...listening, tlsContext: transport.context, isInsecure: transport.isInsecure })
      : await openPushListener(listening);
    return {
      address: listener.address,
      speaksTls: isTls,
      speaksPlain: !isTls || transport.isInsecure,
      fleet,
      get connections() {
        return listener.connections;
      },
      introduce: (facts) => fleet.introduce(facts),
      close: async () => {
        listener.close();
        fleet.close();
      },
    };
  } catch (error) {
    fleet.close();
    throw error;
  }
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
