/**
 * The way to one link address of an endpoint: the connection in use, the one that takes over from it, those that are ending, and the pause
 * after one could not be made.
 */
import { limits } from '../../model/limits.ts';
import { type Failure, failures } from '../failure.ts';
import { type ClosingCause, LinkClient, type LinkEnvironment } from './link-client.ts';
import { type DialTarget, insecureHint } from './link-socket.ts';

export interface PathOwner {
  /** A link is open and can take what waits. */
  onPathOpen(path: LinkPath): void;
  /** The link could not be made: what waits for it is to be failed, unless another path is there. */
  onPathFailed(path: LinkPath, failure: Failure, detail: string): void;
  onDialled(hasFailed: boolean): void;
}

export class LinkPath {
  /** Takes new streams; null: none is open. */
  current: LinkClient | null = null;
  private dialling: LinkClient | null = null;
  /** They take no more streams and end with their last one. */
  private readonly ending = new Set<LinkClient>();
  /** The callee drains: it is avoided until it has gone, and dialled again only when nobody else is left. */
  private isPeerDraining = false;
  /**
   * The link was lost by silence, or a dial took too long. Nobody who could go elsewhere waits for it again, for that would take seconds each
   * time; it is dialled without being asked until it greets, or fails otherwise, which is known at once.
   */
  private isSilent = false;
  private failuresInRow = 0;
  /** By the environment's clock; 0: at any time. */
  private retryAtMs = 0;
  private retryTimer: NodeJS.Timeout | null = null;
  lastFailure: Failure = failures['connect-failed'];
  lastDetail = '';
  /** The last link that was open ended because the callee drained. */
  private hasDrained = false;

  constructor(
    private readonly address: string,
    private readonly target: DialTarget,
    private readonly environment: LinkEnvironment,
    private readonly owner: PathOwner,
  ) {}

  get connections(): number {
    return (this.current === null ? 0 : 1) + this.ending.size;
  }

  /** Better not chosen: it drains, or there is no link and none to be had soon. */
  get isAvoided(): boolean {
    const { current } = this;
    if (this.isPeerDraining) return true;
    if (current !== null) return this.isSilent && !current.isGreeted;
    if (this.isSilent || this.hasDialledFor(limits.linkRetryWaitMs)) return true;
    return this.failuresInRow > 0 && !this.mayWait;
  }

  /** What speaks against it, for people; empty: nothing. */
  get trouble(): string {
    if (this.isPeerDraining) return 'it drains';
    if (this.current !== null) return '';
    if (this.failuresInRow === 0) return this.hasDrained ? 'it drained' : '';
    const detail = this.lastDetail === '' ? '' : `: ${this.lastDetail}`;
    return `no link to it could be made a moment ago: ${this.lastFailure.code}${detail}`;
  }

  private hasDialledFor(ms: number): boolean {
    const { dialling, environment } = this;
    return dialling !== null && environment.timer.nowMs - dialling.startedAtMs > ms;
  }

  /** A link is being made, or will be so soon that a request may wait for it. */
  get isComing(): boolean {
    if (this.isSilent && (this.failuresInRow > 0 || this.hasDialledFor(limits.linkSilentWaitMs))) return false;
    return this.dialling !== null || (this.retryTimer !== null && this.mayWait);
  }

  /** There has been no try, or the next one may come soon. */
  private get mayWait(): boolean {
    return this.retryAtMs === 0 || this.retryAtMs - this.environment.now() <= limits.linkRetryWaitMs;
  }

  /** Begins to dial, unless it does so already; after the pause, when there is one. */
  dial(): void {
    if (this.current !== null || this.dialling !== null || this.retryTimer !== null) return;
    const pauseMs = this.retryAtMs - this.environment.now();
    if (pauseMs <= 0) {
      this.dialNow();
      return;
    }
    this.retryTimer = setTimeout(() => {
      this.retryTimer = null;
      this.dial();
    }, pauseMs);
  }

  private dialNow(): void {
    const client = new LinkClient(this.environment, this.target, {
      onOpen: (opened) => this.opened(opened),
      onGreeted: (greeted) => this.greeted(greeted),
      onFailed: (failed, failure, detail) => this.failed(failed, failure, detail),
      onClosing: (closing, cause, detail) => this.closing(closing, cause, detail),
      onGone: (gone) => this.ending.delete(gone),
    });
    if (client.isBegun) this.dialling = client;
    else this.noteFailure(failures['no-identity'], 'this sidecar has no certificate yet');
  }

  /** The first streams leave without a round trip of ours; but while there is a link that works, only one that is taken replaces it. */
  private opened(client: LinkClient): void {
    this.owner.onDialled(false);
    if (this.current === null) this.use(client);
  }

  private greeted(client: LinkClient): void {
    if (this.dialling !== client) return;
    // A refusal comes together with the greeting, and is read by the end of this turn.
    setImmediate(() => {
      if (this.dialling === client && client.isOpen) this.use(client);
    });
  }

  private use(client: LinkClient): void {
    this.dialling = null;
    this.retryAtMs = 0;
    this.isPeerDraining = false;
    this.hasDrained = false;
    const before = this.current;
    this.current = client;
    before?.retire();
    this.owner.onPathOpen(this);
  }

  private failed(client: LinkClient, failure: Failure, detail: string): void {
    if (this.dialling !== client) return;
    this.dialling = null;
    this.noteFailure(failure, detail);
  }

  /** A peer that drains has closed its port: what it said is the better reason. */
  private failureOf(failure: Failure): Failure {
    const isClosed = failure.code === 'connect-refused' || failure.code === 'connect-failed';
    return this.isPeerDraining && isClosed ? failures.draining : failure;
  }

  private noteFailure(found: Failure, detail: string): void {
    const failure = this.failureOf(found);
    const { now, random, onTrouble } = this.environment;
    const pauseMs = Math.min(limits.linkRetryMsMax, limits.linkRetryFirstMs * 2 ** Math.min(this.failuresInRow, 16));
    this.failuresInRow++;
    this.retryAtMs = now() + pauseMs * (0.5 + 0.5 * random());
    this.lastFailure = failure;
    this.lastDetail = detail;
    this.isSilent = failure.code === 'connect-timeout';
    onTrouble(this.address, failure, detail);
    this.owner.onDialled(true);
    this.owner.onPathFailed(this, failure, detail);
  }

  private closing(client: LinkClient, cause: ClosingCause, detail: string): void {
    this.ending.add(client);
    if (this.dialling === client) {
      this.dialling = null;
      if (cause === 'retired') return;
      this.noteFailure(
        failures[cause === 'refused' ? 'link-refused' : 'link-lost'],
        `${detail}; it was to replace another`,
      );
    }
    if (this.current !== client) return;
    this.current = null;
    // Only a peer that greets, and does not refuse us with its next word, was worth the dial.
    if (client.isGreeted && cause !== 'refused') this.failuresInRow = 0;
    if (cause === 'drain') this.isPeerDraining = true;
    this.hasDrained = cause === 'drain';
    if (cause === 'refused') this.noteFailure(failures['link-refused'], detail);
    if (cause !== 'lost') return;
    if (client.isGreeted) this.environment.onTrouble(this.address, failures['link-lost'], detail);
    else this.noteFailure(failures['link-lost'], `${detail}, before it greeted${this.hint}`);
    this.isSilent = client.isSilent;
    if (!client.isSilent) return;
    this.lastFailure = failures['connect-timeout'];
    this.lastDetail = detail;
  }

  /** An open port may be anything. */
  private get hint(): string {
    return this.environment.security.tag === 'insecure' ? `: ${insecureHint}` : '';
  }

  /** Looks after what takes time. */
  sweep(nowMs: number): void {
    const { current, dialling } = this;
    if (dialling !== null && nowMs - dialling.startedAtMs >= limits.connectTimeoutMs)
      dialling.giveUp(failures['connect-timeout'], `no link within ${limits.connectTimeoutMs} ms`);
    if (current === null) {
      // A draining peer that has gone may come back as a new process.
      if (this.isPeerDraining && this.ending.size === 0) this.isPeerDraining = false;
      if (this.isSilent) this.search();
      return;
    }
    if (current.isGreeted) this.isSilent = false;
    if (current.streams === 0 && nowMs - current.idleSinceMs >= limits.linkIdleMs) current.retire();
    // The old one stays until the new one is there, however often that fails.
    else if (nowMs >= current.retiresAtMs && this.dialling === null && nowMs >= this.retryAtMs) this.dialNow();
  }

  /** Who waits for a peer that was found silent has waited long enough already. */
  private search(): void {
    this.dial();
    if (!this.isComing) this.owner.onPathFailed(this, failures['connect-timeout'], this.lastDetail);
  }

  /** Whether there is anything that `sweep` must look after. */
  get isBusy(): boolean {
    return this.current !== null || this.dialling !== null || this.ending.size > 0 || this.isSilent;
  }

  /** The endpoint left: streams that run may finish. */
  retire(): void {
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.retryTimer = null;
    this.isSilent = false;
    this.dialling?.giveUp(failures['connect-failed'], 'the endpoint left the configuration');
    this.dialling?.retire();
    this.current?.retire();
  }

  destroy(): void {
    for (const client of [this.dialling, this.current, ...this.ending]) client?.destroy();
  }
}
