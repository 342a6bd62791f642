/** `HOST:PORT` as text, apart from the schemas that check it: an event loop in a thread does without those. */

/** `HOST:PORT` or `[V6]:PORT`, as the schema has checked it; the host comes without brackets. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon);
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port: Number(address.slice(colon + 1)) };
}
