/**
 * W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/), with the flag `random` of level 2: a request's `traceparent` read,
 * continued or begun. Runs once per request, so it builds no regular expression, and an array and a buffer only once in a while.
 */
import { randomFillSync } from 'node:crypto';
import { chanceOf } from './kept-share.ts';
import { isSampled } from './sampling.ts';

export interface Trace {
  /** `00-TRACE_ID-PARENT_ID-FLAGS`, to be sent on in place of what came. */
  readonly traceparent: string;
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits: this hop. */
  readonly spanId: string;
  /** 16 hexadecimal digits: the hop before, or whatever the app calls so. Empty where a new trace was begun. */
  readonly parentId: string;
  /** False when a new trace was begun: `tracestate` belongs to the old one and must then be dropped (section 3.3). */
  readonly isContinued: boolean;
  /** A sum of `sampledFlag` and `randomFlag`. */
  readonly flags: number;
  /** By which it is kept or not (`KeptShare`). */
  readonly chance: number;
}

const dash = 45;
const traceIdAt = 3;
const parentIdAt = 36;
const flagsAt = 53;
const headChars = 55;

/** Each digit is written out: for `{32}` V8 would count, and take 1,660 instructions instead of 460. */
const digits = (count: number): string => '[0-9a-f]'.repeat(count);
const validVersion0 = new RegExp(`^00-(?!0{32})${digits(32)}-(?!0{16})${digits(16)}-${digits(2)}$`);

/**
 * Random ids of 16 hexadecimal digits, never all zero, which would mean 'invalid'. They are cut from one text that is made for many at once:
 * digit by digit each took a third of what the whole trace context costs.
 */
export class RandomIds {
  private text = '';
  private at = 0;

  /** `fill` gives each word a random number of 32 bits. */
  constructor(private readonly fill: (words: Uint32Array) => void = randomFillSync) {}

  /** 16 digits: of a span. */
  next(): string {
    return this.take(idDigits);
  }

  /** 32 digits: of a trace. Neither half is all zero. */
  nextOfTrace(): string {
    return this.take(traceIdDigits);
  }

  private take(digits: number): string {
    if (this.at + digits > this.text.length) this.refill();
    const id = this.text.slice(this.at, this.at + digits);
    this.at += digits;
    return id;
  }

  private refill(): void {
    const words = new Uint32Array((idsAtOnce * idDigits) / 8);
    this.fill(words);
    for (let i = 0; i < words.length; i += 2) if (words[i] === 0 && words[i + 1] === 0) words[i] = 1;
    this.text = Buffer.from(words.buffer).toString('hex');
    this.at = 0;
  }
}

const idDigits = 16;
const traceIdDigits = 32;
const idsAtOnce = 256;

export const sampledFlag = 1;
const randomFlag = 2;
/** By their number, as they end a `traceparent`. Every other flag is reserved, and set to zero by whoever sends another one (section 3.2.2.5.2). */
const flagTexts = ['-00', '-01', '-02', '-03'] as const;

/**
 * The trace that the request belongs to, with a new parent id. A valid value keeps its trace id and the flags that have a meaning; of a version that
 * we do not know, only the sampled one (section 4.3). Anything else, several fields joined with `,` included, begins a new trace.
 *
 * `isTrusted`: it comes from a sidecar that has proved who it is, and that has judged or begun it: only its length is looked at.
 * `threshold` of sampling.ts: of new traces so many are sampled. A trace that is continued is sampled or not as its parent says.
 */
export function continueTrace(value: string | undefined, ids: RandomIds, isTrusted = false, threshold = 0): Trace {
  const spanId = ids.next();
  if (value === undefined || !((isTrusted && value.length === headChars) || isValid(value))) {
    const traceId = ids.nextOfTrace();
    const flags = isSampled(traceId, threshold) ? sampledFlag : 0;
    const traceparent = `00-${traceId}-${spanId}${flagTexts[flags]!}`;
    const chance = chanceOf(traceId, traceIdDigits);
    return { traceparent, traceId, spanId, parentId: '', isContinued: false, flags, chance };
  }
  const traceId = value.slice(traceIdAt, traceIdAt + traceIdDigits);
  const parentId = value.slice(parentIdAt, parentIdAt + idDigits);
  const flags = flagsOf(value);
  // Of few pieces: each makes the text dearer to join, and to write.
  const start = isVersion0(value) ? value.slice(0, parentIdAt) : `00-${traceId}-`;
  const traceparent = start + spanId + flagTexts[flags]!;
  return { traceparent, traceId, spanId, parentId, isContinued: true, flags, chance: chanceOf(value, parentIdAt - 1) };
}

const isVersion0 = (traceparent: string): boolean =>
  traceparent.charCodeAt(0) === 48 && traceparent.charCodeAt(1) === 48;

/** Of a valid `traceparent`. */
function flagsOf(traceparent: string): number {
  const digit = traceparent.charCodeAt(flagsAt + 1);
  // 0 to 9 have the codes 48 to 57, a to f 97 to 102.
  const bits = digit <= 57 ? digit - 48 : digit - 87;
  return bits & (isVersion0(traceparent) ? sampledFlag | randomFlag : sampledFlag);
}

function isValid(value: string): boolean {
  if (value.length < headChars) return false;
  if (validVersion0.test(value)) return true;
  const version0 = value.charCodeAt(0);
  const version1 = value.charCodeAt(1);
  if (!isHex(version0) || !isHex(version1)) return false;
  // Version ff is forbidden. Only version 00 is known to end here; a later one may go on after a dash.
  if (version0 === 102 && version1 === 102) return false;
  if (value.length > headChars) {
    if (version0 === 48 && version1 === 48) return false;
    if (value.charCodeAt(headChars) !== dash || value.indexOf(',') !== -1) return false;
  }
  return (
    value.charCodeAt(traceIdAt - 1) === dash &&
    value.charCodeAt(parentIdAt - 1) === dash &&
    value.charCodeAt(flagsAt - 1) === dash &&
    isNonZeroHex(value, traceIdAt, parentIdAt - 1) &&
    isNonZeroHex(value, parentIdAt, flagsAt - 1) &&
    isHex(value.charCodeAt(flagsAt)) &&
    isHex(value.charCodeAt(flagsAt + 1))
  );
}

/** Lower case only: section 3.2.2.3 allows no other. */
function isHex(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 97 && code <= 102);
}

function isNonZeroHex(value: string, start: number, end: number): boolean {
  let isNonZero = false;
  for (let at = start; at < end; at++) {
    const code = value.charCodeAt(at);
    if (!isHex(code)) return false;
    if (code !== 48) isNonZero = true;
  }
  return isNonZero;
}
