// What is printed of the rounds: medians, ratios by round with their range, and who is void and why.
import { medianOf, rangeLine, ratiosOf, spreadOf } from './statistics.mjs';

/** Below that the proxies were not what everything waited for. */
const coreShareMin = 0.95;
/** Below that share of the rate the answers came ever later. */
const rateKeptMin = 0.97;

/**
 * The table of one load.
 * @param against columns of ratios: `{ title, baseline, measure }`, the baseline by its contestant's name
 * @param rate requests a second that were to leave; 0: connections were kept busy, and the proxies should have had their core
 */
export function tableOf(entries, figures, { against, rate }) {
  const head = ['contestant', 'CPU µs/req', 'user', 'sys', 'hop A', 'hop B', 'req/s', 'p50 ms', 'p99 ms'];
  const there = against.filter(({ baseline }) => isWhole(entries, baseline));
  const rows = [[...head, 'core', 'load', 'others', 'MiB', ...there.map(({ title }) => title)]];
  const remarks = [];
  for (const { name, title, voidBecause } of entries) {
    if (voidBecause !== null) {
      rows.push([title, 'void']);
      remarks.push(`void: ${title}: ${voidBecause}`);
      continue;
    }
    const rounds = figures[name];
    const median = (part, digits) => medianOf(rounds.map(part)).toFixed(digits);
    const hop = (i) => (rounds[0].hopUs.length > i ? median((one) => one.hopUs[i], 1) : '-');
    rows.push([
      ...[title, median((one) => one.cpuUs, 1), median((one) => one.userUs, 1), median((one) => one.systemUs, 1)],
      ...[hop(0), hop(1), median((one) => one.perSecond, 0)],
      ...[median((one) => one.p50Ms, 2), median((one) => one.p99Ms, 2)],
      ...[median((one) => one.coreShare, 2), median((one) => one.loadShare, 2), median((one) => one.othersShare, 2)],
      median((one) => one.hopMib.reduce((sum, mib) => sum + mib, 0), 0),
      ...there.map(({ baseline, measure }) => rangeLine(spreadOf(ratiosOf(rounds, figures[baseline], measure)))),
    ]);
    if (rate > 0 && medianOf(rounds.map((one) => one.perSecond)) < rate * rateKeptMin)
      remarks.push(`note: ${title} did not keep the rate: its latencies are those of a queue that grows`);
    if (rate === 0 && medianOf(rounds.map((one) => one.coreShare)) < coreShareMin)
      remarks.push(idleLine(title, rounds));
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

/** Columns, the first to the left and the others to the right. */
export function aligned(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const cell = (text, column) => (column === 0 ? text.padEnd(widths[0]) : text.padStart(widths[column]));
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n');
}

const isWhole = (entries, name) => entries.some((entry) => entry.name === name && entry.voidBecause === null);
