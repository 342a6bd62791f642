/**
 * An identity out of files that somebody else keeps up to date: svid.pem, key.pem and bundle.pem, from a CA of one's own or from an agent
 * such as spiffe-helper. They are read again when they change; a set that does not fit together leaves the last good one in force.
 */
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseSpiffeId } from '../../model/identity.ts';
import type { LinkCredentials } from '../../proxy/link/link-identity.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { Clock } from '../clock.ts';
import { type CredentialParts, CredentialsError, credentialsOf } from './credentials-check.ts';
import { HeldCredentials } from './held-credentials.ts';
import type { IdentityAgent, IdentityStatus } from './identity-agent.ts';
import { RepeatedFailure } from './repeated-failure.ts';

export interface DirectoryIdentityOptions {
  readonly path: string;
  /** Whose certificate it must be. */
  readonly service: string;
  readonly namespace: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How soon a change is seen. Looking works everywhere; watching does not (network disks, mounted secrets). */
const lookEveryMs = 500;
const fileBytesMax = 256 * 1024;
const names = ['svid.pem', 'key.pem', 'bundle.pem'] as const;

/** The files fit together, and are another Service's. */
export class OtherServiceError extends CredentialsError {}

export class DirectoryIdentity implements IdentityAgent {
  readonly #options: DirectoryIdentityOptions;
  readonly #held = new HeldCredentials();
  readonly #failure: RepeatedFailure;
  readonly #expiry: RepeatedFailure;
  #cancelLook: () => void = () => {};
  #looking: Promise<void> = Promise.resolve();
  #isClosed = false;
  /** Of the files at the last look, and of those that were read last. */
  #seen = '';
  #loaded = '';
  #renewals = 0;

  constructor(options: DirectoryIdentityOptions) {
    this.#options = options;
    this.#failure = new RepeatedFailure(options.clock);
    this.#expiry = new RepeatedFailure(options.clock);
  }

  get current(): LinkCredentials | null {
    return this.#held.current;
  }

  get first(): Promise<void> {
    return this.#held.first;
  }

  /** Nobody gave one: the certificate is not the control plane's. */
  readonly pushToken = null;
  /** Its roots are not those of the control plane's CA. */
  readonly controlPlaneTrust = null;

  onChange(listener: () => void): () => void {
    return this.#held.onChange(listener);
  }

  start(): void {
    this.#cancelLook = this.#options.clock.after(lookEveryMs, () => {
      this.#looking = this.#look().then(() => {
        if (!this.#isClosed) this.start();
      });
    });
  }

  /** The roots are those of bundle.pem. */
  takeBundle(): Promise<void> {
    return Promise.resolve();
  }

  status(): IdentityStatus {
    return {
      source: 'directory',
      ...this.#held.status(),
      lastError: this.#failure.reason,
      renewals: this.#renewals,
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelLook();
    await this.#looking;
  }

  /**
   * Reads the files for the first time. Rejects with OtherServiceError: that is a slip of whoever starts it. What else is wrong with the
   * files may be mended by whoever writes them: it is logged, and they are looked at again.
   */
  async load(): Promise<void> {
    try {
      await this.#read();
    } catch (error) {
      if (error instanceof OtherServiceError) throw error;
      this.#failed(error);
    }
  }

  async #read(): Promise<void> {
    const { path, clock, logger } = this.#options;
    const signature = await this.#signature();
    this.#seen = signature;
    const credentials = this.#own(credentialsOf(await readParts(path), clock.nowMs()));
    this.#loaded = signature;
    this.#failure.clear();
    this.#expiry.clear();
    if (isSame(credentials, this.#held.current)) return;
    if (this.#held.current !== null) this.#renewals++;
    this.#held.replace(credentials);
    const { spiffeId, expiresAtMs } = credentials;
    logger.info({ path, spiffeId, expiresAt: new Date(expiresAtMs).toISOString() }, 'the identity is in force');
  }

  /** Whose it is can be told where the name is in the form of this mesh; CAs with names of their own are taken at their word. */
  #own(credentials: LinkCredentials): LinkCredentials {
    const { path, service, namespace } = this.#options;
    const named = parseSpiffeId(credentials.spiffeId);
    if (named === null || (named.service === service && named.namespace === namespace)) return credentials;
    throw new OtherServiceError(
      `the certificate in ${path} is the one of ${named.service}.${named.namespace} (${credentials.spiffeId}), not of ${service}.${namespace}: name another --identity-dir, or another --service`,
    );
  }

  /** What was in force stays. */
  #failed(error: unknown): void {
    const { path, logger } = this.#options;
    // Read again at each look, until it fits: it may become valid, or readable, without a change.
    this.#loaded = '';
    const stays = this.#held.current === null ? 'there is no identity yet' : 'the identity before it stays in force';
    this.#failure.note((error as Error).message, (reason) =>
      logger.error({ path, reason }, `the files of the identity cannot be used, ${stays}`),
    );
  }

  async #look(): Promise<void> {
    this.#warnWhenExpired();
    const before = this.#seen;
    this.#seen = await this.#signature();
    // They are three files, written one after the other: they are read once they have stopped changing.
    if (this.#seen === before && this.#seen !== this.#loaded)
      await this.#read().catch((error: unknown) => this.#failed(error));
  }

  #warnWhenExpired(): void {
    const { clock, logger, path } = this.#options;
    const current = this.#held.current;
    if (current === null || current.expiresAtMs > clock.nowMs()) return;
    const expiresAt = new Date(current.expiresAtMs).toISOString();
    this.#expiry.note('expired', () =>
      logger.error(
        { path, spiffeId: current.spiffeId, expiresAt },
        'the certificate of this sidecar has expired: other sidecars refuse its links. Put a new one into the identity directory',
      ),
    );
  }

  async #signature(): Promise<string> {
    const each = names.map(async (name) => {
      try {
        const { mtimeMs, size, ino } = await stat(join(this.#options.path, name));
        return `${mtimeMs} ${size} ${ino}`;
      } catch {
        return 'none';
      }
    });
    return (await Promise.all(each)).join(' ');
  }
}

async function readParts(directory: string): Promise<CredentialParts> {
  const [certificatePem, keyPem, bundlePem] = await Promise.all(
    names.map((name) => readBounded(join(directory, name))),
  );
  return { certificatePem: certificatePem!, keyPem: keyPem!, bundlePem: bundlePem! };
}

async function readBounded(path: string): Promise<string> {
  const file = await open(path, 'r');
  try {
    if ((await file.stat()).size > fileBytesMax) throw new Error(`${path} is longer than ${fileBytesMax} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function isSame(credentials: LinkCredentials, before: LinkCredentials | null): boolean {
  return (
    before !== null &&
    credentials.certificatePem === before.certificatePem &&
    credentials.keyPem === before.keyPem &&
    credentials.bundlePem === before.bundlePem
  );
}
