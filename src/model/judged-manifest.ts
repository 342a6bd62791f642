/** A manifest that stands for itself, as a sidecar's file does: read, judged, and its references checked, in one step that may run in another thread. */
import { readManifest } from './manifest.ts';
import { formatProblem } from './problem.ts';
import { checkReferences } from './references.ts';
import type { Resource } from './resources.ts';

export interface JudgedManifest {
  /** Of use only without problems. */
  readonly resources: readonly Resource[];
  /** A line for each. */
  readonly problems: readonly string[];
}

/** `file` is its name in the problems. */
export function judgeManifest(text: string, file: string): JudgedManifest {
  const { resources, problems, locate } = readManifest(text, file);
  const all = problems.length > 0 ? problems : checkReferences(resources).map(locate);
  return { resources: all.length > 0 ? [] : resources, problems: all.map(formatProblem) };
}
