/**
 * Free ports for uWS, which must never be given port 0: it then sets no SO_REUSEADDR, and after a kill the port it got could not be
 * bound again for a minute.
 */
import { createServer } from 'node:net';
import { type LocalAddress, splitAddress } from '../../model/host-port.ts';
import { bindServer, bindServerAt } from './bind-server.ts';

/**
 * A port that was free on `host` a moment ago. Another process may take it before it is used: the caller tries again.
 * Rejects with ListenError.
 */
export function findFreePort(host: string): Promise<number> {
  return bindOnce(host, 0);
}

/** Resolves when `host:port` can be bound, and rejects with the ListenError that says why not. uWS itself gives no reason. */
export async function probePort(host: string, port: number): Promise<void> {
  await bindOnce(host, port);
}

/** The same of a unix socket, or of either. Leaves nothing behind. */
export async function probeAddress(at: LocalAddress): Promise<void> {
  const server = createServer();
  await bindServerAt(server, at);
  await new Promise((resolve) => server.close(resolve));
}

async function bindOnce(host: string, port: number): Promise<number> {
  const server = createServer();
  const address = await bindServer(server, host, port);
  await new Promise((resolve) => server.close(resolve));
  return splitAddress(address).port;
}
