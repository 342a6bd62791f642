/** The log of a process: one line of JSON per event on standard error, above the level of WEFT_LOG_LEVEL. */
import { destination, pino } from 'pino';

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

/** Written at once and in order, so that the last words before an exit are not lost. */
export function openLogger(level: LogLevel): Logger {
  const stderr = destination({ fd: 2, sync: true });
  // A log that nobody reads any more must not end a process that serves requests.
  stderr.on('error', () => {});
  return pino({ level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"` }, stderr);
}
