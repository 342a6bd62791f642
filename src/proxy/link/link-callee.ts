/** One connection of the callee's: every stream that the caller opens becomes a request of the proxy's. */

import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { limits } from '../../model/limits.ts';
import type { ListenerLimits } from '../../model/listener-limits.ts';
import type { CoarseTimer } from '../coarse-timer.ts';
import { checkHead, RefusedHead } from '../head-check.ts';
import { localReply } from '../local-reply.ts';
import type { ListenerOptions } from '../request.ts';
import { allStreams, frameType, goawayReason, type LinkFault, resetReason } from './frames.ts';
import { decodeOpen, type OpenPayload } from './head-codec.ts';
import { LinkAnswer } from './link-answer.ts';
import { type ChannelOwner, LinkChannel } from './link-channel.ts';

export interface CalleeOptions extends ListenerOptions {
  readonly limits: ListenerLimits;
  readonly timer: CoarseTimer;
  readonly now: () => number;
}

/** The rule that a caller broke, and whether it had shown before that it speaks the link. */
export interface CallerFault {
  readonly rule: LinkFault;
  readonly isGreeted: boolean;
}

/** A timer cannot wait for longer than 24 days. */
const timerMsMax = 2 ** 31 - 1;

export class LinkCallee implements ChannelOwner {
  private readonly channel: LinkChannel;
  private readonly source: string;
  private readonly sourceAddress: string;
  private readonly options: CalleeOptions;
  private readonly onGone: (fault: CallerFault | null) => void;
  private expiryTimer: NodeJS.Timeout | null = null;
  /** GOAWAY was sent: no stream above this one is looked at. */
  private lastServed = allStreams;
  private isGoing = false;

  /**
   * `source`: the caller's Service, as its certificate says. `expiresAtMs`: end of that certificate, ms since the epoch. `onGone` is called
   * once, when nothing is left of the link; null: the caller broke no rule.
   */
  constructor(
    socket: Socket,
    source: string,
    expiresAtMs: number,
    options: CalleeOptions,
    onGone: (fault: CallerFault | null) => void,
  ) {
    this.source = source;
    this.sourceAddress = peerAddress(socket);
    this.options = options;
    this.onGone = onGone;
    this.channel = new LinkChannel({ socket, owner: this, timer: options.timer, now: options.now });
    socket.on('data', (bytes: Buffer) => this.channel.read(bytes, bytes.length));
    // A caller hands over to a new link before; one that does not is served no further than its certificate.
    this.awaitExpiry(expiresAtMs);
  }

  /** Says why, and that nothing was looked at. */
  static turnAway(socket: Socket, detail: string, { timer, now }: CalleeOptions): void {
    const nobody: ChannelOwner = {
      onHeadFrame: () => null,
      onGreeted: () => {},
      onGoaway: () => {},
      onTurnEnd: () => {},
      onEnded: () => {},
      onStreamOver: () => {},
    };
    const channel = new LinkChannel({ socket, owner: nobody, timer, now });
    socket.resume();
    channel.sendGoaway(goawayReason.refused, 0, detail);
    channel.endAfterFlush(detail);
  }

  drain(): void {
    if (this.isGoing) return;
    this.isGoing = true;
    this.channel.sendGoaway(goawayReason.drain, allStreams, 'drain');
  }

  destroy(): void {
    this.channel.end('the sidecar stops');
  }

  private awaitExpiry(expiresAtMs: number): void {
    const leftMs = expiresAtMs - Date.now();
    if (leftMs <= 0) this.expire();
    else if (leftMs < Number.POSITIVE_INFINITY)
      this.expiryTimer = setTimeout(() => this.awaitExpiry(expiresAtMs), Math.min(leftMs, timerMsMax)).unref();
  }

  private expire(): void {
    this.isGoing = true;
    this.lastServed = this.channel.lastStream;
    this.channel.sendGoaway(goawayReason.retire, this.lastServed, 'the certificate of the caller has expired');
  }

  // --- From the channel -----------------------------------------------------------------------------------------------------------------

  onHeadFrame(type: number, id: number, bytes: Buffer, start: number, end: number): LinkFault | null {
    const { channel } = this;
    if (type !== frameType.open) return 'HEAD is not for the caller to send';
    if (id <= channel.lastStream) return 'OPEN of a stream that was open before';
    const open = decodeOpen(bytes, start, end, channel.heard);
    if (open === null) return 'OPEN cannot be read';
    const answer = new LinkAnswer(open);
    channel.add(answer, id);
    if (id > this.lastServed || channel.streams.size > limits.linkStreamsMax) answer.reset(resetReason.refused);
    else this.serve(answer, open);
    return null;
  }

  private serve(answer: LinkAnswer, { method, target, headers, bodyBytes }: OpenPayload): void {
    const { acceptor, limits, loopDelay, now, onRefused, newRequestId, paths } = this.options;
    const readAtMs = now();
    const head = checkHead(
      {
        method,
        target,
        headers,
        isHttp10: false,
        paths,
        bodyBytes,
        source: this.source,
        sourceAddress: this.sourceAddress,
        readAtMs,
        loopMs: loopDelay === undefined ? 0 : loopDelay(readAtMs),
      },
      limits,
    );
    if (!(head instanceof RefusedHead)) {
      answer.accepted(acceptor.accept(head, answer));
      return;
    }
    const { failure, detail, request } = head;
    const requestId = newRequestId === undefined ? randomBytes(16).toString('hex') : newRequestId();
    onRefused(failure, { detail, requestId, sourceAddress: this.sourceAddress, source: this.source, request });
    const reply = localReply(failure, detail, requestId);
    const hasBody = method !== 'HEAD';
    answer.head({ ...reply, bodyBytes: reply.body.byteLength, hasBody }, null);
    if (hasBody) answer.body(reply.body);
    answer.end([], null);
  }

  onGreeted(): void {}

  onGoaway(): void {
    // The caller opens no more and closes by itself; what it has opened is served.
    this.isGoing = true;
  }

  onTurnEnd(): void {}

  onStreamOver(): void {}

  onEnded(): void {
    if (this.expiryTimer !== null) clearTimeout(this.expiryTimer);
    const { fault, isGreeted } = this.channel;
    this.onGone(fault === null ? null : { rule: fault, isGreeted });
  }
}

/** Without the prefix by which an IPv6 socket shows an IPv4 peer. */
function peerAddress(socket: Socket): string {
  const address = socket.remoteAddress ?? '';
  return address.startsWith('::ffff:') ? address.slice(7) : address;
}
