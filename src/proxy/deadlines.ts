/**
 * Deadlines of everything in flight on one loop: one list and one coarse sweep instead of timers per request. The sweep runs only
 * while something is in the list, so an idle sidecar does not wake up for it.
 */
export interface Deadlined {
  /** Called by each sweep. `nowMs` is `performance.now()`. */
  onSweep(nowMs: number): void;
  nextInSweep: Deadlined | null;
  previousInSweep: Deadlined | null;
}

/** A timeout fires up to this much late, never early. */
const sweepMs = 20;

export class Deadlines {
  /** Time of the last sweep, or of the last entry into an empty list: at most `sweepMs` old while anything is in flight, and free to read. */
  coarseNowMs: number;
  count = 0;
  private first: Deadlined | null = null;
  private timer: NodeJS.Timeout | null = null;
  private readonly sweepBound = () => this.sweep();

  constructor(private readonly now: () => number) {
    this.coarseNowMs = now();
  }

  add(entry: Deadlined, nowMs: number): void {
    if (this.first === null) {
      this.coarseNowMs = nowMs;
      // Kept over short gaps (see sweep), so that a steady trickle of requests does not pay for a timer each.
      this.timer ??= setInterval(this.sweepBound, sweepMs);
    } else {
      this.first.previousInSweep = entry;
    }
    entry.nextInSweep = this.first;
    entry.previousInSweep = null;
    this.first = entry;
    this.count++;
  }

  remove(entry: Deadlined): void {
    if (entry.previousInSweep === null && this.first !== entry) return;
    if (entry.previousInSweep === null) this.first = entry.nextInSweep;
    else entry.previousInSweep.nextInSweep = entry.nextInSweep;
    if (entry.nextInSweep !== null) entry.nextInSweep.previousInSweep = entry.previousInSweep;
    entry.nextInSweep = null;
    entry.previousInSweep = null;
    this.count--;
  }

  private sweep(): void {
    const nowMs = this.now();
    this.coarseNowMs = nowMs;
    let entry = this.first;
    if (entry === null && this.timer !== null) {
      clearInterval(this.timer);
      this.timer = null;
      return;
    }
    while (entry !== null) {
      // An entry may take itself off the list as it is swept.
      const next: Deadlined | null = entry.nextInSweep;
      entry.onSweep(nowMs);
      entry = next;
    }
  }
}
