/** One connection of the caller's: dialled, used for streams that this side opens, given up when it is old or the peer says goodbye. */
import type { Socket } from 'node:net';
import { limits } from '../../model/limits.ts';
import type { CoarseTimer } from '../coarse-timer.ts';
import { type Failure, failures } from '../failure.ts';
import { allStreams, frameType, type GoawayReason, goawayReason, type LinkFault } from './frames.ts';
import { decodeHead, noEnd } from './head-codec.ts';
import { type ChannelOwner, LinkChannel } from './link-channel.ts';
import { LinkRequest } from './link-request.ts';
import { type DialTarget, dial, type LinkSecurity } from './link-socket.ts';

/** What all links of a loop share. */
export interface LinkEnvironment {
  readonly security: LinkSecurity;
  readonly timer: CoarseTimer;
  /** The clock of `timer`, ms. */
  readonly now: () => number;
  /** Ms since the epoch, for what certificates say. */
  readonly wallMs: () => number;
  /** 0 to 1. */
  readonly random: () => number;
  /** A link could not be made, or the peer refused it: worth a line in the log. */
  readonly onTrouble: (address: string, failure: Failure, detail: string) => void;
}

/** retired: either side replaces it. drain: the callee stops. refused: the callee does not take us. lost: it broke. */
export type ClosingCause = 'retired' | 'drain' | 'refused' | 'lost';

export interface ClientEvents {
  readonly onOpen: (client: LinkClient) => void;
  /** The callee speaks our version; whether it takes us is said by what comes with that. */
  readonly onGreeted: (client: LinkClient) => void;
  /** It never opened. */
  readonly onFailed: (client: LinkClient, failure: Failure, detail: string) => void;
  /** It was open, and takes no more streams: drained, or gone. Called once. */
  readonly onClosing: (client: LinkClient, cause: ClosingCause, detail: string) => void;
  /** Nothing is left of it. Called once, after `onClosing`. */
  readonly onGone: (client: LinkClient) => void;
}

/** Numbers of streams are 31 bits; a link is replaced long before. */
const streamIdMax = 0x7fff_0000;

/** By what a callee gives for its GOAWAY. */
const closingCauses: Readonly<Record<number, ClosingCause>> = {
  [goawayReason.drain]: 'drain',
  [goawayReason.retire]: 'retired',
  [goawayReason.violation]: 'lost',
  [goawayReason.refused]: 'refused',
};

export class LinkClient implements ChannelOwner {
  readonly startedAtMs: number;
  /** From the start to an open link, and how much of it was the TLS handshake. */
  private dialMs = 0;
  private tlsMs = 0;
  /** When TCP was there and the handshake began; 0: not yet, or without TLS. */
  private connectedAtMs = 0;
  /** When another takes over, by the environment's clock; infinity before it is open. */
  retiresAtMs = Number.POSITIVE_INFINITY;
  /** Since when it has no stream. */
  idleSinceMs = 0;
  private phase: 'dialling' | 'open' | 'closing' | 'gone' = 'dialling';
  private channel: LinkChannel | null = null;
  private readonly socket: Socket | null;
  private readonly environment: LinkEnvironment;
  private readonly events: ClientEvents;
  /** Opened in this turn: they are told when it ends. */
  private opened: LinkRequest[] = [];
  private lastId = 0;

  constructor(environment: LinkEnvironment, target: DialTarget, events: ClientEvents) {
    this.environment = environment;
    this.events = events;
    this.startedAtMs = environment.now();
    this.socket = dial(environment.security, target, {
      onConnected: () => {
        this.connectedAtMs = environment.now();
      },
      onOpen: (expiresAtMs) => this.onOpen(expiresAtMs),
      onFailed: (failure, detail) => this.failed(failure, detail),
      onRead: (bytes, length) => this.channel?.read(bytes, length),
    });
  }

  /** False: there was no identity to dial with, and nothing was begun. */
  get isBegun(): boolean {
    return this.socket !== null;
  }

  get isOpen(): boolean {
    return this.phase === 'open';
  }

  /** The peer has shown that it speaks the link. */
  get isGreeted(): boolean {
    return this.channel?.isGreeted === true;
  }

  /** It ended because the peer said nothing any more. */
  get isSilent(): boolean {
    return this.channel?.isSilent === true;
  }

  get streams(): number {
    return this.channel === null ? 0 : this.channel.streams.size;
  }

  get isFull(): boolean {
    return this.streams >= limits.linkStreamsMax || this.lastId >= streamIdMax;
  }

  private onOpen(expiresAtMs: number): void {
    const { socket } = this;
    if (this.phase !== 'dialling' || socket === null) return;
    const { timer, now, wallMs, random } = this.environment;
    this.phase = 'open';
    const nowMs = now();
    this.dialMs = nowMs - this.startedAtMs;
    this.tlsMs = this.connectedAtMs === 0 ? 0 : nowMs - this.connectedAtMs;
    this.idleSinceMs = nowMs;
    // Well before the end, so that there is time for several tries; jittered, so that a fleet does not dial at once.
    const lifeMs = Math.min(limits.linkAgeMs, Math.max(0, (expiresAtMs - wallMs()) * 0.8));
    this.retiresAtMs = nowMs + Math.max(limits.linkHandoverMsMin, lifeMs * (0.9 + 0.1 * random()));
    this.channel = new LinkChannel({ socket, owner: this, timer, now });
    this.events.onOpen(this);
  }

  private failed(failure: Failure, detail: string): void {
    if (this.phase !== 'dialling') return;
    this.phase = 'gone';
    this.socket?.destroy();
    this.events.onFailed(this, failure, detail);
  }

  /** The dial took too long, or nobody wants it any more. */
  giveUp(failure: Failure, detail: string): void {
    this.failed(failure, detail);
  }

  /** `isOpen` and not `isFull`. */
  open(request: LinkRequest): void {
    const channel = this.channel!;
    const id = ++this.lastId;
    channel.sendOpen(id, request.request, request.openBytesMax);
    channel.add(request, id);
    this.opened.push(request);
  }

  /** No more streams are opened on it; it goes when the last one is over. */
  retire(): void {
    if (this.phase !== 'open') return;
    this.close('retired', '');
    this.channel!.sendGoaway(goawayReason.retire, allStreams, '');
    this.endWhenIdle();
  }

  /** Ends it and its streams now. */
  destroy(): void {
    this.failed(failures['connect-failed'], 'the sidecar stops');
    this.channel?.end('the sidecar stops');
  }

  private close(cause: ClosingCause, detail: string): void {
    if (this.phase !== 'open') return;
    this.phase = 'closing';
    this.events.onClosing(this, cause, detail);
  }

  private endWhenIdle(): void {
    if (this.phase === 'closing' && this.streams === 0) this.channel!.endAfterFlush('it was retired');
  }

  // --- From the channel -----------------------------------------------------------------------------------------------------------------

  onHeadFrame(type: number, id: number, bytes: Buffer, start: number, end: number): LinkFault | null {
    if (type !== frameType.head) return 'OPEN is not for the callee to send';
    const channel = this.channel!;
    // One whose OPEN waits for the end of the turn cannot be answered either.
    if (id > channel.leftThrough) return 'HEAD of a stream that was never open';
    const stream = channel.streams.get(id);
    if (stream?.isRemoteEnded === true) return 'HEAD behind END';
    // Also for a stream that is over: what it says for the first time may be said again.
    const head = decodeHead(bytes, start, end, channel.heard);
    if (head === null) return 'HEAD cannot be read';
    if (stream === undefined) return null;
    if (stream instanceof LinkRequest) stream.takeHead(head);
    if (head.data !== null) stream.takeJoined(head.data);
    if (head.endsStream) stream.takeEnd(noEnd);
    return null;
  }

  onGoaway(reason: GoawayReason, lastStream: number, detail: string): void {
    const channel = this.channel!;
    const cause = closingCauses[reason] ?? 'drain';
    this.close(cause, detail);
    for (const stream of channel.streams.all()) {
      if (stream.id <= lastStream) continue;
      stream.finish();
      if (stream instanceof LinkRequest) stream.refused(detail);
    }
    if (cause === 'refused' || cause === 'lost') channel.end(detail);
    else this.endWhenIdle();
  }

  onGreeted(): void {
    this.events.onGreeted(this);
  }

  onTurnEnd(): void {
    const { opened } = this;
    if (opened.length === 0) return;
    this.opened = [];
    const nowMs = this.environment.now();
    for (const request of opened) {
      // A dial that began before the request did is its wait only from there on.
      const waitedMs = Math.max(0, nowMs - request.openedAtMs);
      const dialMs = request.openedAtMs < this.startedAtMs + this.dialMs ? Math.min(this.dialMs, waitedMs) : 0;
      const tlsMs = Math.min(this.tlsMs, dialMs);
      request.assigned(dialMs === 0 ? 0 : waitedMs - dialMs, dialMs - tlsMs, tlsMs, nowMs);
    }
  }

  onStreamOver(): void {
    if (this.streams > 0) return;
    this.idleSinceMs = this.environment.timer.nowMs;
    this.endWhenIdle();
  }

  onEnded(reason: string): void {
    this.close('lost', reason);
    this.phase = 'gone';
    this.events.onGone(this);
  }
}
