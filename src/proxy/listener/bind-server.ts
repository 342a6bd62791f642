/** Binding a server of Node's own to its address, for the listeners that stand on one. */
import type { Server } from 'node:net';
import { formatAddress, listenErrorFrom } from './listen-error.ts';

/** Resolves with `HOST:PORT` as bound; port 0 takes any free port. Rejects with ListenError, which says what to do. */
export function bindServer(server: Server, host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(listenErrorFrom(error, formatAddress(host, port)));
    server.once('error', onError);
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', onError);
      const bound = server.address();
      resolve(formatAddress(host, bound !== null && typeof bound === 'object' ? bound.port : port));
    });
  });
}
