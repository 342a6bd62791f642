/**
 * Names of common header fields as numbers: on the link (fixed for its version 1: a name is only ever added with a new version), and for what is known of a name without
 * looking at its characters. Case is kept: the spelling of HTTP libraries and the lower case of others are two entries.
 */
const titleCase = [
  'Accept',
  'Accept-Encoding',
  'Accept-Language',
  'Accept-Ranges',
  'Access-Control-Allow-Origin',
  'Age',
  'Allow',
  'Authorization',
  'Cache-Control',
  'Content-Disposition',
  'Content-Encoding',
  'Content-Language',
  'Content-Location',
  'Content-Range',
  'Content-Security-Policy',
  'Content-Type',
  'Cookie',
  'Date',
  'ETag',
  'Expires',
  'Forwarded',
  'From',
  'Host',
  'Idempotency-Key',
  'If-Match',
  'If-Modified-Since',
  'If-None-Match',
  'If-Range',
  'If-Unmodified-Since',
  'Last-Modified',
  'Link',
  'Location',
  'Origin',
  'Pragma',
  'Range',
  'Referer',
  'Retry-After',
  'Server',
  'Server-Timing',
  'Set-Cookie',
  'Strict-Transport-Security',
  'Tracestate',
  'User-Agent',
  'Vary',
  'Via',
  'WWW-Authenticate',
  'Weft-Failure',
  'Weft-Request-Id',
  'X-Forwarded-For',
  'X-Forwarded-Host',
  'X-Forwarded-Proto',
  'X-Powered-By',
  'X-Request-Id',
  'Traceparent',
];

/** Number n is `fieldNames[n]`; number 0 says that the name follows. */
export const fieldNames: readonly string[] = [
  '',
  ...titleCase,
  ...titleCase.map((name) => name.toLowerCase()).filter((name) => !titleCase.includes(name)),
];

/** What else a proxy acts upon: names that are of one hop, and Weft's own. */
const unnumbered = [
  'connection',
  'content-length',
  'expect',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'weft-timing',
];

/** By id: each of these names once, in lower case. To compare ids takes no look at a letter. */
export const lowerNames: readonly string[] = ['', ...titleCase.map((name) => name.toLowerCase()), ...unnumbered];
const idOfNumber: readonly number[] = fieldNames.map((name) => lowerNames.indexOf(name.toLowerCase()));

/** By length and first letter: two names share a place at most three times. A map would hash each name of each request anew. */
const placeOf = (name: string): number => ((name.length & 63) << 5) | (name.charCodeAt(0) & 31);
const placesOf = (names: readonly string[]): readonly number[][] => {
  const places: number[][] = Array.from({ length: 64 * 32 }, () => []);
  for (let at = 1; at < names.length; at++) places[placeOf(names[at]!)]!.push(at);
  return places;
};
const numbersAt = placesOf(fieldNames);
const idsAt = placesOf(lowerNames);

/** How a line of a head begins with each of them: what ends the line before, the name, and a colon. One text to join instead of three. */
const lineStarts: readonly string[] = fieldNames.map((name) => `\r\n${name}: `);

/** The end of the line before, and all of a field's line but its value. `number`: see `fieldNumber`. */
export const lineStart = (number: number, name: string): string =>
  number === 0 ? `\r\n${name}: ` : lineStarts[number]!;

/** 0: it has none. Those that have one are tokens. */
export function fieldNumber(name: string): number {
  const candidates = numbersAt[placeOf(name)]!;
  for (let i = 0; i < candidates.length; i++) if (fieldNames[candidates[i]!] === name) return candidates[i]!;
  return 0;
}

/** Which of `lowerNames` it is, in any case; 0: none. `number`: its own. */
export function fieldId(number: number, name: string): number {
  if (number !== 0) return idOfNumber[number]!;
  const candidates = idsAt[placeOf(name)]!;
  for (let i = 0; i < candidates.length; i++) if (isNamed(name, lowerNames[candidates[i]!]!)) return candidates[i]!;
  return 0;
}

/** @throws Error when it is none of `lowerNames`. */
function idOf(lowerName: string): number {
  const id = lowerNames.indexOf(lowerName);
  if (id < 1) throw new Error(`${lowerName} has no id`);
  return id;
}

/** Framing, and what else is of one hop only (RFC 9110 section 7.6.1, RFC 7540 section 3.2.1): never passed on, and never among the fields on the link. */
const hopNames: readonly string[] = [
  'te',
  'upgrade',
  'connection',
  'keep-alive',
  'content-length',
  'http2-settings',
  'proxy-connection',
  'transfer-encoding',
];
/** By id. */
export const isOfHop: readonly boolean[] = lowerNames.map((name) => hopNames.includes(name));

/** Those that somebody acts upon by its name. */
export const fieldIds = {
  connection: idOf('connection'),
  contentLength: idOf('content-length'),
  cookie: idOf('cookie'),
  date: idOf('date'),
  expect: idOf('expect'),
  forwarded: idOf('forwarded'),
  host: idOf('host'),
  serverTiming: idOf('server-timing'),
  traceparent: idOf('traceparent'),
  tracestate: idOf('tracestate'),
  trailer: idOf('trailer'),
  transferEncoding: idOf('transfer-encoding'),
  upgrade: idOf('upgrade'),
  weftFailure: idOf('weft-failure'),
  weftTiming: idOf('weft-timing'),
  xForwardedHost: idOf('x-forwarded-host'),
  xForwardedProto: idOf('x-forwarded-proto'),
} as const;

/**
 * Whether a field's name is this one, in any case. `lowerName` is letters in lower case and dashes. Compares letters; `toLowerCase` would make
 * a text of every name that has an upper-case letter, some ten in a request.
 */
export function isNamed(name: string, lowerName: string): boolean {
  if (name.length !== lowerName.length) return false;
  // As a whole first: V8 compares texts with fewer instructions than this looks at their characters.
  if (name === lowerName) return true;
  for (let i = 0; i < name.length; i++) if ((name.charCodeAt(i) | 0x20) !== lowerName.charCodeAt(i)) return false;
  return true;
}

/** In lower case and with dashes: `X_Forwarded_For` is, to an app behind CGI, WSGI and their like, the same field as the one with dashes. */
export function canonicalName(name: string): string {
  const lower = name.toLowerCase();
  return lower.includes('_') ? lower.replaceAll('_', '-') : lower;
}
