/** Warnings that ten thousand sidecars could cause at once: of each kind one line a second, which says how many it stands for. */
import type { Logger } from './logger.ts';

const intervalMs = 1_000;

interface Kind {
  loggedAtMs: number;
  unlogged: number;
}

export class LimitedLog {
  readonly #clock: { nowMs(): number };
  readonly #logger: Logger;
  /** By message, which is one of a few in the code. */
  readonly #kinds = new Map<string, Kind>();

  /** `clock` in ms, any zero. */
  constructor(clock: { nowMs(): number }, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  /** `message` says what in words that are always the same; `fields` which one, of the one that is logged. */
  warn(fields: object, message: string): void {
    const nowMs = this.#clock.nowMs();
    const kind = this.#kinds.get(message);
    if (kind !== undefined && Math.abs(nowMs - kind.loggedAtMs) < intervalMs) {
      kind.unlogged++;
      return;
    }
    const unlogged = kind?.unlogged ?? 0;
    this.#kinds.set(message, { loggedAtMs: nowMs, unlogged: 0 });
    this.#logger.warn(unlogged === 0 ? fields : { ...fields, andBefore: unlogged }, message);
  }
}
