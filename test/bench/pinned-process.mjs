// A process on a core of its own choice: started, watched, its CPU time read, and ended together with what it started.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
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
    this.startedAtMs = performance.now();
    /** When its first words came; a process of this benchmark says first that it is ready. */
    this.firstOutputAtMs = null;
    // taskset becomes the command, so the pid is the command's.
    this.child = spawn('taskset', ['-c', String(core), command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.pid = this.child.pid;
    this.child.stdout.on('data', (chunk) => {
      this.firstOutputAtMs ??= performance.now();
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

/**
 * The CPU time of the processes with all their threads and children up to now, for `cpuBetween`. The sum comes from the scheduler, to the
 * nanosecond; how it divides into user and system is known in clock ticks only (4 or 10 ms).
 */
export function readCpu(processes) {
  const reading = { nsByThread: new Map(), userTicks: 0, systemTicks: 0 };
  for (const pid of processes.flatMap((one) => treeOf(one.pid))) {
    // The command's name may hold spaces: what counts stands behind its bracket (proc(5): utime is field 14, stime 15).
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    reading.userTicks += Number(fields[11]);
    reading.systemTicks += Number(fields[12]);
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const ns = Number(readIfThere(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0]);
      reading.nsByThread.set(`${pid}/${thread}`, ns);
    }
  }
  return reading;
}

/** CPU time between two readings, microseconds. What a thread did that ended between them is not in it. */
export function cpuBetween(before, after) {
  let ns = 0;
  for (const [thread, nsAfter] of after.nsByThread) ns += nsAfter - (before.nsByThread.get(thread) ?? 0);
  const userTicks = after.userTicks - before.userTicks;
  const ticks = userTicks + after.systemTicks - before.systemTicks;
  const cpuUs = ns / 1_000;
  const userUs = ticks === 0 ? 0 : (cpuUs * userTicks) / ticks;
  return { cpuUs, userUs, systemUs: cpuUs - userUs };
}

/** What anybody did on that core since boot, interrupts too, microseconds. */
export function coreBusyUs(core) {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'))[1];
  // proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
  const [user, nice, system, , , irq, softirq, steal] = line.split(' ').map(Number);
  return ((user + nice + system + irq + softirq + steal) * 1e6) / ticksPerSecond;
}

/** Resident memory of a process and its children, MiB. */
export function residentMib(one) {
  const kib = treeOf(one.pid).map((pid) =>
    Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0),
  );
  return kib.reduce((sum, one) => sum + one, 0) / 1024;
}

function treeOf(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return [pid, ...children.flatMap(treeOf)];
}

/** Threads come and go: one that ended meanwhile has used nothing. */
function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT' && error.code !== 'ESRCH') throw error;
    return '0';
  }
}

function killIfThere(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}
