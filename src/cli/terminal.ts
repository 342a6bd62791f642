/** The person's side of a command: where it writes, what it may read, and how it ends. Passed in, so that tests own it. */

import { printable } from './printable.ts';
import { processScreen, type Screen } from './screen.ts';

/** Documented in `weft --help`; `weft run` answers its app's code instead, and `weft diff` has codes like those of kubectl diff. */
export const exitCodes = { ok: 0, failed: 1, usage: 2 } as const;

export interface Terminal {
  /** Results, on standard output. One call, one line (or several, joined). */
  out(line: string): void;
  /** Everything else, on standard error. */
  err(line: string): void;
  /** All of standard input, at most `bytesMax`; rejects with a `CliError` above that. */
  readStdin(bytesMax: number): Promise<string>;
  /** Wall clock, ms since the epoch. */
  nowMs(): number;
  /** Whether standard output is a terminal that shows colours, and NO_COLOR (no-color.org) does not forbid them. */
  readonly hasColours: boolean;
  /** For commands that fill the screen and take keys; null: standard input and output are not both a terminal that can. */
  readonly screen: Screen | null;
  /** What the process will answer; commands that neither fail nor set it answer 0. */
  exitCode: number;
}

/** A failure that a person can act on: `message` is one or more complete sentences and is all they see. */
export class CliError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = exitCodes.failed, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CliError';
    this.exitCode = exitCode;
  }
}

/** A command line that cannot be meant: exit code 2. */
export const usageError = (message: string): CliError => new CliError(message, exitCodes.usage);

/** The terminal of this process. */
export function processTerminal(): Terminal {
  // A reader that went away (`weft get services | head -1`) is no failure: there is nobody left to tell.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  return {
    out: (line) => void process.stdout.write(`${printable(line)}\n`),
    err: (line) => void process.stderr.write(`${printable(line)}\n`),
    readStdin: (bytesMax) => readAll(process.stdin, bytesMax),
    nowMs: () => Date.now(),
    hasColours: process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '' && process.env.TERM !== 'dumb',
    screen:
      process.stdin.isTTY === true && process.stdout.isTTY === true && process.env.TERM !== 'dumb'
        ? processScreen()
        : null,
    exitCode: exitCodes.ok,
  };
}

async function readAll(stream: AsyncIterable<Buffer>, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new CliError(`Standard input is too large: at most ${bytesMax} bytes are read of it.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
