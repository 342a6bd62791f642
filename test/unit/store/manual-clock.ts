/** A clock that tests turn by hand: waits end in order of their time, and a wait that is asked for meanwhile counts. */
import type { StoreClock } from '../../../src/control/store/store.ts';

export class ManualClock implements StoreClock {
  private timeMs: number;
  private waits: { atMs: number; run: () => void }[] = [];

  constructor(timeMs = 1_700_000_000_000) {
    this.timeMs = timeMs;
  }

  nowMs(): number {
    return this.timeMs;
  }

  after(ms: number, run: () => void): () => void {
    const wait = { atMs: this.timeMs + ms, run };
    this.waits.push(wait);
    return () => {
      this.waits = this.waits.filter((other) => other !== wait);
    };
  }

  get waiting(): number {
    return this.waits.length;
  }

  advance(ms: number): void {
    const endMs = this.timeMs + ms;
    for (;;) {
      const due = this.waits.filter((wait) => wait.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.waits = this.waits.filter((wait) => wait !== due);
      this.timeMs = Math.max(this.timeMs, due.atMs);
      due.run();
    }
    this.timeMs = endMs;
  }
}
