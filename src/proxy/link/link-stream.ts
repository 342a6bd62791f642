/**
 * One stream of a link, the same at both ends: what waits to be sent until the peer has given credit, what has arrived and is not wanted
 * yet, and which directions have ended. It knows frames' order and flow, nothing of HTTP: link-request.ts and link-answer.ts do.
 */
import { limits } from '../../model/limits.ts';
import { dataBytesMax, frameType, type ResetReason, streamCreditFirst } from './frames.ts';
import type { EndPayload } from './head-codec.ts';
import { HeldBytes } from './held-bytes.ts';
import type { LinkChannel } from './link-channel.ts';

/** Of all streams of which nothing waits, as of most from start to end. */
const nothingHeld = new HeldBytes();

export abstract class LinkStream {
  /** Null: not opened yet (a request that waits for its link), or over. */
  channel: LinkChannel | null = null;
  id = 0;
  /** No frame of it is sent or expected any more. */
  isOver = false;
  isRemoteEnded = false;
  /** In the channel's list of streams that have something to send. */
  isBacklogged = false;

  /** Bytes of DATA that the peer still takes. */
  private sendCredit = 0;
  /** Copies of what could not be sent at once. Bounded: the writer stops at `limits.streamBufferBytesMax`. */
  private queue = nothingHeld;
  /** Payload of the END that follows what is queued; null: the end is not known yet, or sent. */
  private queuedEnd: string | null = null;
  private isLocalEnded = false;
  private isBlocked = false;

  /** What is still to come of the body that is read, and was not handed on yet; -1: not known. */
  protected bodyBytesLeft = -1;
  /** Bytes of DATA that the peer may still send. */
  private receiveCredit = 0;
  /** What it may have outstanding: grows when the stream is fast and the link is long. */
  private window = streamCreditFirst;
  /** Bytes that were taken and not given back as credit. */
  private takenBytes = 0;
  private isPaused = false;
  /** In the channel's list of streams whose reader wants more. */
  private isResumeDue = false;
  /** Arrived while paused: at most `window` bytes, and what came with the head. */
  private held = nothingHeld;
  protected heldEnd: EndPayload | null = null;

  // --- What a stream is for ---------------------------------------------------------------------------------------------------------

  /** The piece is only valid during the call. */
  protected abstract onData(piece: Uint8Array): void;
  protected abstract onEnd(end: EndPayload): void;
  /** The stream is over. */
  abstract onReset(reason: ResetReason): void;
  /** The link is gone, and the stream with it. `hasLeft`: something of it may have reached the peer. `reason` is for people. */
  abstract onLost(hasLeft: boolean, reason: string): void;
  /** There is room again after `sendData` answered false. */
  protected abstract onWritable(): void;
  /** END has been sent, and the peer has not sent its own. */
  protected abstract onSentWhole(): void;

  // --- Open and over ------------------------------------------------------------------------------------------------------------------

  /** The channel calls it once the stream has its number. */
  begin(channel: LinkChannel, id: number): void {
    this.channel = channel;
    this.id = id;
    this.sendCredit = streamCreditFirst;
    this.receiveCredit = streamCreditFirst;
    if (this.queue.bytes > 0 || this.queuedEnd !== null) channel.addBacklog(this);
  }

  /** Nothing more of it: gives everything back. The peer hears of it only by what was sent before. */
  finish(): void {
    const { channel } = this;
    if (this.isOver) return;
    this.isOver = true;
    if (channel !== null) channel.forget(this, this.window - streamCreditFirst);
    this.channel = null;
    this.queue.clear();
    this.queuedEnd = null;
    this.held.clear();
    this.heldEnd = null;
  }

  /** Ends the stream at once, in both directions. */
  reset(reason: ResetReason): void {
    if (this.channel !== null && !(this.isLocalEnded && this.isRemoteEnded)) this.channel.sendReset(this.id, reason);
    this.finish();
  }

  // --- Towards the peer ---------------------------------------------------------------------------------------------------------------

  /** Sends or copies the chunk. False: stop until `onWritable`. */
  protected sendData(chunk: Uint8Array): boolean {
    if (this.isOver || this.isLocalEnded || chunk.length === 0) return true;
    const { channel } = this;
    const sent = channel === null || this.queue.bytes > 0 ? 0 : this.sendDirectly(channel, chunk);
    if (sent === chunk.length) return true;
    if (this.queue === nothingHeld) this.queue = new HeldBytes(true);
    this.queue.add(sent === 0 ? chunk : chunk.subarray(sent));
    channel?.addBacklog(this);
    if (this.queue.bytes > limits.streamBufferBytesMax) this.isBlocked = true;
    return !this.isBlocked;
  }

  /** Sends the first bytes of an answer's body with its head, if nothing of it waits and they fit. False: nothing was sent. */
  protected joinBody(chunk: Uint8Array): boolean {
    return this.queue.bytes === 0 && this.channel !== null && this.channel.joinBody(this.id, chunk);
  }

  /** What there is credit and room for goes into the turn's frames without being kept in between. Answers how much that was. */
  private sendDirectly(channel: LinkChannel, chunk: Uint8Array): number {
    let sent = 0;
    while (sent < chunk.length && channel.hasRoom) {
      const size = channel.takeSendCreditUpTo(Math.min(chunk.length - sent, dataBytesMax, this.sendCredit));
      if (size === 0) break;
      channel.sendData(this.id, size === chunk.length ? chunk : chunk.subarray(sent, sent + size));
      this.sendCredit -= size;
      sent += size;
    }
    return sent;
  }

  /** What was sent is complete. `payload` is an encoded END. */
  protected sendEnd(payload: string): void {
    if (this.isOver || this.isLocalEnded || this.queuedEnd !== null) return;
    this.queuedEnd = payload;
    if (this.channel === null) return;
    if (this.queue.bytes > 0) this.channel.addBacklog(this);
    else this.sendQueuedEnd(this.channel);
  }

  private sendQueuedEnd(channel: LinkChannel): void {
    const payload = this.queuedEnd!;
    this.queuedEnd = null;
    this.isLocalEnded = true;
    if (payload !== '' || !channel.joinEnd(this.id)) channel.sendFrame(frameType.end, this.id, payload);
    // What the peer ended may still wait for its reader.
    if (this.isRemoteEnded && this.heldEnd === null) this.finish();
    else this.onSentWhole();
  }

  /** OPEN said that nothing follows. */
  protected endWithOpen(): void {
    this.isLocalEnded = true;
  }

  /** The peer wants no more of it, and what it said itself is whole: only this direction ends. */
  protected stopSending(): void {
    this.isLocalEnded = true;
    this.queue.clear();
    this.queuedEnd = null;
    if (this.isBlocked && this.channel !== null) {
      this.channel.addWritable(this);
      this.channel.endTurnSoon();
    }
  }

  /** The channel's turn for this stream: sends up to one frame of what is queued. False: there is nothing left that could be sent now. */
  sendQueued(channel: LinkChannel): boolean {
    const { queue } = this;
    if (queue.bytes === 0) {
      if (this.queuedEnd !== null) this.sendQueuedEnd(channel);
      return false;
    }
    const first = queue.first(Math.min(dataBytesMax, this.sendCredit));
    const size = channel.takeSendCreditUpTo(first.length);
    if (size === 0) return false;
    channel.sendData(this.id, size === first.length ? first : first.subarray(0, size));
    this.sendCredit -= size;
    queue.drop(size);
    if (this.isBlocked && queue.bytes <= limits.streamBufferBytesMax / 2) channel.addWritable(this);
    if (queue.bytes > 0) return true;
    // It needs neither credit nor room, and for want of it the peer would wake up once more.
    if (this.queuedEnd !== null) this.sendQueuedEnd(channel);
    return false;
  }

  /** The channel tells the writer at the end of the turn. */
  unblock(): void {
    if (!this.isBlocked || this.isOver) return;
    this.isBlocked = false;
    this.onWritable();
  }

  /** False: more than can be counted, which no peer of ours grants. */
  addSendCredit(bytes: number): boolean {
    this.sendCredit += bytes;
    if (this.queue.bytes > 0) this.channel!.addBacklog(this);
    return this.sendCredit <= limits.linkWindowBytesMax * 2;
  }

  // --- From the peer ------------------------------------------------------------------------------------------------------------------

  /** False: it sent more than it was allowed. */
  takeData(piece: Uint8Array): boolean {
    this.receiveCredit -= piece.length;
    if (this.receiveCredit < 0) return false;
    if (this.isPaused) this.hold(piece);
    else this.deliver(piece);
    return true;
  }

  /** Bytes of the body that came with the head, and so without credit. */
  takeJoined(piece: Uint8Array): void {
    if (this.isOver) return;
    if (!this.isPaused) {
      this.onData(piece);
      return;
    }
    this.hold(piece);
    // They took no credit, and give none back when they are delivered.
    this.takenBytes -= piece.length;
  }

  private hold(piece: Uint8Array): void {
    if (this.held === nothingHeld) this.held = new HeldBytes();
    this.held.add(piece);
  }

  private deliver(piece: Uint8Array): void {
    this.takenBytes += piece.length;
    this.onData(piece);
    if (!this.isPaused) this.returnCredit();
  }

  takeEnd(end: EndPayload): void {
    if (this.isOver) return;
    this.isRemoteEnded = true;
    if (this.isPaused || this.held.bytes > 0) this.heldEnd = end;
    else this.deliverEnd(end);
  }

  takeReset(reason: ResetReason): void {
    this.finish();
    this.onReset(reason);
  }

  private deliverEnd(end: EndPayload): void {
    // First: what the reader does now is done to a stream that may be over.
    const isEnded = this.isLocalEnded;
    if (isEnded) this.finish();
    this.onEnd(end);
  }

  /** Half a window at a time; nothing for what is about to end anyway. */
  private returnCredit(): void {
    const { channel } = this;
    if (channel === null || this.isRemoteEnded || this.takenBytes * 2 < this.window) return;
    if (this.bodyBytesLeft >= 0 && this.bodyBytesLeft <= this.receiveCredit) return;
    const wider = channel.widen(this.window);
    const bytes = this.takenBytes + (wider - this.window);
    this.window = wider;
    this.takenBytes = 0;
    this.receiveCredit += bytes;
    channel.sendCredit(this.id, bytes);
  }

  protected pause(): void {
    this.isPaused = true;
    this.isResumeDue = false;
  }

  /** What was held is delivered at the end of the turn: never inside a call of the reader's. */
  protected resume(): void {
    if (!this.isPaused || this.isOver || this.isResumeDue) return;
    if (this.channel === null) {
      // Not opened yet: nothing can have arrived.
      this.isPaused = false;
      return;
    }
    this.isResumeDue = true;
    this.channel.addResumed(this);
  }

  deliverHeld(): void {
    if (this.isOver || !this.isResumeDue) return;
    this.isResumeDue = false;
    this.isPaused = false;
    const { held } = this;
    while (held.bytes > 0 && !this.isPaused && !this.isOver) {
      const piece = held.first(held.bytes);
      // First: the reader may end the stream, and what is held with it.
      held.drop(piece.length);
      this.deliver(piece);
    }
    if (this.isPaused || this.isOver) return;
    this.returnCredit();
    const end = this.heldEnd;
    this.heldEnd = null;
    if (end !== null) this.deliverEnd(end);
  }
}
