// V8's list of which code is where (/tmp/perf-PID.map, the only place that perf looks into), cleaned of code that is gone.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const mapOf = (pid) => `/tmp/perf-${pid}.map`;

/** V8 appends and never takes back: where it put new code over old, perf would give the old one's name. The last to come stays. */
export function dropReplacedCode(pid) {
  if (!existsSync(mapOf(pid))) throw new Error(`V8 wrote no ${mapOf(pid)}: is --perf-basic-prof understood?`);
  const lines = readFileSync(mapOf(pid), 'utf8').split('\n').filter(Boolean);
  const kept = [];
  for (const line of lines.reverse()) {
    const [start, size] = line.split(' ', 2).map((text) => Number.parseInt(text, 16));
    const at = firstEndingAfter(kept, start);
    if (kept[at] !== undefined && kept[at].start < start + size) continue;
    kept.splice(at, 0, { start, end: start + size, line });
  }
  writeFileSync(mapOf(pid), kept.map(({ line }) => `${line}\n`).join(''));
}

export const removeMap = (pid) => rmSync(mapOf(pid), { force: true });

function firstEndingAfter(ranges, address) {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle].end > address) high = middle;
    else low = middle + 1;
  }
  return low;
}
