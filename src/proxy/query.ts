/** Query parameters, read on demand out of the query as sent. Nothing is parsed that no test or hash key asks for. */
import { limits } from '../model/limits.ts';

const percent = 0x25;
const plus = 0x2b;

/** Decoded bytes never outnumber encoded characters, and a target is at most this long. */
const scratch = Buffer.allocUnsafe(limits.targetBytesMax);

/**
 * Value of a parameter, decoded, or undefined. Of several the first counts (Gateway API, HTTPQueryParamMatch). `query` is as sent,
 * with its `?`, or empty.
 */
export function queryValue(query: string, name: string): string | undefined {
  let start = 1;
  while (start < query.length) {
    let end = query.indexOf('&', start);
    if (end === -1) end = query.length;
    let nameEnd = query.indexOf('=', start);
    if (nameEnd === -1 || nameEnd > end) nameEnd = end;
    if (isName(query, start, nameEnd, name)) return nameEnd === end ? '' : decode(query, nameEnd + 1, end);
    start = end + 1;
  }
  return undefined;
}

function isName(query: string, start: number, end: number, name: string): boolean {
  if (end - start === name.length && query.startsWith(name, start) && !needsDecoding(query, start, end)) return true;
  return needsDecoding(query, start, end) && decode(query, start, end) === name;
}

function needsDecoding(query: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const c = query.charCodeAt(i);
    if (c === percent || c === plus || c > 0x7f) return true;
  }
  return false;
}

/** The URL standard's form decoding: `+` is a space, a `%` without two hex digits stays, bytes that are not UTF-8 become U+FFFD. */
function decode(query: string, start: number, end: number): string {
  if (!needsDecoding(query, start, end)) return query.slice(start, end);
  let length = 0;
  for (let i = start; i < end && length < scratch.length; i++) {
    const c = query.charCodeAt(i);
    if (c === percent && i + 2 <= end - 1) {
      const high = hexDigit(query.charCodeAt(i + 1));
      const low = hexDigit(query.charCodeAt(i + 2));
      if (high >= 0 && low >= 0) {
        scratch[length++] = high * 16 + low;
        i += 2;
        continue;
      }
    }
    scratch[length++] = c === plus ? 0x20 : c;
  }
  return scratch.toString('utf8', 0, length);
}

function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
