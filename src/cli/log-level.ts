/** The log of this process, as WEFT_LOG_LEVEL asks for it. */
import { createLogger, type Logger, logLevels } from '../telemetry/logger.ts';
import { usageError } from './terminal.ts';

/**
 * @param component who speaks, in every line
 * @throws CliError (exit code 2) for a level that does not exist.
 */
export function openProcessLogger(component: string, level = process.env.WEFT_LOG_LEVEL ?? 'info'): Logger {
  const known = logLevels.find((each) => each === level);
  if (known === undefined) throw usageError(`WEFT_LOG_LEVEL is "${level}"; it can be ${logLevels.join(', ')}.`);
  return createLogger(component, { level: known });
}
