/**
 * `weft run`: an app's process with a sidecar around it. The app starts once the sidecar is ready, hears of a stop only after its
 * callers were sent elsewhere, and keeps its way out until it has ended; its exit code is the answer.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { isSocketPath, type LocalAddress } from '../model/host-port.ts';
import { isProgramThere, noProgramLine } from './app-program.ts';

/** What the runner needs of a sidecar. */
export interface AppSidecar {
  /** As bound: `HOST:PORT`, or `unix:/PATH`. */
  readonly outbound: string;
  /** Resolves once a first configuration is in force. */
  readonly ready: Promise<void>;
  /** Why it is not ready: what it last failed with; null: nothing has failed, or it is ready. */
  lastError(): string | null;
  /** Readiness fails, the registration is withdrawn, what runs is finished; outbound stays up. */
  drain(): Promise<void>;
  close(): Promise<void>;
}

export interface RunOptions {
  readonly command: string;
  readonly args: readonly string[];
  /** The app's environment; what Weft adds to it is added here. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly service: string;
  /** Where it will listen. */
  readonly app: LocalAddress;
  /** How long the sidecar may take to be ready, ms; 0 waits without end. */
  readonly readyMs: number;
  /** How long the app may take to end after it was told to, ms; then it is killed. 0 waits without end. */
  readonly stopMs: number;
  /**
   * True when standard input is a terminal. Then the app stays in the terminal's process group, so that it can read from it, and
   * the terminal itself hands Ctrl-C to both. Otherwise the app gets a group of its own, so that a signal reaches everything that it
   * started (`sh -c`, `npm start`).
   */
  readonly isInteractive: boolean;
}

export interface RunHost {
  /** Reports every signal of `signalsHandled`; the answer ends that. */
  onSignal(listener: (signal: NodeJS.Signals) => void): () => void;
  /** One line about what is going on, for people. */
  say(line: string): void;
  /** Calls back once after `ms`; the answer cancels it. */
  after(ms: number, run: () => void): () => void;
}

/** These end the app. Nginx and PHP stop gracefully on SIGQUIT, and Node would dump core on it. */
const stopSignals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGQUIT'];
/** These mean what the app says (reload, rotate, report): they pass through, and the sidecar goes on serving. */
const appSignals: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGUSR1', 'SIGUSR2'];
export const signalsHandled: readonly NodeJS.Signals[] = [...stopSignals, ...appSignals];

/** After the app has ended there is nothing left to finish: withdrawing takes one round trip to the control plane. */
const withdrawMs = 2_000;
const notReadyNoteMs = 5_000;

/** What a shell answers where there is no such program. */
const noProgramCode = 127;

/** What a shell answers for a process that a signal ended. */
export const exitCodeOf = (code: number | null, signal: NodeJS.Signals | null): number =>
  code ?? (signal === null ? 1 : 128 + constants.signals[signal]);

/**
 * Resolves with the exit code: the app's own, 128 + n when signal n ended it, 126 or 127 when it could not be started, 1 when the
 * sidecar was not ready in time. Rejects with what `start` rejects with.
 */
export async function runBesideApp(
  start: () => Promise<AppSidecar>,
  options: RunOptions,
  host: RunHost,
): Promise<number> {
  // Before it is opened for: a sidecar that waits for its configuration would keep a slip of the keyboard to itself.
  if (!isProgramThere(options.command, options.env.PATH)) {
    host.say(noProgramLine(options.command));
    return noProgramCode;
  }
  const signals = new SignalQueue();
  const unlisten = host.onSignal((signal) => signals.push(signal));
  let sidecar: AppSidecar | null = null;
  try {
    sidecar = await start();
    const early = await untilReady(sidecar, options, host, signals);
    if (early !== null) return early;
    return await new AppRun(sidecar, options, host).untilEnd(signals);
  } finally {
    await sidecar?.close();
    unlisten();
  }
}

/** Signals can come before there is anybody to act on them. */
class SignalQueue {
  #early: NodeJS.Signals[] = [];
  #handler: ((signal: NodeJS.Signals) => void) | null = null;

  push(signal: NodeJS.Signals): void {
    if (this.#handler !== null) this.#handler(signal);
    else this.#early.push(signal);
  }

  handle(handler: ((signal: NodeJS.Signals) => void) | null): void {
    this.#handler = handler;
    if (handler === null) return;
    const early = this.#early;
    this.#early = [];
    for (const signal of early) handler(signal);
  }
}

/** Null once the sidecar is ready; an exit code when it was told to stop before, or when it took too long. */
async function untilReady(
  sidecar: AppSidecar,
  { readyMs }: RunOptions,
  host: RunHost,
  signals: SignalQueue,
): Promise<number | null> {
  const cancels: (() => void)[] = [];
  const lastError = () => {
    const error = sidecar.lastError();
    return error === null ? '' : ` Last error: ${error}`;
  };
  const outcome = await new Promise<number | null>((resolve, reject) => {
    sidecar.ready.then(() => resolve(null), reject);
    signals.handle((signal) => {
      if (stopSignals.includes(signal)) resolve(exitCodeOf(null, signal));
    });
    cancels.push(
      host.after(notReadyNoteMs, () =>
        host.say(`The sidecar has no configuration yet; the app starts when it has one.${lastError()}`),
      ),
    );
    if (readyMs > 0)
      cancels.push(
        host.after(readyMs, () => {
          host.say(
            `The sidecar had no configuration after ${readyMs / 1000} s, so the app was not started.${lastError()}`,
          );
          resolve(1);
        }),
      );
  }).finally(() => {
    for (const cancel of cancels) cancel();
    signals.handle(null);
  });
  return outcome;
}

/** What tells an app where to listen. Many look at PORT; one that was set on purpose stays. */
function placeOf({ app, env }: RunOptions): RunOptions['env'] {
  return isSocketPath(app) ? { WEFT_APP_SOCKET: app.path } : { PORT: env.PORT ?? String(app.port) };
}

class AppRun {
  readonly #sidecar: AppSidecar;
  readonly #options: RunOptions;
  readonly #host: RunHost;
  readonly #app: ChildProcess;
  #stopRequests = 0;
  #drained: Promise<void> | null = null;
  #cancelKill: () => void = () => {};
  #hasEnded = false;

  constructor(sidecar: AppSidecar, options: RunOptions, host: RunHost) {
    this.#sidecar = sidecar;
    this.#options = options;
    this.#host = host;
    this.#app = spawn(options.command, options.args, {
      stdio: 'inherit',
      detached: !options.isInteractive,
      env: {
        ...options.env,
        WEFT_OUTBOUND: sidecar.outbound.startsWith('unix:') ? sidecar.outbound : `http://${sidecar.outbound}`,
        WEFT_SERVICE: options.service,
        ...placeOf(options),
      },
    });
  }

  async untilEnd(signals: SignalQueue): Promise<number> {
    const ended = new Promise<number>((resolve) => {
      this.#app.once('error', (error) => resolve(this.#couldNotStart(error)));
      this.#app.once('exit', (code, signal) => resolve(exitCodeOf(code, signal)));
    });
    // If this process dies of a fault of its own, the app must not stay behind without a sidecar.
    const takeAlong = () => this.#send('SIGTERM');
    process.once('exit', takeAlong);
    signals.handle((signal) => this.#onSignal(signal));
    const code = await ended;
    this.#hasEnded = true;
    process.removeListener('exit', takeAlong);
    this.#cancelKill();
    await this.#withdraw();
    return code;
  }

  #couldNotStart(error: NodeJS.ErrnoException): number {
    const { command } = this.#options;
    if (error.code === 'ENOENT') {
      // The file may be there, and the interpreter that its first line names is not.
      this.#host.say(noProgramLine(command));
      return noProgramCode;
    }
    this.#host.say(`"${command}" cannot be run: ${error.message}.`);
    return 126;
  }

  #onSignal(signal: NodeJS.Signals): void {
    const { isInteractive } = this.#options;
    if (appSignals.includes(signal)) {
      // A terminal that closes says SIGHUP to its whole group, the app included.
      if (!(isInteractive && signal === 'SIGHUP')) this.#send(signal);
      return;
    }
    this.#stopRequests += 1;
    if (this.#stopRequests === 1) void this.#drainThenStop(signal);
    else if (this.#stopRequests === 2) this.#stop(signal);
    else this.#send('SIGKILL');
  }

  async #drainThenStop(signal: NodeJS.Signals): Promise<void> {
    await this.#drain();
    if (this.#stopRequests === 1) this.#stop(signal);
  }

  #stop(signal: NodeJS.Signals): void {
    // The terminal gave Ctrl-C to the app already; many apps take a second one for "at once".
    if (!(this.#options.isInteractive && signal === 'SIGINT')) this.#send(signal);
    this.#cancelKill();
    if (this.#options.stopMs === 0) return;
    this.#cancelKill = this.#host.after(this.#options.stopMs, () => {
      this.#host.say(`The app did not end within ${this.#options.stopMs / 1000} s after ${signal}; it is killed.`);
      this.#send('SIGKILL');
    });
  }

  /** Once, whoever asks first. The sidecar bounds it with its own drain timeout. */
  #drain(): Promise<void> {
    this.#drained ??= this.#sidecar.drain().catch((error: unknown) => {
      this.#host.say(`The sidecar could not drain: ${error instanceof Error ? error.message : error}.`);
    });
    return this.#drained;
  }

  async #withdraw(): Promise<void> {
    let cancel = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancel = this.#host.after(withdrawMs, resolve);
    });
    await Promise.race([this.#drain(), deadline]);
    cancel();
  }

  #send(signal: NodeJS.Signals): void {
    const { pid } = this.#app;
    if (pid === undefined || this.#hasEnded) return;
    try {
      process.kill(this.#options.isInteractive ? pid : -pid, signal);
    } catch {
      // ESRCH: it ended in this moment, and its exit event is on the way.
    }
  }
}
