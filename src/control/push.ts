/** The push half of a control plane: the port that sidecars connect to, and the fleet that they are. */

import { LimitedLog } from '../telemetry/limited-log.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Fleet } from './fleet.ts';
import type { ReplicaFacts } from './fleet-note.ts';
import { LeaseWriter } from './lease-writer.ts';
import { admitPush, type Identifier } from './push-admission.ts';
import { openPushListener } from './push-listener.ts';
import { PushSession } from './push-session.ts';
import { ServiceFounder } from './service-founder.ts';
import { SidecarFleet } from './sidecar-fleet.ts';
import { StatWindow } from './stat-window.ts';
import type { Store, StoreClock } from './store/store.ts';

export interface PushOptions {
  readonly store: Store;
  /** Says whose a push token is. */
  readonly authority: Identifier;
  /** A loopback address, without brackets. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: StoreClock;
  readonly logger: Logger;
}

export interface RunningPush {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  readonly fleet: Fleet;
  /** Says to the other control planes on the store who this is. */
  introduce(facts: () => ReplicaFacts): void;
  /** Ends all connections and answers who waits. Leases live on, so that the sidecars find their endpoints in the next control plane. */
  close(): Promise<void>;
}

export class PushError extends Error {
  override readonly name = 'PushError';
  readonly code = 'not-loopback';
}

/** Rejects with PushError for an address that is not loopback, and with ListenError when the port cannot be bound. */
export async function startPush({ store, authority, host, port, clock, logger }: PushOptions): Promise<RunningPush> {
  if (!isLoopback(host))
    throw new PushError(
      `the push port takes loopback addresses only, as there is no access control yet: use 127.0.0.1, not ${host}`,
    );
  const log = new LimitedLog(clock, logger);
  const statWindow = new StatWindow(() => clock.nowMs());
  const fleet = new SidecarFleet({ store, clock, log, statWindow });
  const founder = new ServiceFounder(store, clock);
  const rooms = { fleet, leases: new LeaseWriter(store), founder, statWindow, log };
  try {
    const listener = await openPushListener({
      host,
      port,
      clock,
      log,
      admit: (authorization) => admitPush(authority, authorization),
      open: (connection, identity) => new PushSession(connection, rooms, identity),
    });
    return {
      address: listener.address,
      fleet,
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
