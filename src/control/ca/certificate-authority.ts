/**
 * The certificate authority of one control plane. Its root joins the trust bundle, and signs once every living sidecar has acknowledged
 * that bundle; a rotation does the same with the next root, and then lets the old one leave. See docs/identity.md.
 */

import { IdentityError } from '../../identity/identity-error.ts';
import type { SigningRoot } from '../../identity/root.ts';
import type { RootDirectory } from '../../identity/root-directory.ts';
import type { ServerCertificate } from '../../identity/server-certificate.ts';
import type { TokenUse } from '../../identity/token.ts';
import { bundlePem, type ServiceIdentity, type TrustBundle, type TrustRoot } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { AppliedReport, Fleet } from '../fleet.ts';
import type { StoreClock } from '../store/store.ts';
import { reasonOf } from '../store/store-error.ts';
import { Acknowledgement, isComplete } from './acknowledgement.ts';
import { AuthorityError } from './authority-error.ts';
import { addingRoot, requiringJoinToken, retiresAtMsOf, retiringRoots } from './bundle-edits.ts';
import { Retirement } from './retirement.ts';
import type { StoredBundle } from './stored-bundle.ts';

/** A root stays for this long after the last certificate that it signed has expired everywhere: a clock, a push, a renewal may be late. */
const retirementMarginMs = 30_000;

export interface AuthorityOptions {
  readonly bundle: StoredBundle;
  readonly directory: RootDirectory;
  readonly clock: StoreClock;
  readonly logger: Logger;
  /** `limits.certificateTtlMsMin` to `limits.certificateTtlMsMax`. */
  readonly certificateTtlMs: number;
  /** Names and addresses under which people reach the API, beside those of loopback. */
  readonly serverNames?: readonly string[];
  /** Nobody else signs for this mesh: then roots that are not ours are left over, and leave. */
  readonly isOnlyReplica: boolean;
}

export interface CertificateWish {
  readonly csrPem: string;
  /** Who has proved to be this. */
  readonly identity: ServiceIdentity;
}

export interface Certified {
  readonly certificatePem: string;
  /** All roots that are believed, as PEM. */
  readonly bundlePem: string;
  /** For the push channel and for the next certificate; lives as long as the certificate. */
  readonly pushToken: string;
  readonly expiresAtMs: number;
}

/** A root that is to sign once it is acknowledged. `revision` is the one that has it in the bundle. */
interface Candidate {
  readonly root: SigningRoot;
  readonly revision: number;
  /** The switch to it, once it has begun. */
  switched: Promise<void> | null;
}

export class CertificateAuthority {
  readonly #options: AuthorityOptions;
  readonly #retirement: Retirement;
  /** Ends in `begin`, when there is a fleet to ask. */
  #acknowledgement: Acknowledgement | null = null;
  #root: SigningRoot;
  /** Revision whose acknowledgement `#root` waits for; null: it signs. */
  #awaitedRevision: number | null;
  #next: Promise<Candidate> | null = null;
  #nextSha256: string | null = null;
  /** What `begin` has begun: settled when nothing is written any more. */
  #begun: Promise<void> = Promise.resolve();
  #isClosed = false;

  /**
   * Reads or makes the root, and has it join the bundle.
   * Rejects with IdentityError `ca-unusable`, AuthorityError, and what the store rejects with.
   */
  static async open(options: AuthorityOptions): Promise<CertificateAuthority> {
    const { bundle, directory, clock } = options;
    const root = await directory.open('root');
    requireInTime(root, clock.nowMs());
    const isAcknowledged = bundle.has(root.sha256) && (await directory.readSigning()) === root.sha256;
    const revision = await bundle.change(addingRoot(root, clock.nowMs()), `root ${shortName(root)} joins`);
    return new CertificateAuthority(options, root, isAcknowledged ? null : revision);
  }

  private constructor(options: AuthorityOptions, root: SigningRoot, awaitedRevision: number | null) {
    this.#options = options;
    this.#root = root;
    this.#awaitedRevision = awaitedRevision;
    this.#retirement = new Retirement(options.bundle, options.clock, options.logger);
  }

  /** From now on the sidecars can be asked what they have acknowledged. */
  begin(fleet: Fleet): void {
    this.#acknowledgement = new Acknowledgement(fleet, this.#options.clock);
    this.#begun = this.#begin().catch((error: unknown) => {
      if (!this.#isClosed)
        this.#options.logger.error({ error: reasonOf(error) }, 'the certificate authority could not go on');
    });
  }

  get bundle(): TrustBundle {
    return this.#options.bundle.current;
  }

  get certificateTtlMs(): number {
    return this.#options.certificateTtlMs;
  }

  /** The root whose key is here: it signs tokens at once, and certificates when `signing` is it. */
  get root(): SigningRoot {
    return this.#root;
  }

  /** SHA-256 of the roots whose keys are here: the present one, and the next one of a rotation. */
  get ownRoots(): readonly string[] {
    return this.#nextSha256 === null ? [this.#root.sha256] : [this.#root.sha256, this.#nextSha256];
  }

  /** SHA-256 of the root that certificates are signed with; null: none yet. */
  get signing(): string | null {
    return this.#awaitedRevision === null && this.#options.bundle.has(this.#root.sha256) ? this.#root.sha256 : null;
  }

  /** The sidecars that a root waits for: the first one, or the next one of a rotation. */
  async waitingFor(): Promise<AppliedReport | null> {
    const revision = this.#awaitedRevision ?? (await this.#next)?.revision ?? null;
    return revision === null ? null : this.#waits.missing(revision);
  }

  /** Rejects with AuthorityError `not-signing` and IdentityError `bad-csr`. */
  async certify({ csrPem, identity }: CertificateWish): Promise<Certified> {
    if (this.signing === null) throw await this.#notSigning();
    const [root, nowMs] = [this.#root, this.#options.clock.nowMs()];
    const [{ issueSvid }, { signToken }] = await Promise.all([
      import('../../identity/svid.ts'),
      import('../../identity/token.ts'),
    ]);
    const ttlMs = this.#ttlMsOf(root, nowMs);
    const { certificatePem, expiresAtMs } = await issueSvid(root, { csrPem, identity, nowMs, ttlMs });
    const pushToken = await signToken(root, { use: 'push', identity, nowMs, expiresAtMs });
    return { certificatePem, bundlePem: bundlePem(this.bundle), pushToken, expiresAtMs };
  }

  /** As if a first join token had been made. Rejects with AuthorityError and with what the store rejects with. */
  async requireJoinTokens(): Promise<void> {
    await this.#options.bundle.change(requiringJoinToken, 'other machines reach the control plane');
  }

  /** With the first one, nobody gets a certificate without a token any more. */
  async makeJoinToken(identity: ServiceIdentity, ttlMs: number): Promise<{ token: string; expiresAtMs: number }> {
    const nowMs = this.#options.clock.nowMs();
    await this.#options.bundle.change(requiringJoinToken, 'a first join token was made');
    const { signToken } = await import('../../identity/token.ts');
    const expiresAtMs = Math.floor((nowMs + ttlMs) / 1000) * 1000;
    // Whichever control plane its bearer meets first: what they show is of one of these. A root that leaves soon is shown to nobody.
    const otherRoots = this.bundle.roots.filter(({ retiresAt }) => retiresAt === null).map(({ sha256 }) => sha256);
    const token = await signToken(this.#root, { use: 'join', otherRoots, identity, nowMs, expiresAtMs });
    return { token, expiresAtMs };
  }

  /** Who shows this token. Rejects with IdentityError `token-*`. */
  async identify(token: string, uses: readonly TokenUse[]): Promise<ServiceIdentity> {
    const { verifyToken } = await import('../../identity/token.ts');
    return (await verifyToken(token, { bundle: this.bundle, uses, nowMs: this.#options.clock.nowMs() })).identity;
  }

  /** For the API's own port. */
  async issueServerCertificate(): Promise<ServerCertificate> {
    const { issueServerCertificate } = await import('../../identity/server-certificate.ts');
    const [root, nowMs] = [this.#root, this.#options.clock.nowMs()];
    return issueServerCertificate(root, {
      trustDomain: this.bundle.trustDomain,
      names: this.#options.serverNames ?? [],
      nowMs,
      ttlMs: this.#ttlMsOf(root, nowMs),
    });
  }

  /**
   * Makes the next root, or goes on with the one that was begun: it joins the bundle, and when all sidecars have acknowledged that, signs
   * instead of the old one, which leaves once all that it signed has expired.
   * Rejects with AuthorityError; after `not-acknowledged` the next call goes on.
   */
  async rotate(timeoutMs: number): Promise<void> {
    if (this.signing === null) throw await this.#notSigning();
    const next = await this.#openNext();
    const report = await this.#waits.wait(next.revision, timeoutMs);
    if (!isComplete(report)) throw notAcknowledged(report);
    next.switched ??= this.#switchTo(next.root).catch((error: unknown) => {
      next.switched = null;
      throw error;
    });
    await next.switched;
  }

  /** Comes after the fleet's end, which ends the waits for it. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retirement.close();
    this.#acknowledgement?.close();
    await this.#begun;
  }

  async #begin(): Promise<void> {
    // A rotation that an earlier process began stays begun, so that its root is not taken for one that is left over.
    if (await this.#options.directory.hasNext()) await this.#openNext();
    if (this.#awaitedRevision !== null) {
      const { logger } = this.#options;
      const report = await this.#waits.wait(this.#awaitedRevision, Number.POSITIVE_INFINITY, ({ missing, refused }) =>
        logger.warn(
          { root: this.#root.sha256, sidecars: [...missing, ...refused].slice(0, 10).map(({ sidecar }) => sidecar) },
          'no certificate is signed before all sidecars have acknowledged the root',
        ),
      );
      if (!isComplete(report)) return;
      this.#awaitedRevision = null;
      await this.#options.directory.writeSigning(this.#root.sha256);
    }
    if (this.#options.isOnlyReplica) await this.#retireOthers();
  }

  #openNext(): Promise<Candidate> {
    this.#next ??= this.#beginNext().catch((error: unknown) => {
      this.#next = null;
      throw error;
    });
    return this.#next;
  }

  async #beginNext(): Promise<Candidate> {
    const { bundle, clock, directory, logger } = this.#options;
    const root = await directory.open('next');
    this.#nextSha256 = root.sha256;
    const revision = await bundle.change(addingRoot(root, clock.nowMs()), `root ${shortName(root)} joins`);
    logger.info({ root: root.sha256, revision }, 'a next root has joined the trust bundle');
    return { root, revision, switched: null };
  }

  async #switchTo(next: SigningRoot): Promise<void> {
    const { bundle, directory, isOnlyReplica, logger } = this.#options;
    const old = this.#root;
    await directory.promoteNext();
    this.#root = next;
    this.#next = null;
    this.#nextSha256 = null;
    await directory.writeSigning(next.sha256);
    logger.info({ root: next.sha256, before: old.sha256 }, 'certificates are signed with the next root');
    if (isOnlyReplica) await this.#retireOthers();
    else
      await bundle.change(
        this.#retiring(({ sha256 }) => sha256 === old.sha256),
        `root ${shortName(old)} leaves`,
      );
  }

  /** Roots of earlier directories, or of a rotation that a crash cut short: nobody has their keys any more. */
  async #retireOthers(): Promise<void> {
    const own = new Set([this.#root.sha256, (await this.#next)?.root.sha256]);
    await this.#options.bundle.change(
      this.#retiring(({ sha256 }) => !own.has(sha256)),
      'former roots leave',
    );
  }

  #retiring(isLeaving: (root: TrustRoot) => boolean) {
    const { certificateTtlMs, clock } = this.#options;
    const lifeMs = certificateTtlMs + limits.certificateBackdateMs + retirementMarginMs;
    return retiringRoots(isLeaving, clock.nowMs() + lifeMs);
  }

  /** What a root signs must have expired before it leaves, also when somebody else has decided that. */
  #ttlMsOf({ sha256 }: SigningRoot, nowMs: number): number {
    const stored = this.bundle.roots.find((root) => root.sha256 === sha256);
    const leftMs = stored === undefined ? Number.POSITIVE_INFINITY : retiresAtMsOf(stored) - nowMs;
    return Math.min(this.#options.certificateTtlMs, leftMs);
  }

  get #waits(): Acknowledgement {
    if (this.#acknowledgement === null) throw new AuthorityError('unavailable', 'The control plane is starting.');
    return this.#acknowledgement;
  }

  async #notSigning(): Promise<AuthorityError> {
    const report = await this.waitingFor();
    const behind = report === null ? 0 : report.missing.length + report.refused.length;
    const reason =
      behind === 0
        ? 'its root is not in the trust bundle'
        : `${behind === 1 ? 'one sidecar has' : `${behind} sidecars have`} not acknowledged its root`;
    return new AuthorityError(
      'not-signing',
      `This control plane does not sign certificates now: ${reason}. Ask again.`,
      report?.missing,
      report?.refused,
    );
  }
}

function notAcknowledged({ missing, refused }: AppliedReport): AuthorityError {
  const behind = missing.length + refused.length;
  return new AuthorityError(
    'not-acknowledged',
    `The next root is in the trust bundle, but ${behind === 1 ? 'one sidecar has' : `${behind} sidecars have`} not acknowledged it, so that nothing is signed with it yet: rotate again to go on.`,
    missing,
    refused,
  );
}

function requireInTime(root: SigningRoot, nowMs: number): void {
  const isInTime = root.notBeforeMs <= nowMs && nowMs + limits.certificateTtlMsMin < root.notAfterMs;
  if (isInTime) return;
  const times = `${new Date(root.notBeforeMs).toISOString()} to ${new Date(root.notAfterMs).toISOString()}`;
  throw new IdentityError(
    'ca-unusable',
    `The root certificate of --ca-dir is valid from ${times}, which is not now: set the clock, or put another root there.`,
  );
}

const shortName = ({ sha256 }: SigningRoot): string => sha256.slice(0, 12);
