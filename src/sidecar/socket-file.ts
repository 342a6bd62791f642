/**
 * The file of a unix socket at which a sidecar listens: that its path is free before, who may connect, and that it is gone afterwards. A
 * process that was killed leaves its file behind, and nothing but a try to connect tells that nobody listens there any more.
 */
import { access, chmod, constants, lstat, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import type { SocketPath } from '../model/host-port.ts';
import { ListenError } from '../proxy/listener/listen-error.ts';
import type { Listener } from '../proxy/request.ts';

/**
 * Opens a listener by `open`, whose file has `mode` then (0o600: this user only), and is removed when it is closed. Rejects with ListenError, or
 * what `open` rejects with. Of two that start at the same moment at one path the later one gets it: the system has no way to say "unless
 * somebody listens".
 */
export async function listenAtSocket(
  { path }: SocketPath,
  mode: number,
  open: () => Promise<Listener>,
): Promise<Listener> {
  await freePath(path);
  const listener = await open();
  try {
    await chmod(path, mode);
    return new SocketListener(listener, path, await identityOf(path));
  } catch (error) {
    await listener.close();
    throw new ListenError('listen-failed', `unix:${path}`, error);
  }
}

class SocketListener implements Listener {
  constructor(
    private readonly listener: Listener,
    private readonly path: string,
    /** A later file at the path is another process's. */
    private readonly identity: string,
  ) {}

  get address(): string {
    return this.listener.address;
  }

  get connections(): number {
    return this.listener.connections;
  }

  drain(): void {
    this.listener.drain();
  }

  async close(): Promise<void> {
    await this.listener.close();
    if ((await identityOf(this.path)) === this.identity) await rm(this.path, { force: true });
  }
}

/** Empty: there is no such file. */
async function identityOf(path: string): Promise<string> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev} ${ino}`;
  } catch {
    // Nor is there anything then that could be confused with it.
    return '';
  }
}

/** Rejects with ListenError when the path cannot be had. */
async function freePath(path: string): Promise<void> {
  const address = `unix:${path}`;
  const directory = dirname(path);
  try {
    if (!(await stat(directory)).isDirectory()) throw new ListenError('no-directory', address);
    await access(directory, constants.W_OK | constants.X_OK);
  } catch (error) {
    if (error instanceof ListenError) throw error;
    const isMissing = codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';
    throw new ListenError(isMissing ? 'no-directory' : 'socket-not-permitted', address, error);
  }
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) throw new ListenError('path-taken', address);
  const refusal = await tryToConnect(path);
  if (refusal === 'EACCES') throw new ListenError('socket-not-permitted', address);
  if (refusal !== 'ECONNREFUSED' && refusal !== 'ENOENT') throw new ListenError('socket-taken', address);
  // In a directory with the sticky bit only its owner may.
  await rm(path, { force: true }).catch((error) => {
    throw new ListenError('socket-not-permitted', address, error);
  });
}

/** Resolves with the system's word for why there is no connection; empty: there is one, which is closed. */
function tryToConnect(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve('');
    });
    socket.once('error', (error) => resolve(codeOf(error)));
  });
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}
