/** How long a serving process lives: until it is told to stop, or until it meets a fault that nobody handled. */
import { constants } from 'node:os';
import type { Logger } from '../telemetry/logger.ts';
import { exitCodes } from './terminal.ts';

/** For the last lines to leave and the last sockets to close. */
const lingerMs = 500;

/**
 * Ends the threads that must not live when the process ends. Null: there are none. Resolves with whether they have ended, in bounded time.
 */
export type EndThreads = () => Promise<boolean> | null;
const noThreads: EndThreads = () => null;

export interface Serving {
  /** Finishes what runs, then frees everything. */
  stop(): Promise<void>;
}

/**
 * Starts something and resolves with the exit code once it has stopped. The first SIGTERM or SIGINT stops it within `stopMs`; the
 * second, or the first while it still starts, ends the process at once.
 */
export async function serveUntilSignal(
  start: () => Promise<Serving>,
  stopMs: number,
  logger: Logger,
  endThreads: EndThreads = noThreads,
): Promise<number> {
  endOnFault(logger, endThreads);
  let isServing = false;
  const stopAsked = new Promise<void>((resolve) => {
    let asked = 0;
    for (const signal of ['SIGTERM', 'SIGINT'] as const)
      process.on(signal, () => {
        asked += 1;
        if (asked > 1 || !isServing) {
          endNow(128 + constants.signals[signal], endThreads);
          return;
        }
        logger.info({ signal }, 'stopping');
        resolve();
      });
  });
  const serving = await start();
  isServing = true;
  await stopAsked;
  const isStopped = await withinDeadline(serving.stop(), stopMs);
  if (!isStopped) logger.error({ stopMs }, 'did not stop in time');
  return endSoon(isStopped ? exitCodes.ok : exitCodes.failed, endThreads);
}

/** The process ends when nothing is left to do; what still holds it open after a stop must not keep it. */
export function endSoon(code: number, endThreads: EndThreads = noThreads): number {
  setTimeout(() => endNow(code, endThreads), lingerMs).unref();
  return code;
}

/** Before it returns, where there are no threads to end. */
function endNow(code: number, endThreads: EndThreads): void {
  const ending = endThreads();
  if (ending === null) process.exit(code);
  void ending.then((haveEnded) => {
    if (haveEnded) process.exit(code);
    // With such a thread an exit would be an abort, with a page of addresses on standard error.
    process.kill(process.pid, 'SIGKILL');
  });
}

/** An exception that nobody handled leaves the process in a state that nobody thought of: say so, and let a supervisor start it again. */
export function endOnFault(logger: Logger, endThreads: EndThreads = noThreads): void {
  process.on('uncaughtException', (error) => {
    logger.fatal({ error: String(error.stack ?? error) }, 'unhandled exception');
    endNow(exitCodes.failed, endThreads);
  });
  process.on('unhandledRejection', (reason) => {
    logger.fatal({ error: String(reason instanceof Error ? reason.stack : reason) }, 'unhandled rejection');
    endNow(exitCodes.failed, endThreads);
  });
}

async function withinDeadline(work: Promise<void>, deadlineMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, deadlineMs, false);
  });
  const isDone = await Promise.race([work.then(() => true as const), deadline]);
  clearTimeout(timer);
  return isDone;
}
