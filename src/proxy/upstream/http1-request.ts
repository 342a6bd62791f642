/**
 * A request head as bytes of HTTP/1.1. This is the last line of defence against request splitting: whatever the stages before
 * let through, no line is written here that was not meant as a line, and no framing field that is not ours.
 */
import { isFieldText, isToken } from './http1-octets.ts';
import type { UpstreamRequest } from './upstream.ts';

/**
 * The head with its framing, ready to be written as latin1; null when any part of it could be read as something else: a control
 * character (CR, LF and NUL above all), a character beyond latin1 (its low byte is what would be written), a blank in the
 * target, a name that is no token, or a framing field among the headers. RFC 9112 section 3, RFC 9110 section 5.
 */
export function serializeRequest(request: UpstreamRequest): string | null {
  const { method, target, headers, bodyBytes } = request;
  if (!isTokenString(method) || !isTarget(target) || (headers.length & 1) === 1) return null;
  let text = `${method} ${target} HTTP/1.1\r\n`;
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    if (!isTokenString(name) || isFraming(name)) return null;
    text += `${name}: ${headers[i + 1]!}\r\n`;
  }
  if (bodyBytes > 0) text += `Content-Length: ${bodyBytes}\r\n\r\n`;
  else if (bodyBytes < 0) text += 'Transfer-Encoding: chunked\r\n\r\n';
  else text += request.sendsZeroLength ? 'Content-Length: 0\r\n\r\n' : '\r\n';
  const lines = 2 + headers.length / 2 + (bodyBytes !== 0 || request.sendsZeroLength ? 1 : 0);
  return hasExactlyLines(text, lines) ? text : null;
}

/**
 * True when `text` is `lines` lines of field text, each ended by CRLF. Values are checked here, in one pass over the flat
 * string: one line break more than was put in means that a value brought its own.
 */
function hasExactlyLines(text: string, lines: number): boolean {
  let found = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff) return false;
    if (isFieldText[code] === 1) continue;
    if (code !== 13 || text.charCodeAt(i + 1) !== 10) return false;
    found++;
    i++;
  }
  return found === lines;
}

function isTokenString(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code > 0xff || isToken[code] === 0) return false;
  }
  return name.length > 0;
}

/** No blank ends it early; other characters are judged by `hasExactlyLines`. */
function isTarget(target: string): boolean {
  return target.length > 0 && !target.includes(' ') && !target.includes('\t');
}

function isFraming(name: string): boolean {
  if (name.length === 14) return name.toLowerCase() === 'content-length';
  return name.length === 17 && name.toLowerCase() === 'transfer-encoding';
}
