/**
 * Heads, trailers and timings as payloads of frames, and back (docs/link.md has the layout). A payload is written into the frame, and read where it lies; it is made a text, as a
 * whole, only for what was not said before.
 *
 * Nothing here throws: what is no payload of this version is null. Lengths are believed only as far as the payload reaches.
 */
import { limits } from '../../model/limits.ts';
import type { HopTiming } from '../../telemetry/ledger.ts';
import { fieldNames } from '../field-names.ts';
import { type Field, fieldOf, type HeaderList, newField } from '../headers.ts';
import { noteField } from '../known-fields.ts';
import { LastView } from '../last-view.ts';
import { readLatin1, writeLatin1 } from '../latin1.ts';
import { reasonOf } from '../local-reply.ts';
import type { AnswerHead } from '../request.ts';
import { isPlainOctets } from '../same-octets.ts';
import type { UpstreamHead, UpstreamRequest } from '../upstream/upstream.ts';
import { type FieldTable, placeBytes, placeMark } from './field-table.ts';
import { headFlags, isHeadFlags, joinedBytesMax } from './frames.ts';
import { decodeTiming, timingBytes, writeTiming } from './timing-codec.ts';

/** Number 0 says that the method follows. */
export const methodNames: readonly string[] = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'];
const methodNumbers: ReadonlyMap<string, number> = new Map(
  methodNames.map((name, number) => [name, number] as const).slice(1),
);

/** Most are told by a comparison; a look-up would hash the text first. */
const methodNumber = (method: string): number => (method === 'GET' ? 1 : (methodNumbers.get(method) ?? 0));

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
  /** The first bytes of the body, where they lie; null: none are in it. */
  readonly data: Uint8Array | null;
  /** Nothing follows. */
  readonly endsStream: boolean;
}

export interface EndPayload {
  readonly trailers: HeaderList;
  readonly timing: HopTiming | null;
}

// --- Write -------------------------------------------------------------------------------------------------------------------------

/** Of the block that is written to. */
const blockView = new LastView();

/** Seven bits a byte, low ones first, the high bit says that more follows (LEB128). 0 to 2^53 - 1. Answers where it ends, like all that follow. */
export function writeVarint(bytes: Buffer, start: number, value: number): number {
  let end = start;
  let left = value;
  while (left >= 0x80) {
    bytes[end++] = (left % 0x80) | 0x80;
    left = Math.floor(left / 0x80);
  }
  bytes[end] = left;
  return end + 1;
}

function writeText(bytes: Buffer, start: number, text: string): number {
  const textAt = writeVarint(bytes, start, text.length);
  writeLatin1(bytes, text, textAt);
  return textAt + text.length;
}

/** A number that stands for a text, or 0 and the text. */
function writeNumbered(bytes: Buffer, start: number, number: number, text: string): number {
  bytes[start] = number;
  return number === 0 ? writeText(bytes, start + 1, text) : start + 1;
}

/** `said`: what was said before on the link; null: each is said in full. */
function writeFields(bytes: Buffer, start: number, headers: readonly Field[], said: FieldTable | null): number {
  const view = blockView.of(bytes);
  let end = writeVarint(bytes, start, headers.length);
  for (let i = 0; i < headers.length; i++) {
    const field = headers[i]!;
    if (said !== null && field.place !== -1) {
      const isAgain = said.say(field);
      view.setUint16(end, (isAgain ? placeMark.again : placeMark.first) | field.place);
      end += placeBytes;
      if (isAgain) continue;
    }
    end = writeText(bytes, writeNumbered(bytes, end, field.number, field.name), field.value);
  }
  return end;
}

/** As many bytes a payload may take; `texts`: characters of its texts beside the fields. */
export function payloadBytesMax(texts: number, headers: readonly Field[]): number {
  let bytes = texts + otherBytesMax + headers.length * fieldBytesMax;
  for (let i = 0; i < headers.length; i++) bytes += headers[i]!.name.length + headers[i]!.value.length;
  return bytes;
}

/** Place and number of a field, and the lengths of its texts. */
const fieldBytesMax = placeBytes + 7;
/** Kind, flags, times, and the lengths around the fields. */
const otherBytesMax = 64;

/** What OPEN says of a request. `bodyBytes` as there: 0 is none, -1 unknown. */
export type OpenRequest = Pick<UpstreamRequest, 'method' | 'target' | 'headers' | 'bodyBytes'>;

/**
 * OPEN; there is room for `payloadBytesMax`. Heads were checked to be latin1; of another character the low byte arrives, which the peer judges like
 * any other.
 */
export function writeOpen(
  bytes: Buffer,
  start: number,
  { method, target, headers, bodyBytes }: OpenRequest,
  said: FieldTable,
): number {
  bytes[start] = httpKind;
  bytes[start + 1] = bodyBytes === 0 ? openFlags.endsStream : bodyBytes > 0 ? openFlags.hasLength : 0;
  let end = start + 2;
  if (bodyBytes > 0) end = writeVarint(bytes, end, bodyBytes);
  end = writeNumbered(bytes, end, methodNumber(method), method);
  return writeFields(bytes, writeText(bytes, end, target), headers, said);
}

/** HEAD, with the times of the hop if there are any; there is room for `payloadBytesMax`. */
export function writeHead(
  bytes: Buffer,
  start: number,
  { status, reason, headers, bodyBytes, hasBody }: AnswerHead,
  timing: HopTiming | null,
  said: FieldTable,
): number {
  bytes[start] =
    (bodyBytes >= 0 ? headFlags.hasLength : 0) |
    (hasBody ? headFlags.hasBody : 0) |
    (timing === null ? 0 : headFlags.hasTiming);
  let end = start + 1;
  if (timing !== null) {
    writeTiming(blockView.of(bytes), end, timing);
    end += timingBytes;
  }
  end = writeVarint(bytes, end, status);
  if (bodyBytes >= 0) end = writeVarint(bytes, end, bodyBytes);
  return writeFields(bytes, writeText(bytes, end, reason), headers, said);
}

/** END as text, for it may have to wait. Empty, as most are, when there is neither. */
export function encodeEnd(trailers: readonly Field[], timing: HopTiming | null): string {
  if (trailers.length === 0 && timing === null) return '';
  const bytes = Buffer.allocUnsafe(payloadBytesMax(0, trailers));
  bytes[0] = timing === null ? 0 : endFlags.hasTiming;
  if (timing !== null) writeTiming(blockView.of(bytes), 1, timing);
  const end = writeFields(bytes, timing === null ? 1 : 1 + timingBytes, trailers, null);
  return readLatin1(bytes, 0, end);
}

// --- Read --------------------------------------------------------------------------------------------------------------------------

/**
 * What is read, and where reading is: `at` is -1 once it made no sense. `text` is all of it, empty until something has to be read as such. One for all: reading a payload is never
 * interrupted. Fields of an object, which optimised code keeps in registers; variables of the module it would load, and look at, for each octet.
 */
const payload = { bytes: Buffer.alloc(0) as Buffer, start: 0, end: 0, at: 0, text: '' };
const lastView = new LastView();

function begin(bytes: Buffer, start: number, end: number): void {
  payload.bytes = bytes;
  payload.text = '';
  payload.start = start;
  payload.end = end;
  payload.at = start;
}

/** True when everything was read and made sense. */
const isWhole = (): boolean => payload.at === payload.end;

/** True when what was read made sense, and as much is left as may lie behind a head. */
const hasJoinedBody = (): boolean =>
  payload.at >= 0 && payload.at < payload.end && payload.end - payload.at <= joinedBytesMax;

function readByte(): number {
  return payload.at >= 0 && payload.at < payload.end ? payload.bytes[payload.at++]! : fail();
}

function fail(): 0 {
  payload.at = -1;
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
  const start = payload.at;
  if (start < 0 || length > payload.end - start) {
    fail();
    return -1;
  }
  payload.at = start + length;
  return start;
}

function readText(): string {
  const start = skipText(readVarint());
  return start === -1 ? '' : textOf(start, payload.at);
}

/** The payload is made a text as a whole, and once: a call into native code costs more than a slice. In most of HEAD all is known; an OPEN has its `traceparent`. */
function textOf(start: number, end: number): string {
  if (start === end) return '';
  if (payload.text === '') payload.text = readLatin1(payload.bytes, payload.start, payload.end);
  return payload.text.slice(start - payload.start, end - payload.start);
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
  if (usual.length !== length) return textOf(start, payload.at);
  for (let i = 0; i < length; i++)
    if (payload.bytes[start + i] !== usual.charCodeAt(i)) return textOf(start, payload.at);
  return usual;
}

/** `heard`: what was said before on the link; null: all are said in full. */
function readFields(heard: FieldTable | null): HeaderList {
  const count = readVarint();
  // Each takes at least two bytes: a count that cannot be is found before anything is allocated for it.
  if (count > limits.linkFieldsMax || count * 2 > payload.end - payload.start) {
    fail();
    return [];
  }
  const headers: HeaderList = [];
  const view = lastView.of(payload.bytes);
  for (let i = 0; i < count && payload.at >= 0; i++) {
    const mark = payload.end - payload.at < placeBytes ? 0 : view.getUint16(payload.at);
    const field = mark < placeMark.again ? readField() : heard === null ? null : readPlaced(heard, mark);
    if (field === null) fail();
    else headers.push(field);
  }
  return headers;
}

function readPlaced(heard: FieldTable, mark: number): Field | null {
  payload.at += placeBytes;
  if (mark < placeMark.first) return heard.find(mark);
  const field = mark < placeMark.end ? readField() : null;
  return field === null ? null : heard.take(mark, field);
}

function readField(): Field | null {
  const number = readByte();
  const name = number === 0 ? readText() : fieldNames[number];
  const start = skipText(readVarint());
  if (start === -1 || name === undefined) return null;
  const end = payload.at;
  const value = textOf(start, end);
  const isPlain = isPlainOctets(lastView.of(payload.bytes), start, end);
  return number === 0 ? fieldOf(name, value, isPlain) : newField(number, name, value, isPlain);
}

function readTiming(): HopTiming | null {
  const start = skipText(timingBytes);
  const timing = start === -1 ? null : decodeTiming(lastView.of(payload.bytes), start);
  if (timing === null) fail();
  return timing;
}

/** The payload of an OPEN lies in `bytes` from `start` to `end`, as with the others. Null: no OPEN of this version. What the fields say is not judged here. */
export function decodeOpen(bytes: Buffer, start: number, end: number, heard: FieldTable): OpenPayload | null {
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
  const headers = readFields(heard);
  if (!isWhole() || (hasLength && bodyBytes === 0)) return null;
  return { method, target, headers, bodyBytes, endsStream };
}

/** Null: no HEAD of this version. */
export function decodeHead(bytes: Buffer, start: number, end: number, heard: FieldTable): HeadPayload | null {
  begin(bytes, start, end);
  const flag = readByte();
  if (!isHeadFlags(flag)) return null;
  const timing = (flag & headFlags.hasTiming) !== 0 ? readTiming() : null;
  const status = readVarint();
  const bodyBytes = (flag & headFlags.hasLength) !== 0 ? readVarint() : -1;
  const reason = readReason(status);
  const headers = readFields(heard);
  const hasData = (flag & headFlags.hasData) !== 0;
  if (!(hasData ? hasJoinedBody() : isWhole()) || status < 200 || status > 999) return null;
  // Nobody checks them before they are written.
  for (let i = 0; i < headers.length; i++) if (headers[i]!.place === -1) noteField(headers[i]!);
  return {
    status,
    reason,
    headers,
    bodyBytes,
    hasBody: (flag & headFlags.hasBody) !== 0,
    far: timing,
    data: hasData ? lastView.piece(bytes, payload.at, end) : null,
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
  const trailers = readFields(null);
  return isWhole() ? { trailers, timing } : null;
}
