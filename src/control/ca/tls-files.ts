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
    const { context, expiresAtMs } = await read(options);
    warnIfExpired(options, expiresAtMs);
    return new TlsFiles(options, context, signature);
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
      const { context, expiresAtMs } = await read(this.#options);
      this.#context = context;
      logger.info({ certFile }, 'the certificate of the API was read again');
      warnIfExpired(this.#options, expiresAtMs);
    } catch (error) {
      const reason = (error as Error).message;
      logger.error({ certFile, reason }, 'the certificate of the API cannot be used, the one before it stays in force');
    }
  }
}

async function read({ certFile, keyFile }: TlsFilesOptions): Promise<{ context: SecureContext; expiresAtMs: number }> {
  const [cert, key] = [await readFile(certFile), await readFile(keyFile)];
  let expiresAtMs: number;
  try {
    expiresAtMs = Date.parse(new X509Certificate(cert).validTo);
  } catch (cause) {
    throw new TlsFilesError(`${certFile} is no certificate in PEM: ${(cause as Error).message}`, { cause });
  }
  try {
    return { context: createSecureContext({ cert, key, minVersion: 'TLSv1.3' }), expiresAtMs };
  } catch (cause) {
    throw new TlsFilesError(`${certFile} and ${keyFile} do not fit together: ${(cause as Error).message}`, { cause });
  }
}

/** Sidecars never see it: a mesh must not be without its control plane for that. */
function warnIfExpired({ certFile, clock, logger }: TlsFilesOptions, expiresAtMs: number): void {
  if (expiresAtMs > clock.nowMs()) return;
  const expiredAt = new Date(expiresAtMs).toISOString();
  logger.error({ certFile, expiredAt }, 'the certificate of the API has expired: people who look at it go away');
}

async function readFile(path: string): Promise<string> {
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
