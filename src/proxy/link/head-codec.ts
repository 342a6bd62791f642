/**
 * Heads, trailers and timings as payloads of frames, and back (docs/link.md has the layout). A payload is built as one latin1 string and written in one call: writing
 * each text by itself would call into native code some twenty times a head. It is read where it lies, and made a text, as a whole, only for what is not known.
 *
 * Nothing here throws: what is no payload of this version is null. Lengths are believed only as far as the payload reaches.
 */
import { limits } from '../../model/limits.ts';
import type { HopTiming } from '../../telemetry/ledger.ts';
import { fieldNames, fieldNumber } from '../field-names.ts';
import type { HeaderList } from '../headers.ts';
import { findField, findFieldAt, type KnownField, noteField } from '../known-fields.ts';
import { readLatin1, writeLatin1 } from '../latin1.ts';
import { reasonOf } from '../local-reply.ts';
import { LastView } from '../same-octets.ts';
import type { UpstreamHead } from '../upstream/upstream.ts';
import { headFlags, isHeadFlags, joinedBytesMax } from './frames.ts';
import { decodeTiming, encodeTiming, timingBytes, writeTiming } from './timing-codec.ts';

/** Number 0 says that the method follows. */
export const methodNames: readonly string[] = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'];
const methodNumbers: ReadonlyMap<string, number> = new Map(
  methodNames.map((name, number) => [name, number] as const).slice(1),
);

/** What kind of stream OPEN opens. Others (tunnels, datagrams) come with later versions. */
const httpKind = 0;
const openFlags = { endsStream: 1, hasLength: 2 } as const;
const endFlags = { hasTiming: 8 } as const;

export interface OpenPayload {
  readonly method: string;
  readonly target: string;
  /** With Host, without other framing fields. */
  readonly headers: HeaderList;
  /** -1: not known. */
  readonly bodyBytes: number;
  /** Nothing follows: the request has no body. */
  readonly endsStream: boolean;
}

/** Handed on as the answer's head that it is. What the fields say is not judged here. */
export interface HeadPayload extends UpstreamHead {
  /** Where the first bytes of the body begin in `bytes`: the payload ends with them. -1: none are in it. */
  readonly dataAt: number;
  /** Nothing follows. */
  readonly endsStream: boolean;
}

export interface EndPayload {
  readonly trailers: HeaderList;
  readonly timing: HopTiming | null;
}

// --- Write -------------------------------------------------------------------------------------------------------------------------

/** Characters 0 to 255, ready to be joined. */
const byteChars: readonly string[] = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code));

/** Seven bits a byte, low ones first, the high bit says that more follows (LEB128). 0 to 2^53 - 1. */
export function varint(value: number): string {
  if (value < 0x80) return byteChars[value]!;
  if (value < 0x4000) return byteChars[(value & 0x7f) | 0x80]! + byteChars[value >> 7]!;
  let text = '';
  let left = value;
  while (left >= 0x80) {
    text += byteChars[(left % 0x80) | 0x80]!;
    left = Math.floor(left / 0x80);
  }
  return text + byteChars[left]!;
}

const text = (value: string): string => varint(value.length) + value;

function fields(headers: readonly string[]): string {
  let block = varint(headers.length >> 1);
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    const known = findField(name, value);
    if (known !== null) {
      block += known.onLink;
      continue;
    }
    const number = fieldNumber(name);
    block += (number === 0 ? byteChars[0]! + text(name) : byteChars[number]!) + varint(value.length) + value;
  }
  return block;
}

/**
 * `bodyBytes` as in UpstreamRequest: 0 is none, -1 unknown. Heads were checked to be latin1; of another character the low byte arrives, which
 * the peer judges like any other.
 */
export function encodeOpen(method: string, target: string, headers: readonly string[], bodyBytes: number): string {
  const flag = bodyBytes === 0 ? openFlags.endsStream : bodyBytes > 0 ? openFlags.hasLength : 0;
  const number = methodNumbers.get(method);
  return (
    byteChars[httpKind]! +
    byteChars[flag]! +
    (bodyBytes > 0 ? varint(bodyBytes) : '') +
    (number === undefined ? byteChars[0]! + text(method) : byteChars[number]!) +
    text(target) +
    fields(headers)
  );
}

/** Without the times of the hop, which `writeHead` puts behind the flags. */
export function encodeHead(
  status: number,
  reason: string,
  headers: readonly string[],
  bodyBytes: number,
  hasBody: boolean,
): string {
  const flag = (bodyBytes >= 0 ? headFlags.hasLength : 0) | (hasBody ? headFlags.hasBody : 0);
  return byteChars[flag]! + varint(status) + (bodyBytes >= 0 ? varint(bodyBytes) : '') + text(reason) + fields(headers);
}

/** How long `payload` of `encodeHead` is with the times of its hop, if there are any. */
export const headLength = (payload: string, timing: HopTiming | null): number =>
  timing === null ? payload.length : payload.length + timingBytes;

const blockView = new LastView();

/** Writes as many bytes as `headLength` says. */
export function writeHead(bytes: Buffer, at: number, payload: string, timing: HopTiming | null): void {
  if (timing === null) {
    writeLatin1(bytes, payload, at);
    return;
  }
  writeLatin1(bytes, payload, at + timingBytes);
  // The flags go before the times, the last byte of which takes their place.
  bytes[at] = bytes[at + timingBytes]! | headFlags.hasTiming;
  writeTiming(blockView.of(bytes), at + 1, timing);
}

/** Empty, as most are, when there is neither. */
export function encodeEnd(trailers: readonly string[], timing: HopTiming | null): string {
  if (trailers.length === 0 && timing === null) return '';
  return (
    byteChars[timing === null ? 0 : endFlags.hasTiming]! +
    (timing === null ? '' : encodeTiming(timing)) +
    fields(trailers)
  );
}

// --- Read --------------------------------------------------------------------------------------------------------------------------

/** Where reading is; -1 once the payload made no sense. One for all: reading a payload is never interrupted. */
let at = 0;
let source: Uint8Array = new Uint8Array(0);
let payloadStart = 0;
let payloadEnd = 0;
/** The payload as text; empty until something in it has to be read as such. */
let sourceText = '';
const lastView = new LastView();
const nameLengths: readonly number[] = fieldNames.map((name) => name.length);
const firstLetters: readonly number[] = fieldNames.map((name) => (name === '' ? 0 : name.charCodeAt(0)));

function begin(bytes: Buffer, start: number, end: number): void {
  source = bytes;
  sourceText = '';
  payloadStart = start;
  payloadEnd = end;
  at = start;
}

/** True when everything was read and made sense. */
const isWhole = (): boolean => at === payloadEnd;

/** True when what was read made sense, and as much is left as may lie behind a head. */
const hasJoinedBody = (): boolean => at >= 0 && at < payloadEnd && payloadEnd - at <= joinedBytesMax;

function readByte(): number {
  return at >= 0 && at < payloadEnd ? source[at++]! : fail();
}

function fail(): 0 {
  at = -1;
  return 0;
}

function readVarint(): number {
  const first = readByte();
  if (first < 0x80) return first;
  let value = first & 0x7f;
  let scale = 0x80;
  for (;;) {
    const byte = readByte();
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value <= Number.MAX_SAFE_INTEGER ? value : fail();
    scale *= 0x80;
    if (scale > 2 ** 49) return fail();
  }
}

/** Goes on behind a text of this length, and answers where it begins; -1: the payload is not as long. */
function skipText(length: number): number {
  const start = at;
  if (start < 0 || length > payloadEnd - start) {
    fail();
    return -1;
  }
  at = start + length;
  return start;
}

function readText(): string {
  const start = skipText(readVarint());
  return start === -1 ? '' : textOf(start, at);
}

/** The payload is made a text as a whole, and once: a call into native code costs more than a slice. In most of HEAD all is known; an OPEN has its `traceparent`. */
function textOf(start: number, end: number): string {
  if (start === end) return '';
  if (sourceText === '') sourceText = readLatin1(source as Buffer, payloadStart, payloadEnd);
  return sourceText.slice(start - payloadStart, end - payloadStart);
}

function readMethod(): string {
  const number = readByte();
  if (number === 0) return readText();
  const name = methodNames[number];
  if (name !== undefined) return name;
  fail();
  return '';
}

/** The phrase that goes with the status is not read but compared. */
function readReason(status: number): string {
  const length = readVarint();
  const start = skipText(length);
  if (start === -1) return '';
  const usual = reasonOf(status);
  if (usual.length !== length) return textOf(start, at);
  for (let i = 0; i < length; i++) if (source[start + i] !== usual.charCodeAt(i)) return textOf(start, at);
  return usual;
}

/** `isFirst`: nobody else reads them before they are used. */
function readFields(isFirst: boolean): HeaderList {
  const count = readVarint();
  // Each takes at least two bytes: a count that cannot be is found before anything is allocated for it.
  if (count > limits.linkFieldsMax || count * 2 > payloadEnd - payloadStart) {
    fail();
    return [];
  }
  const headers: HeaderList = [];
  const view = lastView.of(source);
  for (let i = 0; i < count && at >= 0; i++) {
    const known = findFieldHere(view);
    if (known === null) readField(headers, isFirst);
    else {
      headers.push(known.name, known.value);
      at += known.onLink.length;
    }
  }
  return headers;
}

/** The field that begins where reading is, if it is known: its lengths have one byte each then. */
function findFieldHere(view: DataView): KnownField | null {
  const start = at;
  const bytes = source;
  if (payloadEnd - start < 2) return null;
  const number = bytes[start]!;
  const isNamed = number === 0;
  const nameLength = isNamed ? bytes[start + 1]! : nameLengths[number];
  if (nameLength === undefined) return null;
  const lengthAt = isNamed ? start + 2 + nameLength : start + 1;
  if (lengthAt >= payloadEnd) return null;
  const valueLength = bytes[lengthAt]!;
  const end = lengthAt + 1 + valueLength;
  if (end > payloadEnd) return null;
  return findFieldAt(view, start, end, nameLength, isNamed ? bytes[start + 2]! : firstLetters[number]!, valueLength);
}

function readField(headers: HeaderList, isFirst: boolean): void {
  const number = readByte();
  const name = number === 0 ? readText() : fieldNames[number];
  const value = readText();
  if (at < 0 || name === undefined) {
    fail();
    return;
  }
  if (isFirst) noteField(number, name, value);
  headers.push(name, value);
}

function readTiming(): HopTiming | null {
  const start = skipText(timingBytes);
  const timing = start === -1 ? null : decodeTiming(lastView.of(source), start);
  if (timing === null) fail();
  return timing;
}

/** The payload of an OPEN lies in `bytes` from `start` to `end`, as with the others. Null: no OPEN of this version. What the fields say is not judged here. */
export function decodeOpen(bytes: Buffer, start: number, end: number): OpenPayload | null {
  begin(bytes, start, end);
  if (readByte() !== httpKind) return null;
  const flag = readByte();
  if ((flag & ~(openFlags.endsStream | openFlags.hasLength)) !== 0) return null;
  const endsStream = (flag & openFlags.endsStream) !== 0;
  const hasLength = (flag & openFlags.hasLength) !== 0;
  if (endsStream && hasLength) return null;
  const bodyBytes = hasLength ? readVarint() : endsStream ? 0 : -1;
  const method = readMethod();
  const target = readText();
  // Who checks its fields notes them.
  const headers = readFields(false);
  if (!isWhole() || (hasLength && bodyBytes === 0)) return null;
  return { method, target, headers, bodyBytes, endsStream };
}

/** Null: no HEAD of this version. */
export function decodeHead(bytes: Buffer, start: number, end: number): HeadPayload | null {
  begin(bytes, start, end);
  const flag = readByte();
  if (!isHeadFlags(flag)) return null;
  const timing = (flag & headFlags.hasTiming) !== 0 ? readTiming() : null;
  const status = readVarint();
  const bodyBytes = (flag & headFlags.hasLength) !== 0 ? readVarint() : -1;
  const reason = readReason(status);
  const headers = readFields(true);
  const hasData = (flag & headFlags.hasData) !== 0;
  if (!(hasData ? hasJoinedBody() : isWhole()) || status < 200 || status > 999) return null;
  return {
    status,
    reason,
    headers,
    bodyBytes,
    hasBody: (flag & headFlags.hasBody) !== 0,
    far: timing,
    dataAt: hasData ? at : -1,
    endsStream: (flag & headFlags.endsStream) !== 0,
  };
}

/** What an empty END says. */
export const noEnd: EndPayload = { trailers: [], timing: null };

/** Null: no END of this version. */
export function decodeEnd(bytes: Buffer, start: number, end: number): EndPayload | null {
  if (start === end) return noEnd;
  begin(bytes, start, end);
  const flag = readByte();
  if ((flag & ~endFlags.hasTiming) !== 0) return null;
  const timing = flag === 0 ? null : readTiming();
  const trailers = readFields(false);
  return isWhole() ? { trailers, timing } : null;
}
