/**
 * Payloads as the text that they are in latin1, and their fields as names and values in turn. They are read out of the middle of a buffer, and written into one.
 */
import { headerList, textsOf } from '../../../src/proxy/headers.ts';
import { knownOrNew } from '../../../src/proxy/known-fields.ts';
import { readLatin1 } from '../../../src/proxy/latin1.ts';
import { FieldTable } from '../../../src/proxy/link/field-table.ts';
import * as codec from '../../../src/proxy/link/head-codec.ts';
import type { HopTiming } from '../../../src/telemetry/ledger.ts';

type Flat<T, Name extends keyof T> = Omit<T, Name> & Readonly<Record<Name, readonly string[]>>;
export type OpenText = Flat<codec.OpenPayload, 'headers'>;
export type HeadText = Omit<Flat<codec.HeadPayload, 'headers'>, 'data'> & { readonly data: string | null };
export type EndText = Flat<codec.EndPayload, 'trailers'>;

const before = Buffer.from('\xff\x01\x7f', 'latin1');
const behind = Buffer.from('\x01\x01xyz', 'latin1');
const roomBytes = 1024 * 1024;

function within<T>(payload: string, read: (bytes: Buffer, start: number, end: number) => T): T {
  const bytes = Buffer.concat([before, Buffer.from(payload, 'latin1'), behind]);
  return read(bytes, before.length, before.length + payload.length);
}

/** `heard`: what was read before on the same link. */
export function decodeOpen(payload: string, heard = new FieldTable()): OpenText | null {
  const open = within(payload, (bytes, start, end) => codec.decodeOpen(bytes, start, end, heard));
  return open === null ? null : { ...open, headers: textsOf(open.headers) };
}

export function decodeHead(payload: string, heard = new FieldTable()): HeadText | null {
  const head = within(payload, (bytes, start, end) => codec.decodeHead(bytes, start, end, heard));
  if (head === null) return null;
  const data = head.data === null ? null : Buffer.from(head.data).toString('latin1');
  return { ...head, headers: textsOf(head.headers), data };
}

export function decodeEnd(payload: string): EndText | null {
  const end = within(payload, codec.decodeEnd);
  return end === null ? null : { ...end, trailers: textsOf(end.trailers) };
}

const room = Buffer.alloc(roomBytes);

function written(bytesMax: number, write: (bytes: Buffer, start: number) => number): string {
  const start = before.length;
  room.fill('!', 0, Math.min(roomBytes, start + bytesMax + 1));
  const end = write(room, start);
  if (end - start > bytesMax || room[start - 1] !== 33 || room[end] !== 33)
    throw new Error('more was written than there is room for');
  return readLatin1(room, start, end);
}

export const varint = (value: number): string => written(9, (bytes, at) => codec.writeVarint(bytes, at, value));

/** `said`: what was written before on the same link. */
export function encodeOpen(
  method: string,
  target: string,
  headers: readonly string[],
  bodyBytes: number,
  said = new FieldTable(),
): string {
  const request = { method, target, headers: headerList(headers, knownOrNew), bodyBytes };
  const bytesMax = codec.payloadBytesMax(method.length + target.length, request.headers);
  return written(bytesMax, (bytes, at) => codec.writeOpen(bytes, at, request, said));
}

export function encodeHead(
  head: { status: number; reason: string; headers: readonly string[]; bodyBytes: number; hasBody: boolean },
  timing: HopTiming | null = null,
  said = new FieldTable(),
): string {
  const headers = headerList(head.headers, knownOrNew);
  const bytesMax = codec.payloadBytesMax(head.reason.length, headers);
  return written(bytesMax, (bytes, at) => codec.writeHead(bytes, at, { ...head, headers }, timing, said));
}

export const encodeEnd = (trailers: readonly string[], timing: HopTiming | null): string =>
  codec.encodeEnd(headerList(trailers), timing);
