/**
 * One simulated sidecar: it speaks the protocol as `sidecar/subscription.ts` does, on the real wire codec, and checks what it gets. What it does
 * not do is compile and serve: a change is applied as soon as it is read, or after a time that the plan says.
 */
import { limits } from '../../src/model/limits.ts';
import type { Registration } from '../../src/model/registration.ts';
import { Backoff } from '../../src/sidecar/backoff.ts';
import { helloFrames } from '../../src/sidecar/hello-frames.ts';
import { Silence } from '../../src/sidecar/silence.ts';
import { decodeControlFrame } from '../../src/wire/control-frame.ts';
import { encodeSidecarFrame } from '../../src/wire/sidecar-frame.ts';
import { askForPushPort } from './bootstrap-question.ts';
import { type HeldState, type Step, stepFrom, withoutHosts } from './held-states.ts';
import { binaryFrame, type Peer, pingFrame, RawWebSocket } from './raw-websocket.ts';

/** Who it is and what it calls. */
export interface SidecarPlan {
  readonly sidecar: string;
  readonly service: string;
  /** What it subscribes to: names of Services, and hosts that no Service has. */
  readonly services: readonly string[];
  readonly unknown: readonly string[];
  readonly registration: Registration | null;
}

/** What all sidecars of a process share. */
export interface SidecarRooms {
  readonly api: Peer;
  /** How long a change takes to come into force. */
  readonly applyMs: number;
  readonly random: () => number;
  readonly nowMs: () => number;
  readonly counts: Counts;
  /** What the protocol does not allow, in words that are the same for each of a kind. */
  readonly onFault: (fault: string) => void;
  /** A revision is in force that was not before. */
  readonly onApplied: (revision: number) => void;
  /** The first ChangeSet of a connection is in force. */
  readonly onSynced: (sidecar: SimSidecar) => void;
  /** It has no connection any more, or got none. */
  readonly onLost: (sidecar: SimSidecar) => void;
  /** States without the answers for hosts, shared like the others. */
  readonly resumed: WeakMap<HeldState, HeldState>;
  readonly first: HeldState;
}

export interface Counts {
  connects: number;
  failures: number;
  /** Messages with a ChangeSet, and their bytes on the wire without WebSocket's own. */
  pushes: number;
  bytes: number;
  /** Of the first ones of each connection. */
  firstPushes: number;
  firstBytes: number;
  firstObjects: number;
  /** Connections whose first ChangeSet brought objects though it held some before. */
  notResumed: number;
}

export const noCounts = (): Counts => ({
  ...{ connects: 0, failures: 0, pushes: 0, bytes: 0, firstPushes: 0, firstBytes: 0, firstObjects: 0, notResumed: 0 },
});

type Phase = 'away' | 'connecting' | 'greeting' | 'synced';

const renewFrame = binaryFrame(encodeSidecarFrame({ tag: 'renew', trouble: '' }));
const ackFrames: Buffer[] = [];

function ackFrame(sequence: number): Buffer {
  ackFrames[sequence] ??= binaryFrame(encodeSidecarFrame({ tag: 'ack', sequence }));
  return ackFrames[sequence];
}

/** Ten requests to each, with the parts of a call over a link. */
function reportFrameOf({ service, services }: SidecarPlan): Buffer {
  const parts = ['decide', 'send', 'wait', 'own', 'network'];
  const band = { loopEstimates: 0, partsUs: parts.map(() => 10_000) };
  const bands = [20, 21, 22].map((number) => ({ band: number, ...band }));
  const counts = { requests: 10, failures: 0, attempts: 10, attemptsFailed: 0 };
  const series = services.map((called) => ({
    ...{ direction: 'outbound' as const, source: `${service}.default`, destination: `${called}.default`, route: '' },
    ...{ statusClass: '2xx' as const, ...counts, durationBuckets: [96, 7, 97, 2, 104, 1], bands },
  }));
  return binaryFrame(encodeSidecarFrame({ tag: 'report', parts, series }));
}

export class SimSidecar {
  readonly #plan: SidecarPlan;
  readonly #rooms: SidecarRooms;
  readonly #backoff: Backoff;
  #phase: Phase = 'away';
  #held: HeldState;
  #socket: RawWebSocket | null = null;
  #endQuestion: (() => void) | null = null;
  /** When it gives up to connect, or to wait for an answer to its Hello. */
  #giveUpAtMs = Number.POSITIVE_INFINITY;
  #connectAtMs = Number.POSITIVE_INFINITY;
  #sequence = 0;
  readonly #silence = new Silence();
  #reportFrame: Buffer | null = null;

  constructor(plan: SidecarPlan, rooms: SidecarRooms) {
    this.#plan = plan;
    this.#rooms = rooms;
    this.#backoff = new Backoff(rooms.random);
    this.#held = rooms.first;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get held(): HeldState {
    return this.#held;
  }

  /** False: the answers for some hosts are missing, or wrong. */
  get knowsItsHosts(): boolean {
    const { services, unknown } = this.#plan;
    const { hosts } = this.#held;
    return (
      services.every((name) => hosts.get(name) === `${name}.default`) &&
      unknown.every((host) => hosts.get(host) === '') &&
      hosts.size === services.length + unknown.length
    );
  }

  /** Asks for the push port, and connects to it. */
  start(): void {
    const { api, nowMs } = this.#rooms;
    this.#connectAtMs = Number.POSITIVE_INFINITY;
    this.#phase = 'connecting';
    this.#giveUpAtMs = nowMs() + limits.connectTimeoutMs;
    this.#endQuestion = askForPushPort(api, (answer) => {
      this.#endQuestion = null;
      if (answer instanceof Error) this.#failed();
      else this.#open(answer);
    });
  }

  /** To be called now and then while it is not synced: looks at its deadlines. */
  check(nowMs: number): void {
    if (nowMs >= this.#connectAtMs) this.start();
    else if (nowMs >= this.#giveUpAtMs) this.#giveUp('it does not answer in time');
  }

  renew(): void {
    this.#socket?.send(renewFrame);
  }

  /** What it would say of a second with some requests to each Service that it calls. */
  report(): void {
    this.#reportFrame ??= reportFrameOf(this.#plan);
    this.#socket?.send(this.#reportFrame);
  }

  /** Each `silenceLookMs`. */
  look(): void {
    const found = this.#silence.look();
    if (found === 'ask') this.#socket?.send(pingFrame);
    else if (found === 'gone') this.#giveUp('nothing was heard of it any more');
  }

  close(): void {
    this.#giveUpAtMs = this.#connectAtMs = Number.POSITIVE_INFINITY;
    this.#endQuestion?.();
    const socket = this.#socket;
    this.#socket = null;
    socket?.end('the simulation ends');
  }

  #open(pushPort: string): void {
    const { api, nowMs, counts } = this.#rooms;
    const [host = '', port = ''] = pushPort.split(':');
    this.#giveUpAtMs = nowMs() + limits.connectTimeoutMs;
    const socket: RawWebSocket = new RawWebSocket({ ...api, host, port: Number(port) }, '/v1/push', {
      onOpen: () => {
        counts.connects++;
        this.#greet(socket);
      },
      onMessage: (bytes) => this.#receive(bytes),
      onHeard: () => this.#silence.heard(),
      onClosed: () => {
        if (this.#socket === socket) this.#failed();
      },
    });
    this.#socket = socket;
  }

  #greet(socket: RawWebSocket): void {
    const { sidecar, service, services, unknown, registration } = this.#plan;
    const hosts = [...services, ...unknown];
    this.#phase = 'greeting';
    this.#giveUpAtMs = this.#rooms.nowMs() + limits.greetingMs;
    this.#sequence = 0;
    this.#held = withoutHosts(this.#held, this.#rooms.resumed);
    const frames = helloFrames({
      ...{ sidecar, service, namespace: 'default', softwareVersion: 'sim', registration, insecureLink: true, hosts },
      held: this.#held.versions,
    });
    for (const frame of frames) socket.send(binaryFrame(encodeSidecarFrame(frame)));
  }

  #receive(bytes: Uint8Array): void {
    const { onFault, counts, applyMs } = this.#rooms;
    const frame = decodeControlFrame(bytes);
    if (frame.tag === 'refusal') {
      onFault(`refused: ${frame.code}`);
      this.#giveUp(frame.message);
      return;
    }
    const { sequence, base, changeSet } = frame;
    counts.pushes++;
    counts.bytes += bytes.length;
    if (sequence !== this.#sequence + 1 || base !== this.#sequence) {
      onFault('a ChangeSet does not follow the one that was acknowledged last');
      this.#giveUp('out of order');
      return;
    }
    this.#sequence = sequence;
    const socket = this.#socket;
    const step = this.#stepBy(changeSet);
    if (step === null) return;
    if (sequence === 1) this.#countFirst(bytes.length, step);
    if (applyMs === 0) this.#apply(socket, sequence, step);
    else setTimeout(() => this.#apply(socket, sequence, step), applyMs);
  }

  #countFirst(bytes: number, { objects }: Step): void {
    const { counts } = this.#rooms;
    counts.firstPushes++;
    counts.firstBytes += bytes;
    counts.firstObjects += objects;
    if (objects > 0 && this.#held.versions.size > 0) counts.notResumed++;
  }

  #stepBy(changeSet: Uint8Array): Step | null {
    try {
      return stepFrom(this.#held, changeSet);
    } catch (error) {
      this.#rooms.onFault(`a ChangeSet cannot be applied: ${error instanceof Error ? error.message : String(error)}`);
      this.#giveUp('bad ChangeSet');
      return null;
    }
  }

  #apply(socket: RawWebSocket | null, sequence: number, { state }: Step): void {
    const isNewer = state.revision > this.#held.revision;
    this.#held = state;
    if (socket === null || this.#socket !== socket) return;
    socket.send(ackFrame(sequence));
    if (this.#phase === 'greeting') {
      this.#phase = 'synced';
      this.#giveUpAtMs = Number.POSITIVE_INFINITY;
      this.#backoff.reset();
      if (!this.knowsItsHosts) this.#rooms.onFault('the first ChangeSet does not answer all hosts');
      this.#rooms.onSynced(this);
    }
    if (isNewer) this.#rooms.onApplied(state.revision);
  }

  #giveUp(reason: string): void {
    this.#endQuestion?.();
    this.#endQuestion = null;
    const socket = this.#socket;
    this.#failed();
    socket?.end(reason);
  }

  #failed(): void {
    const { counts, nowMs, onLost } = this.#rooms;
    counts.failures++;
    this.#phase = 'away';
    this.#socket = null;
    this.#giveUpAtMs = Number.POSITIVE_INFINITY;
    this.#connectAtMs = nowMs() + this.#backoff.nextMs();
    onLost(this);
  }
}
