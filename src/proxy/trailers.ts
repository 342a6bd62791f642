/** The trailer section of a message: which of its fields go on to the next hop (RFC 9110 section 6.5). */
import { limits } from '../model/limits.ts';
import { isFieldText, isToken } from './char-classes.ts';
import { canonicalName, fieldIds } from './field-names.ts';
import { dropFields, type HeaderList } from './headers.ts';

/** Of all messages without trailers, therefore frozen. */
export const noTrailers: HeaderList = [];
Object.freeze(noTrailers);

/**
 * Fields that mean something before the content or not at all (RFC 9110 section 6.5.1): whoever merges them into the head would
 * frame, route, authenticate or read the message anew. They are dropped, whoever sends them, and so are their look-alikes with `_` for a dash.
 */
const neverTrailers: ReadonlySet<string> = new Set([
  // How the message is framed, which way it takes, what is of one connection only.
  ...['content-length', 'transfer-encoding', 'trailer', 'te', 'host', 'connection', 'keep-alive', 'proxy-connection'],
  ...['upgrade', 'http2-settings', 'max-forwards', 'expect'],
  // What is asked for, and on which condition.
  ...['cache-control', 'pragma', 'range'],
  // Who asks, and who is asked to prove it.
  ...['authorization', 'proxy-authorization', 'proxy-authenticate', 'www-authenticate', 'cookie', 'set-cookie'],
  // What the answer is good for.
  ...['age', 'date', 'expires', 'location', 'retry-after', 'vary', 'warning'],
  // How the content is to be read.
  ...['content-encoding', 'content-type', 'content-range'],
  // Which way the request came.
  ...['forwarded', 'via', 'x-real-ip', 'traceparent', 'tracestate'],
]);
const neverPrefixes = ['if-', 'x-forwarded-', 'weft-'] as const;

/**
 * The trailers that are passed on, in order; `nominated` are names in lower case that Connection said (RFC 9110 section 7.6.1). More
 * than a head may have are dropped altogether, which a recipient may always do. Never throws, and what it answers can split nothing.
 */
export function passableTrailers(trailers: HeaderList, nominated: ReadonlySet<string> | null = null): HeaderList {
  if (trailers.length === 0) return noTrailers;
  if (trailers.length > limits.headerFieldsMax) return noTrailers;
  const passed: HeaderList = [];
  let bytes = 0;
  for (const field of trailers) {
    const { name, value } = field;
    bytes += name.length + value.length + 4;
    if (bytes > limits.headBytesMax) return noTrailers;
    if (!mayBeTrailer(name) || nominated?.has(name.toLowerCase()) === true || !isToken(name) || !isFieldText(value))
      continue;
    passed.push(field);
  }
  return passed;
}

/** Drops the announcement of trailers, in place: where none can follow, it would promise what does not come. */
export function dropTrailerField(headers: HeaderList): void {
  dropFields(headers, ({ id }) => id === fieldIds.trailer);
}

function mayBeTrailer(name: string): boolean {
  const canonical = canonicalName(name);
  return !neverTrailers.has(canonical) && !neverPrefixes.some((prefix) => canonical.startsWith(prefix));
}
