/**
 * Starts the threads of event loops, and knows which of them live: a process that exits while one of them holds a uWebSockets.js app is aborted,
 * so they are asked to close first, whatever ends the process.
 */
import { Worker } from 'node:worker_threads';
import { limits } from '../model/limits.ts';
import type { FromLoop, LoopStart, ToLoop } from './loop-messages.ts';
import { type LoopServices, RemoteLoop } from './remote-loop.ts';

/** Beside the executable's own files in dist/, which are one folder below it. */
const bundledWorker = new URL('../sidecar/loop-worker.js', import.meta.url);

interface Thread {
  readonly worker: Worker;
  readonly ended: Promise<void>;
  /** It was told to close. */
  isClosing: boolean;
}

const living = new Set<Thread>();

/** Starts a thread; the loop is there at once, and does what it is asked once the thread runs. */
export function openLoopThread(loop: number, start: LoopStart, services: LoopServices): RemoteLoop {
  const worker = new Worker(bundledWorker, { workerData: start, name: `loop ${loop}` });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  const thread: Thread = { worker, ended, isClosing: false };
  living.add(thread);
  const remote = new RemoteLoop({
    ...services,
    loop,
    ended,
    post: (message) => {
      thread.isClosing ||= message.tag === 'close';
      worker.postMessage(message);
    },
  });
  worker.on('message', (message: FromLoop) => remote.onMessage(message));
  // Its listener stays: a second error of a thread that is being ended would be thrown here.
  worker.on('error', (error) =>
    services.onFault(new Error(`event loop ${loop} ended with an error: ${String(error)}`)),
  );
  void ended.then(() => {
    living.delete(thread);
    if (!thread.isClosing) services.onFault(new Error(`event loop ${loop} ended, and with it this sidecar`));
  });
  return remote;
}

/** Whatever they do. Null: there are none. Resolves with whether all have ended, within `limits.loopCloseMs`: an exit before is an abort. */
export function endLoopThreads(): Promise<boolean> | null {
  if (living.size === 0) return null;
  const ended = Promise.all(
    Array.from(living, (thread) => {
      thread.isClosing = true;
      thread.worker.postMessage({ tag: 'close' } satisfies ToLoop);
      return thread.ended;
    }),
  ).then(() => true);
  return Promise.race([ended, new Promise<false>((resolve) => setTimeout(resolve, limits.loopCloseMs, false))]);
}
