/**
 * One request on a uWS connection and the answer to it: held until it can leave in one write, streamed where it cannot, and never
 * touching a response that uWS has taken back.
 */
import type { HttpResponse } from 'uWebSockets.js';
import { limits } from '../../model/limits.ts';
import type { HeaderList } from '../headers.ts';
import type { AnswerHead, Downstream, RequestReceiver } from '../request.ts';
import { answerBlock, isSendable } from './answer-block.ts';
import type { PendingAnswer, PendingAnswers } from './pending-answers.ts';
import { ChunkedBody, corkBytes, FixedLengthBody, type UwsBody } from './uws-body.ts';

const noTrailers: HeaderList = [];
const noBytes = new Uint8Array(0);
const nothing = () => {};
/** What uWS adds to a head by itself: status line, Date, framing. */
const coreHeadBytes = 256;
const closeField = '\r\nConnection: close';

/**
 * held: nothing of the answer is written. streaming: its head is. finishing: the answer's end is known, and bytes are still to be
 * written. lingering: all is written, uWS still has the response, and the connection is about to close. done: it must not be touched.
 */
type Phase = 'held' | 'streaming' | 'finishing' | 'lingering' | 'done';

/** The whole answer that `writeWhole` writes: one function for all, because a new one for each answer is compiled again at its first call. */
const whole: { res: HttpResponse | null; block: Buffer | string; body: Uint8Array; isClosing: boolean } = {
  res: null,
  block: '',
  body: noBytes,
  isClosing: false,
};

function writeWhole(): void {
  const { res, block, body, isClosing } = whole;
  res!.writeStatus(block);
  res!.end(body, isClosing);
}

/** Facts about the request that decide how its answer ends. */
export interface UwsRequestFacts {
  /** -1: chunked. */
  readonly bodyBytes: number;
  /** The client asked for the connection to be closed. */
  readonly isLastOfConnection: boolean;
  /** The client asked for it in the one way that uWS understands: uWS closes by itself, as soon as the answer has left. */
  readonly coreCloses: boolean;
}

export class UwsAnswer implements Downstream, PendingAnswer {
  readonly wantsTiming = false;
  receiver: RequestReceiver | null = null;
  isSlow = false;
  slowPart = 0;
  isStuck = false;
  isLingering = false;
  lingeredTicks = 0;
  quietTicks = 0;
  unreadTicks = 0;

  private phase: Phase = 'held';
  private isRequestComplete = false;
  private isPaused = false;
  private requestBytes = 0;
  /** Of the request, once it was answered. */
  private droppedBytes = 0;

  private answer: AnswerHead | null = null;
  private answerBytes = 0;
  private heldBody: Uint8Array[] | null = null;
  private isFlushDue = false;
  private writer: UwsBody | null = null;
  /** When its head was written. */
  private wasClosing = false;
  /** A write found no room, and the proxy (or the end of the answer) waits for it. */
  private isBlocked = false;
  private isWatchingWritable = false;
  private isRetryDue = false;

  constructor(
    private readonly pending: PendingAnswers,
    private readonly res: HttpResponse,
    private readonly request: UwsRequestFacts,
  ) {
    if (request.bodyBytes === 0) this.isRequestComplete = true;
    else pending.watchSlow(this);
  }

  // --- What the proxy says -------------------------------------------------------------------------------------------------------

  head(head: AnswerHead): void {
    if (this.phase !== 'held' || this.answer !== null) return;
    this.answer = head;
    this.flushLater();
  }

  body(chunk: Uint8Array): boolean {
    const { answer } = this;
    if (answer === null || !answer.hasBody || (this.phase !== 'held' && this.phase !== 'streaming')) return true;
    this.answerBytes += chunk.length;
    if (answer.bodyBytes >= 0 && this.answerBytes > answer.bodyBytes) {
      this.cut();
      return true;
    }
    if (this.phase === 'held' && this.answerBytes <= limits.heldAnswerBytesMax) {
      // Copying this little costs less than a second system call.
      // Written before anything else is read, unless the whole answer has to wait (see `end`): then it is copied.
      this.hold(this.waitsForRequest ? Buffer.from(chunk) : chunk);
      this.flushLater();
      return true;
    }
    const isStreaming = this.phase === 'streaming';
    // The last byte of a known length ends the answer for uWS too.
    if (this.answerBytes === answer.bodyBytes) this.beginFinish();
    if (isStreaming) this.write(chunk);
    else this.stream(chunk, answer.bodyBytes);
    return !this.isBlocked;
  }

  end(_trailers: HeaderList): void {
    const { answer } = this;
    if (answer === null || (this.phase !== 'held' && this.phase !== 'streaming')) return;
    if (answer.hasBody && answer.bodyBytes >= 0 && this.answerBytes !== answer.bodyBytes) {
      this.cut();
      return;
    }
    this.beginFinish();
    if (this.writer !== null) {
      if (!this.isBlocked) this.finish();
    } else if (this.waitsForRequest) {
      if (!isSendable(answer)) {
        this.refuseAnswer();
        return;
      }
      // The rest of the request may be in the bytes just read: then the connection goes on, or closes more cleanly. And until all of those are
      // parsed uWS must not have the response back, or it would serve what stands behind a chunked body that it may have misread.
      setImmediate(() => this.writeHeld());
    } else {
      this.writeHeld();
    }
  }

  retract(): boolean {
    if (this.phase !== 'held') return false;
    this.answer = null;
    this.answerBytes = 0;
    this.heldBody = null;
    return true;
  }

  abort(): void {
    if (this.phase === 'done') return;
    this.giveBack();
    this.res.close();
  }

  /** While a connection is paused uWS watches nothing of it: neither its writability, nor whether the client goes. */
  pauseRequest(): void {
    if (this.isPaused || this.isRequestComplete || (this.phase !== 'held' && this.phase !== 'streaming')) return;
    this.isPaused = true;
    this.res.pause();
    if (this.isBlocked) this.pending.watchStuck(this);
  }

  resumeRequest(): void {
    if (!this.isPaused || this.phase === 'done') return;
    this.isPaused = false;
    this.pending.unwatchStuck(this);
    this.res.resume();
    // uWS goes on with what it watched before the pause; a short write makes it watch for room again.
    if (this.isBlocked) this.retryWrite();
  }

  // --- What uWS says -------------------------------------------------------------------------------------------------------------

  /** `chunk` is valid during the call only. Called once with nothing for a request without a body. */
  onData(chunk: ArrayBuffer, isLast: boolean): void {
    this.pending.enterCore();
    this.readData(chunk, isLast);
    this.pending.leaveCore();
  }

  private readData(chunk: ArrayBuffer, isLast: boolean): void {
    if (isLast) this.isRequestComplete = true;
    const { receiver } = this;
    if (receiver === null || (this.phase !== 'held' && this.phase !== 'streaming')) {
      this.drop(chunk.byteLength, isLast);
      return;
    }
    this.requestBytes += chunk.byteLength;
    const expected = this.request.bodyBytes;
    if (expected >= 0 && (this.requestBytes > expected || (isLast && this.requestBytes < expected))) {
      this.cut();
      return;
    }
    if (chunk.byteLength > 0) receiver.onRequestBody(new Uint8Array(chunk));
    if (!isLast) return;
    // A request that was paused in the middle of its last bytes is complete all the same.
    this.resumeRequest();
    if (!this.isBlocked) this.pending.unwatchSlow(this);
    receiver.onRequestEnd(noTrailers);
  }

  /** Of a request that is answered: read, because bytes that nobody reads would reset the connection and take the answer away. */
  private drop(bytes: number, isLast: boolean): void {
    if (this.phase === 'done') return;
    this.droppedBytes += bytes;
    this.quietTicks = 0;
    if (this.droppedBytes > limits.lingerBytesMax) this.abort();
    else if (isLast && this.phase === 'lingering') this.closeSoon();
  }

  /** The request is complete with its head. */
  onNoBody(): void {
    if (this.phase === 'held' || this.phase === 'streaming') this.receiver?.onRequestEnd(noTrailers);
  }

  onAborted(): void {
    const isAnswered = this.phase === 'lingering' || this.phase === 'done';
    this.giveBack();
    if (!isAnswered) this.receiver?.onClientGone();
  }

  // --- What the listener says ----------------------------------------------------------------------------------------------------

  /** The turn is over and the rest of the answer has not come. */
  flushHeld(): void {
    this.isFlushDue = false;
    const { answer } = this;
    if (this.phase !== 'held' || answer === null) return;
    if (!answer.hasBody || this.answerBytes === answer.bodyBytes) this.end(noTrailers);
    // Without a length this core cannot send a head before the first byte of the body.
    else if (answer.bodyBytes >= 0 || this.answerBytes > 0) this.stream(noBytes, answer.bodyBytes);
  }

  /** uWS cuts a connection on which nothing moves for 10 s: not for it to decide while the proxy's own timeouts run. */
  keepAlive(): void {
    if (this.isPaused || this.phase === 'done') return;
    // Only a pair starts uWS's timeout anew; a resume without a pause would end its watch over the connection.
    this.res.pause();
    this.res.resume();
  }

  get isUnread(): boolean {
    return this.phase === 'finishing' && this.isBlocked;
  }

  /** There may be room for what was kept. */
  retryWrite(): void {
    const { writer } = this;
    this.unreadTicks = 0;
    if (this.phase === 'lingering') {
      // The reader is slow, but reads.
      this.quietTicks = 0;
      this.closeWhenSent();
      return;
    }
    if (writer === null || this.phase === 'done') return;
    // Leaving a cork sends uWS's backlog; uWS leaves that to whoever watches for room.
    this.res.cork(nothing);
    if (!this.isBlocked || !this.noteWrite(writer.drain())) return;
    this.isBlocked = false;
    this.pending.unwatchStuck(this);
    if (this.phase === 'finishing') this.finish();
    else this.receiver?.onDownstreamWritable();
  }

  closeNow(): void {
    this.abort();
  }

  private flushLater(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    this.pending.held.hold(this);
  }

  // --- Writing -------------------------------------------------------------------------------------------------------------------

  /** From here on nothing of the request is reported; a connection must not stay paused when uWS has the response back. */
  private beginFinish(): void {
    this.phase = 'finishing';
    this.resumeRequest();
  }

  /** A whole answer to it is not written in the turn in which it is given. */
  private get waitsForRequest(): boolean {
    return !this.isRequestComplete || this.request.bodyBytes === -1;
  }

  /**
   * It is for us to close behind this answer, which then stays unfinished for uWS. Always so while the request is still arriving: uWS says nothing
   * more of the request of an answer that it has back, so that nobody could bound it, and closes at once where the client asked for the end.
   */
  private get isClosing(): boolean {
    const { bodyBytes, isLastOfConnection, coreCloses } = this.request;
    if (!this.isRequestComplete) return true;
    if (coreCloses) return false;
    return this.pending.isDraining || bodyBytes === -1 || isLastOfConnection || this.answer?.endsConnection === true;
  }

  /** The whole answer is here: one write. */
  private writeHeld(): void {
    if (this.phase !== 'finishing' || this.writer !== null) return;
    const { res, isClosing } = this;
    const { hasBody, bodyBytes } = this.answer!;
    const isEarly = !this.isRequestComplete;
    if (!hasBody || (isEarly && this.answerBytes === 0)) {
      this.writeBodiless(hasBody ? 0 : bodyBytes);
      return;
    }
    if (isEarly) {
      // To close now would reset the connection, and could take the answer away.
      this.stream(noBytes, this.answerBytes);
      return;
    }
    // uWS says itself that it closes, unless the client did.
    const block = this.block(this.request.coreCloses ? closeField : '', false);
    if (block === null) return;
    const body = this.takeHeld(noBytes);
    this.giveBack();
    whole.res = res;
    whole.block = block;
    whole.body = body;
    whole.isClosing = isClosing;
    res.cork(writeWhole);
  }

  /** uWS's own Content-Length leaves such a response unfinished or says 2^63, so it stands in the block. */
  private writeBodiless(contentLength: number): void {
    const { res, isClosing } = this;
    // RFC 9110 section 8.6: never with 204.
    const length = contentLength < 0 || this.answer!.status === 204 ? '' : `\r\nContent-Length: ${contentLength}`;
    const block = this.block(isClosing || this.request.coreCloses ? length + closeField : length, isClosing);
    if (block === null) return;
    if (isClosing) {
      res.cork(() => {
        res.writeStatus(block);
      });
      this.linger();
      return;
    }
    this.giveBack();
    res.cork(() => {
      res.writeStatus(block);
      res.endWithoutBody();
    });
  }

  /** Writes the head and what there is of the body; more may follow. `bodyBytes` -1: not known. */
  private stream(chunk: Uint8Array, bodyBytes: number): void {
    const { res, isClosing } = this;
    const first = this.takeHeld(chunk);
    const block = this.block(isClosing || this.request.coreCloses ? closeField : '', false);
    if (block === null) return;
    if (this.phase === 'held') this.phase = 'streaming';
    const writer =
      bodyBytes === -1 ? new ChunkedBody(res, this.pending) : new FixedLengthBody(res, bodyBytes, isClosing);
    this.writer = writer;
    this.wasClosing = isClosing;
    let hasRoom = true;
    res.cork(() => {
      res.writeStatus(block);
      hasRoom = writer.begin(first, corkBytes - block.length - coreHeadBytes);
    });
    if (!hasRoom && !writer.isReturned) hasRoom = writer.drain();
    if (this.noteWrite(hasRoom) && this.phase === 'finishing') this.finish();
  }

  private write(chunk: Uint8Array): void {
    if (this.noteWrite(this.writer!.write(chunk)) && this.phase === 'finishing') this.finish();
  }

  /** What a write came to. True: there is room, and uWS has not taken the response back. */
  private noteWrite(hasRoom: boolean): boolean {
    if (this.writer!.isReturned) {
      this.giveBack();
      return false;
    }
    if (hasRoom) return true;
    this.isBlocked = true;
    this.pending.watchSlow(this);
    this.watchWritable();
    if (this.isPaused) {
      // The short write has made uWS watch the connection again, and read from it.
      this.res.pause();
      this.pending.watchStuck(this);
    }
    if (this.pending.isCoreReading) this.retrySoon();
    return false;
  }

  /** What had to wait for the end of the core's read. */
  private retrySoon(): void {
    if (this.isRetryDue) return;
    this.isRetryDue = true;
    setImmediate(() => {
      this.isRetryDue = false;
      if (this.phase === 'done') return;
      // The core's cork may have met a full kernel after the pause: then the core watches, and reads, again.
      if (this.isPaused) this.res.pause();
      this.retryWrite();
    });
  }

  private watchWritable(): void {
    if (this.isWatchingWritable) return;
    this.isWatchingWritable = true;
    this.res.onWritable(() => {
      this.retryWrite();
      return true;
    });
  }

  /** Everything is given to the writer and nothing is kept by it. */
  private finish(): void {
    const writer = this.writer!;
    // The request may have come to its end meanwhile, and uWS close by itself.
    const isClosing = this.wasClosing && !(this.request.coreCloses && this.isRequestComplete);
    this.res.cork(() => writer.end(isClosing));
    if (writer.isReturned) this.giveBack();
    else this.linger();
  }

  // --- Closing -------------------------------------------------------------------------------------------------------------------

  private linger(): void {
    this.phase = 'lingering';
    this.pending.linger(this);
    this.watchWritable();
    this.closeSoon();
  }

  /** Not at once: while uWS reads from a connection it holds back what is written to it, and closing would drop that. */
  private closeSoon(): void {
    setImmediate(() => this.closeWhenSent());
  }

  /** While the request is still arriving, closing would reset the connection. */
  private closeWhenSent(): void {
    const { writer } = this;
    if (this.phase !== 'lingering') return;
    this.res.cork(nothing);
    if (writer?.isSent() === true && this.isRequestComplete) this.abort();
  }

  private block(more: string, isWholeHead: boolean): Buffer | string | null {
    const block = answerBlock(this.answer!, more, isWholeHead);
    if (block === null) this.refuseAnswer();
    return block;
  }

  /** Its head could be read as another's. */
  private refuseAnswer(): void {
    this.phase = 'held';
    this.retract();
    this.receiver?.onAnswerRefused();
    if (this.answer === null) this.cut();
  }

  private hold(chunk: Uint8Array): void {
    // A list of one, as most are: a push into an empty one makes room for 17.
    if (this.heldBody === null) this.heldBody = [chunk];
    else this.heldBody.push(chunk);
  }

  private takeHeld(chunk: Uint8Array): Uint8Array {
    const held = this.heldBody;
    if (held === null) return chunk;
    this.heldBody = null;
    if (chunk.length > 0) held.push(chunk);
    return held.length === 1 ? held[0]! : Buffer.concat(held);
  }

  /** What cannot be answered or read as it was announced: nobody may take it for complete. */
  private cut(): void {
    const { receiver } = this;
    this.abort();
    receiver?.onClientGone();
  }

  private giveBack(): void {
    this.phase = 'done';
    this.writer = null;
    this.heldBody = null;
    this.pending.forget(this);
  }
}
