/**
 * An identity that the control planes issue: asked for at start, renewed at half of the certificate's life, and earlier when the root
 * that issued it is leaving. Whatever fails, what is in force stays and the next try comes within seconds.
 */
import { bundlePem, type ServiceIdentity, spiffeIdOf, type TrustBundle } from '../../model/identity.ts';
import type { LinkCredentials } from '../../proxy/link/link-identity.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { Backoff } from '../backoff.ts';
import type { Clock } from '../clock.ts';
import { withDeadline } from '../deadline.ts';
import type { AskForBootstrap } from './bootstrap-client.ts';
import { provenBundle } from './bundle-proof.ts';
import { type AskForCertificate, type CertificateAnswer, CertificateRefusedError } from './certificate-client.ts';
import type { KeyAndRequest } from './certificate-request-thread.ts';
import { type ControlPlaneTrust, OtherRootError } from './control-plane-contact.ts';
import {
  type CredentialParts,
  CredentialsError,
  credentialsOf,
  hasSameRoots,
  issuerAmong,
  joinBundles,
} from './credentials-check.ts';
import { HeldCredentials } from './held-credentials.ts';
import type { IdentityAgent, IdentityStatus } from './identity-agent.ts';
import type { IdentityFile, SavedIdentity } from './identity-file.ts';
import type { JoinTokenSource } from './join-token.ts';
import { RepeatedFailure } from './repeated-failure.ts';

export interface IssuedIdentityOptions {
  /** Base addresses of control planes, asked in turn. At least one. */
  readonly urls: readonly string[];
  readonly service: string;
  readonly namespace: string;
  /** Null: without one, in plain HTTP. */
  readonly joinToken: JoinTokenSource | null;
  /** Null: nothing is kept. */
  readonly file: IdentityFile | null;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
  readonly logger: Logger;
  /** A new key and the request to certify it. */
  readonly makeRequest: (signal: AbortSignal) => Promise<KeyAndRequest>;
  readonly ask: AskForCertificate;
  readonly askForBootstrap: AskForBootstrap;
}

const makeRequestMs = 10_000;
const readTokenMs = 1_000;
/** One try, so that a control plane that hangs leaves time for others: at most this, and a quarter of what is left of the certificate. */
const attemptMsMax = 5_000;
const attemptMsMin = 2_500;
/** Half of the life, give or take this part of it: certificates of a fleet that started at once spread out. */
const renewalJitter = 0.1;
/** When the own root is leaving, all sidecars renew; they do it within this time, or a quarter of what is left. */
const leavingMsMax = 60_000;
/** When it has left, peers refuse this sidecar already. */
const leftMsMax = 5_000;
/** Between a renewal and the next, whatever the certificates say. */
const waitMsMin = 500;
const waitMsMax = 24 * 3600_000;

export class IssuedIdentity implements IdentityAgent {
  readonly #options: IssuedIdentityOptions;
  readonly #held = new HeldCredentials();
  readonly #backoff: Backoff;
  readonly #failure: RepeatedFailure;
  readonly #expiry: RepeatedFailure;
  readonly #stop = new AbortController();
  #cancelTimer: () => void = () => {};
  #renewing: Promise<void> | null = null;
  /** Of the next certificate; kept over tries that fail. */
  #request: KeyAndRequest | null = null;
  #saved: SavedIdentity | null = null;
  #saving: Promise<void> = Promise.resolve();
  /** What came over TLS with a certificate that had expired when this sidecar started. */
  #expired: LinkCredentials | null = null;
  /** As pushed last, and believed; null: not yet. */
  #pushed: TrustBundle | null = null;
  /** A bundle came while a renewal was under way. */
  #isBundleNew = false;
  #attempts = 0;
  /** Which of the tokens is shown next; moves on when one is refused. */
  #tokenTurn = 0;
  #renewals = 0;

  constructor(options: IssuedIdentityOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.random);
    this.#failure = new RepeatedFailure(options.clock);
    this.#expiry = new RepeatedFailure(options.clock);
  }

  get current(): LinkCredentials | null {
    return this.#held.current;
  }

  get first(): Promise<void> {
    return this.#held.first;
  }

  /** As long as the certificate that it came with. */
  get pushToken(): string | null {
    const { current } = this.#held;
    const isLive = current !== null && current.expiresAtMs > this.#options.clock.nowMs();
    return isLive ? (this.#saved?.pushToken ?? null) : null;
  }

  /** Who came over TLS once never goes back, also when the certificate that he came with has expired since. */
  get controlPlaneTrust(): ControlPlaneTrust | null {
    const joinToken = this.#options.joinToken?.current ?? null;
    const known = this.#held.current ?? this.#expired;
    if (joinToken === null && this.#saved?.isOverTls !== true && this.#expired === null) return null;
    return {
      trustDomain: joinToken?.identity.trustDomain ?? known!.trustDomain,
      rootsSha256: joinToken?.rootsSha256 ?? [],
      bundlePem: known?.bundlePem ?? null,
    };
  }

  onChange(listener: () => void): () => void {
    return this.#held.onChange(listener);
  }

  /** Takes what the state directory holds. Never rejects: what cannot be used is logged, and asked for anew. */
  async restore(): Promise<void> {
    const { file, service, namespace, clock, joinToken, logger } = this.#options;
    const saved = (await file?.load()) ?? null;
    if (saved === null || saved.service !== service || saved.namespace !== namespace) return;
    try {
      // Who may not go back to plain HTTP does not believe roots that came over it either.
      if (joinToken !== null && !saved.isOverTls)
        throw new CredentialsError('it came over plain HTTP, and now there is a join token');
      const credentials = this.#checked(saved, saved.obtainedAtMs);
      const leftMs = credentials.expiresAtMs - clock.nowMs();
      if (leftMs <= 0 && saved.isOverTls) this.#expired = credentials;
      this.#checked(saved, clock.nowMs());
      this.#saved = saved;
      this.#held.replace(credentials);
      logger.info({ spiffeId: credentials.spiffeId, leftMs }, 'the saved identity is in force');
    } catch (error) {
      if (!(error instanceof CredentialsError)) throw error;
      logger.info({ reason: error.message }, 'the saved identity is not used');
    }
  }

  start(): void {
    this.#renewIn(this.#saved === null ? 0 : this.#untilHalfLifeMs(this.#saved.obtainedAtMs));
  }

  async takeBundle(bundle: TrustBundle): Promise<void> {
    if (bundle.roots.length === 0) return;
    const pem = await this.#believedOf(bundle);
    this.#pushed = bundle;
    const { current } = this.#held;
    if (current === null) return;
    if (pem !== current.bundlePem) {
      this.#held.replace({ ...current, bundlePem: pem });
      if (this.#saved !== null) this.#save({ ...this.#saved, bundlePem: pem });
    }
    if (this.#renewing !== null) {
      this.#isBundleNew = true;
      return;
    }
    const soonMs = this.#untilRootLeavesMs();
    if (soonMs !== null) this.#renewIn(soonMs);
  }

  /** What was pushed is a hint where control planes prove who they are; elsewhere whoever is on loopback is trusted. PEM. */
  async #believedOf(bundle: TrustBundle): Promise<string> {
    const { askForBootstrap: ask, clock, random, urls } = this.#options;
    const pushed = bundlePem(bundle);
    const before = this.controlPlaneTrust;
    if (before === null) return pushed;
    const believed = this.#held.current?.bundlePem ?? null;
    if (believed !== null && (bundle === this.#pushed || hasSameRoots(believed, pushed))) return believed;
    const trust = async () => {
      await this.#refreshJoinToken();
      return this.controlPlaneTrust ?? before;
    };
    return await provenBundle(bundle, trust, { urls, clock, random, ask }, this.#stop.signal);
  }

  status(): IdentityStatus {
    return {
      source: 'control-plane',
      ...this.#held.status(),
      lastError: this.#failure.reason,
      renewals: this.#renewals,
    };
  }

  async close(): Promise<void> {
    this.#stop.abort(new Error('this sidecar ends'));
    this.#cancelTimer();
    await this.#renewing;
    await this.#saving;
  }

  // --- When ----------------------------------------------------------------------------------------------------------------------

  #renewIn(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#cancelTimer();
    this.#cancelTimer = this.#options.clock.after(ms, () => {
      this.#renewing = this.#renew().then((nextMs) => {
        this.#renewing = null;
        this.#renewIn(nextMs);
      });
    });
  }

  /** Resolves with how long to wait before the next renewal, ms. Never rejects. */
  async #renew(): Promise<number> {
    const { clock, urls } = this.#options;
    this.#isBundleNew = false;
    const url = urls[this.#attempts++ % urls.length]!;
    try {
      await this.#obtain(url);
    } catch (error) {
      this.#failed(url, error);
      return this.#backoff.nextMs();
    }
    this.#failure.clear();
    this.#expiry.clear();
    this.#backoff.reset();
    const halfLifeMs = this.#untilHalfLifeMs(clock.nowMs());
    const soonMs = this.#isBundleNew ? this.#untilRootLeavesMs() : null;
    return Math.max(waitMsMin, soonMs === null ? halfLifeMs : Math.min(soonMs, halfLifeMs));
  }

  /** From the moment it was obtained: the certificate itself says an earlier one, for clocks that disagree. */
  #untilHalfLifeMs(obtainedAtMs: number): number {
    const { clock, random } = this.#options;
    const nowMs = clock.nowMs();
    // A clock that was set back meanwhile must not move the renewal beyond the end.
    const fromMs = Math.min(obtainedAtMs, nowMs);
    const halfMs = (this.#held.current!.expiresAtMs - fromMs) / 2;
    const renewAtMs = fromMs + halfMs * (1 - renewalJitter + 2 * renewalJitter * random());
    return Math.max(0, Math.min(renewAtMs - nowMs, waitMsMax));
  }

  /** When to renew because the root that issued the certificate is leaving or has left; null: it is not. */
  #untilRootLeavesMs(): number | null {
    const { clock, random } = this.#options;
    const issuer = issuerAmong(this.#held.current!.certificatePem, this.#pushed!.roots);
    if (issuer === null) return random() * leftMsMax;
    if (issuer.retiresAt === null) return null;
    const usableUntilMs = Math.min(this.#held.current!.expiresAtMs, Date.parse(issuer.retiresAt));
    return random() * Math.min(leavingMsMax, Math.max(0, usableUntilMs - clock.nowMs()) / 4);
  }

  #attemptMs(): number {
    const { current } = this.#held;
    const leftMs = current === null ? 0 : current.expiresAtMs - this.#options.clock.nowMs();
    // Nothing is lost any more, or not yet: then a slow answer is better than none.
    return leftMs <= 0 ? attemptMsMax : Math.min(attemptMsMax, Math.max(attemptMsMin, leftMs / 4));
  }

  // --- One try -------------------------------------------------------------------------------------------------------------------

  async #obtain(url: string): Promise<void> {
    const { ask, clock, joinToken, makeRequest, namespace, service, logger } = this.#options;
    const { signal } = this.#stop;
    this.#request ??= await withDeadline(clock, signal, makeRequestMs, makeRequest);
    const { csrPem, keyPem } = this.#request;
    await this.#refreshJoinToken();
    const trust = this.controlPlaneTrust;
    const question = { url, csrPem, service, namespace, token: this.#token(), trust };
    const answer = await withDeadline(clock, signal, this.#attemptMs(), (deadline) =>
      ask(question, clock.nowMs(), deadline),
    );
    const bundle = this.#bundleWith(answer);
    const credentials = this.#checked({ ...answer, keyPem, bundlePem: bundle }, clock.nowMs());
    if (joinToken !== null && joinToken.current.identity.trustDomain !== credentials.trustDomain)
      throw new CredentialsError(`the certificate is of another trust domain: ${credentials.spiffeId}`);
    this.#request = null;
    this.#tokenTurn = 0;
    if (this.#held.current !== null) this.#renewals++;
    this.#save({
      service,
      namespace,
      certificatePem: answer.certificatePem,
      keyPem,
      bundlePem: bundle,
      pushToken: answer.pushToken,
      obtainedAtMs: clock.nowMs(),
      isOverTls: trust !== null,
    });
    this.#held.replace(credentials);
    const { spiffeId, expiresAtMs } = credentials;
    logger.info({ url, spiffeId, expiresAt: new Date(expiresAtMs).toISOString() }, 'a new certificate is in force');
  }

  /** The one that expired may have been replaced. A disk that hangs leaves the one before: a renewal does not even show it. */
  async #refreshJoinToken(): Promise<void> {
    const { clock, joinToken } = this.#options;
    const { signal } = this.#stop;
    if (joinToken === null) return;
    await withDeadline(clock, signal, readTokenMs, () => joinToken.refresh()).catch(() => signal.throwIfAborted());
  }

  /** The push token renews. When it is refused (the control plane may have another root now), the join token has its turn, or none. */
  #token(): string | null {
    const { joinToken } = this.#options;
    const tokens = [...(this.pushToken === null ? [] : [this.pushToken]), joinToken?.current.text ?? null];
    return tokens[this.#tokenTurn % tokens.length]!;
  }

  /**
   * What was pushed is what this sidecar has acknowledged, so an answer takes none of it away: another replica may answer that has not
   * heard of a root yet. What the answer has beyond it is needed for the new certificate.
   */
  #bundleWith({ bundlePem: answered }: CertificateAnswer): string {
    const pushed = this.#pushed === null ? null : bundlePem(this.#pushed);
    return pushed === null ? joinBundles(answered, answered) : joinBundles(pushed, answered);
  }

  /** @throws CredentialsError when the parts do not belong together, or make somebody else than this Service. */
  #checked(parts: CredentialParts, nowMs: number): LinkCredentials {
    const { namespace, service } = this.#options;
    const credentials = credentialsOf(parts, nowMs);
    const own: ServiceIdentity = { trustDomain: credentials.trustDomain, namespace, service };
    if (credentials.spiffeId !== spiffeIdOf(own))
      throw new CredentialsError(`the certificate is for ${credentials.spiffeId}, not for ${spiffeIdOf(own)}`);
    return credentials;
  }

  #failed(url: string, error: unknown): void {
    if (this.#stop.signal.aborted) return;
    const { logger, clock } = this.#options;
    const isTokenRefused = error instanceof CertificateRefusedError && [401, 403].includes(error.status);
    const isJoinTokenShown = this.#token() === this.#options.joinToken?.current.text;
    if (isTokenRefused) this.#tokenTurn++;
    const reason = this.#explained(error, isJoinTokenShown);
    this.#failure.note(reason, () => {
      // A root that is not acknowledged everywhere yet is how a mesh begins.
      if (error instanceof CertificateRefusedError && error.code === 'not-signing')
        logger.info({ url, reason }, 'the control plane does not sign yet');
      else logger.warn({ url, reason }, 'there is no new certificate');
    });
    const { current } = this.#held;
    if (current === null || current.expiresAtMs > clock.nowMs()) return;
    const expiresAt = new Date(current.expiresAtMs).toISOString();
    this.#expiry.note('expired', () =>
      logger.error(
        { spiffeId: current.spiffeId, expiresAt },
        'the certificate of this sidecar has expired: other sidecars refuse its links until a control plane renews it',
      ),
    );
  }

  #explained(error: unknown, isJoinTokenShown: boolean): string {
    const { joinToken, namespace, service, clock } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    const howTo = `weft token create --join --service ${service}.${namespace} makes one for --join-token-file`;
    const isRefused = error instanceof CertificateRefusedError && [401, 403].includes(error.status);
    if (isRefused && joinToken === null)
      return error.code === 'token-required'
        ? `this mesh asks for a join token, and this sidecar has none: ${howTo}`
        : `${reason} (there is no join token: ${howTo})`;
    if (joinToken === null || !(isRefused || error instanceof OtherRootError)) return reason;
    const why: string[] = [];
    if (joinToken.current.expiresAtMs <= clock.nowMs()) why.push(`the join token has expired: ${howTo}`);
    else if (error instanceof OtherRootError || (isJoinTokenShown && error.status === 401))
      why.push(`most likely the root was rotated after the token was made, which voids it: ${howTo}`);
    if (joinToken.fault !== null) why.push(joinToken.fault);
    return why.length === 0 ? reason : `${reason} (${why.join('; ')})`;
  }

  // --- State directory -----------------------------------------------------------------------------------------------------------

  #save(identity: SavedIdentity): void {
    const { file } = this.#options;
    this.#saved = identity;
    if (file !== null) this.#saving = file.save(identity);
  }
}
