/**
 * The answers of one uWS listener that need attention later: heads held to the end of the turn, slow connections that uWS would cut,
 * writes that uWS cannot tell us about, and connections that close once their client has had time to read.
 */
import { limits } from '../../model/limits.ts';
import { type HeldAnswer, HeldAnswers } from './held-answers.ts';

export interface PendingAnswer extends HeldAnswer {
  /** Which of the sets it is in; kept by the answer, so that most requests cost no look-up. */
  isSlow: boolean;
  slowPart: number;
  isStuck: boolean;
  isLingering: boolean;
  lingeredTicks: number;
  /** Since its client last sent or took something. */
  quietTicks: number;
  /** True while only its reader is waited for: the proxy has done with it. */
  readonly isUnread: boolean;
  /** Since the reader last took something. */
  unreadTicks: number;
  keepAlive(): void;
  retryWrite(): void;
  closeNow(): void;
}

/** How often each slow answer is looked at. Every second time it is kept alive: uWS cuts a connection on which nothing moves after 8 s at the earliest. */
const slowTickMs = limits.lingerMs / 2;
const quietTicksMax = limits.lingerMs / slowTickMs;
const lingerTicksMax = limits.lingerTotalMs / slowTickMs;
/** They are looked at in as many parts, one after the other: `keepAlive` is three system calls, and 750 of them at once take the loop some 4 ms. */
const slowParts = 200;
/** In 5 ms a loopback connection takes about what its kernel buffer holds, so that a stuck answer still moves fast. */
const stuckTickMs = 5;

export class PendingAnswers {
  isDraining = false;
  /** True while uWS runs our code out of a read: what is written to that connection then stays in the core's cork until the read is over. */
  isCoreReading = false;
  readonly held = new HeldAnswers();
  /** The three are bounded by the listener's connections: there is one request at a time on each. */
  private readonly slow: readonly Set<PendingAnswer>[] = Array.from({ length: slowParts }, () => new Set());
  /** The part that the next answer joins, and the one that is looked at next. */
  private joinedPart = 0;
  private duePart = 0;
  /** How often all parts were looked at. */
  private rounds = 0;
  private readonly stuck = new Set<PendingAnswer>();
  private readonly lingering = new Set<PendingAnswer>();
  private slowTimer: NodeJS.Timeout | null = null;
  private stuckTimer: NodeJS.Timeout | null = null;

  /** `clientIdleMs`: how long a client may leave the rest of an answer unread; then `onUnread` is called, and it is cut. */
  constructor(
    private readonly clientIdleMs: number,
    private readonly onUnread: () => void,
  ) {}

  enterCore(): void {
    this.isCoreReading = true;
  }

  /** The microtasks behind uWS's call still run in the core's cork, so heads do not wait for theirs. */
  leaveCore(): void {
    this.held.flush();
    this.isCoreReading = false;
  }

  /** Its request body or its reader is slow: `keepAlive` now and then. */
  watchSlow(answer: PendingAnswer): void {
    if (answer.isSlow) return;
    answer.isSlow = true;
    answer.slowPart = this.joinedPart;
    this.joinedPart = (this.joinedPart + 1) % slowParts;
    this.slow[answer.slowPart]!.add(answer);
    this.startSlowTimer();
  }

  unwatchSlow(answer: PendingAnswer): void {
    if (!answer.isSlow) return;
    answer.isSlow = false;
    this.slow[answer.slowPart]!.delete(answer);
  }

  /** It has to write, and no event will say when: `retryWrite` soon and often. */
  watchStuck(answer: PendingAnswer): void {
    if (answer.isStuck) return;
    answer.isStuck = true;
    this.stuck.add(answer);
    this.stuckTimer ??= setInterval(() => this.tickStuck(), stuckTickMs).unref();
  }

  unwatchStuck(answer: PendingAnswer): void {
    if (!answer.isStuck) return;
    answer.isStuck = false;
    this.stuck.delete(answer);
  }

  /** `closeNow` when limits.lingerMs passes without a movement, and after limits.lingerTotalMs. */
  linger(answer: PendingAnswer): void {
    this.forget(answer);
    answer.isLingering = true;
    this.lingering.add(answer);
    this.startSlowTimer();
  }

  forget(answer: PendingAnswer): void {
    this.unwatchSlow(answer);
    this.unwatchStuck(answer);
    if (!answer.isLingering) return;
    answer.isLingering = false;
    this.lingering.delete(answer);
  }

  stop(): void {
    this.stopSlowTimer();
    this.stopStuckTimer();
  }

  /** The timers run only while something is watched: an idle listener wakes nobody. */
  private startSlowTimer(): void {
    this.slowTimer ??= setInterval(() => this.tickSlow(), slowTickMs / slowParts).unref();
  }

  private tickSlow(): void {
    const part = this.duePart;
    this.duePart = (part + 1) % slowParts;
    if (part === 0) this.rounds++;
    const isRenewing = (this.rounds + part) % 2 === 0;
    for (const answer of this.slow[part]!) {
      // The first tick may come at once.
      if (!answer.isUnread || answer.unreadTicks++ * slowTickMs < this.clientIdleMs) {
        if (isRenewing) answer.keepAlive();
        continue;
      }
      this.onUnread();
      answer.closeNow();
    }
    if (part > 0) return;
    // The first tick may come at once.
    for (const answer of this.lingering)
      if (++answer.quietTicks > quietTicksMax || ++answer.lingeredTicks > lingerTicksMax) answer.closeNow();
    if (this.lingering.size === 0 && this.slow.every(({ size }) => size === 0)) this.stopSlowTimer();
  }

  private tickStuck(): void {
    for (const answer of this.stuck) answer.retryWrite();
    if (this.stuck.size === 0) this.stopStuckTimer();
  }

  private stopSlowTimer(): void {
    if (this.slowTimer !== null) clearInterval(this.slowTimer);
    this.slowTimer = null;
  }

  private stopStuckTimer(): void {
    if (this.stuckTimer !== null) clearInterval(this.stuckTimer);
    this.stuckTimer = null;
  }
}
