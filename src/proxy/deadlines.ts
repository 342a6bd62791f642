/**
 * Deadlines of everything in flight on one loop: one list that a coarse timer sweeps, instead of timers per request. It is swept only
 * while something is in it, so an idle sidecar does not wake up for it.
 */
import type { CoarseTimer, Swept } from './coarse-timer.ts';

export interface Deadlined {
  /** Called by each sweep. `nowMs` is `performance.now()`. A timeout fires up to one period of the timer late, never early. */
  onSweep(nowMs: number): void;
  nextInSweep: Deadlined | null;
  previousInSweep: Deadlined | null;
}

export class Deadlines implements Swept {
  count = 0;
  private first: Deadlined | null = null;

  constructor(private readonly timer: CoarseTimer) {}

  /** At most one period old while anything is in flight, and free to read, ms. */
  get coarseNowMs(): number {
    return this.timer.nowMs;
  }

  add(entry: Deadlined): void {
    if (this.first === null) this.timer.watch(this);
    else this.first.previousInSweep = entry;
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

  onSweep(nowMs: number): boolean {
    let entry = this.first;
    while (entry !== null) {
      // An entry may take itself off the list as it is swept.
      const next: Deadlined | null = entry.nextInSweep;
      entry.onSweep(nowMs);
      entry = next;
    }
    return this.first !== null;
  }
}
