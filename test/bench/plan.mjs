// How long a run takes, and what of it is left.
import { contestantsOf } from './contestants.mjs';

/** Of one measurement beside its load: the check before it, processes to start, the reading of times. */
const overheadSeconds = 0.25;
/** Starting everybody of a topology. */
const startSeconds = 2;

/** Seconds for each of the chosen scenarios, in their order. */
export function plannedSeconds(scenarios, { names, rounds, seconds, warmUpSeconds, firstWarmUpSeconds }) {
  return scenarios.map(({ topology }, i) => {
    const isFirst = topology !== scenarios[i - 1]?.topology;
    const count = Object.keys(contestantsOf[topology]).filter((name) => names.includes(name)).length;
    const warmUp = isFirst ? firstWarmUpSeconds : warmUpSeconds;
    return (isFirst ? startSeconds : 0) + count * (warmUp + rounds * (seconds + overheadSeconds));
  });
}

/** Tells what is left from what was planned and how long it really took so far. */
export class Progress {
  /** @param planned seconds by step; @param nowMs the clock */
  constructor(planned, nowMs = () => performance.now()) {
    this.planned = planned;
    this.nowMs = nowMs;
    this.startedAtMs = nowMs();
    this.done = 0;
  }

  /** To be called at the end of each step. */
  step() {
    this.done += 1;
  }

  get secondsLeft() {
    const sum = (steps) => steps.reduce((total, one) => total + one, 0);
    const doneSeconds = sum(this.planned.slice(0, this.done));
    const pace = doneSeconds === 0 ? 1 : (this.nowMs() - this.startedAtMs) / 1_000 / doneSeconds;
    return sum(this.planned.slice(this.done)) * pace;
  }
}

export function durationLine(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
