// One clock for all processes of the simulation: the system's monotonic one, in milliseconds.
const originMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export const nowMs = () => originMs + performance.now();

/**
 * What has to be added to a time of the wall clock, milliseconds since the epoch. The wall clock is read where it ticks over, so that this is good
 * to some ten microseconds.
 */
export function wallClockOffsetMs() {
  const before = Date.now();
  let wall = Date.now();
  while (wall === before) wall = Date.now();
  return nowMs() - wall;
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
