/**
 * How long the event loop kept a request waiting before its callback ran: the ledger's `loop`.
 *
 * A turn of the loop is: timers, poll (sleep until something is ready, then its callbacks), check (`setImmediate`). What became
 * readable while a turn ran waits in the kernel, unseen, for the next poll. Three things can be known:
 *   - the first request of a turn began to be handled at a certain time, and those after it in the same turn waited at least since
 *     then: all of a poll's events were ready when it returned;
 *   - whether the loop slept since the turn before: it only sleeps when nothing is ready, so after a sleep nothing had waited but for what else
 *     ran since it woke;
 *   - without a sleep, the request became readable at some time after the poll before: at most all of the time since then.
 * The last two are bounds and no measurements, so they are only used where they are worth saying, from more than 1 ms on, and marked an estimate.
 *
 * An idle process makes no turns and pays nothing (`monitorEventLoopDelay` with its timer costs 1.6 ms of CPU a second when idle, measured); a turn costs two clock
 * readings, 70 ns, and the immediate that mostly is there anyway (loop-turn.ts).
 */
import { performance } from 'node:perf_hooks';
import { watchTurnEnds } from './loop-turn.ts';

/** A turn that took no longer than this is not held against the requests that came after it, ms. */
export const longTurnMs = 1;
/** How long a window of `readLoop` is at least, ms. */
const windowMs = 10_000;

export interface LoopClock {
  /** `performance.now()`. */
  nowMs(): number;
  /** How long this loop has slept so far, ms: `performance.nodeTiming.idleTime`. */
  idleMs(): number;
}

export interface LoopReading {
  /** The longest turn since about the last two readings, without its sleep, ms. */
  readonly longestTurnMs: number;
  /** Share of the time in which the loop did not sleep, 0 to 1, over the same time. */
  readonly utilization: number;
}

export class LoopDelay {
  /** Whether the last answer of `currentLoopWaitMs` is a bound rather than a measurement. */
  isEstimate = false;

  private endedAtMs: number;
  private endedIdleMs: number;
  private lastTurnMs = 0;
  private isFirstOfTurn = true;
  private waitFromMs = 0;

  private longestTurnMs = 0;
  private longestBeforeMs = 0;
  private windowAtMs: number;
  private windowIdleMs: number;
  private windowBeforeAtMs: number;
  private windowBeforeIdleMs: number;

  constructor(private readonly clock: LoopClock) {
    this.endedAtMs = clock.nowMs();
    this.endedIdleMs = clock.idleMs();
    this.windowAtMs = this.endedAtMs;
    this.windowIdleMs = this.endedIdleMs;
    this.windowBeforeAtMs = this.endedAtMs;
    this.windowBeforeIdleMs = this.endedIdleMs;
  }

  /**
   * How long a request waited for this loop whose callback began at `nowMs`, ms, at least 0. A subtraction but for the first request
   * of a turn.
   */
  currentLoopWaitMs(nowMs: number): number {
    if (this.isFirstOfTurn) this.beginTurn(nowMs);
    return Math.max(0, nowMs - this.waitFromMs);
  }

  /** Called in every check phase. */
  turnEnded(): void {
    const nowMs = this.clock.nowMs();
    const idleMs = this.clock.idleMs();
    this.lastTurnMs = nowMs - this.endedAtMs - (idleMs - this.endedIdleMs);
    if (this.lastTurnMs > this.longestTurnMs) this.longestTurnMs = this.lastTurnMs;
    this.endedAtMs = nowMs;
    this.endedIdleMs = idleMs;
    this.isFirstOfTurn = true;
  }

  read(): LoopReading {
    const nowMs = this.clock.nowMs();
    const idleMs = this.clock.idleMs();
    const elapsedMs = nowMs - this.windowBeforeAtMs;
    const sleptMs = idleMs - this.windowBeforeIdleMs;
    const reading = {
      longestTurnMs: Math.max(this.longestTurnMs, this.longestBeforeMs),
      utilization: elapsedMs > 0 ? Math.min(1, Math.max(0, 1 - sleptMs / elapsedMs)) : 0,
    };
    if (nowMs - this.windowAtMs >= windowMs) {
      this.longestBeforeMs = this.longestTurnMs;
      this.longestTurnMs = 0;
      this.windowBeforeAtMs = this.windowAtMs;
      this.windowBeforeIdleMs = this.windowIdleMs;
      this.windowAtMs = nowMs;
      this.windowIdleMs = idleMs;
    }
    return reading;
  }

  private beginTurn(nowMs: number): void {
    this.isFirstOfTurn = false;
    this.isEstimate = false;
    this.waitFromMs = nowMs;
    const sinceEndMs = nowMs - this.endedAtMs;
    if (sinceEndMs + this.lastTurnMs <= longTurnMs) return;
    const sleptMs = this.clock.idleMs() - this.endedIdleMs;
    const boundMs = sleptMs === 0 ? sinceEndMs + this.lastTurnMs : sinceEndMs - sleptMs;
    if (boundMs <= longTurnMs) return;
    this.isEstimate = true;
    this.waitFromMs = nowMs - boundMs;
  }
}

/** Watches the event loop that it is called on. `stop` ends it; it never keeps the process alive. */
export function watchLoop(): { readonly loop: LoopDelay; stop(): void } {
  const { nodeTiming } = performance;
  const loop = new LoopDelay({ nowMs: () => performance.now(), idleMs: () => nodeTiming.idleTime });
  return { loop, stop: watchTurnEnds(() => loop.turnEnded()) };
}
