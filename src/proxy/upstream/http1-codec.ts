/**
 * The answers of an HTTP/1.1 endpoint, read from bytes: pure, no I/O. The endpoint may be hostile or broken, so whatever can be
 * read in two ways is refused (RFC 9112 sections 4 to 8): `upstream-garbage` before anything of it is passed on.
 */
import { limits } from '../../model/limits.ts';
import type { FailureCode } from '../failure.ts';
import { fieldIds, isOfHop } from '../field-names.ts';
import { dropFields, type Field, type HeaderList } from '../headers.ts';
import { LastView } from '../last-view.ts';
import { noTrailers, passableTrailers } from '../trailers.ts';
import { hexValue, isFieldText } from './http1-octets.ts';
import { Http1Section, sectionFailed, sectionNeedsMore } from './http1-section.ts';
import type { UpstreamHandler, UpstreamHead } from './upstream.ts';

const HTAB = 9;
const LF = 10;
const CR = 13;
const SP = 32;
const SEMICOLON = 59;

/** Where the parser stands: what the next octet is. */
const inHead = 0;
const inSizedBody = 1;
const inUnsizedBody = 2;
const inChunkSize = 3;
const inChunkSizeBlank = 4;
const inChunkExtension = 5;
const inChunkSizeEnd = 6;
const inChunk = 7;
const inChunkEnd = 8;
const inChunkEndFeed = 9;
const inTrailers = 10;
const isOver = 11;
const hasFailed = 12;
const isStopped = 13;

/** 15 digits, below 2^53 for a Content-Length; a chunk of more than 2^53 - 1 octets is refused. */
const lengthDigitsMax = 15;

export type ParseOutcome =
  /** All octets are taken and the answer goes on (or the parser was stopped by a callback). */
  | 'more'
  /** The last octet of the answer was the last one fed. */
  | 'complete'
  /** The answer is complete, and octets follow that nobody asked for. */
  | 'surplus'
  /** The answer is complete, and octets follow from `nextAt` on: those of the next one, for its request has been sent (`isFollowed`). */
  | 'followed'
  /** See `failureCode`. */
  | 'failed';

export type AnswerSink = Pick<UpstreamHandler, 'onHead' | 'onBody'>;

/** A callback may come before the first `begin` only by a bug; octets without a request are the connection's to refuse. */
/** Of the buffer that all connections read into. */
const lastView = new LastView();
const nobody: AnswerSink = { onHead: () => {}, onBody: () => {} };

export class AnswerParser {
  /** Why `feed` answered `failed`. */
  failureCode: FailureCode = 'upstream-garbage';
  /** Once the answer is complete. */
  trailers: HeaderList = noTrailers;
  /** True when the endpoint keeps the connection after this answer. Known with the head. */
  keepsConnection = false;
  /** An octet of the answer has come, be it of an interim one. */
  hasBegun = false;
  isHeadDone = false;
  /** Another answer may follow this one: its request was sent on the same connection. */
  isFollowed = false;
  /** Where the next answer begins, once `feed` answered `followed`. */
  nextAt = 0;
  private state = isOver;
  private sink: AnswerSink = nobody;
  private isHeadRequest = false;
  private readonly section = new Http1Section();
  /** Octets left of the body, or of the chunk. */
  private remaining = 0;
  private saidLength = false;
  private forbidsContent = false;
  private nominated: readonly string[] | null = null;
  private interimAnswers = 0;
  private chunkDigits = 0;
  private extensionBytes = 0;

  /** Starts on the answer to one request: its head, interim ones before it, and its body go to `sink`. */
  begin(sink: AnswerSink, isHeadRequest: boolean): void {
    this.failureCode = 'upstream-garbage';
    this.trailers = noTrailers;
    this.keepsConnection = false;
    this.hasBegun = false;
    this.isHeadDone = false;
    this.state = inHead;
    this.sink = sink;
    this.isHeadRequest = isHeadRequest;
    this.section.begin(true);
    this.remaining = 0;
    this.saidLength = false;
    this.forbidsContent = false;
    this.nominated = null;
    this.interimAnswers = 0;
    this.extensionBytes = 0;
  }

  /** No further callback: for a stream that was destroyed, also from within one. */
  stop(): void {
    this.state = isStopped;
    this.sink = nobody;
  }

  /** What is still to come of the answer goes to `sink`, also from within a callback. */
  redirect(sink: AnswerSink): void {
    this.sink = sink;
  }

  /** True when a clean end of the connection is the end of this answer (RFC 9112 section 6.3, rule 8). */
  get endsAtClose(): boolean {
    return this.state === inUnsizedBody;
  }

  /** Takes the octets of `bytes` from `from` to `length`. Chunks given to the sink are views of `bytes`, valid only in the call. */
  feed(bytes: Buffer, length: number, from = 0): ParseOutcome {
    if (length > from) this.hasBegun = true;
    let at = from;
    while (at < length) {
      switch (this.state) {
        case inHead:
          at = this.takeHead(bytes, at, length);
          break;
        case inSizedBody:
        case inChunk:
          at = this.takeContent(bytes, at, length);
          break;
        case inUnsizedBody:
          at = this.takeUnsized(bytes, at, length);
          break;
        case inTrailers:
          at = this.takeTrailers(bytes, at, length);
          break;
        case isOver:
          return this.isFollowed ? this.endBefore(at) : this.refuseSurplus();
        case hasFailed:
          return 'failed';
        case isStopped:
          return 'more';
        default:
          this.takeChunkFraming(bytes[at]!);
          at++;
      }
    }
    if (this.state === isOver) return 'complete';
    return this.state === hasFailed ? 'failed' : 'more';
  }

  private endBefore(next: number): ParseOutcome {
    this.nextAt = next;
    return 'followed';
  }

  /** A body longer than its Content-Length is a broken message: it must not look as if it had ended well. */
  private refuseSurplus(): ParseOutcome {
    if (!this.saidLength) return 'surplus';
    this.fail('answer-cut');
    return 'failed';
  }

  private fail(code: FailureCode): void {
    this.failureCode = code;
    this.state = hasFailed;
  }

  // --- Head ------------------------------------------------------------------------------------------------------------------------

  private takeHead(bytes: Buffer, start: number, end: number): number {
    const next = this.section.take(bytes, start, end);
    if (next === sectionNeedsMore) return end;
    if (next === sectionFailed) this.fail(this.section.failureCode);
    else this.readHead();
    return next === sectionFailed ? end : next;
  }

  private readHead(): void {
    const { versionAndCode, reason } = this.section;
    const status =
      (versionAndCode.charCodeAt(9) - 48) * 100 +
      (versionAndCode.charCodeAt(10) - 48) * 10 +
      versionAndCode.charCodeAt(11) -
      48;
    if (status < 200) {
      this.skipInterim(status);
      return;
    }
    const fields = new AnswerFields(this.section);
    if (fields.isBroken) {
      this.fail('upstream-garbage');
      return;
    }
    const isOld = versionAndCode.charCodeAt(7) === 48;
    const length = fields.contentLength;
    // RFC 9112 section 6.1: both lengths, or a transfer coding in HTTP/1.0, are what smuggling is made of.
    if (fields.isChunked && (length >= 0 || isOld)) {
      this.fail('upstream-garbage');
      return;
    }
    this.keepsConnection = !fields.closes && (!isOld || fields.keeps);
    const hasBody = !this.isHeadRequest && status !== 204 && status !== 304;
    if (hasBody) this.frameBody(fields.isChunked, length);
    else this.state = isOver;
    // RFC 9110 section 15.3.5: a 204 that announces content may well send it.
    if (status === 204 && (length > 0 || fields.isChunked)) this.keepsConnection = false;
    if (status === 205 && hasBody) {
      // RFC 9110 section 15.3.6: clients that know there is no content would take it for the next answer.
      this.forbidsContent = true;
      if (length > 0) {
        this.fail('upstream-garbage');
        return;
      }
    }
    this.nominated = fields.nominated;
    this.isHeadDone = true;
    const head: UpstreamHead = {
      status,
      reason,
      headers: fields.headers,
      bodyBytes: status === 204 ? -1 : length,
      hasBody,
      far: null,
    };
    this.sink.onHead(head);
  }

  /** 100 and 103 are of this hop; 101 is the answer to a question that was not asked (RFC 9110 section 15.2). */
  private skipInterim(status: number): void {
    this.interimAnswers++;
    if (status === 101 || this.interimAnswers > limits.interimAnswersMax) this.fail('upstream-garbage');
    else this.section.begin(true);
  }

  private frameBody(isChunked: boolean, length: number): void {
    if (isChunked) {
      this.beginChunk();
    } else if (length >= 0) {
      this.saidLength = true;
      this.remaining = length;
      this.state = length === 0 ? isOver : inSizedBody;
    } else {
      this.keepsConnection = false;
      this.state = inUnsizedBody;
    }
  }

  // --- Body ------------------------------------------------------------------------------------------------------------------------

  private takeContent(bytes: Buffer, start: number, end: number): number {
    const contentEnd = Math.min(end, start + this.remaining);
    this.remaining -= contentEnd - start;
    if (this.remaining === 0) this.state = this.state === inChunk ? inChunkEnd : isOver;
    this.passOn(bytes, start, contentEnd);
    return contentEnd;
  }

  private takeUnsized(bytes: Buffer, start: number, end: number): number {
    this.passOn(bytes, start, end);
    return end;
  }

  private passOn(bytes: Buffer, start: number, end: number): void {
    if (this.forbidsContent) this.fail('upstream-garbage');
    else this.sink.onBody(lastView.piece(bytes, start, end));
  }

  private beginChunk(): void {
    this.remaining = 0;
    this.chunkDigits = 0;
    this.state = inChunkSize;
  }

  /** One octet of what stands between chunks (RFC 9112 section 7.1). */
  private takeChunkFraming(octet: number): void {
    switch (this.state) {
      case inChunkSize:
        this.takeChunkSize(octet);
        return;
      case inChunkSizeBlank:
        if (octet === SEMICOLON) this.state = inChunkExtension;
        else if (octet !== SP && octet !== HTAB) this.fail('upstream-garbage');
        this.countExtension();
        return;
      case inChunkExtension:
        if (octet === CR) this.state = inChunkSizeEnd;
        else if (isFieldText[octet] === 0) this.fail('upstream-garbage');
        this.countExtension();
        return;
      case inChunkSizeEnd:
        if (octet !== LF) this.fail('upstream-garbage');
        else if (this.remaining > 0) this.state = inChunk;
        else this.beginTrailers();
        return;
      case inChunkEnd:
        if (octet === CR) this.state = inChunkEndFeed;
        else this.fail('upstream-garbage');
        return;
      case inChunkEndFeed:
        if (octet === LF) this.beginChunk();
        else this.fail('upstream-garbage');
    }
  }

  private takeChunkSize(octet: number): void {
    const digit = hexValue[octet]!;
    if (digit < 16) {
      this.remaining = this.remaining * 16 + digit;
      this.chunkDigits++;
      if (this.chunkDigits > lengthDigitsMax || this.remaining > Number.MAX_SAFE_INTEGER) this.fail('upstream-garbage');
    } else if (this.chunkDigits === 0) this.fail('upstream-garbage');
    else if (octet === CR) this.state = inChunkSizeEnd;
    else if (octet === SEMICOLON) this.state = inChunkExtension;
    else if (octet === SP || octet === HTAB) this.state = inChunkSizeBlank;
    else this.fail('upstream-garbage');
  }

  /** Extensions are dropped, so nothing else would bound them: counted over the whole answer, that many small ones are no way around. */
  private countExtension(): void {
    if (++this.extensionBytes > limits.chunkExtensionBytesMax) this.fail('upstream-garbage');
  }

  private beginTrailers(): void {
    this.section.begin(false);
    this.state = inTrailers;
  }

  private takeTrailers(bytes: Buffer, start: number, end: number): number {
    const next = this.section.take(bytes, start, end);
    if (next === sectionNeedsMore) return end;
    if (next === sectionFailed) {
      this.fail(this.section.failureCode);
      return end;
    }
    const { fieldCount } = this.section;
    if (fieldCount > 0 && fieldCount <= limits.headerFieldsMax)
      this.trailers = readTrailers(this.section, this.nominated);
    this.state = isOver;
    return next;
  }
}

/** The fields of a head, those of this hop taken out and understood (RFC 9110 section 7.6.1). */
class AnswerFields {
  readonly headers: HeaderList = [];
  isBroken = false;
  /** -1: not said. */
  contentLength = -1;
  isChunked = false;
  closes = false;
  keeps = false;
  /** What Connection named, in lower case: fields of this hop, among the trailers too. */
  nominated: string[] | null = null;

  constructor(section: Http1Section) {
    for (let i = 0; i < section.fieldCount; i++) {
      const field = section.fieldAt(i);
      if (isOfHop[field.id]!) this.takeHopField(field);
      else this.headers.push(field);
    }
    if (this.nominated !== null) this.dropNominated(this.nominated);
  }

  private takeHopField({ id, value }: Field): void {
    if (id === fieldIds.connection) this.takeConnection(value);
    else if (id === fieldIds.contentLength) this.takeContentLength(value);
    else if (id === fieldIds.transferEncoding) this.takeTransferEncoding(value);
  }

  private takeConnection(value: string): void {
    if (value === 'keep-alive') {
      // What nearly every server writes: splitting it was a sixth of the time of reading a head.
      this.keeps = true;
      return;
    }
    for (const part of value.split(',')) {
      const option = part.trim().toLowerCase();
      if (option === 'close') this.closes = true;
      else if (option === 'keep-alive') this.keeps = true;
      else if (option !== '') {
        this.nominated ??= [];
        this.nominated.push(option);
        // Bounds the work of dropNominated.
        if (this.nominated.length > limits.headerFieldsMax) this.isBroken = true;
      }
    }
  }

  /** A second one is refused even when it is the same: RFC 9110 section 8.6 allows to, and no honest server sends it. */
  private takeContentLength(value: string): void {
    if (this.contentLength >= 0 || value.length === 0 || value.length > lengthDigitsMax) this.isBroken = true;
    let length = 0;
    for (let i = 0; i < value.length && !this.isBroken; i++) {
      const digit = value.charCodeAt(i) - 48;
      if (digit < 0 || digit > 9) this.isBroken = true;
      length = length * 10 + digit;
    }
    this.contentLength = length;
  }

  /** We ask for no other coding (no TE is sent), and with one the end of the message would be a matter of opinion. */
  private takeTransferEncoding(value: string): void {
    if (this.isChunked || value.toLowerCase() !== 'chunked') this.isBroken = true;
    this.isChunked = true;
  }

  private dropNominated(nominated: readonly string[]): void {
    if (this.isBroken) return;
    dropFields(this.headers, ({ name }) => nominated.includes(name.toLowerCase()));
  }
}

function readTrailers(section: Http1Section, nominated: readonly string[] | null): HeaderList {
  const trailers: HeaderList = [];
  for (let i = 0; i < section.fieldCount; i++) trailers.push(section.fieldAt(i));
  return passableTrailers(trailers, nominated === null ? null : new Set(nominated));
}
