/** A terminal that keeps what a command says, and the command line run on it. */
import { runCommandLine } from '../../../src/cli/program.ts';
import type { Screen } from '../../../src/cli/screen.ts';
import type { Terminal } from '../../../src/cli/terminal.ts';

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function weft(
  args: readonly string[],
  stdin = '',
  hasColours = false,
  screen: Screen | null = null,
): Promise<Said> {
  const out: string[] = [];
  const err: string[] = [];
  const terminal: Terminal = {
    out: (line) => void out.push(line),
    err: (line) => void err.push(line),
    readStdin: async () => stdin,
    hasColours,
    screen,
    nowMs: () => Date.parse('2025-01-02T00:00:00Z'),
    exitCode: 0,
  };
  const code = await runCommandLine(args, '1.2.3', terminal);
  return { code, out: out.join('\n'), err: err.join('\n') };
}
