/** One sidecar's connection, frame by frame: it greets, gets its lease, and is then a member of the fleet until it leaves. */
import type { ServiceIdentity } from '../model/identity.ts';
import { limits } from '../model/limits.ts';
import type { SidecarLease } from '../model/registration.ts';
import { type SeriesDelta, unknownService } from '../model/report.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import { otherLabel } from '../telemetry/series.ts';
import { decodeSidecarFrame, type Hello, type SidecarFrame } from '../wire/sidecar-frame.ts';
import { WireError } from '../wire/wire-error.ts';
import type { Member, PushConnection } from './fleet-member.ts';
import type { HelloFault } from './hello-check.ts';
import { HelloParts } from './hello-parts.ts';
import { LeaseDraft } from './lease-draft.ts';
import type { LeaseWriter } from './lease-writer.ts';
import type { ServiceFounder } from './service-founder.ts';
import type { SidecarFleet } from './sidecar-fleet.ts';
import type { StatWindow } from './stat-window.ts';
import type { StoreClock } from './store/store.ts';
import { StoreError } from './store/store-error.ts';

/** What all sessions of a control plane share. */
export interface SessionRooms {
  readonly fleet: SidecarFleet;
  readonly leases: LeaseWriter;
  readonly founder: ServiceFounder;
  readonly statWindow: StatWindow;
  readonly clock: StoreClock;
  readonly log: LimitedLog;
}

type SessionState =
  | { readonly tag: 'greeting' }
  /** Its lease is being written. */
  | { readonly tag: 'joining'; readonly sidecar: string }
  | { readonly tag: 'member'; readonly member: Member }
  | { readonly tag: 'ended' };

export class PushSession {
  readonly #connection: PushConnection;
  readonly #rooms: SessionRooms;
  readonly #identity: ServiceIdentity | null;
  #state: SessionState = { tag: 'greeting' };
  /** Null: its Hello is complete. */
  #parts: HelloParts | null = new HelloParts();
  /** As it was written or is being written. */
  #lease: SidecarLease | null = null;
  #leaseText = '';
  /** As the sidecar wants it. */
  #draft: LeaseDraft | null = null;
  /** Its registration has created its Service, and it was not told yet. */
  #hasFounded = false;
  /** It was logged once that it speaks for others. */
  #hasReportedOthers = false;

  /** `identity` is who the connection's token says it is; null: it needed none. */
  constructor(connection: PushConnection, rooms: SessionRooms, identity: ServiceIdentity | null = null) {
    this.#connection = connection;
    this.#rooms = rooms;
    this.#identity = identity;
  }

  /** False while it has not joined: a connection that stays so is cut. */
  get hasJoined(): boolean {
    return this.#state.tag === 'member';
  }

  /** Takes a frame. The bytes are not used after the return. */
  receive(bytes: Uint8Array): void {
    if (this.#state.tag === 'ended') return;
    let frame: SidecarFrame;
    try {
      frame = decodeSidecarFrame(bytes);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#refuse(error.code, error.message);
      return;
    }
    this.#take(frame, bytes.length);
  }

  /** The connection is gone, whoever ended it. */
  closed(): void {
    const state = this.#state;
    this.#state = { tag: 'ended' };
    this.#draft?.close();
    const { fleet } = this.#rooms;
    if (state.tag === 'member') fleet.disconnect(state.member, this.#connection);
    else if (state.tag === 'joining' && !fleet.has(state.sidecar)) fleet.claims.release(state.sidecar);
  }

  #take(frame: SidecarFrame, bytes: number): void {
    const state = this.#state;
    const { fleet, statWindow } = this.#rooms;
    if (frame.tag === 'hello') {
      if (this.#parts !== null) this.#greet(this.#parts, frame, bytes);
      else this.#refuse('out-of-order', 'a second Hello came on one connection');
      return;
    }
    if (this.#lease === null || this.#draft === null) {
      this.#refuse('out-of-order', 'the first frame must be a Hello');
      return;
    }
    switch (frame.tag) {
      case 'subscribe':
        this.#judge(this.#draft.subscribe(frame.add, frame.remove));
        return;
      case 'register':
        this.#judge(this.#draft.register(frame.registration));
        return;
      case 'renew':
        if (state.tag === 'member') state.member.trouble = frame.trouble.slice(0, limits.nackReasonCharsMax);
        void this.#saveLease(false);
        return;
      case 'withdraw':
        this.#withdraw(this.#lease);
        return;
      case 'report':
        statWindow.add(this.#ownOf(frame.series, this.#lease), frame.parts);
        return;
      case 'ack':
        this.#answered(state.tag === 'member' && fleet.acknowledge(state.member, frame.sequence));
        return;
      case 'nack': {
        const reason = frame.reason.slice(0, limits.nackReasonCharsMax);
        this.#answered(state.tag === 'member' && fleet.refuse(state.member, frame.sequence, reason));
        return;
      }
      default:
        frame satisfies never;
    }
  }

  /** What it took and sent itself: nobody can speak for another Service, nor take the names that there is room for with others'. */
  #ownOf(series: readonly SeriesDelta[], { sidecar, service, namespace }: SidecarLease): readonly SeriesDelta[] {
    const owner = `${service}.${namespace}`;
    const own = series.filter(({ direction, source, destination }) => {
      const name = direction === 'outbound' ? source : destination;
      return name === owner || name === otherLabel || (name === unknownService && direction === 'inbound');
    });
    if (own.length < series.length && !this.#hasReportedOthers) {
      this.#hasReportedOthers = true;
      this.#rooms.log.warn(
        { sidecar, service, namespace },
        'a sidecar reported requests of others, which do not count',
      );
    }
    return own;
  }

  #greet(parts: HelloParts, part: Hello, bytes: number): void {
    const partFault = parts.add(part, bytes);
    if (partFault !== null) {
      this.#judge(partFault);
      return;
    }
    if (part.more) return;
    const hello = parts.whole(part);
    this.#parts = null;
    const { sidecar, service, namespace, registration, hosts, insecureLink } = hello;
    const proved = this.#identity;
    if (proved !== null && (proved.service !== service || proved.namespace !== namespace)) {
      const owner = `${proved.service}.${proved.namespace}`;
      this.#refuse('wrong-identity', `its token is for ${owner}, not for ${service}.${namespace}`, hello);
      return;
    }
    const { fleet } = this.#rooms;
    if (!fleet.has(sidecar) && fleet.size >= limits.sidecarsMax) {
      this.#refuse('too-many-sidecars', `this control plane takes ${limits.sidecarsMax} sidecars`, hello);
      return;
    }
    const lease = { sidecar, service, namespace, subscriptions: hosts, registration, isLinkInsecure: insecureLink };
    const fault = this.#setLease(lease);
    if (fault !== null) {
      this.#refuse(fault.code, fault.message, hello);
      return;
    }
    const isNew = registration !== null && !fleet.isRegistered(sidecar, service, namespace);
    this.#state = { tag: 'joining', sidecar };
    this.#draft = new LeaseDraft(lease, this.#rooms.clock, (changed, asked) => this.#change(changed, asked));
    void this.#join(hello, isNew);
  }

  /** Only who has a lease in the store is a member: then every control plane knows of it, whatever happens to this one. */
  async #join({ softwareVersion, olderUwsCore: hasOlderUwsCore = false, held }: Hello, isNew: boolean): Promise<void> {
    if (!(await this.#saveLease(isNew))) return;
    if (this.#state.tag !== 'joining' || this.#lease === null) return;
    const greeting = { lease: this.#lease, softwareVersion, hasOlderUwsCore, held, hasFounded: this.#hasFounded };
    const member = this.#rooms.fleet.connect(greeting, this.#connection);
    this.#state = { tag: 'member', member };
  }

  #judge(fault: HelloFault | null): void {
    if (fault !== null) this.#refuse(fault.code, fault.message);
  }

  #change(lease: SidecarLease, asked: readonly string[]): void {
    const before = this.#lease;
    const isOther = lease.registration !== before?.registration || lease.subscriptions !== before.subscriptions;
    const fault = isOther ? this.#setLease(lease) : null;
    if (fault !== null) {
      this.#judge(fault);
      return;
    }
    if (this.#state.tag === 'member') this.#rooms.fleet.change(this.#state.member, lease, asked);
    // What is only asked again changes nothing that others could need.
    if (isOther) void this.#saveLease(lease.registration !== null && before?.registration === null);
  }

  /** The lease ends now, and with it the endpoint; the sidecar waits for the connection to close. */
  #withdraw({ sidecar }: SidecarLease): void {
    if (this.#state.tag === 'member') this.#state.member.hasWithdrawn = true;
    this.closed();
    this.#rooms.leases.write(sidecar, null).then(
      () => this.#connection.close(),
      (error: unknown) => this.#storeFailed(error),
    );
  }

  #answered(isExpected: boolean): void {
    if (!isExpected) this.#refuse('out-of-order', 'an answer came to a change that was not sent');
  }

  /** Null: there is room for it. */
  #setLease(lease: SidecarLease): HelloFault | null {
    const text = JSON.stringify(lease);
    const fault = this.#rooms.fleet.claims.claim(lease, text.length);
    if (fault !== null) return fault;
    this.#lease = lease;
    this.#leaseText = text;
    return null;
  }

  /** Creates, changes or renews the lease. False: the connection ended, or does now because the store failed. */
  async #saveLease(isNewlyRegistered: boolean): Promise<boolean> {
    const lease = this.#lease;
    if (lease === null) return false;
    try {
      if (isNewlyRegistered && (await this.#rooms.founder.found(lease.service, lease.namespace))) this.#founded();
      // A lease that was withdrawn, or taken over by another connection, must not come back.
      if (this.#state.tag === 'ended') return false;
      await this.#rooms.leases.write(lease.sidecar, this.#leaseText);
      return true;
    } catch (error) {
      // What it wants is known here, and goes on; its next renewal tells the store again.
      if (isAway(error) && this.#state.tag === 'member') this.#logFailure(error);
      else this.#storeFailed(error);
      return false;
    }
  }

  /** One of the changes that follow says so: the Service's own, or that of the endpoint. */
  #founded(): void {
    this.#hasFounded = true;
    if (this.#state.tag === 'member') this.#state.member.hasFounded = true;
  }

  #logFailure(error: unknown): void {
    this.#rooms.log.warn({ sidecar: this.#lease?.sidecar, err: error }, 'a lease could not be written');
  }

  #storeFailed(error: unknown): void {
    this.#logFailure(error);
    this.#refuse('store-failed', 'the store did not take the lease');
  }

  /** `who` is the Hello of one that has no lease; what it says of itself was checked. */
  #refuse(code: string, message: string, who: Hello | SidecarLease | null = this.#lease): void {
    const { sidecar, service, namespace } = who ?? {};
    this.#rooms.log.warn({ sidecar, service, namespace, code, reason: message }, 'a sidecar was refused');
    this.#connection.refuse(code, message);
  }
}

const isAway = (error: unknown): boolean => error instanceof StoreError && error.code === 'store-unavailable';
