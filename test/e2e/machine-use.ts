/** What others do on this machine while something is measured on it (Linux). */
import { readFileSync } from 'node:fs';

/** User and system time of all processes but those named, and what a host took of a virtual machine, ms; Linux counts in hundredths of a second. */
export function othersCpuMs(pids: readonly number[]): number {
  const fields = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.split(/\s+/).map(Number);
  const [, user, nice, system, , , , , steal] = fields;
  const own = pids.map((pid) => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' '));
  return own.reduce((sum, each) => sum - Number(each[11]) - Number(each[12]), user! + nice! + system! + steal!) * 10;
}
