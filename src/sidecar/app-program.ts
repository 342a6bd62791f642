/** Whether the program of `weft run` can be found: known before anything is opened for it. */
import { existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** As `execvp` looks for it: a name with a slash is a path, another one is in a folder of PATH. Without PATH only the system knows. */
export function isProgramThere(command: string, path: string | undefined): boolean {
  // What cannot be run is there too, and has words of its own.
  if (command.includes('/')) return existsSync(command);
  return path === undefined || path.split(delimiter).some((folder) => isFile(join(folder || '.', command)));
}

export const noProgramLine = (command: string): string =>
  `There is no program "${command}" to run${command.includes('/') ? '' : ' (looked for in PATH)'}.`;

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // What cannot be looked at cannot be run from here either.
    return false;
  }
}
