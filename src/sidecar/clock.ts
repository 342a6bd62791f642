/** The time as a sidecar's cold half uses it; passed in, so that tests own it. */
export interface Clock {
  /** Wall clock, ms since the epoch. */
  nowMs(): number;
  /** Calls back once after `ms`; the answer cancels it. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
