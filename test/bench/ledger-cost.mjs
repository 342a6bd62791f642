#!/usr/bin/env node
// What the ledger costs: the CPU time of a request over two sidecars against that of a build without the ledger. Both are started anew several times,
// because what V8 makes of one process is not what it makes of the next, and take turns round by round.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BenchRoom } from './bench-room.mjs';
import { readFlags, stop, wholeNumbers } from './flags.mjs';
import { answer, checkAnswer } from './load.mjs';
import { buildNativeBench, startUpstream } from './native-bench.mjs';
import { enter, runRounds } from './rounds.mjs';
import { medianOf, ratiosOf } from './statistics.mjs';
import { hasCore, machineLines, ownTools, requireTools } from './tools.mjs';
import { startLinkSidecars } from './weft.mjs';
import { bundleWithoutLedger } from './without-ledger.mjs';

const usage = `npm run bench:ledger -- [flags]: CPU of a request with the ledger against without; about 5 minutes
  --starts N        times that both are started anew (5)
  --rounds N        rounds of each after a start (4)
  --seconds N       length of a round (3)
  --connections N   connections that are kept busy (64)
  --rate N          requests a second of the second table, in which the sidecars are mostly idle; 0: there is none (3000)
  --max SHARE       how much more is too much: the status is 1 then (0.03)
  --control         the build with the ledger against itself: what the method makes of no difference
  --cores P,L       core of the sidecars, core of load and app (0,1)
  --json FILE       every figure of every round`;

const warmUpSeconds = 3;
const root = fileURLToPath(new URL('../..', import.meta.url));

await main();

async function main() {
  const options = readOptions();
  requireTools(ownTools);
  for (const core of [options.proxyCore, options.loadCore])
    if (!hasCore(core)) stop(`This machine has no core ${core}: the benchmark needs two (--cores P,L).`);
  buildNativeBench();
  const distDir = join(root, 'node_modules/.cache/weft', `without-ledger-${process.pid}`);
  if (!options.isControl) await bundleWithoutLedger(distDir);
  const rooms = {
    with: new BenchRoom(options),
    without: new BenchRoom(options.isControl ? options : { ...options, distDir }),
  };
  rmSync(distDir, { recursive: true, force: true });
  try {
    const app = await startUpstream(rooms.with, answer);
    await checkAnswer(app.port);
    for (const line of machineLines()) console.log(line);
    const figures = loadsOf(options).map((load) => ({ ...load, with: [], without: [], ratios: [] }));
    for (let start = 1; start <= options.starts; start += 1)
      await measureStart(start, { rooms, app, figures, options });
    report(figures, options);
  } finally {
    for (const room of Object.values(rooms)) await room.close();
  }
}

function loadsOf({ connections, rate }) {
  const busy = { title: `${connections} connections busy`, load: { connections } };
  return rate === 0 ? [busy] : [busy, { title: `${rate} requests a second`, load: { connections, rate } }];
}

/** Starts both, and appends what each round found. */
async function measureStart(start, { rooms, app, figures, options }) {
  const before = Object.values(rooms).map((room) => room.processes.length);
  const entries = [];
  // The one that is started first is not always the same.
  for (const name of start % 2 === 1 ? ['with', 'without'] : ['without', 'with']) {
    const field = { room: rooms[name], appPort: app.port, nodeFlags: { a: [], b: [] } };
    entries.push(await enter(name, { title: name, start: () => startLinkSidecars(field, false) }, field));
  }
  for (const one of figures) {
    const onRound = (round, name, { cpuUs }) =>
      console.error(`  start ${start}, ${one.title}, round ${round}, ${name}: ${cpuUs.toFixed(2)} µs`);
    const found = await runRounds(entries, one.load, {
      ...options,
      ...{ app: app.process, othersMax: 1, warmUpSeconds, onRound },
    });
    const failed = entries.find(({ voidBecause }) => voidBecause !== null);
    if (failed !== undefined) throw new Error(`${failed.title}: ${failed.voidBecause}`);
    one.with.push(...found.figures.with);
    one.without.push(...found.figures.without);
    one.ratios.push(ratiosOf(found.figures.with, found.figures.without));
  }
  await Promise.all(Object.values(rooms).map((room, i) => room.stopSince(before[i])));
}

function report(figures, { max, json, isControl }) {
  const percent = (ratio) => `${((ratio - 1) * 100).toFixed(1)} %`;
  const results = figures.map(({ title, ratios, ...one }) => {
    const all = ratios.flat().sort((a, b) => a - b);
    const at = (share) => all[Math.round((all.length - 1) * share)];
    const median = medianOf(all);
    const cpuUs = Object.fromEntries(
      ['with', 'without'].map((name) => [name, medianOf(one[name].map((it) => it.cpuUs))]),
    );
    const byStart = ratios.map(medianOf);
    console.log(
      `${title}: ${cpuUs.with.toFixed(2)} µs ${isControl ? 'against' : 'with the ledger,'} ${cpuUs.without.toFixed(2)} ${isControl ? 'of the same' : 'without'}; ` +
        `${percent(median)} more (middle half ${percent(at(0.25))} to ${percent(at(0.75))}; by start ${byStart.map(percent).join(', ')})`,
    );
    return {
      title,
      median,
      quartiles: [at(0.25), at(0.75)],
      byStart,
      cpuUs,
      ratios,
      rounds: { with: one.with, without: one.without },
    };
  });
  console.log(JSON.stringify(results.map(({ rounds, ...rest }) => rest)));
  if (json !== null) writeFileSync(json, `${JSON.stringify({ machine: machineLines(), results }, null, 2)}\n`);
  if (results.some(({ median }) => median > 1 + max)) {
    console.log(`more than ${percent(1 + max)}`);
    process.exitCode = 1;
  }
}

function readOptions() {
  const text = (fallback) => ({ type: 'string', ...(fallback === undefined ? {} : { default: fallback }) });
  const values = readFlags(
    {
      ...{ starts: text('5'), rounds: text('4'), seconds: text('3'), connections: text('64'), rate: text('3000') },
      ...{ max: text('0.03'), control: { type: 'boolean' }, cores: text('0,1'), json: text() },
      help: { type: 'boolean', short: 'h' },
    },
    usage,
  );
  try {
    const one = (name, min, max) => wholeNumbers(`--${name}`, values[name], min, max)[0];
    const [proxyCore, loadCore] = wholeNumbers('--cores', values.cores, 0, 4_095);
    if (loadCore === undefined) throw new Error('--cores wants two numbers: P,L.');
    const max = Number(values.max);
    if (!(max > 0)) throw new Error('--max wants a share above 0.');
    return {
      ...{ proxyCore, loadCore, max, isControl: values.control === true, json: values.json ?? null },
      ...{ starts: one('starts', 1, 100), rounds: one('rounds', 1, 1_000), seconds: one('seconds', 1, 600) },
      ...{ connections: one('connections', 1, 4_096), rate: one('rate', 0, 1_000_000) },
    };
  } catch (error) {
    return stop(error.message);
  }
}
