/**
 * What a listener says to the app about who called and through what: X-Forwarded-For, -Proto and -Host, Forwarded (RFC 7239), Via
 * (RFC 9110 section 7.6.3). Written once for a request, before it is routed: another attempt, and every copy, has the same fields.
 */
import { isToken } from './char-classes.ts';
import { canonicalName, fieldIds, isNamed } from './field-names.ts';
import { dropFields, type Field, fieldOf, fieldValue, type HeaderList } from './headers.ts';
import type { RequestAcceptor, RequestHead } from './request.ts';

/**
 * `append`: what came is kept, and this hop is added to it. `replace`: nothing that the peer said of itself is believed, and this hop
 * is all that is said. `off`: what came passes, and nothing is added.
 */
export type FieldPolicy = 'append' | 'replace' | 'off';

export interface ForwardingPolicy {
  /** X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host. */
  readonly xForwarded: FieldPolicy;
  /** Forwarded. */
  readonly forwarded: FieldPolicy;
  /** Via is added to requests; what came stays in front of it. */
  readonly addsVia: boolean;
}

/** In front of `acceptor`; the acceptor itself where there is nothing to do, so that a listener that is off pays nothing. */
export function forwardingAcceptor(acceptor: RequestAcceptor, policy: ForwardingPolicy): RequestAcceptor {
  if (policy.xForwarded === 'off' && policy.forwarded === 'off' && !policy.addsVia) return acceptor;
  return {
    accept: (head, downstream) => {
      writeForwarding(head, policy);
      return acceptor.accept(head, downstream);
    },
  };
}

/** Changes the fields of `head` in place. */
export function writeForwarding(head: RequestHead, { xForwarded, forwarded, addsVia }: ForwardingPolicy): void {
  const { headers } = head;
  // One spelling that is not believed makes the others no better: an app may read any of them.
  if (xForwarded === 'replace' || forwarded === 'replace') dropFields(headers, isForwarding);
  else if (xForwarded === 'append' || forwarded === 'append') dropFields(headers, isLookAlike);
  const address = withoutZone(head.sourceAddress);
  if (xForwarded !== 'off') {
    addToList(headers, 'X-Forwarded-For', address === '' ? 'unknown' : address);
    // The hop in front knows better what the client used; a second value would be one that apps compare with `https` and find different.
    if (fieldValue(headers, fieldIds.xForwardedProto) === undefined) headers.push(fieldOf('X-Forwarded-Proto', 'http'));
    if (head.authority !== '' && fieldValue(headers, fieldIds.xForwardedHost) === undefined)
      headers.push(fieldOf('X-Forwarded-Host', head.authority));
  }
  if (forwarded !== 'off') {
    // Behind a quote that was never closed, what is added would be read as part of the peer's own words.
    dropFields(headers, ({ id, value }) => id === fieldIds.forwarded && hasOpenQuote(value));
    addToList(headers, 'Forwarded', forwardedElement(address, head.authority));
  }
  if (addsVia) headers.push(fieldOf('Via', head.isHttp10 ? '1.0 weft' : '1.1 weft'));
}

/** A forwarded-element (RFC 7239 section 4): node of the peer, Host as it came, protocol of the request. */
function forwardedElement(address: string, authority: string): string {
  const node = address === '' ? 'unknown' : address.includes(':') ? `"[${address}]"` : address;
  // A checked authority holds neither a quote nor a backslash.
  const host = authority === '' ? '' : `;host=${isToken(authority) ? authority : `"${authority}"`}`;
  return `for=${node}${host};proto=http`;
}

/** Adds to the list that a field is (RFC 9110 section 5.3). All its lines become the last: some readers look at the first line only. */
function addToList(headers: HeaderList, name: string, added: string): void {
  const lowerName = name.toLowerCase();
  let list = '';
  dropFields(headers, ({ name: other, value }) => {
    if (!isNamed(other, lowerName)) return false;
    if (value !== '') list += `${value}, `;
    return true;
  });
  headers.push(fieldOf(name, list + added));
}

/** A zone (`fe80::1%eth0`) means something on this machine only (RFC 4007 section 11.2). */
function withoutZone(address: string): string {
  const zoneAt = address.indexOf('%');
  return zoneAt === -1 ? address : address.slice(0, zoneAt);
}

/** Says who called: Forwarded, X-Real-IP and every X-Forwarded field, Weft's own words or not. */
function isForwarding({ name }: Field): boolean {
  const lower = canonicalName(name);
  return lower === 'forwarded' || lower === 'x-real-ip' || lower.startsWith('x-forwarded-');
}

/** The same field as the one with dashes to some apps (see `canonicalName`), and not to us. */
function isLookAlike(field: Field): boolean {
  return field.name.includes('_') && isForwarding(field);
}

/** Whether a quoted string is left open at the end (RFC 9110 section 5.6.4). */
function hasOpenQuote(value: string): boolean {
  let isQuoted = false;
  for (let i = 0; i < value.length; i++) {
    const character = value[i];
    if (character === '"') isQuoted = !isQuoted;
    else if (character === '\\' && isQuoted) i++;
  }
  return isQuoted;
}
