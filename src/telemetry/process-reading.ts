/** What this process takes from its machine. Apart from render.ts, because that one loads prom-client, and only a worker needs it. */
export interface ProcessReading {
  readonly residentBytes: number;
  /** User and system. */
  readonly cpuSeconds: number;
  /** Since the epoch. */
  readonly startTimeSeconds: number;
}

/** The process as a whole, whichever thread asks. */
export function readProcess(): ProcessReading {
  const { user, system } = process.cpuUsage();
  return {
    residentBytes: process.memoryUsage.rss(),
    cpuSeconds: (user + system) / 1e6,
    startTimeSeconds: Math.round(Date.now() - process.uptime() * 1000) / 1000,
  };
}
