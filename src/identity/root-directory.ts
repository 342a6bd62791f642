/**
 * The directory of a certificate authority: `root.key` and `root.crt`, made when they are missing or put there by the user; `next.key`
 * and `next.crt` while a rotation is under way; and `signing`, which names the root that the mesh has acknowledged, so that a restart
 * need not ask again. Files appear whole or not at all, and what is on the disk survives a crash between any two of them.
 */
import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { IdentityError } from './identity-error.ts';
import { readRoot, readRootKey, type SigningRoot } from './root.ts';

/** More than any of these files has. */
const fileBytesMax = 64 * 1024;
/** Another control plane may make the files of the same directory at the same time: the first one's stay. */
const triesMax = 5;

export type RootName = 'root' | 'next';

export interface RootDirectoryOptions {
  readonly path: string;
  readonly trustDomain: string;
  readonly nowMs: () => number;
}

export class RootDirectory {
  readonly #path: string;
  readonly #options: RootDirectoryOptions;

  constructor(options: RootDirectoryOptions) {
    this.#path = options.path;
    this.#options = options;
  }

  /**
   * Reads a root, and makes what is missing of it (some 50 ms).
   * Rejects with IdentityError `ca-unusable` when the files are not as they must be, or others may read the key or write here.
   */
  async open(name: RootName): Promise<SigningRoot> {
    try {
      await mkdir(this.#path, { recursive: true, mode: 0o700 });
      await this.#refuseWritableByOthers();
      for (let tries = 1; tries <= triesMax; tries++) {
        const root = await this.#read(name);
        if (root !== null) return root;
      }
    } catch (error) {
      throw this.#explain(error);
    }
    throw this.#unusable('is written by somebody else all the time');
  }

  /** The next root becomes the root. Again after a crash in the middle: `open` finishes it. */
  async promoteNext(): Promise<void> {
    // The certificate first: a certificate that belongs to the key of `next` says that this has begun.
    await rename(this.#file('next.crt'), this.#file('root.crt'));
    await rename(this.#file('next.key'), this.#file('root.key'));
    await this.#sync();
  }

  /** Whether `next` was begun and not finished. */
  async hasNext(): Promise<boolean> {
    return (await this.#readFile('next.crt', false)) !== null;
  }

  /** SHA-256 of the root that the mesh has acknowledged; null: none. */
  async readSigning(): Promise<string | null> {
    return (await this.#readFile('signing', false))?.trim() ?? null;
  }

  async writeSigning(sha256: string): Promise<void> {
    const aside = await this.#writeAside(`${sha256}\n`, 0o644);
    await rename(aside, this.#file('signing'));
    await this.#sync();
  }

  /** Who may write here puts a key of his own in the place of ours, and is the authority of the mesh after the next start. */
  async #refuseWritableByOthers(): Promise<void> {
    const { mode } = await stat(this.#path);
    if ((mode & 0o022) !== 0)
      throw this.#unusable(
        `may be written by others (mode ${(mode & 0o777).toString(8)}), who could put a root of their own there: chmod go-w it, or name a directory in it`,
      );
  }

  /** Null: something was missing, and was made. */
  async #read(name: RootName): Promise<SigningRoot | null> {
    const keyPem = await this.#readFile(`${name}.key`, true);
    const certificatePem = await this.#readFile(`${name}.crt`, false);
    if (name === 'root' && certificatePem !== null && (await this.#finishPromotion(certificatePem))) return null;
    if (keyPem === null) {
      if (certificatePem !== null)
        throw this.#unusable(
          `has a ${name}.crt but no ${name}.key: put the key there, or take the certificate away to have a new root made`,
        );
      await this.#create(`${name}.key`, newKeyPem(), 0o600);
      return null;
    }
    const key = readRootKey(keyPem, this.#file(`${name}.key`));
    if (certificatePem === null) {
      await this.#create(`${name}.crt`, await this.#certificateFor(key), 0o644);
      return null;
    }
    return readRoot(certificatePem, key, this.#file(`${name}.crt`));
  }

  async #certificateFor(key: KeyObject): Promise<string> {
    // Loaded by the first start of a mesh only.
    const { makeRootCertificate } = await import('./root-certificate.ts');
    return makeRootCertificate({ key, trustDomain: this.#options.trustDomain, nowMs: this.#options.nowMs() });
  }

  /** See `promoteNext`. */
  async #finishPromotion(rootCertificatePem: string): Promise<boolean> {
    const nextKeyPem = await this.#readFile('next.key', true);
    if (nextKeyPem === null || (await this.hasNext())) return false;
    try {
      readRoot(rootCertificatePem, readRootKey(nextKeyPem, 'next.key'), 'root.crt');
    } catch {
      // It belongs to a key of its own, or to none: then nothing has begun, and `#read` says what is wrong.
      return false;
    }
    await rename(this.#file('next.key'), this.#file('root.key'));
    await this.#sync();
    return true;
  }

  /** Null: there is no such file. A key that others may read is no secret: it is refused. */
  async #readFile(name: string, isSecret: boolean): Promise<string | null> {
    let handle: FileHandle;
    try {
      // A pipe in its place would keep a blocking open waiting for a writer.
      handle = await open(this.#file(name), constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      if (isCode(error, 'ENOENT')) return null;
      throw error;
    }
    try {
      const status = await handle.stat();
      if (!status.isFile()) throw this.#unusable(`has a ${name} that is no regular file: take it away`);
      const { mode, size } = status;
      if (isSecret && (mode & 0o077) !== 0)
        throw new IdentityError(
          'ca-unusable',
          `${this.#file(name)} may be used by others (mode ${(mode & 0o777).toString(8)}), who could sign as this mesh: chmod 600 it, and if others have had access, replace it.`,
        );
      if (size > fileBytesMax) throw this.#unusable(`has a ${name} of ${size} bytes, which cannot be right`);
      return await handle.readFile('utf8');
    } finally {
      await handle.close();
    }
  }

  /** Whoever is first wins: a file that is there already stays. */
  async #create(name: string, text: string, mode: number): Promise<void> {
    const aside = await this.#writeAside(text, mode);
    try {
      await link(aside, this.#file(name));
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error;
    } finally {
      await unlink(aside);
    }
    await this.#sync();
  }

  async #writeAside(text: string, mode: number): Promise<string> {
    const aside = this.#file(`.${randomUUID()}`);
    const handle = await open(aside, 'wx', mode);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return aside;
  }

  /** A rename or a new name is on the disk only when its directory is. */
  async #sync(): Promise<void> {
    const handle = await open(this.#path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  #file(name: string): string {
    return join(this.#path, name);
  }

  #explain(error: unknown): unknown {
    if (error instanceof IdentityError) return error;
    const { message } = error as Error;
    return this.#unusable(`cannot be used: ${message}`, error);
  }

  #unusable(what: string, cause?: unknown): IdentityError {
    return new IdentityError('ca-unusable', `The --ca-dir ${this.#path} ${what}.`, cause);
  }
}

const newKeyPem = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;
