/** The uWebSockets.js module: loaded with its settings, and typed with what its own types leave out. */
import type { TemplatedApp, us_listen_socket } from 'uWebSockets.js';
import { limits } from '../../model/limits.ts';

/** `listen` as the core has it; the package's types lack the form with host and options. */
export interface UwsApp extends Omit<TemplatedApp, 'listen' | 'listen_unix'> {
  /** Calls back before it returns. */
  listen(host: string, port: number, options: number, done: (socket: us_listen_socket | false) => void): unknown;
  /** Calls back before it returns. Takes the path whatever stands there, a socket that is in use included, and leaves its file behind. */
  listen_unix(done: (socket: us_listen_socket | false) => void, path: string): unknown;
}

export interface UwsCore {
  App(): UwsApp;
  _cfg(setting: string): void;
  us_listen_socket_close(socket: us_listen_socket): void;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
}

/** Which of the package's builds a Node loads. */
export interface UwsBuild {
  readonly version: string;
  /** It has the gaps that docs/uws.md lists; the others have most of them no more. */
  readonly isOlder: boolean;
}

/** The first binary interface (`process.versions.modules`) for which the package has a newer core: Node 22. */
const newerAbiMin = 127;

/** The core itself tells no version: it goes by the binary interface of Node, and the package is pinned. */
export function uwsBuild(abi: string = process.versions.modules): UwsBuild {
  return Number(abi) < newerAbiMin
    ? { version: 'about v20.54 to v20.59, for Node 20', isOlder: true }
    : { version: 'newer than v20.59, for Node 22 and later', isOlder: false };
}

/** Read by the core once in a process, as it is loaded. Its default of 4 KiB refuses an ordinary head that comes in two segments. */
const headSizeVariable = 'UWS_HTTP_MAX_HEADERS_SIZE';

/**
 * Loads the core. The first call of a process belongs on its main thread: the environment of a worker is a copy that native code
 * does not see.
 */
export async function loadUwsCore(): Promise<UwsCore> {
  const before = process.env[headSizeVariable];
  process.env[headSizeVariable] = String(limits.headBytesMax + limits.targetBytesMax);
  const { default: module } = await import('uWebSockets.js');
  // Processes that this one starts must not inherit it.
  if (before === undefined) delete process.env[headSizeVariable];
  else process.env[headSizeVariable] = before;
  // The package's types describe the same object, incompletely.
  const core = module as unknown as UwsCore;
  // Removes the field `uWebSockets` from every answer; a setting of the thread.
  core._cfg('silent');
  return core;
}
