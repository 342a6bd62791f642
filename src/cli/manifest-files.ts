/** The manifests a command was given (`-f FILE`, `-f DIR`, `-f -`), read and checked as a whole: every problem of every file at once. */
import { closeSync, openSync, readdirSync, readSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { limits } from '../model/limits.ts';
import { readManifest } from '../model/manifest.ts';
import { formatProblem, type Problem } from '../model/problem.ts';
import { keyOf, type Resource } from '../model/resources.ts';
import { describeObject } from '../model/validate.ts';
import { RefusedError } from './client.ts';
import { countOf } from './table.ts';
import { CliError, type Terminal } from './terminal.ts';

/** A resource and where it was read. */
export interface ManifestEntry {
  readonly resource: Resource;
  readonly file: string;
  /** See Manifest. */
  readonly locate: (problem: Problem) => Problem;
}

const chunkBytes = 64 * 1024;
const extensions = ['.yaml', '.yml', '.json'];

/**
 * Reads at most `limits.manifestBytesMax`, all files together.
 *
 * @param paths files, folders (read with all folders below) and `-` for standard input
 * @throws CliError naming what cannot be read, or all that is wrong with what can.
 */
export async function readManifestFiles(
  paths: readonly string[],
  terminal: Terminal,
): Promise<readonly ManifestEntry[]> {
  const entries = new Map<string, ManifestEntry>();
  const problems: Problem[] = [];
  let bytesLeft: number = limits.manifestBytesMax;
  for (const path of new Set(paths.flatMap(filesOf))) {
    const text = path === '-' ? await terminal.readStdin(bytesLeft) : readText(path, bytesLeft);
    bytesLeft -= Buffer.byteLength(text);
    const file = nameOf(path);
    const manifest = readManifest(text, file);
    problems.push(...manifest.problems);
    for (const resource of manifest.resources) {
      const key = keyOf(resource);
      const earlier = entries.get(key);
      if (earlier === undefined) entries.set(key, { resource, file, locate: manifest.locate });
      else problems.push(manifest.locate(twice(resource, earlier)));
    }
  }
  if (problems.length > 0) {
    const lines = problems.map(formatProblem).join('\n');
    throw new CliError(`${lines}\n${countOf(problems.length, 'problem')}; nothing was changed.`);
  }
  if (entries.size === 0) throw new CliError(`There is no resource in ${paths.map(nameOf).join(', ')}.`);
  return [...entries.values()];
}

const nameOf = (path: string): string => (path === '-' ? 'standard input' : path);

/** Sends what these entries hold; of a refusal every problem gets its file and line. */
export async function withPlaces<T>(entries: readonly ManifestEntry[], send: () => Promise<T>): Promise<T> {
  try {
    return await send();
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    throw new RefusedError({ ...error.refusal, problems: locateProblems(error.refusal.problems ?? [], entries) });
  }
}

/** The control plane names objects; the person who wrote them looks for files and lines. */
function locateProblems(problems: readonly Problem[], entries: readonly ManifestEntry[]): readonly Problem[] {
  return problems.map((problem) => {
    const entry = entries.find(({ resource }) => describeObject(resource) === problem.object);
    return entry === undefined ? problem : entry.locate(problem);
  });
}

function twice(resource: Resource, earlier: ManifestEntry): Problem {
  const object = describeObject(resource);
  const message = `is also in ${earlier.file}`;
  return { path: 'metadata.name', message, ...(object === null ? {} : { object }) };
}

function filesOf(path: string): readonly string[] {
  if (path === '-') return ['-'];
  const stat = statOf(path);
  if (stat === null) throw new CliError(`There is no file or folder ${path}.`);
  if (stat.isFile()) return [path];
  // A pipe or a device may never end, and may not even open.
  if (!stat.isDirectory())
    throw new CliError(
      `${path} is neither a file nor a folder. What another program writes is read from -, standard input.`,
    );
  const names = asked(path, () => readdirSync(path, { recursive: true, encoding: 'utf8' })).sort();
  const files = names.map((name) => join(path, name)).filter(isManifest);
  if (files.length === 0) throw new CliError(`There is no file *.yaml, *.yml or *.json in ${path}.`);
  return files;
}

const isManifest = (path: string): boolean =>
  extensions.some((extension) => path.endsWith(extension)) && statOf(path)?.isFile() === true;

/** Null: there is no such file. */
const statOf = (path: string): Stats | null => asked(path, () => statSync(path, { throwIfNoEntry: false })) ?? null;

/** What a file says of its size is not asked: it may grow, and those of the system say 0. */
function readText(path: string, bytesMax: number): string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  asked(path, () => {
    const descriptor = openSync(path, 'r');
    try {
      for (let read = -1; read !== 0 && bytes <= bytesMax; bytes += read) {
        const chunk = Buffer.allocUnsafe(chunkBytes);
        read = readSync(descriptor, chunk);
        chunks.push(chunk.subarray(0, read));
      }
    } finally {
      closeSync(descriptor);
    }
  });
  if (bytes > bytesMax)
    throw new CliError(`${path} is too large: one command reads at most ${limits.manifestBytesMax} bytes.`);
  return Buffer.concat(chunks).toString('utf8');
}

/** What the file system answers; its refusals in the words of a command. */
function asked<T>(path: string, ask: () => T): T {
  try {
    return ask();
  } catch (error) {
    throw new CliError(`${path} cannot be read: ${error instanceof Error ? error.message : error}.`);
  }
}
