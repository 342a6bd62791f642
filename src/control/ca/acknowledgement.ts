/** Waits until every sidecar that is alive has a revision of the trust bundle in force. */
import type { AppliedReport, Fleet } from '../fleet.ts';
import type { StoreClock } from '../store/store.ts';

/** One look at the fleet lasts as long as this, then whoever waits is told who is missing. */
const roundMs = 30_000;
/** A sidecar that refuses answers a wait at once: the next look comes after this. */
const pauseMs = 1_000;

export class Acknowledgement {
  readonly #fleet: Fleet;
  readonly #clock: StoreClock;
  readonly #endings = new Set<() => void>();
  #isClosed = false;

  constructor(fleet: Fleet, clock: StoreClock) {
    this.#fleet = fleet;
    this.#clock = clock;
  }

  /**
   * Resolves once nobody is missing, or with those who still are after `timeoutMs` (Infinity: without end) or when this is closed.
   * `onRound` hears who is missing while it goes on.
   */
  async wait(
    revision: number,
    timeoutMs: number,
    onRound: (report: AppliedReport) => void = () => {},
  ): Promise<AppliedReport> {
    const endsAtMs = this.#clock.nowMs() + timeoutMs;
    for (;;) {
      const report = await this.#fleet.waitApplied(revision, Math.min(roundMs, endsAtMs - this.#clock.nowMs()));
      if (isComplete(report) || this.#isClosed) return report;
      const leftMs = endsAtMs - this.#clock.nowMs();
      if (leftMs <= 0) return report;
      onRound(report);
      await this.#pause(Math.min(pauseMs, leftMs));
    }
  }

  /** Who has not acknowledged by now. */
  async missing(revision: number): Promise<AppliedReport> {
    return this.#fleet.waitApplied(revision, 0);
  }

  /** Ends all waits. */
  close(): void {
    this.#isClosed = true;
    for (const end of [...this.#endings]) end();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        cancel();
        this.#endings.delete(end);
        resolve();
      };
      const cancel = this.#clock.after(ms, end);
      this.#endings.add(end);
      if (this.#isClosed) end();
    });
  }
}

export const isComplete = ({ missing, refused }: AppliedReport): boolean => missing.length + refused.length === 0;
