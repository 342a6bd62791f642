/** One request on a connection of the edge and the answer to it, brought out through Node's ServerResponse in the fewest writes. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { limits } from '../../model/limits.ts';
import { isFieldText, isToken } from '../char-classes.ts';
import { fieldIds } from '../field-names.ts';
import type { CheckedHead } from '../head-check.ts';
import { dropFields, type HeaderList, headerList, textsOf } from '../headers.ts';
import type { AnswerHead, Downstream, RequestReceiver } from '../request.ts';
import { dropTrailerField, noTrailers, passableTrailers } from '../trailers.ts';
import type { HeldAnswer, HeldAnswers } from './held-answers.ts';
import { linger, lingerAtEnd, watchReader, writeLastAnswer } from './last-answer.ts';

/** What all answers of one edge listener share. */
export interface EdgeTurn {
  readonly held: HeldAnswers;
  isDraining: boolean;
  /** It is TCP, where a connection can end in a way that cannot be taken for the end of an answer. */
  readonly canReset: boolean;
  /** How long a client may leave the rest of an answer unread, ms. */
  readonly clientIdleMs: number;
  /** A client did. */
  readonly onUnread: () => void;
}

/** held: nothing of the answer is written. streaming: its head is. done: the proxy has said its last word, or the client went. */
type Phase = 'held' | 'streaming' | 'done';

const noBytes = Buffer.alloc(0);

export class EdgeAnswer implements Downstream, HeldAnswer {
  readonly wantsTiming = false;
  receiver: RequestReceiver | null = null;

  private phase: Phase = 'held';
  private answer: AnswerHead | null = null;
  private answerBytes = 0;
  private heldBody: Buffer[] = [];
  private isWritableOwed = false;
  /** Of the request, once it was answered. */
  private droppedBytes = 0;

  constructor(
    private readonly turn: EdgeTurn,
    private readonly req: IncomingMessage,
    private readonly res: ServerResponse,
    { bodyBytes, nominated }: CheckedHead,
  ) {
    res.on('close', () => this.giveUp());
    res.on('drain', () => this.onDrain());
    if (bodyBytes === 0) return;
    req.on('data', (chunk: Buffer) => {
      if (this.phase !== 'done') this.receiver?.onRequestBody(chunk);
      else this.drop(chunk);
    });
    req.on('end', () => {
      if (this.phase !== 'done') this.receiver?.onRequestEnd(passableTrailers(headerList(req.rawTrailers), nominated));
    });
  }

  /** True from the answer's head on. */
  get isBegun(): boolean {
    return this.answer !== null;
  }

  /** True while the request itself is still arriving. */
  get isReceiving(): boolean {
    return !this.req.complete;
  }

  /** True once the whole answer is given to Node, or nobody waits for it. */
  get isDone(): boolean {
    return this.phase === 'done';
  }

  /** True for a request to which no body is answered. */
  get isToHead(): boolean {
    return this.req.method === 'HEAD';
  }

  head(head: AnswerHead): void {
    if (this.phase !== 'held' || this.answer !== null) return;
    this.answer = head;
    this.turn.held.hold(this);
  }

  body(chunk: Uint8Array): boolean {
    const { answer } = this;
    if (answer === null || !answer.hasBody || this.phase === 'done' || chunk.byteLength === 0) return true;
    this.answerBytes += chunk.byteLength;
    if (answer.bodyBytes >= 0 && this.answerBytes > answer.bodyBytes) {
      this.cut();
      return true;
    }
    // Node keeps what it is given until the kernel has taken it, and the chunk is only ours during this call.
    const copy = Buffer.from(chunk);
    if (this.phase === 'held') {
      this.heldBody.push(copy);
      if (this.answerBytes <= limits.heldAnswerBytesMax) return true;
      this.stream(answer.bodyBytes);
    } else if (!this.res.write(copy)) {
      this.isWritableOwed = true;
    }
    return !this.isWritableOwed;
  }

  end(trailers: HeaderList): void {
    const { answer, res } = this;
    if (answer === null || this.phase === 'done') return;
    if (answer.hasBody && answer.bodyBytes >= 0 && this.answerBytes !== answer.bodyBytes) {
      this.cut();
      return;
    }
    if (answer.endsConnection === true && this.phase === 'held' && !this.req.complete) {
      this.endConnection(answer);
      return;
    }
    const hasTrailers = trailers.length > 0 && answer.hasBody && answer.bodyBytes === -1 && areValid(trailers);
    if (this.phase === 'held') {
      const bodyBytes = answer.hasBody && !hasTrailers ? this.answerBytes : answer.bodyBytes;
      if (!this.writeHead(bodyBytes)) return;
    }
    this.phase = 'done';
    const last = this.takeHeld();
    if (hasTrailers) {
      if (last !== null) res.write(last);
      res.addTrailers(trailers.map(({ name, value }): [string, string] => [name, value]));
    }
    if (last === null || hasTrailers) res.end();
    else res.end(last);
    this.discardRest();
    this.awaitReader();
  }

  retract(): boolean {
    if (this.phase !== 'held') return false;
    this.answer = null;
    this.answerBytes = 0;
    this.heldBody = [];
    return true;
  }

  abort(): void {
    if (this.phase === 'done') return;
    this.phase = 'done';
    this.heldBody = [];
    const { socket } = this.req;
    // A reset, and no FIN: an answer that ends with the connection would look complete. A unix socket knows no reset.
    if (this.turn.canReset) socket.resetAndDestroy();
    else socket.destroy();
  }

  pauseRequest(): void {
    if (this.phase !== 'done') this.req.pause();
  }

  resumeRequest(): void {
    if (this.phase !== 'done') this.req.resume();
  }

  flushHeld(): void {
    const { answer } = this;
    if (this.phase !== 'held' || answer === null) return;
    if (!answer.hasBody || this.answerBytes === answer.bodyBytes) this.end(noTrailers);
    else this.stream(answer.bodyBytes);
  }

  /** The client broke the framing of its body once the answer had begun, or the answer was not what its head said: nobody may take it for complete. */
  cut(): void {
    if (this.phase === 'done') {
      this.req.socket.destroy();
      return;
    }
    this.abort();
    this.receiver?.onClientGone();
  }

  /** Nobody waits for what the proxy would answer. */
  giveUp(): void {
    if (this.phase === 'done') return;
    this.phase = 'done';
    this.heldBody = [];
    this.receiver?.onClientGone();
  }

  /** What Node would throw at. */
  private refuseAnswer(): void {
    this.retract();
    this.receiver?.onAnswerRefused();
    if (this.answer === null) this.cut();
  }

  private onDrain(): void {
    if (!this.isWritableOwed || this.phase === 'done') return;
    this.isWritableOwed = false;
    this.receiver?.onDownstreamWritable();
  }

  /** Writes the head and what there is of the body; more will follow. */
  private stream(bodyBytes: number): void {
    if (!this.writeHead(bodyBytes)) return;
    this.phase = 'streaming';
    const first = this.takeHeld();
    // Not `flushHeaders`, which writes a head as UTF-8 and so changes its bytes beyond ASCII.
    if (first === null) this.res.write('', 'latin1');
    else if (!this.res.write(first)) this.isWritableOwed = true;
  }

  /** `bodyBytes` -1: chunked, or to an HTTP/1.0 client up to the end of the connection. False: it was refused and the connection cut. */
  private writeHead(bodyBytes: number): boolean {
    const { status, reason, headers, hasBody } = this.answer!;
    if (!isFieldText(reason) || !areValid(headers)) {
      this.refuseAnswer();
      return false;
    }
    if (this.turn.isDraining) this.res.shouldKeepAlive = false;
    // RFC 9110 section 8.6: never with 204.
    const hasLength = bodyBytes >= 0 && status !== 204;
    dropRepeatedDates(headers);
    // Node throws for a Trailer field without chunks to carry trailers, and an app may announce what it never sends.
    if (hasLength || !hasBody || this.req.httpVersionMinor === 0) dropTrailerField(headers);
    const texts = textsOf(headers);
    if (hasLength) texts.push('Content-Length', `${bodyBytes}`);
    this.res.writeHead(status, reason, texts);
    return true;
  }

  /**
   * The answer is complete before the request is: the rest is read, so that no reset takes the answer away and the connection can
   * be used again (RFC 9112 section 9.3), but not for long once the kernel has taken the answer. Until then it is the reader who is waited for.
   */
  private discardRest(): void {
    const { req, res, turn } = this;
    const { socket } = req;
    if (req.complete) return;
    req.resume();
    lingerAtEnd(socket);
    // Whoever goes on sending would keep Node's own timeout (see `awaitReader`) from firing.
    const unread = watchReader(socket, turn.clientIdleMs, () => {
      turn.onUnread();
      socket.destroy();
    });
    res.once('close', () => clearInterval(unread));
    res.once('finish', () => linger(socket, () => req.complete));
  }

  private drop({ byteLength }: Buffer): void {
    this.droppedBytes += byteLength;
    if (this.droppedBytes > limits.lingerBytesMax) this.req.socket.destroy();
  }

  /** The proxy has done with the answer; who does not read the rest of it is nobody's but ours to cut. Node's timeout knows of what the kernel has taken. */
  private awaitReader(): void {
    const { socket } = this.req;
    if (socket.writableLength === 0) return;
    const { clientIdleMs, onUnread } = this.turn;
    const onTimeout = () => {
      onUnread();
      socket.destroy();
    };
    socket.setTimeout(clientIdleMs);
    this.res.once('timeout', onTimeout);
    // Before Node's own listener, which starts the time without a request unless one waits already.
    this.res.prependOnceListener('finish', () => socket.setTimeout(0));
  }

  private endConnection({ status, reason, headers }: AnswerHead): void {
    const { req } = this;
    this.phase = 'done';
    req.resume();
    writeLastAnswer(req.socket, { status, reason, headers, body: this.takeHeld() ?? noBytes }, this.isToHead);
  }

  private takeHeld(): Buffer | null {
    const held = this.heldBody;
    if (held.length === 0) return null;
    this.heldBody = [];
    return held.length === 1 ? held[0]! : Buffer.concat(held);
  }
}

/** Node throws at what this refuses. */
function areValid(headers: HeaderList): boolean {
  return headers.every(({ name, value }) => isToken(name) && isFieldText(value));
}

/** An origin may say several, a filter may add one, and a recipient would have to guess; Node adds one where there is none. */
function dropRepeatedDates(headers: HeaderList): void {
  let isDated = false;
  dropFields(headers, ({ id }) => {
    const isRepeated = isDated && id === fieldIds.date;
    isDated ||= id === fieldIds.date;
    return isRepeated;
  });
}
