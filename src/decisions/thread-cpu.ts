/**
 * The CPU time of a thread, read from any thread of the process: Linux's `/proc/self/task/ID/schedstat`, whose first number is
 * nanoseconds on a CPU (kernel documentation, scheduler/sched-stats), as of the last tick, 4 ms ago at most. Node 20 tells that of a
 * whole process only.
 */
import { readFileSync, readlinkSync } from 'node:fs';

/** The calling thread's id for the kernel; 0 where there is no such file system, and then nobody's time is known. */
export function kernelThreadId(): number {
  try {
    return Number(/\/task\/(\d+)$/.exec(readlinkSync('/proc/thread-self'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Milliseconds that this thread of the process has run; null when that cannot be known, or the thread is gone. */
export function threadCpuMs(threadId: number): number | null {
  if (threadId === 0) return null;
  try {
    return cpuMsOf(readFileSync(`/proc/self/task/${threadId}/schedstat`, 'latin1'));
  } catch {
    return null;
  }
}

/** Of such a file. A kernel that does not count says `0 0 0`, which no thread that ran for a tick can be. */
export function cpuMsOf(schedstat: string): number | null {
  const cpuNs = Number.parseInt(schedstat, 10);
  return cpuNs > 0 ? cpuNs / 1e6 : null;
}
