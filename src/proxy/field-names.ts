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

/** By length and first letter: two names share a place at most three times. A map would hash each name of each request anew. */
const places: readonly number[][] = Array.from({ length: 64 * 32 }, () => []);
const placeOf = (name: string): number => ((name.length & 63) << 5) | (name.charCodeAt(0) & 31);
fieldNames.forEach((name, number) => {
  if (number > 0) places[placeOf(name)]!.push(number);
});

/** How a line of a head begins with each of them: what ends the line before, the name, and a colon. One text to join instead of three. */
const lineStarts: readonly string[] = fieldNames.map((name) => `\r\n${name}: `);

/** The end of the line before, and all of a field's line but its value. `number`: see `fieldNumber`. */
export const lineStart = (number: number, name: string): string =>
  number === 0 ? `\r\n${name}: ` : lineStarts[number]!;

/** 0: it has none. Those that have one are tokens. */
export function fieldNumber(name: string): number {
  const candidates = places[placeOf(name)]!;
  for (let i = 0; i < candidates.length; i++) if (fieldNames[candidates[i]!] === name) return candidates[i]!;
  return 0;
}
