/** The manifests a command was given (`-f FILE`, `-f DIR`, `-f -`), read and checked as a whole: every problem of every file at once. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../model/limits.ts';
import { readManifest } from '../model/manifest.ts';
import { formatProblem } from '../model/problem.ts';
import { keyOf, type Resource } from '../model/resources.ts';
import { countOf } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

const extensions = ['.yaml', '.yml', '.json'];

/**
 * @param paths files, folders (read with all folders below) and `-` for standard input
 * @throws CliError naming what cannot be read, or all that is wrong with what can.
 */
export async function readManifestFiles(paths: readonly string[], terminal: Terminal): Promise<readonly Resource[]> {
  const resources = new Map<string, Resource>();
  const fileByKey = new Map<string, string>();
  const problems: string[] = [];
  for (const file of paths.flatMap(filesOf)) {
    const text = file === '-' ? await terminal.readStdin(limits.manifestBytesMax) : readBounded(file);
    const manifest = readManifest(text, file === '-' ? 'standard input' : file);
    problems.push(...manifest.problems.map(formatProblem));
    for (const resource of manifest.resources) {
      const key = keyOf(resource);
      const earlier = fileByKey.get(key);
      if (earlier !== undefined && earlier !== file) problems.push(`${file}: ${key} is already defined in ${earlier}`);
      fileByKey.set(key, file);
      resources.set(key, resource);
    }
  }
  if (problems.length > 0)
    throw new CliError(`${problems.join('\n')}\n${countOf(problems.length, 'problem')}; nothing was changed.`);
  if (resources.size === 0) throw new CliError(`There is no resource in ${paths.join(', ')}.`);
  return [...resources.values()];
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

function readBounded(file: string): string {
  try {
    if (statSync(file).size > limits.manifestBytesMax)
      throw new CliError(`${file} is larger than ${limits.manifestBytesMax} bytes.`);
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof CliError) throw error;
    throw new CliError(`${file} cannot be read: ${error instanceof Error ? error.message : error}.`);
  }
}
