/** Cold work on a loop that serves requests: a slice at a time, with a whole turn of the loop between two. */
import { performance } from 'node:perf_hooks';
import type { Steps } from '../model/steps.ts';

/** A cold step may last 2 ms on a loop that serves requests: half of that, because the last step of a slice goes beyond it. */
const sliceMs = 1;

/** Rejects with what the steps throw. */
export async function inSlices<Result>(steps: Steps<Result>): Promise<Result> {
  for (;;) {
    const endsAtMs = performance.now() + sliceMs;
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (performance.now() < endsAtMs);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
