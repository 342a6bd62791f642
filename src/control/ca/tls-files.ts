/**
 * A certificate of another CA for people who use the API (`--tls-cert`, `--tls-key`), out of files that somebody else renews. They are looked at
 * when a connection comes, and read again when they have changed; a pair that does not fit leaves the last good one in force.
 */
import { X509Certificate } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import { limits } from '../../model/limits.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { StoreClock } from '../store/store.ts';

export interface TlsFilesOptions {
  /** PEM: the certificate, then what stands between it and a root. */
  readonly certFile: string;
  /** PEM, without a passphrase. */
  readonly keyFile: string;
  readonly clock: StoreClock;
  readonly logger: Logger;
}

const fileBytesMax = 256 * 1024;

/** The files cannot be used; `message` says which and why. */
export class TlsFilesError extends Error {
  override readonly name = 'TlsFilesError';
  readonly code = 'bad-tls-files';
}

export class TlsFiles {
  readonly #options: TlsFilesOptions;
  #context: SecureContext;
  /** Of the files as they were read last, good or bad. */
  #read: string;
  #lookedAtMs: number;
  #looking: Promise<void> | null = null;

  /** Rejects with TlsFilesError. */
  static async open(options: TlsFilesOptions): Promise<TlsFiles> {
    const signature = await signatureOf(options);
    return new TlsFiles(options, await contextOf(options), signature);
  }

  private constructor(options: TlsFilesOptions, context: SecureContext, signature: string) {
    this.#options = options;
    this.#context = context;
    this.#read = signature;
    this.#lookedAtMs = options.clock.nowMs();
  }

  /** As the files are now, or were at most `limits.tlsFilesLookMs` ago. Never rejects. */
  async context(): Promise<SecureContext> {
    const sinceMs = Math.abs(this.#options.clock.nowMs() - this.#lookedAtMs);
    if (sinceMs >= limits.tlsFilesLookMs) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
      });
      await this.#looking;
    }
    return this.#context;
  }

  async #look(): Promise<void> {
    const { certFile, clock, logger } = this.#options;
    this.#lookedAtMs = clock.nowMs();
    const signature = await signatureOf(this.#options);
    if (signature === this.#read) return;
    this.#read = signature;
    try {
      this.#context = await contextOf(this.#options);
      logger.info({ certFile }, 'the certificate of the API was read again');
    } catch (error) {
      const reason = (error as Error).message;
      logger.error({ certFile, reason }, 'the certificate of the API cannot be used, the one before it stays in force');
    }
  }
}

async function contextOf({ certFile, keyFile, clock }: TlsFilesOptions): Promise<SecureContext> {
  const [cert, key] = [await read(certFile), await read(keyFile)];
  let expiresAtMs: number;
  try {
    expiresAtMs = Date.parse(new X509Certificate(cert).validTo);
  } catch (cause) {
    throw new TlsFilesError(`${certFile} is no certificate in PEM: ${(cause as Error).message}`, { cause });
  }
  if (expiresAtMs <= clock.nowMs())
    throw new TlsFilesError(`the certificate in ${certFile} expired at ${new Date(expiresAtMs).toISOString()}`);
  try {
    return createSecureContext({ cert, key, minVersion: 'TLSv1.3' });
  } catch (cause) {
    throw new TlsFilesError(`${certFile} and ${keyFile} do not fit together: ${(cause as Error).message}`, { cause });
  }
}

async function read(path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      if ((await file.stat()).size > fileBytesMax) throw new Error(`it is longer than ${fileBytesMax} bytes`);
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new TlsFilesError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** Changes when a file does, also one that is replaced by a rename or a link (mounted secrets). */
async function signatureOf({ certFile, keyFile }: TlsFilesOptions): Promise<string> {
  const each = [certFile, keyFile].map(async (path) => {
    try {
      const { mtimeMs, size, ino } = await stat(path);
      return `${mtimeMs} ${size} ${ino}`;
    } catch {
      return 'none';
    }
  });
  return (await Promise.all(each)).join(' ');
}
