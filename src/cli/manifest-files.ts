/** The manifests a command was given (`-f FILE`, `-f DIR`, `-f -`), read and checked as a whole: every problem of every file at once. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../model/limits.ts';
import { readManifest } from '../model/manifest.ts';
import { formatProblem, type Problem } from '../model/problem.ts';
import { keyOf, type Resource } from '../model/resources.ts';
import { describeObject } from '../model/validate.ts';
import { countOf } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

/** A resource and where it was read. */
export interface ManifestEntry {
  readonly resource: Resource;
  readonly file: string;
}

const extensions = ['.yaml', '.yml', '.json'];

/**
 * @param paths files, folders (read with all folders below) and `-` for standard input
 * @throws CliError naming what cannot be read, or all that is wrong with what can.
 */
export async function readManifestFiles(
  paths: readonly string[],
  terminal: Terminal,
): Promise<readonly ManifestEntry[]> {
  const entries = new Map<string, ManifestEntry>();
  const problems: Problem[] = [];
  for (const path of new Set(paths.flatMap(filesOf))) {
    const text = path === '-' ? await terminal.readStdin(limits.manifestBytesMax) : readText(path);
    const file = path === '-' ? 'standard input' : path;
    const manifest = readManifest(text, file);
    problems.push(...manifest.problems);
    for (const resource of manifest.resources) {
      const key = keyOf(resource);
      const earlier = entries.get(key);
      if (earlier === undefined) entries.set(key, { resource, file });
      else problems.push(twice({ resource, file }, earlier));
    }
  }
  if (problems.length > 0) {
    const lines = problems.map(formatProblem).join('\n');
    throw new CliError(`${lines}\n${countOf(problems.length, 'problem')}; nothing was changed.`);
  }
  if (entries.size === 0) throw new CliError(`There is no resource in ${paths.join(', ')}.`);
  return [...entries.values()];
}

/** The control plane names objects; the person who wrote them looks for files. */
export function locateProblems(problems: readonly Problem[], entries: readonly ManifestEntry[]): readonly Problem[] {
  return problems.map((problem) => {
    const entry = entries.find(({ resource }) => describeObject(resource) === problem.object);
    return entry === undefined ? problem : { ...problem, file: entry.file };
  });
}

function twice({ file, resource }: ManifestEntry, earlier: ManifestEntry): Problem {
  const object = describeObject(resource);
  const message = `is also in ${earlier.file}`;
  return { file, path: 'metadata.name', message, ...(object === null ? {} : { object }) };
}

function filesOf(path: string): readonly string[] {
  if (path === '-') return ['-'];
  if (!existsSync(path)) throw new CliError(`There is no file or folder ${path}.`);
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).sort();
  const files = names.map((name) => join(path, name)).filter(isManifest);
  if (files.length === 0) throw new CliError(`There is no file *.yaml, *.yml or *.json in ${path}.`);
  return files;
}

const isManifest = (path: string): boolean =>
  extensions.some((extension) => path.endsWith(extension)) && statSync(path).isFile();

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(`${file} cannot be read: ${error instanceof Error ? error.message : error}.`);
  }
}
