/** A JSON body as it arrives: parsed, or refused with the line and column of what is wrong. */
import { isUtf8 } from 'node:buffer';
import { limits } from '../../model/limits.ts';
import { ApiError } from './api-error.ts';

/** Larger bodies get the parser's own words: finding the place parses the text a few more times. */
const locatedCharsMax = 256 * 1024;

/** @throws ApiError bad-request, too-large (more values than `valuesMax`). */
export function parseJsonBody(body: Uint8Array, valuesMax: number): unknown {
  if (body.byteLength === 0)
    throw new ApiError('bad-request', 'The body is empty, but content-type says that it is JSON.');
  // Decoding would put U+FFFD for each wrong byte, and something else would be kept than what was sent.
  if (!isUtf8(body))
    throw new ApiError('bad-request', 'The body is not valid UTF-8, which JSON must be (RFC 8259, section 8.1).');
  boundShape(body, valuesMax);
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const { message } = error as SyntaxError;
    const offset = offsetOf(text, message);
    // The place is said better below, and with it nobody needs the quotation.
    const reason = message.replace(offset === null ? '' : /( (in JSON )?at position \d+|, (\.\.\.)?").*$/s, '');
    throw new ApiError(
      'bad-request',
      `The body is not valid JSON: ${reason}${offset === null ? '' : ` (${placeOf(text, offset)})`}.`,
    );
  }
  refuseProto(text, value);
  return value;
}

/**
 * The parser goes wherever a text leads it, at the cost of some 100 bytes and 1 us a value. This walk over the bytes costs a few ns each, and
 * is right about every text that is JSON; about the others the parser has the last word.
 */
function boundShape(body: Uint8Array, valuesMax: number): void {
  // Commas of each object around the byte; of lists nothing is counted here (-1).
  const fields = new Int32Array(limits.jsonLevelsMax + 2);
  let level = 0;
  // Each member stands behind a comma or behind what opens its container; empty containers are counted as if they had one.
  let values = 0;
  for (let i = 0; i < body.length; i++) {
    switch (body[i]) {
      case quote:
        i = endOfString(body, i + 1);
        break;
      case openBracket:
      case openBrace:
        level++;
        values++;
        if (level > limits.jsonLevelsMax) throw tooDeep();
        fields[level] = body[i] === openBrace ? 0 : -1;
        break;
      case closeBracket:
      case closeBrace:
        // Below zero it is no JSON.
        level = Math.max(0, level - 1);
        break;
      case comma:
        values++;
        if (fields[level] !== -1 && ++fields[level]! >= limits.jsonFieldsMax) throw tooManyFields();
        break;
      default:
        continue;
    }
    if (values > valuesMax) throw tooManyValues(valuesMax);
  }
}

const tooDeep = (): ApiError =>
  new ApiError(
    'bad-request',
    `The body nests deeper than ${limits.jsonLevelsMax} levels, and nothing of Weft needs 20.`,
  );
const tooManyFields = (): ApiError =>
  new ApiError(
    'too-large',
    `The body has an object with more than ${limits.jsonFieldsMax} fields: nothing was changed.`,
  );
const tooManyValues = (valuesMax: number): ApiError =>
  new ApiError(
    'too-large',
    `The body has more than ${valuesMax} values, which no valid one of its size has: nothing was changed. Send objects in several transactions.`,
  );

/** Of the quotation mark that ends the string, or of the end of the text. */
function endOfString(body: Uint8Array, start: number): number {
  for (let end = body.indexOf(quote, start); end !== -1; end = body.indexOf(quote, end + 1)) {
    let backslashes = 0;
    while (body[end - 1 - backslashes] === backslash) backslashes++;
    if (backslashes % 2 === 0) return end;
  }
  return body.length;
}

const [quote, backslash, comma, openBracket, closeBracket, openBrace, closeBrace] = Buffer.from(
  '"\\,[]{}',
) as unknown as [number, number, number, number, number, number, number];

/** V8 says where, at the end of the text, or (an unexpected token) not at all: then the shortest prefix with the same fault ends there. */
function offsetOf(text: string, message: string): number | null {
  const said = /at position (\d+)/.exec(message)?.[1];
  if (said !== undefined) return Number(said);
  if (!message.startsWith('Unexpected token')) return text.length;
  if (text.length > locatedCharsMax) return null;
  let valid = 0;
  let faulty = text.length;
  while (faulty - valid > 1) {
    const middle = (valid + faulty) >> 1;
    if (isUnexpected(text.slice(0, middle))) faulty = middle;
    else valid = middle;
  }
  return faulty - 1;
}

function isUnexpected(prefix: string): boolean {
  try {
    JSON.parse(prefix);
    return false;
  } catch (error) {
    return (error as SyntaxError).message.startsWith('Unexpected token');
  }
}

function placeOf(text: string, offset: number): string {
  const before = text.slice(0, offset);
  return `line ${before.split('\n').length}, column ${offset - before.lastIndexOf('\n')}`;
}

/**
 * JSON.parse makes `__proto__` a field like any other, but whatever copies it by assignment would set a prototype instead, here or in
 * a client. No field of Weft has that name.
 */
function refuseProto(text: string, value: unknown): void {
  // Only a text that may contain the name, escapes included, is searched.
  if (!/proto|\\u00/i.test(text)) return;
  const open: unknown[] = [value];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (typeof next !== 'object' || next === null) continue;
    if (Object.hasOwn(next, '__proto__'))
      throw new ApiError('bad-request', 'The body has a field __proto__, which no object of Weft may have.');
    for (const inner of Object.values(next)) if (typeof inner === 'object' && inner !== null) open.push(inner);
  }
}
