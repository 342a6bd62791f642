/**
 * The check of a request head, the same behind both listeners: from what a parser read to a head that is valid and framed
 * unambiguously, or to the reason why it is refused. Pure. The rules are those of RFC 9110 and 9112 where two readers could disagree;
 * nothing that fails here ever reaches an upstream.
 */
import { isIPv6 } from 'node:net';
import { limits } from '../model/limits.ts';
import { defaultListenerLimits, type HeadLimits } from '../model/listener-limits.ts';
import { isFieldText, isHexCode, isHostCode, isTargetText, isToken } from './char-classes.ts';
import { type Failure, failures } from './failure.ts';
import { fieldIds, isOfHop } from './field-names.ts';
import { cutTo, dropFields, fieldOf, fieldValue, type HeaderList } from './headers.ts';
import { noteField } from './known-fields.ts';
import { fieldsTooLarge, type LimitMet, ofListener, targetTooLong, tooManyFields, whose } from './limit-met.ts';
import { normalisePath, type PathPolicy } from './path.ts';
import type { RefusedRequest, RequestHead } from './request.ts';

/** What a listener's parser read. */
export interface RawHead {
  readonly method: string;
  /** As sent. Absolute form is accepted too: its authority replaces Host (RFC 9112 section 3.2.2). */
  readonly target: string;
  /** In order. The check takes it over: it is compacted in place and becomes `headers` of the checked head. */
  readonly headers: HeaderList;
  readonly isHttp10: boolean;
  /** Absent: `normalise`. */
  readonly paths?: PathPolicy | undefined;
  /** Length of the body where something else than the fields says it (the link): then no field may. Absent: the fields do. */
  readonly bodyBytes?: number;
  /** See RequestHead. Absent: the caller has no identity. */
  readonly source?: string;
  readonly sourceAddress: string;
  readonly readAtMs: number;
  readonly loopMs: number;
}

export interface CheckedHead extends RequestHead {
  /** The client said `Connection: close`. */
  readonly isLastOfConnection: boolean;
  /** Names in lower case that Connection said, `close` and the like among them: trailers under them are of this hop too. Mostly null. */
  readonly nominated: ReadonlySet<string> | null;
}

export class RefusedHead {
  readonly failure: Failure;
  /** What exactly was wrong. Holds nothing that the client sent. */
  readonly detail: string;
  /** For the log. Null: what came could not be told apart. */
  readonly request: RefusedRequest | null;

  constructor(failure: Failure, detail: string, request: RefusedRequest | null = null) {
    this.failure = failure;
    this.detail = detail;
    this.request = request;
  }
}

/** RFC 9110 without CONNECT (no tunnels through a listener) and TRACE (it shows credentials to whoever sends it), PATCH (RFC 5789), WebDAV (RFC 4918, 3253, 5323, 4791). */
const methodNames =
  'GET HEAD POST PUT DELETE PATCH OPTIONS PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT SEARCH MKCALENDAR';
const methods: ReadonlySet<string> = new Set(methodNames.split(' '));
export const methodsThatPass = `The method is not one of those that pass: ${methodNames}.`;

/** Of each text in a `RefusedRequest`. */
const charsMax = limits.refusalDetailCharsMax;

/** By id: fields that are never forwarded as they are, Connection-nominated ones aside. */
const isTaken = isOfHop.map(
  (isTakenAnyway, id) => isTakenAnyway || [fieldIds.host, fieldIds.expect, fieldIds.trailer].includes(id),
);

/** Returns the checked head, or what is wrong with it. `bounds` are the listener's. Never throws. */
export function checkHead(raw: RawHead, bounds: HeadLimits = defaultListenerLimits.inbound): CheckedHead | RefusedHead {
  const { method, target, headers, isHttp10 } = raw;
  // Most are told by a comparison; a look-up would hash the text first.
  if (method !== 'GET' && method !== 'POST' && !methods.has(method)) {
    return isToken(method)
      ? new RefusedHead(failures['method-not-supported'], methodsThatPass, refusedRequest(raw, null))
      : badRequest('The method is not a token.', raw, null);
  }
  if (target.length > bounds.targetBytesMax)
    return tooMuch(targetTooLong(bounds.targetBytesMax, ofListener(bounds, 'target-bytes')), raw, null);
  if (headers.length > bounds.headerFieldsMax)
    return tooMuch(tooManyFields(bounds.headerFieldsMax, ofListener(bounds, 'head-fields')), raw, null);

  let host: string | null = null;
  let contentLength: string | null = null;
  let transferEncoding: string | null = null;
  let connection: string | null = null;
  let trailer: string | null = null;
  let fieldBytes = 0;
  let kept = 0;
  for (let i = 0; i < headers.length; i++) {
    const field = headers[i]!;
    const { name, value, id } = field;
    fieldBytes += name.length + value.length + 4;
    if (fieldBytes > bounds.headBytesMax)
      return tooMuch(fieldsTooLarge(bounds.headBytesMax, ofListener(bounds, 'head-bytes')), raw, host);
    if (field.place === -1) {
      if (field.number === 0 && !isToken(name)) return badRequest('A field name is not a token.', raw, host);
      if (!field.isPlain && !isFieldText(value))
        return badRequest('A field value holds a control character.', raw, host);
      noteField(field);
    }
    if (!isTaken[id]!) {
      headers[kept++] = field;
      continue;
    }
    switch (id) {
      case fieldIds.host:
        if (host !== null) return badRequest('There is more than one Host.', raw, host);
        host = value;
        break;
      case fieldIds.contentLength:
        if (contentLength !== null) return badRequest('There is more than one Content-Length.', raw, host);
        contentLength = value;
        break;
      case fieldIds.transferEncoding:
        if (transferEncoding !== null) return badRequest('There is more than one Transfer-Encoding.', raw, host);
        transferEncoding = value;
        break;
      case fieldIds.connection:
        connection = connection === null ? value : `${connection},${value}`;
        break;
      case fieldIds.trailer:
        trailer = trailer === null ? value : `${trailer}, ${value}`;
        break;
      case fieldIds.expect:
        // RFC 9110 section 10.1.1: from an HTTP/1.0 client it means nothing.
        if (!isHttp10 && value.toLowerCase() !== '100-continue')
          return new RefusedHead(
            failures['expectation-failed'],
            'Expect says something else.',
            refusedRequest(raw, host),
          );
        break;
      default:
        break;
    }
  }
  cutTo(headers, kept);

  const bodyBytes = raw.bodyBytes ?? bodyLength(contentLength, transferEncoding, isHttp10);
  if (raw.bodyBytes !== undefined && (contentLength !== null || transferEncoding !== null))
    return badRequest('The length of the body is said twice.', raw, host);
  if (typeof bodyBytes === 'string') return badRequest(bodyBytes, raw, host);
  // RFC 9110 section 6.6.2: only chunks carry what it announces.
  if (trailer !== null && bodyBytes === -1) headers.push(fieldOf('Trailer', trailer));
  let isLastOfConnection = false;
  let nominated: ReadonlySet<string> | null = null;
  if (connection !== null) {
    const applied = applyConnection(headers, connection);
    if (typeof applied === 'string') return badRequest(applied, raw, host);
    nominated = applied;
    isLastOfConnection = hasToken(connection, 'close');
  }
  return checkTarget(raw, bounds, host, bodyBytes, isLastOfConnection, nominated);
}

function tooMuch({ failure, detail }: LimitMet, raw: RawHead, host: string | null): RefusedHead {
  return new RefusedHead(failure, detail, refusedRequest(raw, host));
}

/** A closed sentence: it says what it can be, since the path is the client's. */
function pathNotNormal(bounds: HeadLimits, raw: RawHead, host: string | null): RefusedHead {
  return new RefusedHead(
    failures['path-not-normal'],
    `The path holds a dot segment, repeated slashes, an escape that need not be one, or one in small letters (--paths ${bounds.listener}=refuse${whose(bounds)}).`,
    refusedRequest(raw, host),
  );
}

function badRequest(detail: string, raw: RawHead, host: string | null): RefusedHead {
  return new RefusedHead(failures['bad-request'], detail, refusedRequest(raw, host));
}

/** What can be told of a request that is refused. `host`: the Host field, where it was taken out of `headers` already. */
export function refusedRequest(
  { method, target, headers }: Pick<RawHead, 'method' | 'target' | 'headers'>,
  host: string | null,
): RefusedRequest {
  const said = host ?? fieldValue(headers, fieldIds.host);
  const path = pathAsItCame(target);
  return {
    ...(isToken(method) ? { method: method.slice(0, charsMax) } : {}),
    ...(said === undefined ? {} : { host: said.slice(0, charsMax) }),
    ...(path === '' ? {} : { path: path.slice(0, charsMax) }),
  };
}

/** Empty for a target of another form than origin, absolute or asterisk: there is no telling what it holds. */
function pathAsItCame(target: string): string {
  if (target === '*') return target;
  const authorityAt = schemeLength(target);
  if (authorityAt === 0 && target.charCodeAt(0) !== 0x2f) return '';
  const pathAt = authorityAt === 0 ? 0 : authorityEnd(target, authorityAt);
  return target.slice(pathAt).split(/[?#]/, 1)[0]!;
}

/** Length of the body (-1: chunked), or what is wrong with the framing. Both fields together are refused by their presence. */
function bodyLength(contentLength: string | null, transferEncoding: string | null, isHttp10: boolean): number | string {
  if (transferEncoding !== null) {
    if (contentLength !== null) return 'Content-Length and Transfer-Encoding exclude each other.';
    if (isHttp10) return 'HTTP/1.0 has no Transfer-Encoding.';
    return transferEncoding.toLowerCase() === 'chunked' ? -1 : 'Transfer-Encoding is not exactly chunked.';
  }
  if (contentLength === null) return 0;
  if (contentLength.length === 0 || contentLength.length > 15) return 'Content-Length is not 1 to 15 digits.';
  let length = 0;
  for (let i = 0; i < contentLength.length; i++) {
    const digit = contentLength.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return 'Content-Length is not 1 to 15 digits.';
    length = length * 10 + digit;
  }
  return length;
}

/** Drops the fields that Connection nominates (RFC 9110 section 7.6.1) and answers their names; says what is wrong when it nominates one that must arrive. */
function applyConnection(headers: HeaderList, connection: string): ReadonlySet<string> | string | null {
  const lower = connection.toLowerCase();
  if (lower === 'keep-alive' || lower === 'close') return null;
  // Bounded by limits.headBytesMax, and rare: ordinary clients send one of the two words above.
  const nominated = new Set<string>();
  for (const part of lower.split(',')) {
    const name = part.trim();
    if (name === '') continue;
    if (!isToken(name)) return 'Connection names something that is not a token.';
    if (name === 'host' || name === 'content-length' || name === 'authorization')
      return 'Connection nominates Host, Content-Length or Authorization.';
    nominated.add(name);
  }
  dropFields(headers, ({ name }) => nominated.has(name.toLowerCase()));
  return nominated;
}

function hasToken(list: string, token: string): boolean {
  const lower = list.toLowerCase();
  return lower === token || (lower.includes(token) && lower.split(',').some((part) => part.trim() === token));
}

function checkTarget(
  raw: RawHead,
  bounds: HeadLimits,
  hostField: string | null,
  bodyBytes: number,
  isLastOfConnection: boolean,
  nominated: ReadonlySet<string> | null,
): CheckedHead | RefusedHead {
  const { target } = raw;
  let authority = hostField;
  let pathAt = 0;
  if (!isTargetText(target))
    return badRequest(
      'The target holds a space, a control character, a fragment or a byte outside ASCII.',
      raw,
      hostField,
    );
  // HTTP/1.0 knows no Host; such a request has no host and goes where a listener sends those.
  if (authority === null && !raw.isHttp10) return badRequest('There is no Host.', raw, hostField);
  if (authority !== null && parseHost(authority) === null)
    return badRequest('Host is not a host with an optional port.', raw, hostField);
  if (target.charCodeAt(0) !== 0x2f) {
    if (target === '*')
      return new RefusedHead(
        failures['method-not-supported'],
        'The target * names no resource.',
        refusedRequest(raw, hostField),
      );
    const authorityAt = schemeLength(target);
    if (authorityAt === 0) return badRequest('The target is neither in origin form nor an http URI.', raw, hostField);
    pathAt = authorityEnd(target, authorityAt);
    authority = target.slice(authorityAt, pathAt);
  }
  const host = authority === null ? '' : parseHost(authority);
  if (host === null)
    return badRequest('The authority of the target is not a host with an optional port.', raw, hostField);

  const queryAt = target.indexOf('?', pathAt);
  const pathEnd = queryAt === -1 ? target.length : queryAt;
  // RFC 9112 section 3.2.2: an http URI without a path means `/`.
  const received = pathAt === pathEnd ? '/' : pathAt === 0 && queryAt === -1 ? target : target.slice(pathAt, pathEnd);
  const path = normalisePath(received);
  if (path === null)
    return badRequest(
      'The path holds a broken escape, %00, a backslash or a dot segment with a parameter.',
      raw,
      hostField,
    );
  if (raw.paths === 'refuse' && path !== received) return pathNotNormal(bounds, raw, hostField);
  return {
    method: raw.method,
    path,
    forwardedPath: raw.paths === 'raw' ? received : path,
    query: queryAt === -1 ? '' : target.slice(queryAt),
    host,
    authority: authority ?? '',
    isHttp10: raw.isHttp10,
    headers: raw.headers,
    bodyBytes,
    source: raw.source ?? '',
    sourceAddress: raw.sourceAddress,
    readAtMs: raw.readAtMs,
    loopMs: raw.loopMs,
    isLastOfConnection,
    nominated,
  };
}

/** Where the authority of an `http` or `https` URI begins; 0 when the target is neither. */
function schemeLength(target: string): number {
  const start = target.slice(0, 8).toLowerCase();
  if (start.startsWith('http://')) return 7;
  return start === 'https://' ? 8 : 0;
}

function authorityEnd(target: string, from: number): number {
  let end = from;
  while (end < target.length && target.charCodeAt(end) !== 0x2f && target.charCodeAt(end) !== 0x3f) end++;
  return end;
}

/**
 * `uri-host [ ":" port ]` (RFC 9110 section 7.2): the host in lower case, without port and without the dot of a full name at its end;
 * an IPv6 address keeps its brackets. Null when it is not valid. User information, an empty host and IPvFuture are not.
 */
export function parseHost(authority: string): string | null {
  if (authority.charCodeAt(0) === 0x5b) return parseBracketed(authority);
  let end = 0;
  for (; end < authority.length; end++) {
    const code = authority.charCodeAt(end);
    if (code === 0x3a) break;
    if (isHostCode(code)) continue;
    if (code !== 0x25 || !isHexCode(authority.charCodeAt(end + 1)) || !isHexCode(authority.charCodeAt(end + 2)))
      return null;
    end += 2;
  }
  if (!isPort(authority, end)) return null;
  const nameEnd = authority.charCodeAt(end - 1) === 0x2e ? end - 1 : end;
  if (nameEnd === 0) return null;
  return (nameEnd === authority.length ? authority : authority.slice(0, nameEnd)).toLowerCase();
}

function parseBracketed(authority: string): string | null {
  const close = authority.indexOf(']');
  const address = authority.slice(1, close);
  if (close === -1 || address.includes('%') || !isIPv6(address)) return null;
  return isPort(authority, close + 1) ? authority.slice(0, close + 1).toLowerCase() : null;
}

/** What follows the host: nothing, or a colon and a port, which may be empty (RFC 3986 section 3.2.3). */
function isPort(authority: string, at: number): boolean {
  if (at === authority.length) return true;
  if (authority.charCodeAt(at) !== 0x3a || authority.length - at > 6) return false;
  let port = 0;
  for (let i = at + 1; i < authority.length; i++) {
    const digit = authority.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return false;
    port = port * 10 + digit;
  }
  return port <= 65_535;
}
