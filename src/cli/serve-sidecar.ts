/** Starts a sidecar in this process, alone (`weft sidecar`) or around an app (`weft run`), and announces it when it is ready. */

import { endLoopThreads } from '../sidecar/loop-thread.ts';
import type { SidecarOptions } from '../sidecar/options.ts';
import { runBesideApp, signalsHandled } from '../sidecar/run.ts';
import { type RunningSidecar, startSidecar } from '../sidecar/sidecar.ts';
import type { Logger } from '../telemetry/logger.ts';
import { raiseInliningBudget } from './inlining.ts';
import { endOnFault, endSoon, serveUntilSignal } from './lifetime.ts';
import { openProcessLogger } from './log-level.ts';
import type { SidecarFlags } from './sidecar-flags.ts';
import { explainStartFailure } from './start-failure.ts';
import type { Terminal } from './terminal.ts';

export interface RunFlags extends SidecarFlags {
  /** On 127.0.0.1; absent: `app` says where. */
  readonly appPort?: number;
  /** Ms. */
  readonly readyTimeout: number;
  /** Ms. */
  readonly stopTimeout: number;
}

/** Resolves with the exit code, once the sidecar was told to stop and has. */
export function serveSidecar(options: SidecarOptions, stopMs: number, terminal: Terminal): Promise<number> {
  const logger = openProcessLogger('sidecar');
  const start = async () => {
    const sidecar = await startExplained(options, logger);
    void sidecar.ready.then(() => terminal.out(readyLine(sidecar)));
    return {
      stop: async () => {
        await sidecar.drain();
        await sidecar.close();
      },
    };
  };
  return serveUntilSignal(start, stopMs, logger, endLoopThreads);
}

/** Resolves with the app's exit code. */
export async function runWithSidecar(
  options: SidecarOptions,
  { readyTimeout, stopTimeout }: Pick<RunFlags, 'readyTimeout' | 'stopTimeout'>,
  [command = '', ...args]: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const logger = openProcessLogger('sidecar');
  endOnFault(logger, endLoopThreads);
  const start = async () => {
    const sidecar = await startExplained(options, logger);
    // Standard output is the app's.
    void sidecar.ready.then(() => terminal.err(readyLine(sidecar)));
    return sidecar;
  };
  const code = await runBesideApp(
    start,
    {
      command,
      args,
      // The token lets whoever has it be this Service; it was for the sidecar.
      env: { ...process.env, WEFT_JOIN_TOKEN: undefined },
      service: options.service,
      app: options.app!,
      readyMs: readyTimeout,
      stopMs: stopTimeout,
      isInteractive: process.stdin.isTTY === true,
    },
    {
      onSignal: listenForSignals,
      say: (line) => terminal.err(line),
      after: (ms, run) => {
        const timer = setTimeout(run, ms);
        return () => clearTimeout(timer);
      },
    },
  );
  return endSoon(code, endLoopThreads);
}

async function startExplained(options: SidecarOptions, logger: Logger): Promise<RunningSidecar> {
  raiseInliningBudget();
  try {
    return await startSidecar(options, logger);
  } catch (error) {
    throw explainStartFailure('sidecar', error);
  }
}

function listenForSignals(listener: (signal: NodeJS.Signals) => void): () => void {
  for (const signal of signalsHandled) process.on(signal, listener);
  return () => {
    for (const signal of signalsHandled) process.removeListener(signal, listener);
  };
}

/** design.md, "Command lines that stay stable": one line of JSON; listeners that do not exist are left out. */
const readyLine = ({ service, outbound, inbound, link, links, admin }: RunningSidecar): string =>
  JSON.stringify({ ready: 'sidecar', service, outbound, inbound, link, links, admin });
