/**
 * Heads, trailers and timings as payloads of frames, and back. A payload is built as one latin1 string and written in one call, and read
 * in one (docs/link.md has the layout): writing each text by itself would call into native code some twenty times a head.
 *
 * Nothing here throws: what is no payload of this version is null. Lengths are believed only as far as the payload reaches.
 */
import { limits } from '../../model/limits.ts';
import type { HopTiming } from '../../telemetry/ledger.ts';
import { fieldNames, fieldNumber } from '../field-names.ts';
import type { HeaderList } from '../headers.ts';
import type { UpstreamHead } from '../upstream/upstream.ts';
import { headFlags, isHeadFlags, joinedBytesMax } from './frames.ts';
import { writeLatin1 } from './latin1.ts';
import { decodeTiming, encodeTiming, timingChars, writeTiming } from './timing-codec.ts';

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
  /** Where the first bytes of the body begin in the payload: it ends with them. -1: none are in it. */
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
  timing === null ? payload.length : payload.length + timingChars;

/** Writes as many bytes as `headLength` says. */
export function writeHead(bytes: Buffer, at: number, payload: string, timing: HopTiming | null): void {
  if (timing === null) {
    writeLatin1(bytes, payload, at);
    return;
  }
  writeLatin1(bytes, payload, at + timingChars);
  // The flags go before the times, the last byte of which takes their place.
  bytes[at] = bytes[at + timingChars]! | headFlags.hasTiming;
  writeTiming(bytes, at + 1, timing);
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
let source = '';

function begin(payload: string): void {
  source = payload;
  at = 0;
}

/** True when everything was read and made sense. */
const isWhole = (): boolean => at === source.length;

/** True when what was read made sense, and as much is left as may lie behind a head. */
const hasJoinedBody = (): boolean => at > 0 && at < source.length && source.length - at <= joinedBytesMax;

function readByte(): number {
  return at >= 0 && at < source.length ? source.charCodeAt(at++) : fail();
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

function readText(): string {
  const length = readVarint();
  const start = at;
  if (start < 0 || length > source.length - start) {
    fail();
    return '';
  }
  at = start + length;
  return source.slice(start, at);
}

/** A name or a method: by its number, or as it is. */
function readName(names: readonly string[]): string {
  const number = readByte();
  if (number === 0) return readText();
  const name = names[number];
  if (name !== undefined) return name;
  fail();
  return '';
}

function readFields(): HeaderList {
  const count = readVarint();
  // Each takes at least two bytes: a count that cannot be is found before anything is allocated for it.
  if (count > limits.linkFieldsMax || count * 2 > source.length) {
    fail();
    return [];
  }
  const headers: HeaderList = [];
  for (let i = 0; i < count; i++) {
    headers.push(readName(fieldNames), readText());
    if (at < 0) return headers;
  }
  return headers;
}

function readTiming(): HopTiming | null {
  const timing = at < 0 ? null : decodeTiming(source, at);
  if (timing === null) fail();
  else at += timingChars;
  return timing;
}

/** Null: no OPEN of this version. What the fields say is not judged here. */
export function decodeOpen(payload: string): OpenPayload | null {
  begin(payload);
  if (readByte() !== httpKind) return null;
  const flag = readByte();
  if ((flag & ~(openFlags.endsStream | openFlags.hasLength)) !== 0) return null;
  const endsStream = (flag & openFlags.endsStream) !== 0;
  const hasLength = (flag & openFlags.hasLength) !== 0;
  if (endsStream && hasLength) return null;
  const bodyBytes = hasLength ? readVarint() : endsStream ? 0 : -1;
  const method = readName(methodNames);
  const target = readText();
  const headers = readFields();
  if (!isWhole() || (hasLength && bodyBytes === 0)) return null;
  return { method, target, headers, bodyBytes, endsStream };
}

/** Null: no HEAD of this version. */
export function decodeHead(payload: string): HeadPayload | null {
  begin(payload);
  const flag = readByte();
  if (!isHeadFlags(flag)) return null;
  const timing = (flag & headFlags.hasTiming) !== 0 ? readTiming() : null;
  const status = readVarint();
  const bodyBytes = (flag & headFlags.hasLength) !== 0 ? readVarint() : -1;
  const reason = readText();
  const headers = readFields();
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
export function decodeEnd(payload: string): EndPayload | null {
  if (payload.length === 0) return noEnd;
  begin(payload);
  const flag = readByte();
  if ((flag & ~endFlags.hasTiming) !== 0) return null;
  const timing = flag === 0 ? null : readTiming();
  const trailers = readFields();
  return isWhole() ? { trailers, timing } : null;
}
