/** One connection of a sidecar, whichever server has taken it: frames to and from its session, and an end for who does not greet or read. */
import type { ServiceIdentity } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import { encodeControlFrame } from '../wire/control-frame.ts';
import type { PushConnection } from './fleet-member.ts';
import type { Admission } from './push-admission.ts';
import type { StoreClock } from './store/store.ts';

/** Who takes what a connection brings. */
export interface SessionHandler {
  readonly hasJoined: boolean;
  receive(bytes: Uint8Array): void;
  closed(): void;
}

export interface PushListenerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly clock: StoreClock;
  readonly log: LimitedLog;
  /** Hears of everything that is refused or cut off, by a code out of a few. */
  readonly onRefused: (code: string) => void;
  /** Judges an upgrade by its `Authorization`, empty when it has none. */
  readonly admit: (authorization: string) => Promise<Admission>;
  /** `identity` is who the peer has proved to be; null: it need not. */
  readonly open: (connection: PushConnection, identity: ServiceIdentity | null) => SessionHandler;
}

export interface PushListener {
  /** `HOST:PORT` as bound. */
  readonly address: string;
  /** Those that are open. */
  readonly connections: number;
  /** Closes the port and all connections. */
  close(): void;
}

/** A WebSocket as its server offers it. Nothing of it is called once it has closed. */
export interface PushWire {
  /** `waits`: not all of it has left yet. `no-room`: it was dropped. */
  send(frame: Uint8Array): 'sent' | 'waits' | 'no-room';
  /** Sent and not taken by the network yet. */
  readonly bufferedBytes: number;
  /** Says goodbye. */
  end(code: number, reason: string): void;
  /** Says nothing any more. */
  cut(): void;
}

export const pushPath = '/v1/push';
/** A connection that is silent for this long is dead: sidecars renew their leases every `limits.leaseRenewMs`, and answer pings. */
export const idleTimeoutSeconds = 16;
export const pushTickMs = 1_000;
/** More than there can be sidecars: a flood of connections that never greet must not keep them out at once. */
export const pushConnectionsMax = limits.sidecarsMax + 1_000;
/** Close codes of RFC 6455, 7.4.1. */
const closeCode = { normal: 1000, goingAway: 1001, policyViolation: 1008 } as const;

/** The status of an upgrade that is refused before its token is looked at; null: it is not. */
export function upgradeRefusal(origin: string, connections: number): string | null {
  // Only browsers send Origin: a web page must not register endpoints through the browser of whoever runs a control plane.
  if (origin !== '') return '403 Forbidden';
  return connections >= pushConnectionsMax ? '503 Service Unavailable' : null;
}

/** Never rejects. */
export function judgeUpgrade({ admit, log }: PushListenerOptions, authorization: string): Promise<Admission> {
  return admit(authorization).catch((error: unknown): Admission => {
    log.warn({ err: error }, 'a token of a sidecar could not be judged');
    return { tag: 'refused', reason: 'the control plane failed; its log has more', claimed: null };
  });
}

export function logUpgradeRefusal(
  { log, onRefused }: PushListenerOptions,
  peer: string,
  { reason, claimed }: Extract<Admission, { tag: 'refused' }>,
): void {
  const who = claimed === null ? {} : { claimedService: claimed.service, claimedNamespace: claimed.namespace };
  onRefused('token');
  log.warn({ ...who, peer, reason }, 'a connection of a sidecar was refused');
}

export class PushSocket implements PushConnection {
  readonly #wire: PushWire;
  readonly #options: PushListenerOptions;
  readonly #session: SessionHandler;
  readonly #openedAtMs: number;
  /** When the peer was last seen to take something of what waits for it; null while nothing does. */
  #stuckSinceMs: number | null = null;
  #bufferedBytes = 0;
  /** Nothing of the wire may be touched once it has closed. */
  #isOpen = true;

  constructor(wire: PushWire, options: PushListenerOptions, identity: ServiceIdentity | null) {
    this.#wire = wire;
    this.#options = options;
    this.#openedAtMs = options.clock.nowMs();
    this.#session = options.open(this, identity);
  }

  send(frame: Uint8Array): void {
    if (!this.#isOpen) return;
    const outcome = this.#wire.send(frame);
    if (outcome === 'waits') this.#stuckSinceMs ??= this.#options.clock.nowMs();
    // Never within `send`: who sends is in the middle of something.
    else if (outcome === 'no-room') queueMicrotask(() => this.#cut('no-room', 'a frame found no room'));
  }

  refuse(code: string, message: string): void {
    if (this.#isOpen) this.#options.onRefused(code);
    this.send(encodeControlFrame({ tag: 'refusal', code, message }));
    this.#end(closeCode.policyViolation, code);
  }

  close(): void {
    this.#end(closeCode.normal, '');
  }

  /** The control plane stops. */
  goAway(): void {
    this.#end(closeCode.goingAway, 'the control plane stops');
  }

  receive(bytes: Uint8Array): void {
    try {
      this.#session.receive(bytes);
    } catch (error) {
      // A fault of ours ends this connection and no other; thrown on, it would end the process.
      this.#options.log.warn({ err: error }, 'a frame of a sidecar could not be handled');
      this.refuse('internal-error', 'the control plane failed; its log has more');
    }
  }

  closed(): void {
    this.#isOpen = false;
    this.#session.closed();
  }

  /** Cuts who does not greet and who does not read. */
  check(): void {
    const nowMs = this.#options.clock.nowMs();
    this.#look(nowMs);
    if (!this.#session.hasJoined && nowMs - this.#openedAtMs > limits.greetingMs)
      this.#cut('no-greeting', 'it did not greet in time');
    else if (this.#stuckSinceMs !== null && nowMs - this.#stuckSinceMs > limits.slowReaderMs)
      this.#cut('slow-reader', 'it does not read what it is sent');
  }

  /** A reader that takes a little now and then is slow, and is not stuck. */
  #look(nowMs: number): void {
    if (this.#stuckSinceMs === null) return;
    const { bufferedBytes } = this.#wire;
    if (bufferedBytes === 0) this.#stuckSinceMs = null;
    else if (bufferedBytes < this.#bufferedBytes) this.#stuckSinceMs = nowMs;
    this.#bufferedBytes = bufferedBytes;
  }

  #end(code: number, reason: string): void {
    if (this.#isOpen) this.#wire.end(code, reason);
  }

  #cut(code: string, reason: string): void {
    if (!this.#isOpen) return;
    this.#options.onRefused(code);
    this.#options.log.warn({ reason }, 'a connection of a sidecar was cut');
    this.#wire.cut();
  }
}
