/**
 * One section of an answer that is made of lines: a status line with its fields, or trailers. Reads it from any segmentation,
 * strictly (RFC 9112 sections 2.2, 4 and 5): CRLF only, no folding, no blank before a colon, nothing but field text in values.
 *
 * A section that is whole in one read, the usual case, is read in place. Otherwise what has come is held, up to
 * `limits.headBytesMax`, at a cost that grows with its length alone, however small the pieces are.
 */
import { limits } from '../../model/limits.ts';
import type { FailureCode } from '../failure.ts';
import { type Field, fieldOf } from '../headers.ts';
import { LastView } from '../last-view.ts';
import { readLatin1 } from '../latin1.ts';
import { isFieldText, isToken } from './http1-octets.ts';
import { findLine, findStatusLine, type KnownLine, meetLine } from './known-lines.ts';

const HTAB = 9;
const LF = 10;
const CR = 13;
const SP = 32;
const COLON = 58;

/** Answers of `take` that are no index. */
export const sectionNeedsMore = -1;
export const sectionFailed = -2;

const statusPrefix = [...'HTTP/1.'].map((char) => char.charCodeAt(0));
/** `HTTP/1.1 200` */
const statusCodeEnd = 12;
const heldBytesMin = 1024;
const shortLineBytesMax = 128;

const lastView = new LastView();

export class Http1Section {
  /** The whole section, latin1, once `take` answered an index; empty when all its lines are known. */
  text = '';
  /** How many fields it has: of a head at most `limits.headerFieldsMax`. Trailers may be more, and are then to be dropped. */
  fieldCount = 0;
  /** Four for each field, up to that limit: where its name starts and ends and its value starts and ends, from the start of the section. Reused: what lies beyond is old. */
  readonly marks: number[] = [];
  /** By field: the line that came before; null: its marks say where it is. Reused like `marks`. */
  readonly known: (KnownLine | null)[] = [];
  /** `HTTP/1.1 200`, once `take` answered an index, and what stands behind it. */
  versionAndCode = '';
  reason = '';
  failureCode: FailureCode = 'upstream-garbage';
  private isHead = true;
  private hasStatusLine = false;
  /** Where the status line ends, unless it is known. */
  private reasonEnd = 0;
  private hasUnknown = false;
  /** Start of the first line that is not read yet, from the start of the section. */
  private lineStart = 0;
  private held: Buffer | null = null;
  private heldBytes = 0;

  begin(startsWithStatusLine: boolean): void {
    this.text = '';
    this.fieldCount = 0;
    this.reasonEnd = 0;
    this.hasUnknown = false;
    this.failureCode = 'upstream-garbage';
    this.isHead = startsWithStatusLine;
    this.hasStatusLine = !startsWithStatusLine;
    this.lineStart = 0;
    this.held = null;
    this.heldBytes = 0;
  }

  /** By its index up to `limits.headerFieldsMax`. */
  fieldAt(index: number): Field {
    const known = this.known[index]!;
    if (known !== null) return known.field;
    const { marks, text } = this;
    const at = index * 4;
    return fieldOf(text.slice(marks[at]!, marks[at + 1]!), text.slice(marks[at + 2]!, marks[at + 3]!));
  }

  /** Reads on in `bytes` from `start` to `end`. Answers where the section ends in it, `sectionNeedsMore` or `sectionFailed`. */
  take(bytes: Buffer, start: number, end: number): number {
    if (this.held !== null) return this.takeHeld(bytes, start, end);
    const sectionEnd = this.readLines(bytes, start, end);
    if (sectionEnd >= 0) return this.complete(bytes, start, sectionEnd, sectionEnd);
    if (sectionEnd === sectionFailed) return sectionFailed;
    if (end - start >= limits.headBytesMax) return this.failTooLarge();
    this.hold(bytes, start, end);
    return sectionNeedsMore;
  }

  private takeHeld(bytes: Buffer, start: number, end: number): number {
    const heldBefore = this.heldBytes;
    // Bytes beyond the limit stay out: the section may end before them, and what follows it is not ours to judge.
    this.hold(bytes, start, Math.min(end, start + limits.headBytesMax - heldBefore));
    const sectionEnd = this.isWorthReading(heldBefore)
      ? this.readLines(this.held!, 0, this.heldBytes)
      : sectionNeedsMore;
    if (sectionEnd >= 0) return this.complete(this.held!, 0, sectionEnd, start + sectionEnd - heldBefore);
    if (sectionEnd === sectionNeedsMore && this.heldBytes === limits.headBytesMax) return this.failTooLarge();
    return sectionEnd;
  }

  /**
   * Only a line feed can complete a line; looking at a long one before that came would make a trickled section cost the square of
   * its length. A short one is looked at again, because what never was HTTP may never send a line feed.
   */
  private isWorthReading(heldBefore: number): boolean {
    if (this.heldBytes - this.lineStart <= shortLineBytesMax) return true;
    return this.held!.subarray(heldBefore, this.heldBytes).includes(LF);
  }

  private hold(bytes: Buffer, start: number, end: number): void {
    const needed = this.heldBytes + end - start;
    if (this.held === null || needed > this.held.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(limits.headBytesMax, Math.max(heldBytesMin, needed * 2)));
      if (this.held !== null) this.held.copy(grown, 0, 0, this.heldBytes);
      this.held = grown;
    }
    bytes.copy(this.held, this.heldBytes, start, end);
    this.heldBytes = needed;
  }

  private complete(bytes: Buffer, start: number, end: number, answer: number): number {
    if (end - start > limits.headBytesMax) return this.failTooLarge();
    if (this.hasUnknown) {
      this.text = readLatin1(bytes, start, end);
      if (this.reasonEnd > 0) {
        this.versionAndCode = this.text.slice(0, statusCodeEnd);
        this.reason = this.text.slice(statusCodeEnd + 1, this.reasonEnd);
      }
    }
    this.held = null;
    return answer;
  }

  private failTooLarge(): number {
    this.failureCode = 'upstream-head-too-large';
    this.held = null;
    return sectionFailed;
  }

  /** Reads whole lines from the first unread one. Answers the index after the empty line, or why there is none. */
  private readLines(bytes: Buffer, start: number, end: number): number {
    const view = lastView.of(bytes);
    let at = start + this.lineStart;
    let known: KnownLine | null = null;
    if (!this.hasStatusLine) {
      known = findStatusLine(view, start, end);
      if (known === null) {
        at = this.readStatusLine(bytes, view, start, end);
        if (at < 0) return at;
      } else {
        this.versionAndCode = known.field.name;
        this.reason = known.field.value;
        at = start + known.length;
      }
      this.hasStatusLine = true;
      this.lineStart = at - start;
    }
    while (at < end) {
      if (bytes[at] === CR) {
        if (at + 1 === end) return sectionNeedsMore;
        return bytes[at + 1] === LF ? at + 2 : sectionFailed;
      }
      known = this.fieldCount < limits.headerFieldsMax ? findLine(view, at, end, known) : null;
      if (known === null) {
        at = this.readField(bytes, view, start, at, end);
        if (at < 0) return at;
      } else {
        this.known[this.fieldCount++] = known;
        at += known.length;
      }
      this.lineStart = at - start;
    }
    return sectionNeedsMore;
  }

  private readStatusLine(bytes: Buffer, view: DataView, start: number, end: number): number {
    const fixedEnd = Math.min(end, start + statusCodeEnd);
    for (let at = start; at < fixedEnd; at++) {
      if (!isStatusOctet(at - start, bytes[at]!)) return sectionFailed;
    }
    let at = start + statusCodeEnd;
    if (at >= end) return sectionNeedsMore;
    // The blank before an empty reason is required, and often forgotten.
    if (bytes[at] === SP) {
      at++;
      while (at < end && isFieldText[bytes[at]!] === 1) at++;
    }
    const next = endOfLine(bytes, at, end);
    if (next < 0) return next;
    this.reasonEnd = at - start;
    this.hasUnknown = true;
    const nameEnd = start + statusCodeEnd;
    meetLine(bytes, view, { at: start, nameEnd, valueStart: Math.min(nameEnd + 1, at), valueEnd: at, end: next }, true);
    return next;
  }

  private readField(bytes: Buffer, view: DataView, start: number, nameStart: number, end: number): number {
    let at = nameStart;
    while (at < end && isToken[bytes[at]!] === 1) at++;
    if (at === end) return sectionNeedsMore;
    if (bytes[at] !== COLON || at === nameStart) return sectionFailed;
    const nameEnd = at++;
    while (at < end && (bytes[at] === SP || bytes[at] === HTAB)) at++;
    const valueStart = at;
    while (at < end && isFieldText[bytes[at]!] === 1) at++;
    let valueEnd = at;
    while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB)) valueEnd--;
    const next = endOfLine(bytes, at, end);
    if (next < 0) return next;
    if (this.fieldCount >= limits.headerFieldsMax) {
      if (this.isHead) return this.failTooLarge();
      // The answer itself is whole, and trailers may be dropped (RFC 9110 section 6.5): read to their end, within the bytes of a head.
      this.fieldCount++;
      return next;
    }
    meetLine(bytes, view, { at: nameStart, nameEnd, valueStart, valueEnd, end: next }, false);
    this.hasUnknown = true;
    this.known[this.fieldCount] = null;
    const mark = this.fieldCount++ * 4;
    this.marks[mark] = nameStart - start;
    this.marks[mark + 1] = nameEnd - start;
    this.marks[mark + 2] = valueStart - start;
    this.marks[mark + 3] = valueEnd - start;
    return next;
  }
}

/** `HTTP/1.0 ` or `HTTP/1.1 `, then three digits of which the first is none (RFC 9112 section 4). */
function isStatusOctet(index: number, octet: number): boolean {
  if (index < 7) return octet === statusPrefix[index];
  if (index === 7) return octet === 48 || octet === 49;
  if (index === 8) return octet === SP;
  return octet >= (index === 9 ? 49 : 48) && octet <= 57;
}

function endOfLine(bytes: Buffer, at: number, end: number): number {
  if (at >= end) return sectionNeedsMore;
  if (bytes[at] !== CR) return sectionFailed;
  if (at + 1 >= end) return sectionNeedsMore;
  return bytes[at + 1] === LF ? at + 2 : sectionFailed;
}
