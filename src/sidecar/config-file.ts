/** A file of resources as the only source of configuration: read at start, and again when it changes. No control plane is involved. */
import { readFile, stat } from 'node:fs/promises';
import { readManifest } from '../model/manifest.ts';
import { formatProblem, type Problem } from '../model/problem.ts';
import { checkReferences } from '../model/references.ts';
import type { Resource } from '../model/resources.ts';

/** How soon a change is seen. Looking at the file works everywhere; watching does not (network disks, mounted config maps). */
const lookEveryMs = 300;

/** The file cannot be used as it is: what is wrong, a line for each problem. */
export class ConfigFileError extends Error {
  readonly code = 'bad-config-file';
}

export async function readConfigFile(path: string): Promise<readonly Resource[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new ConfigFileError(`The file ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const { resources, problems } = readManifest(text, path);
  const all: readonly Problem[] =
    problems.length > 0 ? problems : checkReferences(resources.map(({ resource }) => resource));
  if (all.length > 0)
    throw new ConfigFileError(
      `The file ${path} is not valid:\n${all.map((problem) => `  ${formatProblem(problem)}`).join('\n')}`,
    );
  return resources.map(({ resource }) => resource);
}

/** Calls `onChange` after the file's content changed on disk, one call at a time. The answer stops it. */
export function watchConfigFile(path: string, onChange: () => Promise<void>): () => void {
  let seen = '';
  let isStopped = false;
  let timer: NodeJS.Timeout | null = null;
  const signature = async () => {
    try {
      const { mtimeMs, size, ino } = await stat(path);
      return `${mtimeMs} ${size} ${ino}`;
    } catch {
      // Editors replace a file by renaming; for a moment there may be none.
      return seen;
    }
  };
  const look = async () => {
    const now = await signature();
    if (now !== seen && !isStopped) {
      seen = now;
      await onChange();
    }
    if (!isStopped) timer = setTimeout(look, lookEveryMs);
  };
  void signature().then((first) => {
    seen = first;
    if (!isStopped) timer = setTimeout(look, lookEveryMs);
  });
  return () => {
    isStopped = true;
    if (timer !== null) clearTimeout(timer);
  };
}
