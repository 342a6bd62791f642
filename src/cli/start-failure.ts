/** Why a process could not start, as a sentence that says what to do next. */
import { CliError } from './terminal.ts';

/** System error codes that a person can do something about. `address` is HOST:PORT, or empty where the error does not say. */
const advice: Readonly<Record<string, (address: string) => string>> = {
  EADDRINUSE: (address) =>
    `${address || 'An address'} is taken by another process: stop that one, or name another address (port 0: any free port).`,
  EACCES: (address) =>
    `${address || 'A file or address'} may not be used by this user: choose a port above 1023, or another folder.`,
  EADDRNOTAVAIL: (address) => `${address || 'An address'} is not an address of this machine.`,
  ENOTFOUND: (address) => `The host of ${address || 'an address'} is not known.`,
};

/** Explains system errors and keeps what is already said for people (errors with a code); anything else is a fault of ours and keeps its stack. */
export function explainStartFailure(what: string, error: unknown): unknown {
  if (error instanceof CliError || !(error instanceof Error)) return error;
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === undefined) return error;
  const explain = advice[code];
  if (explain === undefined)
    return new CliError(`The ${what} could not start: ${error.message}`, undefined, { cause: error });
  const host = address?.includes(':') ? `[${address}]` : address;
  const where = host === undefined || port === undefined ? '' : `${host}:${port}`;
  return new CliError(`The ${what} could not start: ${explain(where)}`, undefined, { cause: error });
}
