/**
 * The hash of a path, computed character by character, so that one pass over a request's path yields the hash of each of its
 * prefixes too. The compile task and the router must agree on it, and agree here. FNV-1a over UTF-16 code units: the tables hold what
 * the user configured, so a caller cannot flood them; a hit is confirmed by comparing the text.
 */

export const emptyPathHash = 0x811c9dc5 | 0;

export function extendPathHash(hash: number, charCode: number): number {
  return Math.imul(hash ^ charCode, 0x01000193);
}

/** Where the search for a hash begins in an open-addressing table; the low bits of FNV alone are weak. */
export function tableStart(hash: number, mask: number): number {
  return (hash ^ (hash >>> 15)) & mask;
}

export function hashPath(path: string): number {
  let hash = emptyPathHash;
  for (let i = 0; i < path.length; i++) hash = extendPathHash(hash, path.charCodeAt(i));
  return hash;
}

/** A prefix as it is matched, segment by segment: its trailing slash says nothing, so `/` is the empty prefix. */
export function prefixText(value: string): string {
  let end = value.length;
  while (end > 0 && value.charCodeAt(end - 1) === 0x2f) end--;
  return value.slice(0, end);
}
