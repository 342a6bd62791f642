/**
 * Lines of answers that came before. An app says the same of itself in each answer, but for a length or a date; a line that is found here was read, strictly, when it
 * came first, and nobody looks at its octets one by one again (24 instructions each).
 *
 * One for all endpoints of a loop, and bounded: a line has one place, found by eight of its octets, and comes in when it is met there twice in a row. Of fields those
 * that may be known anyway (known-fields.ts).
 */
import { fieldNumber } from '../field-names.ts';
import { type Field, fieldOf } from '../headers.ts';
import { keepField } from '../known-fields.ts';
import { sameText } from '../same-octets.ts';

export interface KnownLine {
  /** Of a status line the name is version and code, `HTTP/1.1 200`, and the value its reason. */
  readonly field: Field;
  /** Octets with the line's end; `noLength` once another line has its place. */
  length: number;
  readonly isStatus: boolean;
  /** Where its octets are kept. */
  readonly octetsAt: number;
  /** The known line that came behind it last time, and mostly does again. */
  follower: KnownLine | null;
}

/** Where in `bytes` the parts of a line are that was read. */
export interface LineParts {
  readonly at: number;
  readonly nameEnd: number;
  readonly valueStart: number;
  readonly valueEnd: number;
  /** Behind its CRLF. */
  readonly end: number;
}

const octetsMin = 12;
/** Longer than any answer. */
const noLength = 0x3fff_ffff;
const octetsMax = 128;
const places = 256;
/** As many bits as `places` has are left of 32. */
const placeShift = 24;

const lines: (KnownLine | null)[] = new Array<KnownLine | null>(places).fill(null);
/** Of the line that was met last at each place, and is not known. */
const met = new Int32Array(places);
const octets = Buffer.allocUnsafeSlow(places * octetsMax);
const octetsView = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);

/** By eight octets of it. Names mostly differ in these: their first four, and what stands behind `Content-`. */
const placeOf = (view: DataView, at: number): number =>
  Math.imul(view.getInt32(at, true) ^ Math.imul(view.getInt32(at + 8, true), 0x85eb_ca6b), 0x9e37_79b1) >>> placeShift;

const isAt = ({ length, octetsAt }: KnownLine, view: DataView, at: number, end: number): boolean =>
  length <= end - at && sameText(view, at, octetsView, octetsAt, length);

/** Whatever line is known of those that begin like this one. */
const lineOfPlace = (view: DataView, at: number, end: number): KnownLine | null =>
  end - at < octetsMin ? null : lines[placeOf(view, at)]!;

/** The status line that begins at `at`, before `end`; null: it is not known. */
export function findStatusLine(view: DataView, at: number, end: number): KnownLine | null {
  const line = lineOfPlace(view, at, end);
  return line?.isStatus === true && isAt(line, view, at, end) ? line : null;
}

/** The same of the line of a field, behind the known line `before`, if there is one. */
export function findLine(view: DataView, at: number, end: number, before: KnownLine | null): KnownLine | null {
  if (before !== null) {
    const { follower } = before;
    if (follower !== null && isAt(follower, view, at, end)) return follower;
  }
  const line = lineOfPlace(view, at, end);
  if (line === null || line.isStatus || !isAt(line, view, at, end)) return null;
  if (before !== null) before.follower = line;
  return line;
}

/** A line that was read, strictly, and is none that `findLine` knows: it may be known from now on. */
export function meetLine(
  bytes: Buffer,
  view: DataView,
  { at, nameEnd, valueStart, valueEnd, end }: LineParts,
  isStatus: boolean,
): void {
  const length = end - at;
  if (length < octetsMin || length > octetsMax) return;
  const place = placeOf(view, at);
  let print = length;
  for (let i = at; i < end - 4; i += 4) print = Math.imul(print ^ view.getInt32(i, true), 0x9e37_79b1);
  print = Math.imul(print ^ view.getInt32(end - 6, true), 0x85eb_ca6b);
  if (met[place] !== print) {
    met[place] = print;
    return;
  }
  const name = bytes.toString('latin1', at, nameEnd);
  const value = bytes.toString('latin1', valueStart, valueEnd);
  const field = isStatus ? fieldOf(name, value) : keepField(fieldNumber(name), name, value);
  if (field === null) return;
  const replaced = lines[place]!;
  if (replaced !== null) {
    replaced.length = noLength;
    replaced.follower = null;
  }
  const octetsAt = place * octetsMax;
  bytes.copy(octets, octetsAt, at, end);
  lines[place] = { field, length, isStatus, octetsAt, follower: null };
}
