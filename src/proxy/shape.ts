/**
 * The shape of a message as it leaves: header filters, rewrites and Weft's own fields, applied in one pass to a checked head.
 */
import type { HeaderChange, PathChange, Redirect } from '../model/snapshot.ts';
import { fieldIds, fieldNumber } from './field-names.ts';
import { dropFields, type Field, fieldOf, type HeaderList, newField } from './headers.ts';
import { knownOrNew, noteField } from './known-fields.ts';
import type { RequestHead } from './request.ts';
import type { LoopAction } from './tables.ts';
import type { UpstreamRequest } from './upstream/upstream.ts';

/** The request as the next hop gets it. `isTraceContinued`: its trace is the client's. `backendHeaders`: the filter of the backendRef. */
export function shapeRequest(
  head: RequestHead,
  action: LoopAction,
  traceparent: string,
  isTraceContinued: boolean,
  isTimingForwarded: boolean,
  backendHeaders: HeaderChange | null,
): UpstreamRequest {
  const authority = action.rewriteHost ?? head.authority;
  const headers = upstreamHeaders(head, authority, traceparent, isTimingForwarded, isTraceContinued);
  if (action.requestHeaders !== null) changeHeaders(headers, action.requestHeaders);
  if (backendHeaders !== null) changeHeaders(headers, backendHeaders);
  const path = action.rewritePath === null ? head.forwardedPath : changePath(head.path, action.rewritePath);
  const { method } = head;
  // What filters add comes from configuration, and a rewritten path from both.
  const isChecked =
    action.requestHeaders === null &&
    backendHeaders === null &&
    action.rewritePath === null &&
    action.rewriteHost === null;
  return {
    method,
    target: head.query === '' ? path : path + head.query,
    headers,
    isChecked,
    bodyBytes: head.bodyBytes,
    sendsZeroLength: method === 'POST' || method === 'PUT' || method === 'PATCH',
  };
}

/** Set, add, remove (Gateway API HTTPHeaderFilter), in place. */
export function changeHeaders(headers: HeaderList, change: HeaderChange): void {
  if (change.remove.length > 0 || change.set.length > 0) {
    dropFields(headers, ({ name }) => {
      const lower = name.toLowerCase();
      return change.remove.includes(lower) || change.set.some(([set]) => set.toLowerCase() === lower);
    });
  }
  for (const [name, value] of change.set) headers.push(fieldOf(name, value));
  for (const [name, value] of change.add) headers.push(fieldOf(name, value));
}

/** The path after a rewrite or redirect filter (HTTPPathModifier); `path` has no query. */
export function changePath(path: string, change: PathChange): string {
  if (change.replace === 'full') return change.path || '/';
  const rest = path.slice(change.matchedPrefix === '/' ? 0 : change.matchedPrefix.length);
  const base = change.path.endsWith('/') ? change.path.slice(0, -1) : change.path;
  if (rest === '' || rest.startsWith('/')) return base + rest || '/';
  return `${base}/${rest}`;
}

/**
 * The request's fields for the next hop: Host first, `traceparent` continued, Weft's own fields only where a sidecar reads them.
 * A new list; the head stays as it was, because another attempt may need it.
 */
export function upstreamHeaders(
  head: RequestHead,
  authority: string,
  traceparent: string,
  isTimingForwarded: boolean,
  isTraceValid: boolean,
): HeaderList {
  const source = head.headers;
  const headers: HeaderList = [hostField(authority)];
  for (let i = 0; i < source.length; i++) {
    const field = source[i]!;
    const { id } = field;
    if (id === fieldIds.traceparent || id === fieldIds.weftTiming) continue;
    // An empty one is taken, and not sent on (section 3.3.1.1).
    if (id === fieldIds.tracestate && (!isTraceValid || field.value === '')) continue;
    headers.push(field);
  }
  headers.push(newField(traceparentNumber, 'traceparent', traceparent, true));
  if (isTimingForwarded) headers.push(fieldOf('Weft-Timing', '1'));
  return headers;
}

const traceparentNumber = fieldNumber('traceparent');
/** Of the request before: mostly it is the next one's, too. */
let lastAuthority = '';
let lastHost = fieldOf('Host', lastAuthority);

function hostField(authority: string): Field {
  if (authority !== lastAuthority || lastHost.place === -1) {
    lastAuthority = authority;
    lastHost = knownOrNew('Host', authority);
    if (lastHost.place === -1) noteField(lastHost);
  }
  return lastHost;
}

/** Location of a redirect (Gateway API HTTPRequestRedirectFilter, RFC 9110 section 10.2.2). */
export function redirectLocation(head: RequestHead, redirect: Redirect): string {
  const scheme = redirect.scheme ?? 'http';
  const path = redirect.path === null ? head.path : changePath(head.path, redirect.path);
  const { hostname, port: requestPort } = splitAuthority(head.authority);
  const defaultPort = scheme === 'https' ? '443' : '80';
  // A scheme without a port means that scheme's own port; neither means the port that the request came to.
  const port =
    redirect.port !== null
      ? String(redirect.port)
      : redirect.scheme !== null
        ? defaultPort
        : requestPort === ''
          ? defaultPort
          : requestPort;
  return `${scheme}://${redirect.hostname ?? hostname}${port === defaultPort ? '' : `:${port}`}${path}${head.query}`;
}

/** A checked authority in its two parts; the port may be missing or empty (RFC 3986 section 3.2.3), and both are ''. */
function splitAuthority(authority: string): { readonly hostname: string; readonly port: string } {
  const colon = authority.indexOf(':', authority.lastIndexOf(']') + 1);
  if (colon === -1) return { hostname: authority, port: '' };
  return { hostname: authority.slice(0, colon), port: authority.slice(colon + 1) };
}
