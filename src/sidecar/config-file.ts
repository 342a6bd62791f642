/** A file of resources as the only source of configuration: read at start, and again when it changes. No control plane is involved. */
import { readFile, stat } from 'node:fs/promises';
import type { JudgedManifest } from '../model/judged-manifest.ts';
import type { Resource } from '../model/resources.ts';

/** How soon a change is seen. Looking at the file works everywhere; watching does not (network disks, mounted config maps). */
const lookEveryMs = 300;

/** The file cannot be used as it is: what is wrong, a line for each problem. */
export class ConfigFileError extends Error {
  readonly code = 'bad-config-file';
}

/** Reads and judges a text; `file` is its name in the problems. */
export type JudgeManifest = (text: string, file: string) => Promise<JudgedManifest>;

/** Rejects with ConfigFileError. */
export async function readConfigFile(path: string, judge: JudgeManifest): Promise<readonly Resource[]> {
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
  const { resources, problems } = await judge(text, path).catch((cause: unknown) => {
    throw new ConfigFileError(`The file ${path} cannot be judged, is it too large? (${(cause as Error).message})`, {
      cause,
    });
  });
  if (problems.length > 0)
    throw new ConfigFileError(`The file ${path} is not valid:\n${problems.map((line) => `  ${line}`).join('\n')}`);
  return resources;
}

/**
 * Calls `onChange` after the file changed on disk, one call at a time. Resolves once it knows what the file is now, so that no change
 * after that goes unseen; the answer stops it.
 */
export async function watchConfigFile(path: string, onChange: () => Promise<void>): Promise<() => void> {
  let { signature: seen } = await lookAt(path);
  let wasGone = false;
  let isStopped = false;
  let timer = setTimeout(look, lookEveryMs);

  async function look(): Promise<void> {
    const { signature: now, isGone } = await lookAt(path);
    // Who writes a file anew renames or empties it first, so for a moment there may be none. One that stays away is a change like any other.
    const isReplacing = isGone && !wasGone;
    wasGone = isGone;
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

/** `signature` is another one when the file is; null: there is none. */
async function lookAt(path: string): Promise<{ signature: string | null; isGone: boolean }> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return { signature: `${mtimeMs} ${size} ${ino}`, isGone: size === 0 };
  } catch {
    return { signature: null, isGone: true };
  }
}
