// The programs of native-bench/ on the load's core: the app behind the proxies, and the load before them.
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from './bench-room.mjs';

const directory = fileURLToPath(new URL('../../native-bench', import.meta.url));
const buildTimeoutMs = 120_000;
const graceMs = 15_000;
/** What waits for a core that others use is not the load that was meant. Without the right to it, nice(1) warns and goes on. */
const first = ['nice', '-n', '-10'];

/** @throws Error with the compiler's words. */
export function buildNativeBench() {
  try {
    execFileSync('make', ['-C', directory], { stdio: ['ignore', 'ignore', 'pipe'], timeout: buildTimeoutMs });
  } catch (error) {
    throw new Error(`make -C native-bench failed: ${String(error.stderr).trim().slice(-1_000)}`, { cause: error });
  }
}

/**
 * Starts the app: `answer` is what it answers a request with that has no wishes of its own.
 * @param socketPath where it listens, too: a unix socket
 * @returns the process and its port
 */
export function startUpstream(room, { bodyByte, bodyBytes }, socketPath) {
  const places = ['--address', '127.0.0.1', ...(socketPath === undefined ? [] : ['--address', `unix:${socketPath}`])];
  const flags = [...places, '--body-byte', bodyByte, '--bytes', String(bodyBytes)];
  return startProgram(room, room.loadCore, 'upstream', flags, first);
}

/** Starts the smallest proxy there can be, before `toPort`. */
export function startRelay(room, toPort) {
  return startProgram(room, room.proxyCore, 'relay', ['--to-port', String(toPort)], []);
}

async function startProgram(room, core, program, flags, before) {
  const [command, ...words] = [...before, join(directory, 'build', program), '--port', '0', ...flags];
  const started = room.start(core, command, words);
  const line = await waitFor(started, program, () => /^\{"ready":.*\}$/m.exec(started.output)?.[0]);
  return { process: started, port: JSON.parse(line).port };
}

/**
 * Runs the load generator once, and waits for its end.
 * @param flags as it takes them, by name; a list says one several times
 * @returns what it printed (native-bench/README.md)
 * @throws Error when it could not run.
 */
export function runLoadGenerator(core, flags) {
  const words = Object.entries(flags).flatMap(([name, value]) =>
    [value].flat().flatMap((one) => [`--${name}`, String(one)]),
  );
  const command = ['-c', String(core), ...first, join(directory, 'build/load'), ...words];
  const options = { timeout: flags.seconds * 1_000 + graceMs };
  return new Promise((resolve, reject) => {
    execFile('taskset', command, options, (error, out, err) => {
      if (error === null) resolve(JSON.parse(out));
      else reject(new Error(`load failed: ${err.trim() || error.message}`));
    });
  });
}
