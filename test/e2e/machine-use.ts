/** What else happens on this machine while something is measured on it (Linux). */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import type { Bench } from './harness.ts';

/**
 * Keeps each processor busy with what gives way to everything else (SCHED_IDLE), until the bench is closed. A virtual processor that sleeps has to be woken by its host, which took up to
 * milliseconds on a busy one; no process of the machine can see that. Answers the pids. Whoever is killed before leaves them ten minutes of CPU time.
 */
export function keepProcessorsAwake(bench: Bench): readonly number[] {
  return Array.from({ length: availableParallelism() }, (_, core) => {
    const words = ['-c', String(core), 'chrt', '--idle', '0', 'sh', '-c', 'ulimit -t 600; while :; do :; done'];
    const child = spawn('taskset', words, { stdio: ['ignore', 'ignore', 'inherit'] });
    bench.onClose(() => void child.kill('SIGKILL'));
    return child.pid!;
  });
}

/** All times of /proc/stat's first line: user, nice, system, idle, iowait, irq, softirq, steal. Linux counts in hundredths of a second. */
const machineTimes = (): readonly number[] =>
  readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.split(/\s+/).slice(1).map(Number);

/** What a host has taken of a virtual machine, ms. */
export const stolenMs = (): number => machineTimes()[7]! * 10;

/** User and system time of all processes but those named, and what a host took of a virtual machine, ms. */
export function othersCpuMs(pids: readonly number[]): number {
  const [user, nice, system, , , , , steal] = machineTimes();
  const own = pids.map((pid) => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' '));
  return own.reduce((sum, each) => sum - Number(each[11]) - Number(each[12]), user! + nice! + system! + steal!) * 10;
}
