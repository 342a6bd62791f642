/**
 * One slow interval for all pools of a loop: idle connections and connects that hang are looked for a few times a second, so
 * that no connection and no request needs a timer of its own.
 */

export interface Swept {
  /** Called every period while watched. False: nothing is left to look after, stop watching. */
  onSweep(nowMs: number): boolean;
}

export class CoarseTimer {
  /** Time of the last sweep, or of the first `watch` after a rest: at most one period old while anything is watched, and free to read. */
  nowMs: number;
  private readonly entries = new Set<Swept>();
  private interval: NodeJS.Timeout | null = null;
  private readonly sweepBound = () => this.sweep();
  private readonly now: () => number;
  private readonly periodMs: number;

  /** `now` is `performance.now` or a test's clock, ms. */
  constructor(now: () => number, periodMs: number) {
    this.now = now;
    this.periodMs = periodMs;
    this.nowMs = now();
  }

  /** Sweeps `entry` from now on, until its `onSweep` answers false. Watching twice is watching once. */
  watch(entry: Swept): void {
    if (this.interval === null) {
      this.nowMs = this.now();
      this.interval = setInterval(this.sweepBound, this.periodMs);
    }
    this.entries.add(entry);
  }

  /** One round; the interval calls it, and tests with a clock of their own. */
  sweep(): void {
    this.nowMs = this.now();
    for (const entry of this.entries) {
      if (!entry.onSweep(this.nowMs)) this.entries.delete(entry);
    }
    if (this.entries.size === 0 && this.interval !== null) {
      clearInterval(this.interval);
      this.interval = null;
    }
  }
}
