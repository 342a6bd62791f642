/**
 * One connection of a link, the same at both ends: frames in and out, credit of the link, one write a turn, and whether the peer is still
 * there. Who opens streams and what they carry is link-client.ts's and link-server.ts's.
 *
 * A channel ends once, in `end`: the owner hears of it, and then every stream that is open.
 */
import assert from 'node:assert';
import type { Socket } from 'node:net';
import { limits } from '../../model/limits.ts';
import type { HopTiming } from '../../telemetry/ledger.ts';
import { atTurnEnd } from '../../telemetry/loop-turn.ts';
import type { CoarseTimer, Swept } from '../coarse-timer.ts';
import { readLatin1 } from '../latin1.ts';
import type { AnswerHead } from '../request.ts';
import { BandwidthProbe } from './bandwidth-probe.ts';
import { FieldTable } from './field-table.ts';
import { FrameOutput } from './frame-output.ts';
import { FrameParser, type FrameReceiver } from './frame-parser.ts';
import {
  type FrameType,
  frameType,
  type GoawayReason,
  goawayReason,
  type LinkFault,
  linkCreditFirst,
  linkVersion,
  type ResetReason,
  settingsMagic,
  streamCreditFirst,
} from './frames.ts';
import { decodeEnd, type OpenRequest } from './head-codec.ts';
import type { LinkStream } from './link-stream.ts';
import { StreamTable } from './stream-table.ts';

/** What the two ends make of a channel. */
export interface ChannelOwner {
  /** OPEN or HEAD, which only one end may send; its payload lies in `bytes`. Null, or what is wrong with it. */
  onHeadFrame(type: number, stream: number, bytes: Buffer, start: number, end: number): LinkFault | null;
  /** The peer opens or takes no more streams here; streams above `lastStream` were not looked at. */
  onGoaway(reason: GoawayReason, lastStream: number, detail: string): void;
  /** SETTINGS came. A callee that refuses says so with its next frame. */
  onGreeted(): void;
  /** The end of a turn in which frames are about to be written. */
  onTurnEnd(): void;
  /** The channel is over, and its streams are about to hear of it. `reason` is for people. */
  onEnded(reason: string): void;
  /** A stream is over. */
  onStreamOver(): void;
}

export interface ChannelOptions {
  readonly socket: Socket;
  readonly owner: ChannelOwner;
  /** Shared by all links of the loop. */
  readonly timer: CoarseTimer;
  /** The clock of `timer`, ms. */
  readonly now: () => number;
}

export class LinkChannel implements FrameReceiver, Swept {
  readonly streams = new StreamTable();
  /** Fields of the heads that came. */
  readonly heard = new FieldTable();
  /** Highest number of a stream that was ever open. */
  lastStream = 0;
  isEnded = false;
  /** The peer's SETTINGS came. */
  isGreeted = false;
  /** The rule that the peer broke; null: none so far. */
  fault: LinkFault | null = null;
  /** It ended because the peer said nothing any more: nobody can tell when that changes. */
  isSilent = false;

  private readonly socket: Socket;
  private readonly owner: ChannelOwner;
  private readonly timer: CoarseTimer;
  private readonly now: () => number;
  private readonly parser = new FrameParser(this);
  private readonly output: FrameOutput;
  private readonly probe = new BandwidthProbe();

  private linkSendCredit = linkCreditFirst;
  private linkReceiveCredit = linkCreditFirst;
  private linkTakenBytes = 0;
  /** Credit of all streams beyond their first window: bounds what slow readers can make this end hold. */
  private widenedBytes = 0;

  private backlog: LinkStream[] = [];
  private resumed: LinkStream[] = [];
  private writable: LinkStream[] = [];
  private isTurnEndDue = false;
  /** Streams up to this one may have reached the peer. */
  leftThrough = 0;
  /** The peer speaks another version: nothing that was sent to it was looked at. */
  private isForeign = false;

  private readonly startedAtMs: number;
  private sweptAtMs: number;
  private heardAtMs: number;
  /** 0: no PING is unanswered. */
  private pingedAtMs = 0;
  private readonly endTurnBound = () => this.endTurn();

  constructor({ socket, owner, timer, now }: ChannelOptions) {
    this.socket = socket;
    this.owner = owner;
    this.timer = timer;
    this.now = now;
    this.output = new FrameOutput(socket, () => this.written());
    this.startedAtMs = now();
    this.sweptAtMs = this.startedAtMs;
    this.heardAtMs = this.startedAtMs;
    socket.on('error', () => {});
    socket.on('close', () => this.end('the connection was closed'));
    socket.on('end', () => this.end('the peer closed the connection'));
    timer.watch(this);
    this.sendFrame(frameType.settings, 0, settingsPayload);
  }

  // --- From the peer ------------------------------------------------------------------------------------------------------------------

  /** The first `length` bytes were read from the socket. */
  read(bytes: Buffer, length: number): void {
    if (this.isEnded) return;
    this.heardAtMs = this.timer.nowMs;
    this.pingedAtMs = 0;
    const fault = this.parser.feed(bytes, length);
    if (fault !== null) this.violated(fault);
  }

  onData(id: number, piece: Buffer): LinkFault | null {
    if (this.isEnded) return null;
    if (!this.isGreeted) return 'the first frame is SETTINGS';
    const { length } = piece;
    this.linkReceiveCredit -= length;
    if (this.linkReceiveCredit < 0) return 'more DATA than the credit of the link';
    this.linkTakenBytes += length;
    if (this.probe.receive(length)) this.sendProbe();
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (id > this.lastStream) return 'DATA of a stream that was never open';
    } else {
      if (stream.isRemoteEnded) return 'DATA behind END';
      if (!stream.takeData(piece)) return 'more DATA than the credit of its stream';
    }
    if (this.linkTakenBytes * 2 >= this.probe.windowBytes) this.returnLinkCredit(0);
    return null;
  }

  onFrame(type: number, id: number, bytes: Buffer, start: number, end: number): LinkFault | null {
    if (this.isEnded) return null;
    if (!this.isGreeted)
      return type === frameType.settings ? this.greet(bytes, start, end) : 'the first frame is SETTINGS';
    switch (type as FrameType) {
      case frameType.settings:
        return 'a second SETTINGS';
      case frameType.open:
      case frameType.head:
        return this.owner.onHeadFrame(type, id, bytes, start, end);
      case frameType.data:
        assert.fail('DATA is handed on piece by piece');
        break;
      case frameType.end:
        return this.takeEnd(id, bytes, start, end);
      case frameType.reset:
        return this.takeReset(id, bytes[start]!);
      case frameType.credit:
        return this.takeCredit(id, bytes.readUInt32BE(start));
      case frameType.ping:
        this.sendFrame(frameType.pong, 0, readLatin1(bytes, start, end));
        return null;
      case frameType.pong:
        this.takePong();
        return null;
      case frameType.goaway:
        this.owner.onGoaway(
          bytes[start + 4] as GoawayReason,
          bytes.readUInt32BE(start),
          printable(readLatin1(bytes, start + 5, end)),
        );
        return null;
      default:
        // The parser knows no other.
        return `there is no frame of type ${type}`;
    }
  }

  private greet(bytes: Buffer, start: number, end: number): LinkFault | null {
    if (bytes.readUInt32BE(start) !== settingsMagic) return 'this is not the link';
    const [lowest, highest] = [bytes[start + 4]!, bytes[start + 5]!];
    if (lowest > linkVersion || highest < linkVersion) {
      // The other end refuses ours for the same reason, so it has looked at nothing.
      this.isForeign = true;
      return `this side speaks version ${linkVersion}, the other ${lowest} to ${highest}`;
    }
    // What later versions say beyond this has a default that is right for this one.
    if (end - start > 64) return 'SETTINGS is too long';
    this.isGreeted = true;
    this.owner.onGreeted();
    return null;
  }

  private takeEnd(id: number, bytes: Buffer, start: number, end: number): LinkFault | null {
    const payload = decodeEnd(bytes, start, end);
    if (payload === null) return 'END cannot be read';
    const stream = this.streams.get(id);
    if (stream === undefined) return id > this.lastStream ? 'END of a stream that was never open' : null;
    if (stream.isRemoteEnded) return 'a second END';
    stream.takeEnd(payload);
    return null;
  }

  private takeReset(id: number, reason: number): LinkFault | null {
    const stream = this.streams.get(id);
    if (stream === undefined) return id > this.lastStream ? 'RESET of a stream that was never open' : null;
    stream.takeReset(reason as ResetReason);
    return null;
  }

  private takeCredit(id: number, bytes: number): LinkFault | null {
    if (bytes === 0) return 'CREDIT of nothing';
    if (id === 0) {
      this.linkSendCredit += bytes;
      if (this.linkSendCredit > limits.linkWindowBytesMax * 2) return 'more credit of the link than there can be';
      if (this.backlog.length > 0) this.endTurnSoon();
      return null;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) return id > this.lastStream ? 'CREDIT of a stream that was never open' : null;
    return stream.addSendCredit(bytes) ? null : 'more credit of a stream than there can be';
  }

  private takePong(): void {
    const grownBytes = this.probe.answered(this.now());
    if (grownBytes > 0) this.returnLinkCredit(grownBytes);
  }

  private sendProbe(): void {
    if (this.probe.begin(this.now())) this.sendFrame(frameType.ping, 0, pingPayload);
  }

  private returnLinkCredit(grownBytes: number): void {
    const bytes = this.linkTakenBytes + grownBytes;
    this.linkTakenBytes = 0;
    this.linkReceiveCredit += bytes;
    this.sendCredit(0, bytes);
  }

  /** How wide a stream's window may be now that its reader keeps up: as the link's, as long as all together stay within bounds. */
  widen(window: number): number {
    const wanted = this.probe.windowBytes;
    const more = wanted - window;
    if (more <= 0 || window < streamCreditFirst || this.widenedBytes + more > limits.linkWidenedBytesMax) return window;
    this.widenedBytes += more;
    return wanted;
  }

  // --- To the peer --------------------------------------------------------------------------------------------------------------------

  sendFrame(type: FrameType, id: number, payload: string): void {
    if (this.isEnded) return;
    this.output.put(type, id, payload);
    this.endTurnSoon();
  }

  /** `bytesMax`: `payloadBytesMax` of it, as with the next. */
  sendOpen(id: number, request: OpenRequest, bytesMax: number): void {
    if (this.isEnded) return;
    this.output.putOpen(id, request, bytesMax);
    this.endTurnSoon();
  }

  sendHead(id: number, head: AnswerHead, timing: HopTiming | null, bytesMax: number): void {
    if (this.isEnded) return;
    this.output.putHead(id, head, timing, bytesMax);
    this.endTurnSoon();
  }

  /** The first bytes of an answer's body, if they can go with its head. False: they cannot. */
  joinBody(id: number, chunk: Uint8Array): boolean {
    return !this.isEnded && this.output.joinBody(id, chunk);
  }

  /** The end of an answer, if it can go with its head. False: it cannot. */
  joinEnd(id: number): boolean {
    return !this.isEnded && this.output.joinEnd(id);
  }

  sendData(id: number, chunk: Uint8Array): void {
    this.output.putData(id, chunk);
    this.endTurnSoon();
  }

  /** Whether DATA may still be written in this turn: what the kernel has not taken cannot be overtaken. */
  get hasRoom(): boolean {
    const { pendingBytes, untakenBytes } = this.output;
    return untakenBytes === 0
      ? pendingBytes < limits.linkTurnBytesMax
      : untakenBytes + pendingBytes < limits.linkAheadBytesMax;
  }

  sendCredit(id: number, bytes: number): void {
    if (this.isEnded) return;
    this.output.putNumber(frameType.credit, id, bytes);
    this.endTurnSoon();
  }

  sendReset(id: number, reason: ResetReason): void {
    this.sendFrame(frameType.reset, id, String.fromCharCode(reason));
  }

  sendGoaway(reason: GoawayReason, lastStream: number, detail: string): void {
    const number = String.fromCharCode(
      lastStream >>> 24,
      (lastStream >> 16) & 0xff,
      (lastStream >> 8) & 0xff,
      lastStream & 0xff,
    );
    this.sendFrame(frameType.goaway, 0, number + String.fromCharCode(reason) + printable(detail).slice(0, 256));
  }

  takeSendCreditUpTo(bytes: number): number {
    const taken = Math.min(bytes, this.linkSendCredit);
    this.linkSendCredit -= taken;
    return taken;
  }

  // --- Streams ------------------------------------------------------------------------------------------------------------------------

  /** The stream is open from here on. */
  add(stream: LinkStream, id: number): void {
    assert(id > this.lastStream, 'streams are opened in ascending order');
    this.lastStream = id;
    stream.begin(this, id);
    this.streams.add(stream, id);
  }

  /** The stream is over; `widened` bytes of its window were beyond the first. */
  forget(stream: LinkStream, widened: number): void {
    this.streams.remove(stream.id);
    this.widenedBytes -= widened;
    this.owner.onStreamOver();
  }

  addBacklog(stream: LinkStream): void {
    if (stream.isBacklogged) return;
    stream.isBacklogged = true;
    this.backlog.push(stream);
    this.endTurnSoon();
  }

  addResumed(stream: LinkStream): void {
    this.resumed.push(stream);
    this.endTurnSoon();
  }

  addWritable(stream: LinkStream): void {
    this.writable.push(stream);
  }

  // --- The turn's end -----------------------------------------------------------------------------------------------------------------

  endTurnSoon(): void {
    if (this.isTurnEndDue) return;
    this.isTurnEndDue = true;
    atTurnEnd(this.endTurnBound);
  }

  private endTurn(): void {
    this.isTurnEndDue = false;
    if (this.isEnded) return;
    if (this.resumed.length > 0) this.deliverResumed();
    if (this.backlog.length > 0) this.sendBacklog();
    this.owner.onTurnEnd();
    if (this.isEnded) return;
    this.leftThrough = this.lastStream;
    this.output.flush();
    if (this.output.unsentBytes > limits.linkUnsentBytesMax) this.end('the peer does not read what it is sent');
    else if (this.writable.length > 0) this.tellWriters();
  }

  private deliverResumed(): void {
    const streams = this.resumed;
    this.resumed = [];
    for (const stream of streams) stream.deliverHeld();
  }

  private tellWriters(): void {
    const streams = this.writable;
    this.writable = [];
    for (const stream of streams) stream.unblock();
  }

  /**
   * One frame of each stream in turn, while the peer has given credit and the kernel takes what it is given: what lies in its buffer cannot
   * be overtaken by a small answer.
   */
  private sendBacklog(): void {
    let waiting = this.backlog;
    while (waiting.length > 0) {
      const next: LinkStream[] = [];
      for (let i = 0; i < waiting.length; i++) {
        const stream = waiting[i]!;
        if (this.linkSendCredit === 0 || !this.hasRoom) {
          // Without those that are over: a peer could open and reset them without end, and give no credit.
          this.backlog = [...waiting.slice(i), ...next].filter(({ isOver }) => !isOver);
          return;
        }
        stream.isBacklogged = false;
        if (stream.isOver || !stream.sendQueued(this)) continue;
        stream.isBacklogged = true;
        next.push(stream);
      }
      waiting = next;
    }
    this.backlog = waiting;
  }

  /** The socket has taken what it was given. */
  private written(): void {
    if (!this.isEnded && (this.backlog.length > 0 || this.output.pendingBytes > 0)) this.endTurnSoon();
  }

  // --- Life and end -------------------------------------------------------------------------------------------------------------------

  /** Looks whether the peer is still there: `limits.linkQuietMs` and `limits.linkPingMs` say how soon that is found out. */
  onSweep(nowMs: number): boolean {
    if (this.isEnded) return false;
    // A loop of ours that was held up has read nothing meanwhile: the silence is not the peer's.
    const wasLate = nowMs - this.sweptAtMs > limits.linkLateSweepMs;
    this.sweptAtMs = nowMs;
    if (wasLate) {
      this.heardAtMs = nowMs;
      if (this.pingedAtMs !== 0) this.pingedAtMs = nowMs;
    } else if (!this.isGreeted) {
      if (nowMs - this.startedAtMs >= limits.connectTimeoutMs) this.endSilent('the peer did not greet in time');
    } else if (this.pingedAtMs !== 0) {
      if (nowMs - this.pingedAtMs >= limits.linkPingMs) this.endSilent('the peer does not answer any more');
    } else if (nowMs - this.heardAtMs >= (this.streams.size > 0 ? limits.linkQuietMs : limits.linkIdleQuietMs)) {
      this.pingedAtMs = nowMs;
      this.sendFrame(frameType.ping, 0, pingPayload);
    }
    return !this.isEnded;
  }

  private endSilent(reason: string): void {
    this.isSilent = true;
    this.end(reason);
  }

  private violated(fault: LinkFault): void {
    this.fault = fault;
    // What was open may have been acted upon, and must not be sent again elsewhere.
    this.sendGoaway(goawayReason.violation, this.lastStream, fault);
    this.endAfterFlush(`the peer broke the rules of the link: ${fault}`);
  }

  /** Writes what there is, says goodbye, and ends. */
  endAfterFlush(reason: string): void {
    if (this.isEnded) return;
    this.leftThrough = this.lastStream;
    this.output.flush(true);
    this.socket.end();
    // What still arrives is read and dropped: unread bytes would reset the connection, and the last words with it.
    const { socket } = this;
    setTimeout(() => socket.destroy(), limits.lingerMs).unref();
    this.finish(reason);
  }

  end(reason: string): void {
    if (this.isEnded) return;
    this.socket.destroy();
    this.finish(reason);
  }

  private finish(reason: string): void {
    this.isEnded = true;
    this.backlog = [];
    this.resumed = [];
    this.writable = [];
    // The owner first: a stream that hears of it may be sent again at once, and must not come here.
    this.owner.onEnded(reason);
    for (const stream of this.streams.all()) {
      const hasLeft = !this.isForeign && stream.id <= this.leftThrough;
      stream.finish();
      stream.onLost(hasLeft, reason);
    }
  }
}

const pingPayload = '\0'.repeat(8);
const settingsPayload =
  String.fromCharCode(0x57, 0x45, 0x46, 0x54) + String.fromCharCode(linkVersion) + String.fromCharCode(linkVersion);

/** What a peer says, for a line of a log. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
