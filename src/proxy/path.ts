/** The path of a request in its one normal form, so that routing, authorization, cache keys and the app all mean the same resource. */
import { isHexCode, isUnreservedCode } from './char-classes.ts';

/**
 * What a listener does with the path of a request. `normalise`: the normal form is what is routed and what is forwarded. `refuse`: a
 * path that is not in normal form already is 400. `raw`: it is forwarded exactly as it came, while routing, authorization and cache
 * keys still use the normal form. What has no normal form is 400 with each.
 */
export type PathPolicy = 'normalise' | 'refuse' | 'raw';

const slash = 0x2f;
const dot = 0x2e;
const percent = 0x25;
const backslash = 0x5c;
const semicolon = 0x3b;

/**
 * Normalises an absolute path (RFC 3986 section 6.2.2, and what Weft adds to it), in this order:
 *
 * 1. Refused (null): a `%` without two hexadecimal digits, `%00`, a backslash, a dot segment with a parameter (`/..;x/`). Servers
 *    disagree about each of them, which is how a rule for one path is evaded through another.
 * 2. Escapes of unreserved characters (letters, digits, `-._~`) are decoded; the hexadecimal digits of all others become upper case.
 *    `%2F` and `%5C` stay encoded: they are characters of a segment and never a separator.
 * 3. Repeated slashes become one.
 * 4. The segments `.` and `..` (also when they were written `%2e`) are resolved and never climb above the root; after one at the end
 *    the path ends in a slash.
 *
 * Parameters (`;x=1`) of other segments stay. The result is stable: normalising it again changes nothing. A path that is normal
 * already is returned as it is, after one scan. `path` starts with `/` and holds visible ASCII only.
 */
export function normalisePath(path: string): string | null {
  return isPlain(path) ? path : resolve(path);
}

/** Nothing to do: no escape, no backslash, and after a slash neither a slash nor a dot. */
function isPlain(path: string): boolean {
  let isAfterSlash = false;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === percent || code === backslash || (isAfterSlash && (code === slash || code === dot))) return false;
    isAfterSlash = code === slash;
  }
  return true;
}

function resolve(path: string): string | null {
  const decoded = decodeUnreserved(path);
  if (decoded === null) return null;
  const kept: string[] = [];
  let endsInSlash = true;
  // The length of a path is bounded by limits.targetBytesMax, and so is this loop.
  for (const segment of decoded.split('/')) {
    if (hasDotSegmentParameter(segment)) return null;
    endsInSlash = segment === '' || segment === '.' || segment === '..';
    if (segment === '..') kept.pop();
    else if (!endsInSlash) kept.push(segment);
  }
  if (kept.length === 0) return '/';
  return `/${kept.join('/')}${endsInSlash ? '/' : ''}`;
}

function hasDotSegmentParameter(segment: string): boolean {
  if (segment.charCodeAt(0) !== dot) return false;
  return segment.charCodeAt(segment.charCodeAt(1) === dot ? 2 : 1) === semicolon;
}

/** Step 1 and 2 of the rule. */
function decodeUnreserved(path: string): string | null {
  let decoded = '';
  let copiedTo = 0;
  for (let i = 0; i < path.length; i++) {
    const code = path.charCodeAt(i);
    if (code === backslash) return null;
    if (code !== percent) continue;
    if (!isHexCode(path.charCodeAt(i + 1)) || !isHexCode(path.charCodeAt(i + 2))) return null;
    const digits = path.slice(i + 1, i + 3);
    const byte = Number.parseInt(digits, 16);
    if (byte === 0) return null;
    decoded +=
      path.slice(copiedTo, i) + (isUnreservedCode(byte) ? String.fromCharCode(byte) : `%${digits.toUpperCase()}`);
    i += 2;
    copiedTo = i + 1;
  }
  return decoded + path.slice(copiedTo);
}
