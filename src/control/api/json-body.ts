/** A JSON body as it arrives: parsed, or refused with the line and column of what is wrong. */
import { ApiError } from './api-error.ts';

/** Larger bodies get the parser's own words: finding the place parses the text a few more times. */
const locatedCharsMax = 256 * 1024;

/** @throws ApiError bad-request. */
export function parseJsonBody(text: string): unknown {
  if (text === '') throw new ApiError('bad-request', 'The body is empty, but content-type says that it is JSON.');
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
