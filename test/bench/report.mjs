// What is printed of the rounds: medians, ratios by round with their range, and who is void and why.

/** Whom the others are compared to, by round. */
export const baselines = ['nginx', 'nginx-tls'];

/** Below that the proxies were not what everything waited for. */
const coreShareMin = 0.95;

export function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Of the CPU time per request, each round against the same round of the baseline; null without one. */
export function ratiosOf(rounds, baselineRounds) {
  if (rounds.length === 0 || rounds.length !== baselineRounds?.length) return null;
  return rounds.map(({ cpuUs }, i) => cpuUs / baselineRounds[i].cpuUs);
}

/** The table of one number of connections. */
export function tableOf(entries, figures) {
  const head = [
    'contestant',
    'CPU µs/req',
    'user',
    'sys',
    'hop A',
    'hop B',
    'req/s',
    'p50 ms',
    'p99 ms',
    'core',
    'load',
    'others',
    'MiB',
  ];
  const there = baselines.filter((name) => isWhole(entries, name));
  const rows = [[...head, ...there.map((name) => `CPU vs ${name}`)]];
  const remarks = [];
  for (const { name, title, voidBecause } of entries) {
    if (voidBecause !== null) {
      rows.push([title, 'void']);
      remarks.push(`void: ${title}: ${voidBecause}`);
      continue;
    }
    const rounds = figures[name];
    const median = (part, digits) => medianOf(rounds.map(part)).toFixed(digits);
    rows.push([
      ...[title, median((one) => one.cpuUs, 1), median((one) => one.userUs, 1), median((one) => one.systemUs, 1)],
      ...[median((one) => one.hopUs[0], 1), median((one) => one.hopUs[1], 1), median((one) => one.perSecond, 0)],
      ...[median((one) => one.p50Ms, 2), median((one) => one.p99Ms, 2)],
      ...[median((one) => one.coreShare, 2), median((one) => one.loadShare, 2), median((one) => one.othersShare, 2)],
      median((one) => one.residentMib, 0),
      ...there.map((baseline) => rangeLine(ratiosOf(rounds, figures[baseline]))),
    ]);
    if (medianOf(rounds.map((one) => one.coreShare)) < coreShareMin) remarks.push(idleLine(title, rounds));
  }
  return [aligned(rows), ...remarks].join('\n');
}

/** Proxies that wait for load take smaller batches: their figures are those of a lower load. Those that share their core are busy all the same. */
function idleLine(title, rounds) {
  const median = (part) => medianOf(rounds.map(part));
  const core = median((one) => one.coreShare);
  const others = median((one) => one.othersShare);
  const load = median((one) => one.loadShare);
  const why = core + others < coreShareMin ? 'they waited for load' : 'they shared it';
  const shares = `others ${others.toFixed(2)}; load and app had ${load.toFixed(2)} of theirs`;
  return `note: ${title}: the proxies had ${core.toFixed(2)} of their core, because ${why} (${shares})`;
}

export function rangeLine(ratios) {
  if (ratios === null) return '-';
  return `${medianOf(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)})`;
}

/** Columns, the first to the left and the others to the right. */
export function aligned(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const cell = (text, column) => (column === 0 ? text.padEnd(widths[0]) : text.padStart(widths[column]));
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n');
}

const isWhole = (entries, name) => entries.some((entry) => entry.name === name && entry.voidBecause === null);
