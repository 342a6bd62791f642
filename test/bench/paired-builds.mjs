// Two builds of the sidecar against each other. Both are started anew several times, because what V8 makes of one process is not what it makes of the
// next, and take turns round by round.
import { writeFileSync } from 'node:fs';
import { BenchRoom } from './bench-room.mjs';
import { Certificates } from './certificates.mjs';
import { contestantsOf } from './contestants.mjs';
import { wholeNumbers } from './flags.mjs';
import { answer, checkAnswer } from './load.mjs';
import { buildNativeBench, startUpstream } from './native-bench.mjs';
import { enter, runRounds } from './rounds.mjs';
import { loads, messages, selectScenarios } from './scenarios.mjs';
import { medianOf, ratiosOf } from './statistics.mjs';
import { hasCore, machineLines, ownTools, requireTools } from './tools.mjs';

const warmUpSeconds = 3;
const text = (fallback) => ({ type: 'string', ...(fallback === undefined ? {} : { default: fallback }) });

/** Flags that every comparison has, as `parseArgs` takes them. */
export const pairFlags = {
  ...{ scenario: text('two-hops/busy-64/get-100,two-hops/rate-3000/get-100') },
  ...{ starts: text('5'), rounds: text('4'), seconds: text('3') },
  ...{ cores: text('0,1'), json: text(), help: { type: 'boolean', short: 'h' } },
};

export const pairFlagLines = `\
  --scenario ID,ID  TOPOLOGY/LOAD/MESSAGE as npm run bench -- --list names them
                    (two-hops/busy-64/get-100,two-hops/rate-3000/get-100)
  --starts N        times that both are started anew (5)
  --rounds N        rounds of each after a start (4)
  --seconds N       length of a round (3)
  --cores P,L       core of the sidecars, core of load and app (0,1)
  --json FILE       every figure of every round`;

/** @throws Error saying which value is wrong. */
export function pairOptions(values) {
  const one = (name, max) => wholeNumbers(`--${name}`, values[name], 1, max)[0];
  const [proxyCore, loadCore] = wholeNumbers('--cores', values.cores, 0, 4_095);
  if (loadCore === undefined) throw new Error('--cores wants two numbers: P,L.');
  for (const core of [proxyCore, loadCore])
    if (!hasCore(core)) throw new Error(`This machine has no core ${core}: the benchmark needs two (--cores P,L).`);
  return {
    ...{ proxyCore, loadCore, json: values.json ?? null },
    scenarios: selectScenarios(values.scenario.split(','), { isShort: false }),
    ...{ starts: one('starts', 100), rounds: one('rounds', 1_000), seconds: one('seconds', 600) },
  };
}

/**
 * Measures the first build against the second.
 * @param builds two of `{ name, distDir, nodeFlags }`; without `distDir` it is `dist/`
 * @param options as `pairOptions` gives them
 * @returns for each scenario `{ id, title, cpuUs, p99Ms, rounds }` by name of build, and the `ratios` of CPU time by start, their `median` and `quartiles`
 */
export async function comparePair(builds, options) {
  requireTools(ownTools);
  buildNativeBench();
  const rooms = builds.map(({ distDir }) => new BenchRoom({ ...options, distDir }));
  try {
    const appSocket = rooms[0].path('app.sock');
    const app = await startUpstream(rooms[0], answer, appSocket);
    await checkAnswer(app.port);
    for (const line of machineLines()) console.log(line);
    const fields = rooms.map((room, i) => {
      const { nodeFlags = [] } = builds[i];
      const certificates = new Certificates(room);
      return { room, appPort: app.port, appSocket, certificates, nodeFlags: { a: nodeFlags, b: nodeFlags } };
    });
    const found = options.scenarios.map((scenario) => ({ ...scenario, figures: [[], []], ratios: [] }));
    for (let start = 1; start <= options.starts; start += 1)
      for (const topology of new Set(found.map((one) => one.topology)))
        await measureStart(start, topology, { builds, fields, app, found, options });
    const results = found.map((one) => resultOf(one, builds));
    if (options.json !== null)
      writeFileSync(options.json, `${JSON.stringify({ machine: machineLines(), results }, null, 2)}\n`);
    return results;
  } finally {
    for (const room of rooms) await room.close();
  }
}

/** Starts both, and appends to the scenarios of this topology what each round found. */
async function measureStart(start, topology, { builds, fields, app, found, options }) {
  const before = fields.map(({ room }) => room.processes.length);
  const entries = [];
  // The one that is started first is not always the same.
  for (const i of start % 2 === 1 ? [0, 1] : [1, 0]) {
    const { weft } = contestantsOf[topology];
    entries.push(await enter(builds[i].name, { title: builds[i].name, start: () => weft.start(fields[i]) }, fields[i]));
  }
  for (const one of found.filter((it) => it.topology === topology)) {
    const onRound = (round, name, { cpuUs }) =>
      console.error(`  start ${start}, ${one.title}, round ${round}, ${name}: ${cpuUs.toFixed(2)} µs`);
    const load = { ...loads[one.load], message: messages[one.message] };
    const more = { app: app.process, othersMax: 1, warmUpSeconds, onRound };
    const { figures } = await runRounds(entries, load, { ...options, ...more });
    const failed = entries.find(({ voidBecause }) => voidBecause !== null);
    if (failed !== undefined) throw new Error(`${failed.title}: ${failed.voidBecause}`);
    builds.forEach(({ name }, i) => {
      one.figures[i].push(...figures[name]);
    });
    one.ratios.push(ratiosOf(figures[builds[0].name], figures[builds[1].name]));
  }
  await Promise.all(fields.map(({ room }, i) => room.stopSince(before[i])));
}

function resultOf({ id, title, ratios, figures }, builds) {
  const all = ratios.flat().sort((a, b) => a - b);
  const at = (share) => all[Math.round((all.length - 1) * share)];
  const byName = (of) => Object.fromEntries(builds.map(({ name }, i) => [name, of(figures[i])]));
  return {
    ...{ id, title, median: medianOf(all), quartiles: [at(0.25), at(0.75)], byStart: ratios.map(medianOf), ratios },
    cpuUs: byName((rounds) => medianOf(rounds.map((it) => it.cpuUs))),
    p99Ms: byName((rounds) => medianOf(rounds.map((it) => it.p99Ms))),
    rounds: byName((rounds) => rounds),
  };
}
