// A process on a core of its own choice: started, watched, its CPU time read, and ended together with what it started.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ticksPerSecond } from './tools.mjs';

const logCharsMax = 20_000;
const stopTimeoutMs = 8_000;
const running = new Set();

// Also when the benchmark fails or is interrupted, nothing is left behind. nginx ends its workers on SIGTERM, and only then.
process.on('exit', () => {
  for (const { child } of running) child.kill('SIGTERM');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

export class PinnedProcess {
  constructor(core, command, args) {
    this.log = '';
    this.output = '';
    // taskset becomes the command, so the pid is the command's.
    this.child = spawn('taskset', ['-c', String(core), command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.pid = this.child.pid;
    this.child.stdout.on('data', (chunk) => {
      this.output = (this.output + chunk).slice(-logCharsMax);
    });
    this.child.stderr.on('data', (chunk) => {
      this.log = (this.log + chunk).slice(-logCharsMax);
    });
    running.add(this);
    this.exited = new Promise((resolve) => {
      const end = () => {
        running.delete(this);
        resolve();
      };
      this.child.once('exit', end);
      this.child.once('error', end);
    });
  }

  get hasExited() {
    return !running.has(this);
  }

  /** Asks it to end, and after a deadline no longer asks. */
  async stop() {
    if (this.hasExited) return;
    const pids = treeOf(this.pid);
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => {
      for (const pid of pids) killIfThere(pid);
    }, stopTimeoutMs);
    await this.exited;
    clearTimeout(timer);
  }
}

/** User and system CPU time of the processes with all their threads and children, microseconds; steps of one clock tick (10 ms). */
export function cpuTimeUs(processes) {
  const sum = { userUs: 0, systemUs: 0 };
  for (const pid of processes.flatMap((one) => treeOf(one.pid))) {
    // The command's name may hold spaces: what counts stands behind its bracket (proc(5): utime is field 14, stime 15).
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    sum.userUs += (Number(fields[11]) * 1e6) / ticksPerSecond;
    sum.systemUs += (Number(fields[12]) * 1e6) / ticksPerSecond;
  }
  return sum;
}

/** What anybody did on that core since boot, interrupts too, microseconds. */
export function coreBusyUs(core) {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))[1];
  // proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
  const [user, nice, system, , , irq, softirq, steal] = line.split(' ').map(Number);
  return ((user + nice + system + irq + softirq + steal) * 1e6) / ticksPerSecond;
}

/** Resident memory of the processes and their children, MiB. */
export function residentMib(processes) {
  const kib = processes
    .flatMap((one) => treeOf(one.pid))
    .map((pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0));
  return kib.reduce((sum, one) => sum + one, 0) / 1024;
}

function treeOf(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(treeOf)];
}

function killIfThere(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
