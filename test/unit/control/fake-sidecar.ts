/** The push half of a control plane without sockets, and sidecars that say exactly what a test wants. */
import { ControlCounts } from '../../../src/control/control-counts.ts';
import type { PushConnection } from '../../../src/control/fleet-member.ts';
import { LeaseWriter } from '../../../src/control/lease-writer.ts';
import { PushSession } from '../../../src/control/push-session.ts';
import { ServiceFounder } from '../../../src/control/service-founder.ts';
import { SidecarFleet } from '../../../src/control/sidecar-fleet.ts';
import { StatWindow } from '../../../src/control/stat-window.ts';
import type { Registration } from '../../../src/model/registration.ts';
import type { ConfigObject } from '../../../src/model/snapshot.ts';
import { LimitedLog } from '../../../src/telemetry/limited-log.ts';
import { decodeChangeSet, decodeControlFrame } from '../../../src/wire/control-frame.ts';
import { decodeChange } from '../../../src/wire/resource-codec.ts';
import { encodeSidecarFrame, type Hello, type SidecarFrame } from '../../../src/wire/sidecar-frame.ts';
import { ManualClock, MemoryStore, silentLogger } from './memory-store.ts';

export interface Received {
  readonly sequence: number;
  readonly base: number;
  readonly revision: number;
  /** It says that the registration has created the Service. */
  readonly founded: boolean;
  /** Keys; `-` in front: removed. Sorted. */
  readonly keys: readonly string[];
  readonly hosts: Readonly<Record<string, string>>;
  readonly objects: ReadonlyMap<string, { readonly version: string; readonly object: ConfigObject | null }>;
}

export class Plane {
  readonly clock: ManualClock;
  readonly store: MemoryStore;
  readonly fleet: SidecarFleet;
  readonly counts = new ControlCounts();
  readonly rooms;

  /** A store that is given is one that a control plane before has left. */
  constructor(store?: MemoryStore, clock = new ManualClock()) {
    this.clock = clock;
    this.store = store ?? new MemoryStore(clock);
    const log = new LimitedLog(clock, silentLogger);
    const statWindow = new StatWindow(() => clock.nowMs());
    this.fleet = new SidecarFleet({ store: this.store, clock, log, statWindow, counts: this.counts });
    const founder = new ServiceFounder(this.store, clock);
    const leases = new LeaseWriter(this.store);
    this.rooms = { fleet: this.fleet, leases, founder, statWindow, log };
  }

  /** The same store, a new process. */
  restart(): Plane {
    this.fleet.close();
    return new Plane(this.store, this.clock);
  }

  sidecar(id: string, hello: Partial<Hello> = {}): FakeSidecar {
    return new FakeSidecar(this, id, hello);
  }
}

export class FakeSidecar implements PushConnection {
  readonly received: Received[] = [];
  refusal: string | null = null;
  isOpen = true;
  /** What it has in force, as its Hello would say. */
  held = new Map<string, string>();
  readonly session: PushSession;
  readonly #hello: Hello;

  constructor(plane: Plane, id: string, hello: Partial<Hello>) {
    this.session = new PushSession(this, plane.rooms);
    this.#hello = {
      tag: 'hello',
      sidecar: id,
      service: 'app',
      namespace: 'default',
      softwareVersion: '0.1.0',
      held: new Map(),
      hosts: [],
      registration: null,
      more: false,
      insecureLink: false,
      ...hello,
    };
  }

  async hello(): Promise<this> {
    this.say(this.#hello);
    await settle();
    return this;
  }

  say(frame: SidecarFrame): void {
    if (this.isOpen) this.session.receive(encodeSidecarFrame(frame));
  }

  /** The newest ChangeSet, taken into force and acknowledged. */
  ack(): Received {
    const last = this.last;
    for (const [key, { version, object }] of last.objects)
      if (object === null) this.held.delete(key);
      else this.held.set(key, version);
    this.say({ tag: 'ack', sequence: last.sequence });
    return last;
  }

  nack(reason: string): void {
    this.say({ tag: 'nack', sequence: this.last.sequence, reason });
  }

  get last(): Received {
    const last = this.received.at(-1);
    if (last === undefined) throw new Error('nothing was received');
    return last;
  }

  /** The connection breaks. */
  drop(): void {
    this.isOpen = false;
    this.session.closed();
  }

  send(bytes: Uint8Array): void {
    const frame = decodeControlFrame(bytes);
    if (frame.tag === 'refusal') {
      this.refusal = frame.code;
      return;
    }
    const { revision, changes, hosts } = decodeChangeSet(frame.changeSet);
    const objects = new Map(changes.map((change) => decodeChange(change)).map((change) => [change.key, change]));
    const keys = [...objects].map(([key, { object }]) => (object === null ? `-${key}` : key)).sort();
    const { sequence, base } = frame;
    const founded = frame.foundedService === true;
    this.received.push({ sequence, base, revision, founded, keys, hosts: Object.fromEntries(hosts), objects });
  }

  refuse(code: string): void {
    this.refusal = code;
    this.drop();
  }

  close(): void {
    this.drop();
  }
}

/** Lets what waits for the store in memory happen. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
}

export const at = (address: string, ...link: string[]): Registration => ({
  address,
  zone: '',
  labels: {},
  weight: 1,
  link,
});
