/** Binding a server of Node's own to its address, for the listeners that stand on one. */
import type { Server } from 'node:net';
import { formatAddress, isSocketPath, type LocalAddress } from '../../model/host-port.ts';
import { listenErrorFrom } from './listen-error.ts';

/** Resolves with `HOST:PORT` as bound; port 0 takes any free port. Rejects with ListenError, which says what to do. */
export function bindServer(server: Server, host: string, port: number): Promise<string> {
  return bindServerAt(server, { host, port });
}

/** The same at a port or a unix socket, which resolves with `unix:/PATH`. */
export function bindServerAt(server: Server, at: LocalAddress): Promise<string> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(listenErrorFrom(error, formatAddress(at)));
    server.once('error', onError);
    server.listen({ ...at, exclusive: true }, () => {
      server.off('error', onError);
      const bound = server.address();
      const isPort = !isSocketPath(at) && bound !== null && typeof bound === 'object';
      resolve(formatAddress(isPort ? { host: at.host, port: bound.port } : at));
    });
  });
}
