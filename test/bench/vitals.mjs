// What a sidecar takes before it has a request: the time until it is ready, and the memory that it then has.
import { residentMib } from './pinned-process.mjs';
import { service, startSidecar } from './sidecar.mjs';
import { spreadOf } from './statistics.mjs';

/** V8 gives back what a start leaves behind about 9 s after it. */
const settleMs = 10_000;
/** The first ones are waited for: idle sidecars hardly differ. */
const settledOf = (starts) => Math.ceil(starts / 4);
const startSeconds = 1;

/** How long `measureVitals` takes, about. */
export const vitalSecondsOf = (starts) =>
  starts === 0 ? 0 : (starts + 1) * startSeconds + (settledOf(starts) * settleMs) / 1_000;

/**
 * Starts a sidecar with an app, a link, and mutual TLS again and again. The first start does not count: it warms the disk.
 * @returns `{ readyMs, idleMib }`, each `{ median, min, max }`
 */
export async function measureVitals({ room, appPort, certificates }, { starts }) {
  const identity = ['--identity-dir', certificates.identityDir('vitals')];
  const readyMs = [];
  const idleMib = [];
  for (let start = 0; start <= starts; start += 1) {
    const { process: started } = await startSidecar(room, {
      ...{ name: `vitals-${start}`, service: 'vitals', resources: [service('vitals', [])] },
      flags: ['--app', `127.0.0.1:${appPort}`, '--link', '127.0.0.1:0', ...identity],
    });
    if (start > 0) readyMs.push(started.firstOutputAtMs - started.startedAtMs);
    if (start > 0 && start <= settledOf(starts)) {
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      idleMib.push(residentMib(started));
    }
    await started.stop();
  }
  return { readyMs: spreadOf(readyMs), idleMib: spreadOf(idleMib) };
}
