#!/usr/bin/env node
// How many instructions a request takes in user space, by layer and function: a figure without noise, whoever else is on the machine. Under callgrind
// everything takes a hundred times as long, so what goes by time (timers, sweeps, reports, the ledger's share of last requests) has too much weight.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BenchRoom } from './bench-room.mjs';
import { CodeMap, countsOf } from './callgrind.mjs';
import { Certificates } from './certificates.mjs';
import { contestantsOf } from './contestants.mjs';
import { readFlags, stop, wholeNumbers } from './flags.mjs';
import { answer, placeOf, runLoad } from './load.mjs';
import { buildNativeBench, startUpstream } from './native-bench.mjs';
import { removeMap } from './perf-map.mjs';
import { loads, messages, selectScenarios } from './scenarios.mjs';
import { ownTools, requireTools } from './tools.mjs';

const usage = `npm run bench:instructions -- [flags]: instructions of a request in user space, counted by callgrind; about 4 minutes
  --dist DIR        the build that is counted (dist)
  --against DIR     another build, counted at the same time on the other core (none)
  --scenario ID     TOPOLOGY/LOAD/MESSAGE as npm run bench -- --list names them (two-hops/busy-64/get-100)
  --warm-up N       seconds of load before anything is counted (120)
  --seconds N       seconds that are counted (45)
  --top N           functions shown of each sidecar (25)
Examples:
  npm run bench:instructions
  cp -r dist /tmp/before; edit; npm run build; npm run bench:instructions -- --against /tmp/before`;

const idleSeconds = 15;
/** callgrind has to translate all code again once it counts. */
const settleSeconds = 20;
/** Without much collecting, of which the counted seconds may by chance have more or less. */
const nodeFlags = ['--perf-basic-prof', '--min-semi-space-size=16', '--max-semi-space-size=16'];
const layers = ['JavaScript', 'builtins of V8', 'V8, Node, libuv', 'uWebSockets.js', 'libc'];
const run = promisify(execFile);

await main();

async function main() {
  const options = readOptions();
  requireTools([...ownTools, 'valgrind']);
  buildNativeBench();
  const counted = await Promise.all(options.builds.map((distDir, core) => countBuild(distDir, core, options)));
  const hops = counted[0].hops.map((hop, index) => [hop, counted[1]?.hops[index] ?? null]);
  for (const { requests } of counted) console.log(`${requests} requests counted`);
  for (const [hop, other] of hops) report(hop, other, options.top);
}

function readOptions() {
  const text = (value) => ({ type: 'string', ...(value === undefined ? {} : { default: value }) });
  const values = readFlags(
    {
      ...{ dist: text(), against: text(), scenario: text('two-hops/busy-64/get-100') },
      ...{ 'warm-up': text('120'), seconds: text('45'), top: text('25'), help: { type: 'boolean', short: 'h' } },
    },
    usage,
  );
  try {
    for (const build of [values.dist, values.against])
      if (build !== undefined && !existsSync(join(build, 'bin/weft.js')))
        throw new Error(`${build} is no build: it has no bin/weft.js.`);
    const scenarios = selectScenarios([values.scenario], { isShort: false });
    if (scenarios.length !== 1) throw new Error(`--scenario wants one, and ${values.scenario} is ${scenarios.length}.`);
    const number = (name, max) => wholeNumbers(`--${name}`, values[name], 1, max)[0];
    return {
      builds: values.against === undefined ? [values.dist] : [values.dist, values.against],
      scenario: scenarios[0],
      ...{ warmUpSeconds: number('warm-up', 3_600), seconds: number('seconds', 600), top: number('top', 1_000) },
    };
  } catch (error) {
    return stop(error.message);
  }
}

/** @returns the requests that were counted, and of each sidecar the instructions of one by name of function and layer */
async function countBuild(distDir, core, { scenario, warmUpSeconds, seconds }) {
  const room = new BenchRoom({ proxyCore: core, loadCore: 1 - core, distDir, slowness: 16 });
  const outputOf = (service) => room.path(`callgrind-${service}`);
  room.nodeCommand = (service) => [
    ...['valgrind', '--tool=callgrind', '--instr-atstart=no', '--dump-instr=yes', '--dump-line=no'],
    ...['--separate-threads=yes', '--smc-check=all-non-file', `--callgrind-out-file=${outputOf(service)}`],
    process.execPath,
  ];
  const pids = [];
  try {
    const app = await startUpstream(room, answer);
    const field = {
      room,
      appPort: app.port,
      certificates: new Certificates(room),
      nodeFlags: { a: nodeFlags, b: nodeFlags },
    };
    const entry = await contestantsOf[scenario.topology].weft.start(field);
    pids.push(...entry.processes.map(({ pid }) => pid));
    const load = { ...loads[scenario.load], message: messages[scenario.message] };
    const put = (loadSeconds) => runLoad(room.loadCore, placeOf(entry), { ...load, seconds: loadSeconds });
    const control = (...flags) => Promise.all(pids.map((pid) => run('callgrind_control', [...flags, String(pid)])));
    const counting = async (what) => {
      await control('--zero');
      const startedAtMs = performance.now();
      const result = await what();
      await control('--dump');
      return { result, ms: performance.now() - startedAtMs };
    };
    console.error(`core ${core}: ${warmUpSeconds} s of load before anything is counted`);
    await put(warmUpSeconds);
    await control('--instr=on');
    await put(settleSeconds);
    const busy = await counting(() => put(seconds));
    const idle = await counting(() => new Promise((resolve) => setTimeout(resolve, idleSeconds * 1_000)));
    await control('--instr=off');
    const { requests } = busy.result;
    const services = pids.length === 1 ? ['a'] : ['a', 'b'];
    const hops = services.map((service, index) => {
      const map = new CodeMap(`/tmp/perf-${pids[index]}.map`);
      const byName = new Map();
      // The first dump is of the load, the second of nothing; the main thread is the first.
      addCounts(byName, readFileSync(`${outputOf(service)}.1-01`, 'latin1'), map, 1 / requests);
      addCounts(byName, readFileSync(`${outputOf(service)}.2-01`, 'latin1'), map, -busy.ms / idle.ms / requests);
      return byName;
    });
    return { requests, hops };
  } finally {
    await room.close();
    for (const pid of pids) removeMap(pid);
  }
}

function addCounts(byName, text, map, weight) {
  for (const { object, name, address, instructions } of countsOf(text)) {
    const isCompiled = object === '' || object === '???';
    const shown = isCompiled ? compiledName(map.find(address)) : name;
    const layer = isCompiled ? layers[0] : layerOf(object, name);
    const key = `${shown}  [${layer}]`;
    const before = byName.get(key) ?? { layer, instructions: 0 };
    byName.set(key, { layer, instructions: before.instructions + instructions * weight });
  }
}

/** `JS:*checkHead file:///.../chunk-X.js:1:2`: without the place, which is another in each build. */
function compiledName(name) {
  return name === null ? 'gone' : name.replace(/ file:\/\/\S*$/, '');
}

function layerOf(object, name) {
  if (name.startsWith('Builtins_')) return layers[1];
  if (object.includes('uws_')) return layers[3];
  return object.includes('libc') || object.includes('ld-linux') ? layers[4] : layers[2];
}

function report(hop, other, top) {
  const sum = (counts, layer) =>
    Array.from(counts.values()).reduce(
      (total, one) => (layer === null || one.layer === layer ? total + one.instructions : total),
      0,
    );
  const line = (name, mine, others) =>
    console.log(
      other === null ? `${String(Math.round(mine)).padStart(8)}  ${name}` : `${columns(mine, others)}  ${name}`,
    );
  console.log(other === null ? '\n    this' : '\n    this    other     more');
  line('all', sum(hop, null), other === null ? 0 : sum(other, null));
  for (const layer of layers) line(layer, sum(hop, layer), other === null ? 0 : sum(other, layer));
  const of = (counts, name) => counts?.get(name)?.instructions ?? 0;
  const weight = (name) => (other === null ? of(hop, name) : Math.abs(of(hop, name) - of(other, name)));
  const names = [...new Set([...hop.keys(), ...(other?.keys() ?? [])])].sort((a, b) => weight(b) - weight(a));
  console.log('');
  for (const name of names.slice(0, top)) line(name.slice(0, 110), of(hop, name), of(other, name));
}

function columns(mine, others) {
  const more = Math.round(mine - others);
  return [Math.round(mine), Math.round(others), more > 0 ? `+${more}` : more]
    .map((cell) => String(cell).padStart(8))
    .join(' ');
}
