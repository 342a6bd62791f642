/** The log of a process: one line of JSON per event on standard error, with its time, level and component. */
import { writeSync } from 'node:fs';
import { type DestinationStream, pino, stdTimeFunctions } from 'pino';

/** `fields` say which (service, address, revision), `message` says what, in words that are always the same. */
type Log = (fields: object, message: string) => void;

export interface Logger {
  readonly debug: Log;
  readonly info: Log;
  readonly warn: Log;
  readonly error: Log;
  readonly fatal: Log;
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LoggerOptions {
  /** Default `info`. */
  readonly level?: LogLevel;
  /** Default standard error, written at once and in order, so that the last words before an exit are not lost. */
  readonly destination?: DestinationStream;
}

/** `component` is who speaks, in every line: `sidecar`, `control-plane`, `cli`. */
export function createLogger(component: string, options: LoggerOptions = {}): Logger {
  return pino(
    {
      level: options.level ?? 'info',
      base: { component },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.destination ?? new LogFile(2),
  );
}

/**
 * A file descriptor that lines are written to before the call returns. Not `pino.destination`: where standard error is a full
 * non-blocking pipe, that one sleeps on the event loop until there is room. A process that serves requests must go on when nobody
 * reads its log; such a line is dropped and counted.
 */
export class LogFile implements DestinationStream {
  dropped = 0;

  constructor(private readonly fd: number) {}

  write(line: string): void {
    try {
      let rest: Buffer = Buffer.from(line);
      while (rest.byteLength > 0) rest = rest.subarray(writeSync(this.fd, rest));
    } catch {
      // EAGAIN: the pipe is full. EPIPE: its reader is gone. There is no better place left to say so.
      this.dropped++;
    }
  }
}
