/** Addresses as values and as text, apart from the schemas that check them: an event loop in a thread does without those. */

/** Where to listen or to connect. `host` without brackets, also for IPv6; port 0 is any free port (listeners only). */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** A unix socket, by its absolute path: at most `limits.socketPathBytesMax` bytes. */
export interface SocketPath {
  readonly path: string;
}

/** Where a sidecar and its app, which run on one machine, meet. */
export type LocalAddress = HostPort | SocketPath;

export const isSocketPath = (address: LocalAddress): address is SocketPath => 'path' in address;

/** `HOST:PORT` with brackets around an IPv6 address, or `unix:/PATH`. */
export function formatAddress(address: LocalAddress): string {
  if (isSocketPath(address)) return `unix:${address.path}`;
  const { host, port } = address;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `HOST:PORT` or `[V6]:PORT`, as the schema has checked it; the host comes without brackets. */
export function splitAddress(address: string): HostPort {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon);
  return { host: host.startsWith('[') ? host.slice(1, -1) : host, port: Number(address.slice(colon + 1)) };
}
