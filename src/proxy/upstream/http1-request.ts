/**
 * A request head as bytes of HTTP/1.1, and the last line of defence against request splitting: of what filters have made of a head, no line
 * is written here that was not meant as a line, and no framing field that is not ours.
 */
import { fieldIds } from '../field-names.ts';
import { lineOf } from '../headers.ts';
import { isToken } from './http1-octets.ts';
import type { UpstreamRequest } from './upstream.ts';

/**
 * The head with its framing, ready to be written as latin1; null when any part of it could be read as something else: a control
 * character (CR, LF and NUL above all), a character beyond latin1 (its low byte is what would be written), a blank in the
 * target, a name that is no token, or a framing field among the headers. RFC 9112 section 3, RFC 9110 section 5.
 */
export function serializeRequest(request: UpstreamRequest): string | null {
  const { method, target, headers, bodyBytes } = request;
  if (!request.isChecked && !isWritable(request)) return null;
  let text = `${method} ${target} HTTP/1.1`;
  for (let i = 0; i < headers.length; i++) text += lineOf(headers[i]!);
  if (bodyBytes > 0) return `${text}\r\nContent-Length: ${bodyBytes}\r\n\r\n`;
  if (bodyBytes < 0) return `${text}\r\nTransfer-Encoding: chunked\r\n\r\n`;
  return text + (request.sendsZeroLength ? '\r\nContent-Length: 0\r\n\r\n' : '\r\n\r\n');
}

function isWritable({ method, target, headers }: UpstreamRequest): boolean {
  if (!isTokenString(method) || !isTarget(target)) return false;
  for (const { name, value, id } of headers) {
    if (!isTokenString(name) || id === fieldIds.contentLength || id === fieldIds.transferEncoding) return false;
    if (isBroken.test(value)) return false;
  }
  return true;
}

/** Anything that is no field text: a control character (CR, LF and NUL above all), or one that does not fit into a byte. Value by value and natively: 0.3 µs less for a request than looking at each character of the head. */
const isBroken = /[^\t\x20-\x7e\x80-\xff]/;

function isTokenString(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code > 0xff || isToken[code] === 0) return false;
  }
  return name.length > 0;
}

/** No blank ends it early. */
function isTarget(target: string): boolean {
  return target.length > 0 && !target.includes(' ') && !target.includes('\t') && !isBroken.test(target);
}
