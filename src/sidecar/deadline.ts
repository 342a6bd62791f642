/** A step of the cold path that must end in time: whoever runs it, and whatever it waits for. */
import type { Clock } from './clock.ts';

/**
 * Runs `step` with a signal that aborts with `signal`, or after `ms`. Rejects at that moment, also when the step does not listen to
 * its signal; what it answers afterwards is dropped.
 */
export async function withDeadline<T>(
  clock: Clock,
  signal: AbortSignal,
  ms: number,
  step: (deadline: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  const cancelTimer = clock.after(ms, () => controller.abort(new Error(`no answer within ${ms} ms`)));
  const isOver = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason), { once: true });
  });
  try {
    return await Promise.race([step(controller.signal), isOver]);
  } finally {
    cancelTimer();
    signal.removeEventListener('abort', abort);
  }
}
