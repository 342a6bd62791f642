/** The one error of a listener that cannot be opened: what stood in the way, and what a person can do about it. */
export type ListenErrorCode =
  | 'port-taken'
  | 'address-not-here'
  | 'port-not-permitted'
  | 'socket-taken'
  | 'socket-not-permitted'
  | 'path-taken'
  | 'no-directory'
  | 'listen-failed';

export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: ListenErrorCode;
  /** As asked for: `HOST:PORT`, or `unix:/PATH`. */
  readonly address: string;

  constructor(code: ListenErrorCode, address: string, cause?: unknown) {
    super(messageOf(code, address, cause), { cause });
    this.code = code;
    this.address = address;
  }
}

function messageOf(code: ListenErrorCode, address: string, cause: unknown): string {
  switch (code) {
    case 'port-taken':
      return `cannot listen on ${address}: another process has this port; end that process or choose another port (0 takes any free one)`;
    case 'address-not-here':
      return `cannot listen on ${address}: this machine has no such address; use one of its own, 127.0.0.1 or 0.0.0.0`;
    case 'port-not-permitted':
      return `cannot listen on ${address}: this user may not; use a port of 1024 or above, or grant CAP_NET_BIND_SERVICE`;
    case 'socket-taken':
      return `cannot listen on ${address}: another process listens there; end that process or choose another path`;
    case 'socket-not-permitted':
      return `cannot listen on ${address}: this user may not make or replace it; choose a path in a directory that this user may write to`;
    case 'path-taken':
      return `cannot listen on ${address}: what stands there is no socket; remove it or choose another path`;
    case 'no-directory':
      return `cannot listen on ${address}: its directory does not exist; make it or choose another path`;
    case 'listen-failed':
      return `cannot listen on ${address}${cause instanceof Error ? `: ${cause.message}` : ''}`;
    default:
      return code satisfies never;
  }
}

/** Turns what node:net reports into a ListenError. */
export function listenErrorFrom(error: unknown, address: string): ListenError {
  const systemCode = error instanceof Error && 'code' in error ? error.code : '';
  const isSocket = address.startsWith('unix:');
  switch (systemCode) {
    case 'EADDRINUSE':
      return new ListenError(isSocket ? 'socket-taken' : 'port-taken', address, error);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new ListenError('address-not-here', address, error);
    case 'EACCES':
      return new ListenError(isSocket ? 'socket-not-permitted' : 'port-not-permitted', address, error);
    default:
      return new ListenError('listen-failed', address, error);
  }
}

/** `HOST:PORT`, with brackets around an IPv6 address. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
