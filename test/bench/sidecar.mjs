// A Weft sidecar that takes its configuration from a file, pinned to the proxies' core.
import { waitFor } from './bench-room.mjs';

/**
 * @param service its Service, and its file's name
 * @param resources what its file says
 * @param flags beyond those that every sidecar of the benchmark has
 * @param outbound where the app calls others
 * @param nodeFlags for Node itself, before the executable
 * @returns the process and its ready line
 */
export async function startSidecar(
  room,
  { name, service, resources, flags, outbound = '127.0.0.1:0', nodeFlags = [] },
) {
  const file = room.file(`${name}.yaml`, resources.map((resource) => JSON.stringify(resource)).join('\n---\n'));
  const [command, ...first] = room.nodeCommand(service);
  const started = room.start(room.proxyCore, command, [
    ...[...first, ...nodeFlags, room.executable, 'sidecar', '--service', service, '--config', file],
    ...['--outbound', outbound, '--admin', '127.0.0.1:0', ...flags],
  ]);
  const line = await waitFor(
    started,
    `sidecar ${service}`,
    () => /^\{"ready":.*\}$/m.exec(started.output)?.[0],
    room.readyTimeoutMs,
  );
  return { process: started, ready: JSON.parse(line) };
}

/** @param more what else its spec says */
export const service = (name, endpoints, more = {}) => ({
  apiVersion: 'weft.mesh/v1',
  kind: 'Service',
  metadata: { name },
  spec: { endpoints, ...more },
});
