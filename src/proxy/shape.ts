/**
 * The shape of a message as it leaves: header filters, rewrites and Weft's own fields, applied in one pass to a checked head.
 */
import type { HeaderChange, PathChange, Redirect } from '../model/snapshot.ts';
import { type HeaderList, isNamed } from './headers.ts';
import type { RequestHead } from './request.ts';

/** Set, add, remove (Gateway API HTTPHeaderFilter), in place. */
export function changeHeaders(headers: HeaderList, change: HeaderChange): void {
  if (change.remove.length > 0 || change.set.length > 0) {
    let kept = 0;
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i]!;
      const lower = name.toLowerCase();
      if (change.remove.includes(lower) || change.set.some(([set]) => set.toLowerCase() === lower)) continue;
      headers[kept] = name;
      headers[kept + 1] = headers[i + 1]!;
      kept += 2;
    }
    headers.length = kept;
  }
  for (const [name, value] of change.set) headers.push(name, value);
  for (const [name, value] of change.add) headers.push(name, value);
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
  const headers: HeaderList = ['Host', authority];
  for (let i = 0; i < source.length; i += 2) {
    const name = source[i]!;
    if (isNamed(name, 'traceparent') || isNamed(name, 'weft-timing')) continue;
    // An empty one is taken, and not sent on (section 3.3.1.1).
    if ((!isTraceValid || source[i + 1] === '') && isNamed(name, 'tracestate')) continue;
    headers.push(name, source[i + 1]!);
  }
  headers.push('traceparent', traceparent);
  if (isTimingForwarded) headers.push('Weft-Timing', '1');
  return headers;
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
