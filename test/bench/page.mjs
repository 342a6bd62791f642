// docs/benchmarks.md and its chart, out of a run's document.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chartOf } from './chart.mjs';
import { loads, messages, topologies } from './scenarios.mjs';
import { rangeLine, short } from './statistics.mjs';

const docs = fileURLToPath(new URL('../../docs', import.meta.url));

export function publish(document) {
  writeFileSync(join(docs, 'benchmarks.svg'), chartOf(document));
  writeFileSync(join(docs, 'benchmarks.md'), pageOf(document));
}

/** Markdown; the chart is a file beside it. */
export function pageOf(document) {
  const { machine, startedAt, endedAt, options, scenarios, targets } = document;
  const ended = endedAt === null ? `; it was interrupted after ${scenarios.length} scenarios` : '';
  return [
    '# Benchmarks',
    'Written by `npm run bench -- --publish`; the method is in `native-bench/README.md`, the flags in `npm run bench -- --help`. A figure is the median of the ' +
      'rounds, its range behind it. A ratio compares each round of a contestant to the same round of nginx; below 1 is less. CPU is user and system time of ' +
      'all proxy processes for one completed request. Void: an answer was wrong, or missing 5 s after the end.',
    [
      `* **Date** ${startedAt.slice(0, 10)}, ${document.form} form: ${options.rounds} rounds of ${options.seconds} s${ended}`,
      `* **Machine** ${machine.model}, ${machine.cores} cores, ${machine.memoryGib} GiB, Linux ${machine.kernel}; proxies on one core, load and app on another`,
      `* **Versions** Weft ${document.commit}, ${machine.versions.join(', ')}`,
      ...disturbanceOf(scenarios),
    ].join('\n'),
    '## Targets',
    tableOf(
      ['', 'target', 'reached', ''],
      targets.map(({ row, target, reached, verdict }) => [row, target, reached, verdict]),
    ),
    ...(scenarios.length === 0 ? [] : ['![CPU time for one request against nginx](benchmarks.svg)']),
    ...Object.keys(topologies).flatMap((topology) => sectionOf(topology, scenarios)),
    '',
  ].join('\n\n');
}

/** What a reader must know of a machine that others used, too. */
function disturbanceOf(scenarios) {
  const shares = scenarios
    .flatMap(({ contestants }) => contestants.flatMap(({ rounds }) => rounds ?? []))
    .map(({ othersShare }) => othersShare)
    .sort((a, b) => a - b);
  if (shares.length === 0) return [];
  const percent = (share) => `${(share * 100).toFixed(0)} %`;
  return [
    `* **Others** had ${percent(shares[shares.length >> 1])} of the proxies' core in half of the rounds, at most ${percent(shares[shares.length - 1])} (interrupts of the proxies' own traffic included)`,
  ];
}

function sectionOf(topology, all) {
  const scenarios = all.filter((one) => one.topology === topology);
  if (scenarios.length === 0) return [];
  const names = [...new Set(scenarios.flatMap(({ contestants }) => contestants.map(({ name }) => name)))];
  const titleOf = (name) => scenarios.flatMap(({ contestants }) => contestants).find((one) => one.name === name).title;
  const cpuRows = scenarios.map((scenario) => [labelOf(scenario), ...names.map((name) => cpuCell(scenario, name))]);
  const latencyRows = scenarios.map((scenario) => [
    labelOf(scenario),
    ...['p50Ms', 'p99Ms', 'perSecond'].map((measure) => weftCell(scenario, measure)),
  ]);
  return [
    `## ${topologies[topology].title[0].toUpperCase()}${topologies[topology].title.slice(1)}`,
    "CPU for one request; the baseline's in microseconds, the others' against it:",
    tableOf(['', ...names.map(titleOf)], cpuRows),
    'Weft, and in brackets against the baseline:',
    tableOf(['', 'p50 ms', 'p99 ms', 'requests a second'], latencyRows),
  ];
}

function cpuCell({ baseline, contestants }, name) {
  const found = contestants.find((one) => one.name === name);
  if (found === undefined) return '-';
  if (found.voidBecause !== null) return 'void';
  if (name === baseline || baseline === null) return `${rangeLine(found.spread.cpuUs)} µs`;
  return rangeLine(found.againstBaseline.cpuUs);
}

function weftCell({ contestants }, measure) {
  const found = contestants.find(({ name }) => name === 'weft');
  if (found === undefined) return '-';
  if (found.voidBecause !== null) return 'void';
  const against = found.againstBaseline[measure];
  return `${short(found.spread[measure].median)}${against === null ? '' : ` (${rangeLine(against)})`}`;
}

const labelOf = ({ load, message }) => `${loads[load].title}, ${messages[message].title}`;

function tableOf(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
