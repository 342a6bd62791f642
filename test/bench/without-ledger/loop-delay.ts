/** Stands in for src/telemetry/loop-delay.ts in a build without the ledger: the event loop is not watched. */
import type { LoopReading } from '../../../src/telemetry/loop-delay.ts';

export const longTurnMs = 1;

export class LoopDelay {
  readonly isEstimate = false;

  currentLoopWaitMs(_nowMs: number): number {
    return 0;
  }

  turnEnded(): void {}

  read(): LoopReading {
    return { longestTurnMs: 0, utilization: 0 };
  }
}

export function watchLoop(): { readonly loop: LoopDelay; stop(): void } {
  return { loop: new LoopDelay(), stop: () => {} };
}
