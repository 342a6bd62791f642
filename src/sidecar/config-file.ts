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
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    const message = isMissing
      ? `There is no file ${path}.`
      : `The file ${path} cannot be read: ${(cause as Error).message}`;
    throw new ConfigFileError(message, { cause });
  }
  const { resources, problems, locate } = readManifest(text, path);
  const all: readonly Problem[] = problems.length > 0 ? problems : checkReferences(resources).map(locate);
  if (all.length > 0)
    throw new ConfigFileError(
      `The file ${path} is not valid:\n${all.map((problem) => `  ${formatProblem(problem)}`).join('\n')}`,
    );
  return resources;
}

/**
 * Calls `onChange` after the file changed on disk, one call at a time. Resolves once it knows what the file is now, so that no change
 * after that goes unseen; the answer stops it.
 */
export async function watchConfigFile(path: string, onChange: () => Promise<void>): Promise<() => void> {
  let seen = await signatureOf(path);
  let wasMissing = false;
  let isStopped = false;
  let timer = setTimeout(look, lookEveryMs);

  async function look(): Promise<void> {
    const now = await signatureOf(path);
    // Editors replace a file by renaming, so for a moment there may be none. One that stays away is a change like any other.
    const isReplacing = now === null && !wasMissing;
    wasMissing = now === null;
    if (now !== seen && !isReplacing && !isStopped) {
      seen = now;
      await onChange();
    }
    if (!isStopped) timer = setTimeout(look, lookEveryMs);
  }
  return () => {
    isStopped = true;
    clearTimeout(timer);
  };
}

async function signatureOf(path: string): Promise<string | null> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return null;
  }
}
