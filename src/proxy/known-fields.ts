/**
 * Fields that came before, and what was made of them. Clients, apps and sidecars say the same of themselves in each message; of a field that is found here
 * nobody looks at the characters again, and its line for HTTP/1.1 is one text, ready to be joined.
 *
 * Bounded: one field at each of `places`, found by the lengths of name and value and the first letter, and none longer than `octetsMax`. One comes in when it is noted twice in a
 * row at its place, so that those that never come again displace little; credentials, and what is another with each message, never do.
 */
import { beyondAscii, isToken } from './char-classes.ts';
import { fieldId, fieldNames, lineStart } from './field-names.ts';
import { Field, fieldOf } from './headers.ts';

export const places = 1024;
/** As many bits as `places` has are left of 32. */
const placeShift = 22;
/** Of a field as the link has it in full (docs/link.md). */
const octetsMax = 128;
/** What it takes for one and is none costs a comparison each time, no more. */
const isCredential = /auth|cookie|credential|csrf|jwt|key|otp|pass|pin|pwd|secret|session|signature|token|xsrf/i;
const isOtherEachTime = /^(traceparent|tracestate|server-timing|.*-request-id)$/i;
/** By number of the name; that of none of them is asked for by `keepField`. */
const mayBeKnown = fieldNames.map((name) => !isCredential.test(name) && !isOtherEachTime.test(name));

const fields: (Field | null)[] = new Array<Field | null>(places).fill(null);
/** Of the value that was noted last at each place. */
const noted = new Int32Array(places);

const placeOf = (nameLength: number, firstLetter: number, valueLength: number): number =>
  Math.imul(nameLength | (firstLetter << 8) | (valueLength << 16), 0x9e37_79b1) >>> placeShift;

/** Null: it is not known. */
export function findField(name: string, value: string): Field | null {
  const field = fields[placeOf(name.length, name.charCodeAt(0), value.length)]!;
  return field !== null && field.name === name && field.value === value ? field : null;
}

/** The field as it is known, or a new one of which nothing is. */
export const knownOrNew = (name: string, value: string): Field => findField(name, value) ?? fieldOf(name, value);

/** By who checks a field that is not known: it may be from now on. */
export function noteField({ number, name, value }: Field): void {
  const { length } = value;
  if (length === 0 || length >= octetsMax || !mayBeKnown[number]!) return;
  const print = printOf(value);
  const place = placeOf(name.length, name.charCodeAt(0), length);
  if (noted[place] !== print) noted[place] = print;
  else if (findField(name, value) === null) keepField(number, name, value);
}

/** Of six characters: three are the last ones, in which counters and times differ. */
function printOf(value: string): number {
  const last = value.length - 1;
  const spread = value.charCodeAt(0) | (value.charCodeAt(last >> 2) << 8) | (value.charCodeAt(last >> 1) << 16);
  // Of a short one those before the first are NaN, which counts as 0.
  const end = value.charCodeAt(last) | (value.charCodeAt(last - 1) << 8) | (value.charCodeAt(last - 2) << 16);
  return Math.imul(spread, 0x9e37_79b1) ^ end;
}

/** It is known from now on, if it may be: answers it then. */
export function keepField(number: number, name: string, value: string): Field | null {
  if (!(number === 0 ? isToken(name) && !isCredential.test(name) : mayBeKnown[number]!) || beyondAscii.test(value))
    return null;
  const octets = (number === 0 ? 2 + name.length : 1) + 1 + value.length;
  if (value.length === 0 || octets > octetsMax) return null;
  const place = placeOf(name.length, name.charCodeAt(0), value.length);
  // Each in one piece, and none a part of a longer text that it would keep alive.
  const field = new Field(
    number === 0 ? inOnePiece(name) : fieldNames[number]!,
    inOnePiece(value),
    number,
    fieldId(number, name),
    true,
    place,
    inOnePiece(lineStart(number, name) + value),
  );
  fields[place] = field;
  return field;
}

const inOnePiece = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');
