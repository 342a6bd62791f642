/**
 * The path that an Exact or PathPrefix match names. A request's path is brought into its normal form before it is routed
 * (proxy/path.ts), so a match has to be in that form too, or the two would never meet.
 */

/** What the Gateway API allows in such a path (HTTPPathMatch). */
export const isMatchPath = (value: string): boolean =>
  /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/.test(value);

const unreserved = /^[-A-Za-z0-9._~]$/;

/**
 * Escapes of unreserved characters are decoded, the digits of all others become upper case (RFC 3986 section 6.2.2): `/%41/caf%c3%a9`
 * becomes `/A/caf%C3%A9`. Slashes and dot segments stay, validation refuses those that no request has.
 */
export function normalMatchPath(value: string): string {
  return value.replace(/%[0-9a-fA-F]{2}/g, (escaped) => {
    const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16));
    return unreserved.test(character) ? character : escaped.toUpperCase();
  });
}
