/**
 * The identity that a sidecar keeps in its state directory, so that it restarts with it while no control plane answers. It holds the key,
 * so nobody else may read it; it is replaced by renaming, so a crash leaves the old one or the new one.
 */
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../telemetry/logger.ts';
import { makeDirectory, syncDirectory } from '../state-dir.ts';
import type { CredentialParts } from './credentials-check.ts';

export interface SavedIdentity extends CredentialParts {
  /** An identity that another Service's sidecar left is not used. */
  readonly service: string;
  readonly namespace: string;
  readonly pushToken: string;
  /** When the certificate was obtained, wall clock in ms. */
  readonly obtainedAtMs: number;
  /** It came over TLS, and is renewed over nothing else. */
  readonly isOverTls: boolean;
}

const fileName = 'identity.json';
const format = 'weft-identity';
const formatVersion = 1;
/** More than a key, a chain, a full bundle and a token have. */
const fileBytesMax = 1024 * 1024;

export class IdentityFile {
  readonly #directory: string;
  readonly #path: string;
  readonly #logger: Logger;
  #writing: Promise<void> | null = null;
  #next: SavedIdentity | null = null;

  constructor(directory: string, logger: Logger) {
    this.#directory = directory;
    this.#path = join(directory, fileName);
    this.#logger = logger;
  }

  /** Null when there is none, or none that can be read, which is logged. What is in it is for the caller to check. */
  async load(): Promise<SavedIdentity | null> {
    try {
      return savedIdentityIn(await this.#read());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        this.#logger.warn({ path: this.#path, reason: reasonOf(error) }, 'the saved identity cannot be used');
      return null;
    }
  }

  async #read(): Promise<string> {
    // A pipe in its place would keep a blocking open waiting for a writer.
    const file = await open(this.#path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const status = await file.stat();
      if (!status.isFile()) throw new Error('it is no regular file');
      if (status.size > fileBytesMax) throw new Error(`it is longer than ${fileBytesMax} bytes`);
      if ((status.mode & 0o077) !== 0) {
        await file.chmod(0o600);
        const mode = (status.mode & 0o777).toString(8);
        this.#logger.warn(
          { path: this.#path, mode },
          'others could use the saved identity of this sidecar, which holds its key; now only its owner can. If somebody may have read it, its Service is theirs too: see docs/identity.md, Threats',
        );
      }
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  }

  /** Resolves when this or a newer one is on disk, or could not be written (logged). */
  save(identity: SavedIdentity): Promise<void> {
    this.#next = identity;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = null;
    });
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let identity = this.#next; identity !== null; identity = this.#next) {
      this.#next = null;
      try {
        await this.#write(JSON.stringify({ format, version: formatVersion, ...identity }));
      } catch (error) {
        this.#logger.error({ path: this.#path, reason: reasonOf(error) }, 'the identity cannot be saved');
      }
    }
  }

  async #write(text: string): Promise<void> {
    await makeDirectory(this.#directory);
    const temporary = `${this.#path}.${process.pid}.tmp`;
    try {
      // One that a crash left may have been made readable meanwhile; `mode` counts only for a new file.
      await rm(temporary, { force: true });
      const file = await open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, this.#path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await syncDirectory(this.#directory);
  }
}

function savedIdentityIn(text: string): SavedIdentity {
  const saved: unknown = JSON.parse(text);
  if (typeof saved !== 'object' || saved === null) throw new Error('it holds no identity');
  const fields: Readonly<Record<string, unknown>> = { ...saved };
  if (fields.format !== format || fields.version !== formatVersion) throw new Error('it is of another version');
  const textOf = (name: string): string => {
    const value = fields[name];
    if (typeof value !== 'string') throw new Error(`it has no ${name}`);
    return value;
  };
  if (typeof fields.obtainedAtMs !== 'number') throw new Error('it has no obtainedAtMs');
  return {
    service: textOf('service'),
    namespace: textOf('namespace'),
    certificatePem: textOf('certificatePem'),
    keyPem: textOf('keyPem'),
    bundlePem: textOf('bundlePem'),
    pushToken: textOf('pushToken'),
    obtainedAtMs: fields.obtainedAtMs,
    isOverTls: fields.isOverTls === true,
  };
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
