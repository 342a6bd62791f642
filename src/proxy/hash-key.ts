/** The key by which RingHash and Maglev send a request: the first of the configured sources that the request carries, hashed. */
import loadXxhash from 'xxhash-wasm';
import type { HashSource } from '../model/snapshot.ts';
import { fieldIds } from './field-names.ts';
import { type Field, joinedHeaderValue } from './headers.ts';
import { queryValue } from './query.ts';
import type { RequestHead } from './request.ts';

/** What `hashKeyOf` answers when the request carries none of the sources. */
export const noKey = -1;

/** Up to here murmur3 in JavaScript is quicker than the way into WebAssembly. */
const murmurCharsMax = 64;

/** Loaded with this module (about 1 ms), so that hashing is synchronous and the same from the first request on. */
export const xxhash = await loadXxhash();

/** A number from 0 to 2^32 - 1, or `noKey`. */
export function hashKeyOf(sources: readonly HashSource[], request: RequestHead): number {
  for (let i = 0; i < sources.length; i++) {
    const key = keyOf(sources[i]!, request);
    if (key !== undefined) return hashText(key);
  }
  return noKey;
}

/** 32 bits of a text. Short and long texts go through different functions, so the length at which they part is fixed for good. */
export function hashText(text: string): number {
  return text.length <= murmurCharsMax ? murmur3(text) : xxhash.h32(text);
}

function keyOf(source: HashSource, request: RequestHead): string | undefined {
  switch (source.from) {
    case 'header':
      return joinedHeaderValue(request.headers, source.name);
    case 'cookie':
      return cookieValue(request.headers, source.name);
    case 'query':
      return queryValue(request.query, source.name);
    case 'path-segment':
      return pathSegment(request.path, source.index);
    case 'source-address':
      return request.sourceAddress === '' ? undefined : request.sourceAddress;
    default:
      return source satisfies never;
  }
}

/** The first cookie of that name; a client may send several Cookie fields (RFC 9113 section 8.2.3). */
function cookieValue(headers: readonly Field[], name: string): string | undefined {
  for (const field of headers) {
    if (field.id !== fieldIds.cookie) continue;
    const value = cookieOf(field.value, name);
    if (value !== undefined) return value;
  }
  return undefined;
}

function cookieOf(cookies: string, name: string): string | undefined {
  let start = 0;
  while (start < cookies.length) {
    while (cookies.charCodeAt(start) === 0x20) start++;
    let end = cookies.indexOf(';', start);
    if (end === -1) end = cookies.length;
    if (cookies.charCodeAt(start + name.length) === 0x3d && cookies.startsWith(name, start))
      return cookies.slice(start + name.length + 1, end);
    start = end + 1;
  }
  return undefined;
}

/** An empty segment is none: `/users/` has no segment 1. */
function pathSegment(path: string, index: number): string | undefined {
  let start = 1;
  for (let i = 0; i < index; i++) {
    const end = path.indexOf('/', start);
    if (end === -1) return undefined;
    start = end + 1;
  }
  let end = path.indexOf('/', start);
  if (end === -1) end = path.length;
  return end === start || start >= path.length ? undefined : path.slice(start, end);
}

/** MurmurHash3_x86_32, seed 0, over the text's low bytes: headers, paths and addresses are bytes kept as latin1. */
export function murmur3(text: string): number {
  const { length } = text;
  const wholeEnd = length & ~3;
  let hash = 0;
  for (let i = 0; i < wholeEnd; i += 4) {
    const block =
      (text.charCodeAt(i) & 0xff) |
      ((text.charCodeAt(i + 1) & 0xff) << 8) |
      ((text.charCodeAt(i + 2) & 0xff) << 16) |
      ((text.charCodeAt(i + 3) & 0xff) << 24);
    hash ^= mixBlock(block);
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let i = length - 1; i >= wholeEnd; i--) tail = (tail << 8) | (text.charCodeAt(i) & 0xff);
  if (length !== wholeEnd) hash ^= mixBlock(tail);
  hash ^= length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function mixBlock(block: number): number {
  const mixed = Math.imul(block, 0xcc9e2d51);
  return Math.imul((mixed << 15) | (mixed >>> 17), 0x1b873593);
}
