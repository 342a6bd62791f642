#!/usr/bin/env node
// The two-hop benchmark: what a request costs over two proxies in a row, Weft's against nginx's, in CPU microseconds.
// The proxies have one core, the load generator and the app the other; contestants take turns, and are compared round by round.
import { writeFileSync } from 'node:fs';
import { BenchRoom } from './bench-room.mjs';
import { Certificates } from './certificates.mjs';
import { linkContestants as contestants } from './contestants.mjs';
import { readFlags, stop, wholeNumbers } from './flags.mjs';
import { answer, checkAnswer } from './load.mjs';
import { buildNativeBench, startUpstream } from './native-bench.mjs';
import { profileWithPerf, profileWithV8 } from './profile.mjs';
import { tableOf } from './report.mjs';
import { enter, runRounds } from './rounds.mjs';
import { ratiosOf } from './statistics.mjs';
import { hasCore, loadLine, machineLines, ownTools, requireTools } from './tools.mjs';

const usage = `node test/bench/two-hops.mjs [flags]
  --rounds N          rounds of every contestant (5)
  --seconds N         length of a round (4)
  --connections N,N   connections that are kept busy, one table each (64)
  --only NAME,NAME    of ${Object.keys(contestants).join(', ')} (all)
  --dist DIR          the build that is measured (dist)
  --cores P,L         core of the proxies, core of load and app (0,1)
  --others-max SHARE  what is measured with more of the proxies' core in other hands is done again, 6 times at most (1: never)
  --node-flags='A B'  for Node itself, in all sidecars (none)
  --json FILE         every figure of every round
  --profile NAME      instead: the most expensive functions of both sidecars of one Weft contestant
  --profiler perf|v8  by CPU time with kernel and native code, or Node's own with inlined functions (perf)`;

/** Whom the others are compared to, by round. */
const against = ['nginx', 'nginx-tls'].map((baseline) => ({ title: `CPU vs ${baseline}`, baseline, measure: 'cpuUs' }));

await main();

async function main() {
  const options = readOptions();
  requireTools([
    ...[...ownTools, 'nginx'],
    ...(options.profile !== null && options.profiler === 'perf' ? ['perf'] : []),
  ]);
  for (const core of [options.proxyCore, options.loadCore])
    if (!hasCore(core)) stop(`This machine has no core ${core}: the benchmark needs two (--cores P,L).`);
  buildNativeBench();
  const room = new BenchRoom(options);
  try {
    const app = await startUpstream(room, answer);
    await checkAnswer(app.port);
    const nodeFlags = { a: options.nodeFlags, b: options.nodeFlags };
    const field = { room, app: app.process, appPort: app.port, certificates: new Certificates(room), nodeFlags };
    for (const line of machineLines()) console.log(line);
    if (options.profile === null) await compete(field, options);
    else {
      const profile = options.profiler === 'perf' ? profileWithPerf : profileWithV8;
      await profile(contestants[options.profile], field, { connections: options.connections[0] });
    }
  } finally {
    await room.close();
  }
}

async function compete(field, options) {
  const entries = [];
  for (const name of options.names) entries.push(await enter(name, contestants[name], field));
  const results = [];
  for (const connections of options.connections) {
    console.log(
      `\ntwo hops, ${connections} connections busy, ${options.rounds} rounds of ${options.seconds} s, reply ${answer.bodyBytes} bytes`,
    );
    const onRound = (round, name, { cpuUs, perSecond, othersShare }) =>
      console.error(
        `  round ${round} ${name}: ${cpuUs.toFixed(1)} µs, ${perSecond.toFixed(0)} a second, others ${othersShare.toFixed(2)}`,
      );
    const { figures, again } = await runRounds(entries, { connections }, { ...options, app: field.app, onRound });
    console.log(tableOf(entries, figures, { against, rate: 0 }));
    if (again > 0)
      console.log(`${again} measurements done again, because others had more than ${options.othersMax} of the core`);
    results.push(...entries.map((entry) => resultOf(entry, connections, figures)));
  }
  console.log(`load average at the end ${loadLine()}`);
  if (options.json !== null)
    writeFileSync(options.json, `${JSON.stringify({ machine: machineLines(), results }, null, 2)}\n`);
  if (entries.every(({ voidBecause }) => voidBecause !== null)) process.exitCode = 1;
}

function resultOf({ name, voidBecause }, connections, figures) {
  if (voidBecause !== null) return { name, connections, voidBecause };
  const ratio = (baseline) => ratiosOf(figures[name], figures[baseline]);
  return { name, connections, rounds: figures[name], vsNginx: ratio('nginx'), vsNginxTls: ratio('nginx-tls') };
}

function readOptions() {
  const text = (fallback) => ({ type: 'string', ...(fallback === undefined ? {} : { default: fallback }) });
  const flags = {
    ...{ rounds: text('5'), seconds: text('4'), connections: text('64'), cores: text('0,1') },
    ...{
      only: text(Object.keys(contestants).join(',')),
      dist: text(),
      json: text(),
      'others-max': text('1'),
      profile: text(),
      profiler: text('perf'),
      'node-flags': text(''),
    },
    help: { type: 'boolean', short: 'h' },
  };
  const values = readFlags(flags, usage);
  const names = values.only.split(',');
  for (const name of names) requireContestant(name);
  if (values.profile !== undefined) {
    requireContestant(values.profile);
    if (!values.profile.startsWith('weft-')) stop(`--profile wants a Weft contestant, not ${values.profile}.`);
  }
  if (!['perf', 'v8'].includes(values.profiler)) stop(`--profiler is perf or v8, not ${values.profiler}.`);
  const [proxyCore, loadCore] = numbersOf('--cores', values.cores, 0, 4_095);
  if (loadCore === undefined) stop('--cores wants two numbers: P,L.');
  const othersMax = Number(values['others-max']);
  if (!(othersMax > 0 && othersMax <= 1)) stop(`--others-max wants a share above 0 and at most 1.`);
  return {
    ...{ names, othersMax, proxyCore, loadCore, distDir: values.dist, json: values.json ?? null },
    profile: values.profile ?? null,
    profiler: values.profiler,
    nodeFlags: values['node-flags'].split(' ').filter(Boolean),
    rounds: numbersOf('--rounds', values.rounds, 1, 1_000)[0],
    seconds: numbersOf('--seconds', values.seconds, 1, 600)[0],
    connections: numbersOf('--connections', values.connections, 1, 4_096),
  };
}

function requireContestant(name) {
  if (!Object.hasOwn(contestants, name))
    stop(`There is no contestant ${name}, only ${Object.keys(contestants).join(', ')}.`);
}

function numbersOf(flag, text, min, max) {
  try {
    return wholeNumbers(flag, text, min, max);
  } catch (error) {
    return stop(error.message);
  }
}
