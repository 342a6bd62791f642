/**
 * A connection to an endpoint that takes several requests at a time (RFC 9112 section 9.3.2): those that may wait for the answers to others stand in
 * a line, and the answers come in its order. What is written in a turn of the loop leaves in one write. A request that may not share,
 * for its method or its body, has the connection for itself.
 */
import type { LocalAddress } from '../../model/host-port.ts';
import { limits } from '../../model/limits.ts';
import { type Failure, failures } from '../failure.ts';
import type { AnswerSink } from './http1-codec.ts';
import { type ConnectionOwner, Http1Connection, readBuffer } from './http1-connection.ts';
import type { Http1Stream } from './http1-stream.ts';

/** What a line reports beside what every connection does. */
export interface LineOwner extends ConnectionOwner {
  /** Not an octet of it has left: it may have another connection, whatever it is. */
  onRefused(stream: Http1Stream): void;
  /** It was sent, or may have been, and no answer to it will be read here. */
  onLost(stream: Http1Stream): void;
  /** One has left the line, and others stand in it. */
  onRoom(): void;
}

export class PipelinedConnection extends Http1Connection {
  /** In the order of their answers. Those that are not `active` any more hold the place of an answer that will be dropped. */
  private line: Http1Stream[] = [];
  /** How many at the end of the line are to be written yet. */
  private unwritten = 0;
  /** Nothing joins it any more, and it is closed behind the last answer. */
  private isLineClosed = false;
  /** It was kept behind an answer. */
  private isProven = false;
  /** Since when the first of the line is the first. */
  private firstSinceMs = 0;
  private droppedBytes = 0;
  private readonly lineOwner: LineOwner;
  private readonly dropped: AnswerSink = {
    onHead: (head) => this.drop(head.hasBody ? head.bodyBytes : 0, false),
    onBody: (chunk) => this.drop(chunk.length, true),
  };

  constructor(owner: LineOwner, to: LocalAddress, now: () => number, startedAtMs: number) {
    super(owner, to, now, startedAtMs);
    this.lineOwner = owner;
  }

  get lineLength(): number {
    return this.line.length;
  }

  /**
   * Whether one more request may stand behind those that are under way, of which there is one. An endpoint that has not kept the connection once
   * may close it behind every answer, and the request ahead may take its time, be it an event stream.
   */
  canShare(depth: number, nowMs: number): boolean {
    const first = this.line[0]!;
    return (
      this.isProven &&
      !this.isLineClosed &&
      this.line.length < depth &&
      first.mayPipeline &&
      first.phase === 'active' &&
      this.unsentBytes === 0 &&
      nowMs - this.firstSinceMs <= limits.pipelinedJoinMs
    );
  }

  /** Nothing is written and nobody is called before `writeTaken`, which follows within the turn. */
  take(stream: Http1Stream, nowMs: number): void {
    stream.phase = 'active';
    stream.connection = this;
    if (this.line.length === 0) this.firstSinceMs = nowMs;
    this.line.push(stream);
    this.unwritten++;
  }

  /** Writes what was taken, all in one. */
  writeTaken(nowMs: number): void {
    if (this.phase === 'gone') return;
    const taken = this.line.splice(this.line.length - this.unwritten).filter(isActive);
    this.unwritten = 0;
    if (taken.length > 0 && !this.write(taken)) {
      this.isLineClosed = true;
      for (let i = taken.length - 1; i >= 0; i--) this.lineOwner.onRefused(taken[i]!);
      taken.length = 0;
    }
    this.line.push(...taken);
    // What is still to be read of those before comes in spite of a write that was refused.
    if (!this.line.some(isActive)) {
      this.dispose();
      return;
    }
    this.phase = 'active';
    if (this.stream === null) this.beginFirst(this.firstSinceMs);
    for (const stream of taken) {
      if (stream.phase !== 'active') continue;
      this.reportAssigned(stream, nowMs);
      stream.unblock();
    }
  }

  /** False: refused at once, and every outbox is as it was. */
  private write(taken: readonly Http1Stream[]): boolean {
    const { socket } = this;
    const [only] = taken;
    if (!socket.writable) return false;
    if (!only!.mayPipeline) return only!.outbox.writeTo(socket, only!.hasBody ? this.writtenBound : undefined);
    let text = '';
    for (const { outbox } of taken) text += outbox.wholeText;
    socket.write(text, 'latin1');
    if (socket.errored !== null) return false;
    for (const { outbox } of taken) outbox.clear();
    return true;
  }

  private beginFirst(sinceMs: number): void {
    const first = this.line[0]!;
    this.stream = first;
    this.firstSinceMs = sinceMs;
    this.droppedBytes = 0;
    this.parser.begin(first.phase === 'active' ? first.handler : this.dropped, first.isHeadRequest);
    if (first.isReadingPaused && first.phase === 'active') super.pauseReading(first);
    else this.readOn();
  }

  /** Those behind the first are made to wait by its reader only, which is bounded by `sweep`. */
  override pauseReading(stream: Http1Stream): void {
    if (stream === this.stream) super.pauseReading(stream);
  }

  override resumeReading(stream: Http1Stream): void {
    if (stream === this.stream) super.resumeReading(stream);
  }

  /** For the sake of those behind it its answer is read to the end, if that comes soon. */
  override abandon(stream: Http1Stream): void {
    if (!this.line.some(isActive)) {
      this.dispose();
    } else if (stream === this.stream) {
      this.parser.redirect(this.dropped);
      this.readOn();
    }
  }

  private drop(bytes: number, isRead: boolean): void {
    if (isRead) this.droppedBytes += bytes;
    if (Math.max(this.droppedBytes, bytes) > limits.pipelinedDrainBytesMax) this.dispose();
  }

  /** Called a few times a second: nobody stands behind a slow answer, or a slow reader, for long. */
  sweep(nowMs: number): void {
    const { line } = this;
    if (line.length === 0 || nowMs - this.firstSinceMs < limits.pipelinedWaitMs) return;
    if (!isActive(line[0]!)) {
      this.dispose();
    } else if (line.length > 1) {
      // The answers to those that leave may come yet, and are nobody's.
      this.isLineClosed = true;
      this.lose(line.splice(1));
    }
  }

  protected override read(bytes: number): true {
    const { parser } = this;
    let at = 0;
    do {
      if (this.stream === null) {
        // Nobody asked. Whatever it is, it must not become the answer to the next request.
        this.dispose();
        return true;
      }
      // Those that went elsewhere may be answered here, too.
      parser.isFollowed = this.line.length > 1 || this.isLineClosed;
      switch (parser.feed(readBuffer, bytes, at)) {
        case 'more':
          return true;
        case 'followed':
          at = parser.nextAt;
          this.finish(parser.keepsConnection);
          break;
        case 'complete':
          this.finish(parser.keepsConnection);
          return true;
        case 'surplus':
          this.finish(false);
          return true;
        case 'failed':
          this.fail(failures[parser.failureCode]);
          return true;
      }
    } while (this.phase === 'active');
    return true;
  }

  protected override finish(mayKeep: boolean): void {
    const { trailers } = this.parser;
    const first = this.line.shift()!;
    if (mayKeep) this.isProven = true;
    const isLast = this.line.length === 0;
    if (mayKeep && !isLast) {
      this.beginFirst(this.now());
      this.lineOwner.onRoom();
      if (first.phase !== 'active') return;
      first.phase = 'over';
      first.handler.onEnd(trailers, null);
    } else if (first.phase === 'active') {
      super.finish(mayKeep && !this.isLineClosed);
    } else {
      this.dispose();
    }
  }

  protected override fail(failure: Failure): void {
    const first = this.line.shift()!;
    if (first.phase === 'active') super.fail(failure);
    else this.dispose();
  }

  override dispose(): void {
    if (this.phase === 'gone') return;
    const lost = this.line;
    this.line = [];
    super.dispose();
    this.lose(lost);
  }

  private lose(streams: readonly Http1Stream[]): void {
    for (const stream of streams) if (stream.phase === 'active') this.lineOwner.onLost(stream);
  }
}

const isActive = ({ phase }: Http1Stream): boolean => phase === 'active';
