/**
 * What a sidecar keeps on disk: its name, its subscriptions and the last configuration that was in force. One file of JSON lines
 * that ends in a checksum, replaced by renaming: a crash leaves the old one or the new one, never half of one.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { ConfigKey, ConfigObject, UnitName } from '../model/snapshot.ts';
import type { Logger } from '../telemetry/logger.ts';
import { type HeldObject, HeldObjects } from './held-objects.ts';

export interface SidecarState {
  readonly sidecar: string;
  /** A directory that another Service's sidecar left is not used. */
  readonly service: string;
  readonly namespace: string;
  /** Null: none was in force yet. */
  readonly held: HeldObjects | null;
  /** When each subscribed host was last used, wall clock in ms. */
  readonly lastUsedAtMs: ReadonlyMap<string, number>;
}

const fileName = 'sidecar-state.jsonl';
const format = 'weft-sidecar-state';
const formatVersion = 2;
/** Text that is written at a time: the loop serves requests in between. */
const chunkChars = 64 * 1024;

interface HeadLine {
  readonly format: string;
  readonly version: number;
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
  /** Null: no configuration. */
  readonly revision: number | null;
}
interface HostsLine {
  readonly lastUsedAtMs: readonly (readonly [string, number])[];
  readonly answers: readonly (readonly [string, UnitName | ''])[];
}
type ObjectLine = readonly [key: ConfigKey, version: string, object: ConfigObject];

export class StateDir {
  readonly #path: string;
  readonly #logger: Logger;
  #writing: Promise<void> | null = null;
  #next: SidecarState | null = null;
  #isFailing = false;

  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
  }

  /** Null when there is none, or none that can be read: that is logged, and the sidecar starts as if it were new. */
  async load(): Promise<SidecarState | null> {
    const path = join(this.#path, fileName);
    try {
      return parse(await readFile(path, 'utf8'));
    } catch (error) {
      if (!hasCode(error, 'ENOENT'))
        this.#logger.warn({ path, reason: reasonOf(error) }, 'the saved state cannot be used');
      return null;
    }
  }

  /** Resolves when this or a newer state is on disk, or could not be written (logged). One write at a time, the newest wins. */
  save(state: SidecarState): Promise<void> {
    this.#next = state;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = null;
    });
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let state = this.#next; state !== null; state = this.#next) {
      this.#next = null;
      try {
        await this.#write(state);
        this.#isFailing = false;
      } catch (error) {
        // Said once for each time that it begins: a full disk must not fill the log too.
        if (!this.#isFailing)
          this.#logger.error({ path: this.#path, reason: reasonOf(error) }, 'the state cannot be saved');
        this.#isFailing = true;
      }
    }
  }

  async #write(state: SidecarState): Promise<void> {
    await makeDirectory(resolve(this.#path));
    const path = join(this.#path, fileName);
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await writeDurably(temporary, linesOf(state));
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncDirectory(this.#path);
  }
}

/**
 * Makes a directory and those above it. Node's own `recursive` never ends where a directory exists in which the system knows no such
 * file, as in /proc.
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return;
    if (!hasCode(error, 'ENOENT')) throw error;
    await makeDirectory(dirname(path));
    await mkdir(path, { mode: 0o700 });
  }
}

function* linesOf({ sidecar, service, namespace, held, lastUsedAtMs }: SidecarState): Iterable<string> {
  const head: HeadLine = {
    format,
    version: formatVersion,
    sidecar,
    service,
    namespace,
    revision: held?.revision ?? null,
  };
  yield JSON.stringify(head);
  const hosts: HostsLine = { lastUsedAtMs: [...lastUsedAtMs], answers: [...(held?.hosts ?? [])] };
  yield JSON.stringify(hosts);
  for (const [key, { version, object }] of held?.objects ?? []) {
    const line: ObjectLine = [key, version, object];
    yield JSON.stringify(line);
  }
}

async function writeDurably(path: string, lines: Iterable<string>): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    const hash = createHash('sha256');
    let chunk = '';
    for (const line of lines) {
      chunk += `${line}\n`;
      if (chunk.length < chunkChars) continue;
      hash.update(chunk);
      await file.write(chunk);
      chunk = '';
    }
    hash.update(chunk);
    await file.write(`${chunk}${hash.digest('hex')}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The renaming itself is durable only when its directory is. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function parse(text: string): SidecarState {
  const checksumAt = text.lastIndexOf('\n', text.length - 2) + 1;
  const body = text.slice(0, checksumAt);
  const checksum = text.slice(checksumAt, -1);
  if (createHash('sha256').update(body).digest('hex') !== checksum) throw new Error('its checksum is wrong');
  const [headText = '', hostsText = '', ...objectTexts] = body.slice(0, -1).split('\n');
  const head = JSON.parse(headText) as HeadLine;
  if (head.format !== format || head.version !== formatVersion) throw new Error('it is of another version');
  const { lastUsedAtMs, answers } = JSON.parse(hostsText) as HostsLine;
  const objects = new Map<ConfigKey, HeldObject>();
  for (const line of objectTexts) {
    const [key, version, object] = JSON.parse(line) as ObjectLine;
    objects.set(key, { version, object });
  }
  const { sidecar, service, namespace, revision } = head;
  const held = revision === null ? null : new HeldObjects(revision, objects, new Map(answers));
  return { sidecar, service, namespace, held, lastUsedAtMs: new Map(lastUsedAtMs) };
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

/** What can be expected of a disk needs no stack. */
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
