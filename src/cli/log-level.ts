/** The log of this process, as WEFT_LOG_LEVEL asks for it. */
import { type Logger, type LogLevel, logLevels, openLogger } from '../telemetry/logger.ts';
import { usageError } from './terminal.ts';

/** @throws CliError (exit code 2) for a level that does not exist. */
export function openProcessLogger(level = process.env.WEFT_LOG_LEVEL ?? 'info'): Logger {
  const known = logLevels.find((each) => each === level);
  if (known === undefined) throw usageError(`WEFT_LOG_LEVEL is "${level}"; it can be ${logLevels.join(', ')}.`);
  return openLogger(known satisfies LogLevel);
}
