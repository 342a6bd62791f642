/** The process that has a store open: how it signs, and whether the one that signed is still alive. */
import { readFileSync } from 'node:fs';

export interface StoreHolder {
  readonly pid: number;
  /** When the process started, in clock ticks since boot (proc(5), field 22); null where there is no /proc. */
  readonly startTicks: string | null;
  /** The file that it signed, see embedded-file.ts: the signature goes with every copy of the file. */
  readonly fileId: string;
}

export function thisProcess(fileId: string): StoreHolder {
  return { pid: process.pid, startTicks: processStateOf(process.pid)?.startTicks ?? null, fileId };
}

/** Whether the process that signed still runs. A process that only got its pid later, or one that is dead but not yet reaped, is not it. */
export function isAlive(holder: StoreHolder): boolean {
  try {
    process.kill(holder.pid, 0);
  } catch (thrown) {
    // EPERM: there is such a process, of another user.
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'EPERM')) return false;
  }
  const state = processStateOf(holder.pid);
  if (state === null || holder.startTicks === null) return true;
  return state.startTicks === holder.startTicks && state.letter !== 'Z' && state.letter !== 'X';
}

function processStateOf(pid: number): { readonly letter: string; readonly startTicks: string } | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    // Not Linux, or /proc hides the processes of others: the signal has to do.
    return null;
  }
  // The second field is the name in brackets and may itself hold spaces and brackets: count from the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const letter = fields[0];
  const startTicks = fields[19];
  return letter === undefined || startTicks === undefined ? null : { letter, startTicks };
}
