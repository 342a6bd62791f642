/** The thread of one event loop that serves requests. Bundled to dist/sidecar/loop-worker.js; loop-thread.ts starts it. */
import { parentPort, workerData } from 'node:worker_threads';
import { LoopHost } from './loop-host.ts';
import type { FromLoop, LoopStart, ToLoop } from './loop-messages.ts';

const port = parentPort!;
const post = (message: FromLoop, transfer: readonly ArrayBuffer[] = []) => port.postMessage(message, [...transfer]);
/** What is still open then is of no use to anybody. */
const lingerMs = 500;

// The thread stays until it is told to close: one that ends with a uWebSockets.js app in it takes the process along, without a word (docs/uws.md).
let hasFailed = false;
const fault = (error: unknown) => {
  // One is enough to end the process, and what follows from it could be many.
  if (hasFailed) return;
  hasFailed = true;
  post({ tag: 'fault', text: error instanceof Error ? (error.stack ?? String(error)) : String(error) });
};
process.on('uncaughtException', fault);
process.on('unhandledRejection', fault);

const host = new LoopHost(workerData as LoopStart, post);
port.on('message', (message: ToLoop) => host.onMessage(message));
void host.closed.then(() => {
  port.close();
  setTimeout(() => process.exit(), lingerMs).unref();
});
