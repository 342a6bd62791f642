/**
 * A sidecar's side of push: it keeps a connection to one of its control planes, says what it holds, what it needs and what it
 * registers, and brings each ChangeSet into force or refuses it. Whatever happens, the last good configuration stays.
 */
import { randomUUID } from 'node:crypto';
import type { Staleness } from '../model/decision.ts';
import { trustBundleKey } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import type { Registration } from '../model/registration.ts';
import type { SeriesDelta } from '../model/report.ts';
import type { Discovery } from '../proxy/discovery.ts';
import type { Logger } from '../telemetry/logger.ts';
import { parts } from '../telemetry/recorder.ts';
import { type ControlFrame, decodeControlFrame } from '../wire/control-frame.ts';
import { encodeSidecarFrame, type SidecarFrame } from '../wire/sidecar-frame.ts';
import { Backoff } from './backoff.ts';
import { ChangeApplier } from './change-applier.ts';
import type { Clock } from './clock.ts';
import type { HeldObjects } from './held-objects.ts';
import { helloFrames } from './hello-frames.ts';
import { HostDiscovery } from './host-discovery.ts';
import type { ControlPlaneTrust } from './identity/control-plane-contact.ts';
import type { DiscoveryAnswer } from './pending-hosts.ts';
import { openPushLink, type PushLink } from './push-link.ts';
import { Stalenesses } from './stalenesses.ts';
import type { StateDir } from './state-dir.ts';

export interface SubscriptionOptions {
  /** Base addresses of control planes (`http://127.0.0.1:7070`), tried in turn. At least one. */
  readonly urls: readonly string[];
  readonly service: string;
  readonly namespace: string;
  readonly softwareVersion: string;
  /** It runs with --insecure-link. Default false. */
  readonly isLinkInsecure?: boolean;
  /** A listener runs on the older uWebSockets.js core. Default: false. */
  readonly hasOlderUwsCore?: boolean;
  /** What is shown to the push port, asked for at each try; null, which is the default: nothing (yet). */
  readonly pushToken?: () => string | null;
  /** What a control plane proves before it is believed to say where its push port is, asked for at each try; null, the default: nothing. */
  readonly trust?: () => ControlPlaneTrust | null;
  /** Subscribed from the start, and for ever. */
  readonly hosts: readonly string[];
  /** Null: nothing is kept. */
  readonly stateDir: StateDir | null;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly logger: Logger;
  /** See ChangeApplierOptions. */
  readonly apply: (objects: HeldObjects) => Promise<void>;
  /** A connection is open, and its Hello about to be said: the last moment to set a registration that depends on the address. */
  readonly onConnected?: (localAddress: string) => void;
}

export interface SubscriptionStatus {
  readonly sidecar: string;
  /** True once the control plane has answered the Hello. */
  readonly isConnected: boolean;
  /** Of this machine, on the connection; null while there is none. */
  readonly localAddress: string | null;
  /** Store revision in force; null: none yet. */
  readonly revision: number | null;
  /** Of the last ChangeSet acknowledged on this connection. */
  readonly sequence: number;
  /** ChangeSets refused since the start. */
  readonly nacks: number;
  readonly lastNack: string | null;
  /** Why there is no connection; null while there is one. */
  readonly lastError: string | null;
}

/** One connection, from the Hello on. */
interface Session {
  readonly link: PushLink;
  readonly ended: Promise<string>;
  /** Sequence of the last ChangeSet acknowledged. */
  acknowledged: number;
  /** The first ChangeSet came: the control plane has accepted this sidecar. */
  isAccepted: boolean;
  /** Why the control plane ended it, in its own words. */
  refusal: string | null;
}

/** More than this waiting to be sent: telemetry can wait too. */
const reportBufferBytesMax = 1024 * 1024;
/** The same failure is logged again this late at the earliest. */
const logAgainMs = 60_000;

export class Subscription implements Discovery {
  readonly #options: SubscriptionOptions;
  readonly #applier: ChangeApplier;
  readonly #hosts: HostDiscovery;
  readonly #backoff: Backoff;
  readonly #stalenesses: Stalenesses;
  readonly #stop = new AbortController();
  /** Resolves once a first configuration is in force, from disk or from a control plane. */
  readonly first: Promise<void>;
  #resolveFirst: () => void = () => {};
  #sidecar: string = randomUUID();
  #registration: Registration | null = null;
  #trouble = '';
  #session: Session | null = null;
  #running: Promise<void> = Promise.resolve();
  #cancelSave: (() => void) | null = null;
  #saving: Promise<void> = Promise.resolve();
  #nacks = 0;
  #lastNack: string | null = null;
  #lastError: string | null = null;
  #loggedError = '';
  #loggedAtMs = 0;
  #endPause: () => void = () => {};

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    const { clock, apply, hosts, random } = options;
    this.#applier = new ChangeApplier({ clock, apply, onLate: () => this.#session?.link.close() });
    this.#hosts = new HostDiscovery({
      clock,
      pinned: hosts,
      held: () => this.#applier.held,
      say: (add, remove) => this.#send({ tag: 'subscribe', add, remove }),
      onChange: (removed) => {
        this.#applier.forget(removed);
        this.#saveSoon();
      },
    });
    this.#backoff = new Backoff(random);
    this.#stalenesses = new Stalenesses(() => clock.nowMs());
    this.#stalenesses.begin('unconnected', 'no control plane has answered since the start');
    this.first = new Promise((resolve) => {
      this.#resolveFirst = resolve;
    });
  }

  /** Brings into force what the state directory holds. Never rejects: what cannot be used is logged, and then there is nothing yet. */
  async restore(): Promise<void> {
    const { stateDir, service, namespace, logger } = this.#options;
    const state = (await stateDir?.load()) ?? null;
    if (state === null || state.service !== service || state.namespace !== namespace) return;
    this.#sidecar = state.sidecar;
    this.#hosts.restore(state.lastUsedAtMs);
    // The roots are said again on the first connection: of this file nobody knows who had said them.
    const held = state.held?.without(trustBundleKey) ?? null;
    if (held === null) return;
    try {
      await this.#applier.restore(held);
      // An answer for a host that is not subscribed any more would never be corrected.
      this.#applier.forget(this.#hosts.answered(held.hosts));
      this.#resolveFirst();
      logger.info({ revision: held.revision }, 'the saved configuration is in force');
    } catch (error) {
      logger.warn({ err: error }, 'the saved configuration cannot be used');
    }
  }

  /** Begins to connect. */
  start(): void {
    this.#running = this.#run();
  }

  /** Ends a wait between two tries to connect: what the last one may have failed for is there now. */
  connectNow(): void {
    this.#endPause();
  }

  /** Ends the connection, if there is one: on the next one what was refused is said again. */
  connectAgain(): void {
    this.#session?.link.close();
  }

  discover(host: string, done: (answer: DiscoveryAnswer) => void): void {
    this.#hosts.discover(host, done);
  }

  /** The host was used: its subscription stays. Worth calling now and then, not for each request. */
  markUsed(host: string): void {
    this.#hosts.markUsed(host);
  }

  /** Registers the endpoint of the app, or takes it back (null). Said again on every connection. */
  setRegistration(registration: Registration | null): void {
    this.#registration = registration;
    this.#trouble = '';
    this.#send({ tag: 'register', registration });
  }

  /** Why nothing is registered, in words for people. Said now and at each renewal, until something is. */
  setTrouble(trouble: string): void {
    this.#trouble = trouble;
    this.#renew();
  }

  #renew(): void {
    this.#send({ tag: 'renew', trouble: this.#trouble });
  }

  /**
   * Leaves the mesh: the lease ends, nobody is sent here any more. Resolves when the control plane has done so, or after
   * `limits.withdrawMs`; without a connection at once, then the lease runs out. What is in force stays.
   */
  async withdraw(): Promise<void> {
    this.#registration = null;
    const session = this.#session;
    this.#stop.abort();
    if (session === null) return;
    this.#send({ tag: 'withdraw' });
    let cancelTimer = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancelTimer = this.#options.clock.after(limits.withdrawMs, resolve);
    });
    await Promise.race([session.ended, deadline]);
    cancelTimer();
    session.link.close();
  }

  /** False when nobody takes it now. */
  report(series: readonly SeriesDelta[]): boolean {
    const session = this.#session;
    if (!session?.isAccepted || session.link.bufferedBytes > reportBufferBytesMax) return false;
    this.#send({ tag: 'report', parts, series });
    return true;
  }

  status(): SubscriptionStatus {
    const session = this.#session;
    return {
      sidecar: this.#sidecar,
      isConnected: session?.isAccepted ?? false,
      localAddress: session?.link.localAddress ?? null,
      revision: this.#applier.held?.revision ?? null,
      sequence: session?.acknowledged ?? 0,
      nacks: this.#nacks,
      lastNack: this.#lastNack,
      lastError: this.#lastError,
    };
  }

  /** See ConfigSource. */
  staleAt(atMs: number): Staleness | null {
    return this.#stalenesses.at(atMs);
  }

  /** Ends the connection, answers who waits, and writes what is not on disk yet. The lease runs out unless it was withdrawn. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#session?.link.close();
    await this.#running;
    this.#hosts.close();
    if (this.#cancelSave !== null) this.#save();
    await this.#saving;
  }

  // --- Connection ----------------------------------------------------------------------------------------------------------------

  async #run(): Promise<void> {
    const { urls } = this.#options;
    for (let attempt = 0; !this.#stop.signal.aborted; attempt++) {
      const url = urls[attempt % urls.length]!;
      try {
        const reason = await this.#converse(url);
        this.#failed(url, reason);
      } catch (error) {
        this.#failed(url, error instanceof Error ? error.message : String(error));
      }
      await this.#pause(this.#backoff.nextMs());
    }
  }

  /** Resolves with the reason why the connection ended; rejects when there was none. */
  async #converse(url: string): Promise<string> {
    const { clock, onConnected, pushToken, trust } = this.#options;
    let session: Session | null = null;
    let end: (reason: string) => void = () => {};
    const ended = new Promise<string>((resolve) => {
      end = resolve;
    });
    const onFrame = (bytes: Uint8Array) => {
      if (session !== null) this.#receive(session, bytes);
    };
    const credentials = { token: pushToken?.() ?? null, trust: trust?.() ?? null };
    const link = await openPushLink(url, credentials, clock, this.#stop.signal, { onFrame, onClosed: end });
    // What is just coming into force belongs into the Hello: a ChangeSet to anything else would not fit.
    await this.#applier.idle();
    if (this.#stop.signal.aborted) link.close();
    session = { link, ended, acknowledged: 0, isAccepted: false, refusal: null };
    // Before there is a session: what it registers is for the Hello to say, and nothing may be said before that.
    onConnected?.(link.localAddress);
    this.#session = session;
    this.#greet(session);
    const cancelRenewals = this.#renewUntilEnded(session);
    const closed = await ended;
    cancelRenewals();
    this.#session = null;
    return session.refusal ?? closed;
  }

  #greet({ link }: Session): void {
    const { service, namespace, softwareVersion, isLinkInsecure = false, hasOlderUwsCore = false } = this.#options;
    const frames = helloFrames({
      sidecar: this.#sidecar,
      service,
      namespace,
      softwareVersion,
      held: this.#applier.held?.versions() ?? new Map(),
      hosts: this.#hosts.allForHello(),
      registration: this.#registration,
      insecureLink: isLinkInsecure,
      olderUwsCore: hasOlderUwsCore,
    });
    for (const frame of frames) link.send(encodeSidecarFrame(frame));
  }

  /** Renews the lease, and gives up a control plane that takes a Hello but does not answer it. */
  #renewUntilEnded(session: Session): () => void {
    const { clock } = this.#options;
    let cancelTimer = clock.after(limits.leaseRenewMs, renew);
    let renewals = 0;
    const renewalsMax = limits.greetingMs / limits.leaseRenewMs;
    const self = this;
    function renew(): void {
      if (!session.isAccepted && ++renewals >= renewalsMax) {
        session.link.close();
        return;
      }
      self.#renew();
      self.#hosts.expire();
      cancelTimer = clock.after(limits.leaseRenewMs, renew);
    }
    return () => cancelTimer();
  }

  #receive(session: Session, bytes: Uint8Array): void {
    let frame: ControlFrame;
    try {
      frame = decodeControlFrame(bytes);
    } catch (error) {
      this.#options.logger.error({ err: error }, 'a frame of the control plane cannot be read');
      session.link.close();
      return;
    }
    if (frame.tag === 'refusal') this.#refused(session, frame.code, frame.message);
    // On another base than ours its changes would lead somewhere else: a new Hello says what is held.
    else if (frame.base !== session.acknowledged) session.link.close();
    else {
      if (frame.foundedService === true) this.#founded(frame.similarService);
      void this.#take(session, frame.sequence, frame.changeSet);
    }
  }

  /** A mistyped name makes a Service too; every other one is created so as well, at its first start. */
  #founded(similar: string | undefined): void {
    const { service, namespace, logger } = this.#options;
    const fields = { service: `${service}.${namespace}` };
    if (similar === undefined) logger.info(fields, 'created this Service (it did not exist)');
    else logger.warn(fields, `created this Service (it did not exist): did you mean ${similar}?`);
  }

  #refused(session: Session, code: string, message: string): void {
    const { logger, stateDir } = this.#options;
    if (code === 'replaced' && stateDir !== null)
      logger.warn(
        { sidecar: this.#sidecar },
        'another sidecar uses the same state directory; this one takes a new name',
      );
    // Two that insist on one name would replace each other for ever; one that a sidecar of another Service has is not to be had.
    if (code === 'replaced' || code === 'wrong-identity') this.#sidecar = randomUUID();
    session.refusal = `the control plane refuses this sidecar: ${message} (${code})`;
    session.link.close();
  }

  async #take(session: Session, sequence: number, changeSet: Uint8Array): Promise<void> {
    const { logger } = this.#options;
    if (!session.isAccepted) {
      session.isAccepted = true;
      this.#backoff.reset();
      this.#lastError = null;
      this.#loggedError = '';
      logger.info({ sidecar: this.#sidecar }, 'connected to the control plane');
    }
    const outcome = await this.#applier.take(changeSet);
    const isCurrent = this.#session === session;
    // Only now: what it had missed meanwhile has just come into force.
    if (isCurrent) this.#stalenesses.end('unconnected');
    if (outcome.tag === 'refused') {
      this.#stalenesses.begin('refused', `its last change is refused: ${outcome.reason}`);
      this.#nacks++;
      this.#lastNack = outcome.reason;
      logger.error({ reason: outcome.reason }, 'a change is refused, the configuration before it stays in force');
      const reason = outcome.reason.slice(0, limits.nackReasonCharsMax);
      if (isCurrent) this.#send({ tag: 'nack', sequence, reason });
      return;
    }
    this.#stalenesses.end('refused');
    if (isCurrent) {
      session.acknowledged = sequence;
      this.#send({ tag: 'ack', sequence });
    }
    this.#resolveFirst();
    // An answer that crossed the end of its subscription would never be corrected: it is not kept.
    this.#applier.forget(this.#hosts.answered(outcome.hosts));
    this.#saveSoon();
  }

  #send(frame: SidecarFrame): void {
    this.#session?.link.send(encodeSidecarFrame(frame));
  }

  #failed(url: string, reason: string): void {
    if (this.#stop.signal.aborted) return;
    this.#lastError = reason;
    this.#stalenesses.begin('unconnected', `no control plane answers: ${reason}`);
    const nowMs = this.#options.clock.nowMs();
    if (reason === this.#loggedError && nowMs - this.#loggedAtMs < logAgainMs) return;
    this.#loggedError = reason;
    this.#loggedAtMs = nowMs;
    this.#options.logger.warn({ url, reason }, 'there is no connection to the control plane');
  }

  /** Ends early when this sidecar stops, or has a reason to try at once. */
  #pause(ms: number): Promise<void> {
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      if (signal.aborted) {
        resolve();
        return;
      }
      const end = () => {
        cancelTimer();
        signal.removeEventListener('abort', end);
        this.#endPause = () => {};
        resolve();
      };
      const cancelTimer = this.#options.clock.after(ms, end);
      this.#endPause = end;
      signal.addEventListener('abort', end, { once: true });
    });
  }

  // --- State directory -----------------------------------------------------------------------------------------------------------

  #saveSoon(): void {
    if (this.#options.stateDir === null || this.#cancelSave !== null) return;
    this.#cancelSave = this.#options.clock.after(limits.stateSaveMs, () => this.#save());
  }

  #save(): void {
    this.#cancelSave?.();
    this.#cancelSave = null;
    const { stateDir, service, namespace } = this.#options;
    if (stateDir === null) return;
    const lastUsedAtMs = new Map(this.#hosts.lastUsedAtMs());
    this.#saving = stateDir.save({
      sidecar: this.#sidecar,
      service,
      namespace,
      held: this.#applier.held,
      lastUsedAtMs,
    });
  }
}
