#!/usr/bin/env node
// The benchmark: what a request costs through Weft and through other proxies, scenario by scenario, and which targets that reaches.
// The proxies have one core, the load generator and the app the other; contestants take turns, and are compared round by round.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readOptions, usage } from './bench-options.mjs';
import { BenchRoom } from './bench-room.mjs';
import { Certificates } from './certificates.mjs';
import { commitOf } from './commit.mjs';
import { contestantsOf } from './contestants.mjs';
import { readElsewhere } from './elsewhere.mjs';
import { answer, checkAnswer } from './load.mjs';
import { buildNativeBench, startUpstream } from './native-bench.mjs';
import { publish } from './page.mjs';
import { durationLine, Progress, plannedSeconds } from './plan.mjs';
import { leaveProfiles } from './profile.mjs';
import { aligned, tableOf } from './report.mjs';
import { newDocument, resultOf, writeDocument } from './results.mjs';
import { enter, runRounds } from './rounds.mjs';
import { loads, messages, scenarios } from './scenarios.mjs';
import { targetRows } from './targets.mjs';
import { hasCore, isThere, loadLine, machineLines, machineOf, ownTools, requireTools } from './tools.mjs';
import { measureVitals, vitalSecondsOf } from './vitals.mjs';

const results = fileURLToPath(new URL('../../bench-results', import.meta.url));
/** What the tables compare to nginx. */
const compared = { cpuUs: 'CPU', p50Ms: 'p50', p99Ms: 'p99' };
/** Above that a day's figures are those of a busy machine. */
const loadAverageQuiet = 0.5;

await main();

async function main() {
  const options = optionsOrExit();
  const chosen = scenarios.filter(({ id }) => options.chosen.scenarios.includes(id));
  if (options.from !== null) return show(options.from, options);
  if (options.isList) return list(chosen, options.chosen);
  const names = provide(chosen, options);
  const document = options.resumed ?? documentOf(options);
  document.elsewhere = readElsewhere();
  await inRoom(options, async (field) => {
    for (const line of machineLines(document.machine)) console.log(line);
    if (options.isProfile) return leaveProfiles(chosen, field, join(results, `profile-${timeOf(new Date())}`));
    const left = chosen.filter(({ id }) => !document.scenarios.some((done) => done.id === id));
    await compete(left, names, field, document, options);
    show(document, options);
  });
}

function optionsOrExit() {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options !== null) return options;
  } catch (error) {
    console.error(`${error.message}\n${usage}`);
    process.exit(2);
  }
  console.log(usage);
  process.exit(0);
}

function list(chosen, { vitalStarts, ...choice }) {
  for (const { id, title } of chosen) console.log(`${id.padEnd(36)}${title}`);
  const seconds = plannedSeconds(chosen, choice).reduce((sum, one) => sum + one, vitalSecondsOf(vitalStarts));
  console.log(`${chosen.length} scenarios, about ${durationLine(seconds)}`);
}

/** Sees to the programs that the run needs. @returns who can take part */
function provide(chosen, { mayInstall, isProfile, chosen: { names } }) {
  const contestants = chosen.flatMap(({ topology }) => Object.entries(contestantsOf[topology]));
  const needs = isProfile ? [] : contestants.filter(([name]) => names.includes(name)).map(([, { needs }]) => needs);
  const programs = [
    ...new Set([...ownTools, ...needs.filter((one) => one !== undefined), ...(isProfile ? ['perf', 'strace'] : [])]),
  ];
  if (mayInstall) requireTools(programs);
  const missing = programs.filter((program) => !isThere(program));
  const missed = missing.filter((program) => ownTools.includes(program) || isProfile);
  if (missed.length > 0) throw new Error(`${missed.join(', ')} missing: nothing can be measured without.`);
  if (missing.length > 0) console.error(`not installed, and left out: ${missing.join(', ')}`);
  buildNativeBench();
  return names.filter((name) => contestants.every(([one, { needs }]) => one !== name || !missing.includes(needs)));
}

function documentOf({ chosen }) {
  const { form } = chosen;
  return newDocument({ ...{ form, options: chosen, machine: machineOf() }, commit: commitOf(), startedAt: nowText() });
}

async function inRoom(options, work) {
  for (const core of [options.proxyCore, options.loadCore])
    if (!hasCore(core)) throw new Error(`This machine has no core ${core}: the benchmark needs two (--cores P,L).`);
  const room = new BenchRoom(options);
  try {
    const appSocket = room.path('app.sock');
    const app = await startUpstream(room, answer, appSocket);
    await checkAnswer(app.port);
    const nodeFlags = { a: options.nodeFlags, b: options.nodeFlags };
    await work({
      room,
      app: app.process,
      appPort: app.port,
      appSocket,
      certificates: new Certificates(room),
      nodeFlags,
    });
  } finally {
    await room.close();
  }
}

/** Measures what is left, and writes the document after each scenario. */
async function compete(left, names, field, document, options) {
  const { chosen } = options;
  const file = options.json ?? join(results, `bench-${timeOf(new Date())}.json`);
  const hasVitals = chosen.vitalStarts > 0 && document.vitals === null;
  const progress = new Progress([hasVitals ? vitalSecondsOf(chosen.vitalStarts) : 0, ...plannedSeconds(left, chosen)]);
  if (Number(loadLine().split(' ')[0]) > loadAverageQuiet)
    console.error(`The machine is busy (load average ${loadLine()}): the figures will be, too.`);
  console.error(`${left.length} scenarios, about ${durationLine(progress.secondsLeft)}; results in ${file}`);
  if (hasVitals) document.vitals = await measureVitals(field, { starts: chosen.vitalStarts });
  writeDocument(file, document);
  progress.step();
  const standing = field.room.processes.length;
  let entries = [];
  for (const [i, scenario] of left.entries()) {
    const isFirst = scenario.topology !== left[i - 1]?.topology;
    console.error(`[${i + 1}/${left.length}] ${scenario.title}; ${durationLine(progress.secondsLeft)} left`);
    if (isFirst) {
      await field.room.stopSince(standing);
      entries = await enterAll(scenario.topology, names, field);
    }
    document.scenarios.push(await measureScenario(scenario, entries, isFirst, field, options));
    writeDocument(file, document);
    progress.step();
  }
  await field.room.stopSince(standing);
  document.endedAt = nowText();
  writeDocument(file, document);
}

async function enterAll(topology, names, field) {
  const entries = [];
  for (const [name, contestant] of Object.entries(contestantsOf[topology]))
    if (names.includes(name)) entries.push(await enter(name, contestant, field));
  return entries;
}

async function measureScenario(scenario, all, isFirst, { room, app }, { chosen, othersMax }) {
  // Who cannot keep this rate may keep the next one.
  const entries = all.map((entry) => ({ ...entry }));
  const load = { ...loads[scenario.load], message: messages[scenario.message] };
  const rounds = await runRounds(entries, load, {
    ...{ app, ...room.cores, rounds: chosen.rounds, seconds: chosen.seconds, othersMax, onRound: () => {} },
    warmUpSeconds: isFirst ? chosen.firstWarmUpSeconds : chosen.warmUpSeconds,
  });
  const result = resultOf(scenario, entries, rounds);
  const against = Object.entries(compared).map(([measure, title]) => ({
    ...{ title: `${title} vs ${result.baseline}`, baseline: result.baseline, measure },
  }));
  console.log(`\n${scenario.title} (${scenario.id}), ${chosen.rounds} rounds of ${chosen.seconds} s`);
  console.log(tableOf(entries, rounds.figures, { against, rate: load.rate }));
  if (rounds.again > 0)
    console.log(`${rounds.again} measurements done again: others had more than ${othersMax} of the core`);
  return result;
}

function show(document, { isPublished }) {
  document.elsewhere = readElsewhere();
  document.targets = targetRows(document);
  const width = Math.max(...document.targets.map(({ verdict }) => verdict.length));
  const rows = document.targets.map(({ row, target, reached, verdict }) => [
    row,
    target,
    reached,
    verdict.padEnd(width),
  ]);
  console.log(`\n${aligned([['target', 'at most', 'reached', ''], ...rows])}`);
  console.log(`load average at the end ${loadLine()}`);
  if (isPublished) publish(document);
}

function nowText() {
  return new Date().toISOString();
}

function timeOf(date) {
  return date.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
}
