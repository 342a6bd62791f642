// How Weft behaves with 10,000 routes and 5,000 endpoints: compile time and table bytes, look-up time, how long the loop is held while a
// configuration comes into force, and what a change of one object costs control plane and sidecar.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { commitOf } from './commit.mjs';
import { WatchedMesh } from './config-scale-processes.mjs';
import { keepConfigScale } from './elsewhere.mjs';
import { readFlags, stop } from './flags.mjs';
import { aligned } from './report.mjs';
import { medianOf } from './statistics.mjs';

const parts = ['tables', 'look-ups', 'changes', 'memory'];
const usage = `Usage: npm run bench:config -- [options]

  --only PARTS   of ${parts.join(',')} (all)
                   tables    build, compile and open 10,000 rules and 5,000 endpoints; bytes of the tables
                   look-ups  host, route and backend of random requests among 10, 1,000 and 10,000
                   changes   a control plane and a sidecar: the first push, then changes of one object
                   memory    of a sidecar that calls 5 of 1,000 Services, and of one with everything
  --tries N      of each figure of tables, and changes of one object (6)
  --dist DIR     the build whose processes are measured (dist); tables and look-ups are those of this checkout
  --json FILE    every figure

The newest figures of each part are kept for the table of targets that \`npm run bench\` prints.
A turn of the loop counts with at most the CPU time that the whole process had meanwhile, so that other work on the machine does not count.`;

const root = fileURLToPath(new URL('../..', import.meta.url));
const cacheDir = `${root}node_modules/.cache/weft`;
/** The pool gives its thread back after 20 s. */
const threadEndsMs = 23_000;

const loadLine = () =>
  loadavg()
    .map((load) => load.toFixed(2))
    .join(' ');
const machineLine = `${cpus()[0].model.trim()}, ${cpus().length} cores, Linux ${release()}, Node ${process.versions.node}`;

async function main() {
  const options = readOptions();
  const scale = await loadTables();
  console.log(`${machineLine}, load average ${loadLine()}`);
  const results = {};
  for (const part of options.only) results[part] = await measure[part](scale, options);
  console.log(`load average at the end ${loadLine()}`);
  keepConfigScale(results, { commit: commitOf(), at: new Date().toISOString() });
  if (options.json !== null)
    writeFileSync(options.json, `${JSON.stringify({ machine: machineLine, ...results }, null, 2)}\n`);
}

const measure = {
  tables: tablesOf,
  'look-ups': lookUpsOf,
  changes: changesOf,
  memory: memoryOf,
};

/** The TypeScript of this checkout, bundled as the build does it. */
async function loadTables() {
  mkdirSync(cacheDir, { recursive: true });
  const outfile = `${cacheDir}/config-scale-${process.pid}.mjs`;
  process.on('exit', () => rmSync(outfile, { force: true }));
  await build({
    ...{ absWorkingDir: root, entryPoints: ['test/bench/config-scale-tables.ts'], outfile },
    ...{ bundle: true, format: 'esm', platform: 'node', target: 'node20', packages: 'external', logLevel: 'warning' },
  });
  return import(pathToFileURL(outfile).href);
}

// --- Parts -------------------------------------------------------------------------------------------------------------------------

function tablesOf(scale, { tries }) {
  const figures = [];
  scale.measureTables(tries, (one) => figures.push(one));
  const rows = figures.map((one) => [
    ...[one.mesh, ...[one.buildMs, one.rebuildMs, one.compileMs, one.openMs].map((ms) => ms.toFixed(1))],
    (one.tableBytes / 1024).toFixed(0),
  ]);
  show('tables, best of the tries', ['mesh', 'build ms', 'one changed', 'compile ms', 'open ms', 'KiB'], rows);
  return figures;
}

function lookUpsOf(scale) {
  const figures = [];
  scale.measureLookUps((one) => figures.push(one));
  const rows = figures.map(({ kind, ns, ratio }) => [
    ...[kind, ...Object.values(ns).map((one) => one.toFixed(0)), ratio.toFixed(2)],
  ]);
  show('look-up of random requests, ns', ['by', '10', '1,000', '10,000', '10,000 against 10'], rows);
  return figures;
}

async function changesOf(scale, { executable, tries }) {
  const results = [];
  const rows = [];
  for (const { title, objects, collection, changed } of scenarios(scale)) {
    const mesh = new WatchedMesh(executable);
    try {
      await mesh.start(['shop']);
      const first = await mesh.apply(objects);
      rows.push(rowOf(`${title}: all`, [first]));
      const changes = [];
      for (let i = 0; i < tries; i++) changes.push(await mesh.put(collection, changed(i)));
      rows.push(rowOf('  one object changed', changes));
      results.push({ title, first, changes });
    } finally {
      await mesh.close();
    }
  }
  const both = ['CPU ms', 'turn ms', 'shortest'];
  show(
    'from the API to the sidecar, medians; turn: the longest of the loop, and the shortest of the longest',
    [
      'change',
      'applied ms',
      ...both.map((one) => `control ${one}`),
      ...both.map((one) => `sidecar ${one}`),
      'pushed bytes',
    ],
    rows,
  );
  return results;
}

function rowOf(title, costs) {
  const median = (part) => medianOf(costs.map(part));
  const least = (part) => Math.min(...costs.map(part));
  const process = (of) => [
    median((cost) => of(cost).cpuMs).toFixed(0),
    median((cost) => of(cost).longestTurnMs).toFixed(1),
    least((cost) => of(cost).longestTurnMs).toFixed(1),
  ];
  return [
    ...[title, median(({ appliedMs }) => appliedMs).toFixed(0)],
    ...[...process(({ control }) => control), ...process(({ sidecar }) => sidecar)],
    median(({ sidecar }) => sidecar.receivedBytes).toFixed(0),
  ];
}

function scenarios(scale) {
  const around = [scale.serviceOf('shop', 3), ...scale.backendServices()];
  const withTimeout = (route, i) => {
    const changed = structuredClone(route);
    changed.spec.rules[0].timeouts = { request: `${i + 1}s` };
    return changed;
  };
  const ofRoutes = (title, perRoute) => {
    const routes = scale.routesOf('mixed', 10_000, perRoute);
    const changed = (i) => withTimeout(routes[7], i);
    return { title, objects: [...around, ...routes], collection: 'httproutes', changed };
  };
  const ofEndpoints = (policy) => {
    const shop = scale.serviceOf('shop', 5_000, policy);
    const changed = (i) => {
      const service = structuredClone(shop);
      service.spec.endpoints[i] = `10.9.9.${i}:8080`;
      return service;
    };
    return { title: `5,000 endpoints, ${policy}`, objects: [shop], collection: 'services', changed };
  };
  return [
    ofRoutes('10,000 rules in 40 HTTPRoutes', scale.rulesPerRoute),
    ofRoutes('10,000 HTTPRoutes', 1),
    ...['RoundRobin', 'LeastRequest', 'Maglev', 'RingHash'].map(ofEndpoints),
  ];
}

async function memoryOf(scale, { executable }) {
  const thousand = Array.from({ length: 1_000 }, (_, i) => scale.serviceOf(`service-${i}`, 3));
  const called = thousand.slice(0, 5).map(({ metadata }) => metadata.name);
  const rules = [scale.serviceOf('shop', 5_000), ...scale.backendServices(), ...scale.routesOf('mixed', 10_000)];
  const results = [];
  for (const [title, services, objects] of [
    ['nothing', ['shop'], []],
    ['1,000 Services, 5 of them called', called, thousand],
    ['10,000 rules and 5,000 endpoints', ['shop'], rules],
  ]) {
    const mesh = new WatchedMesh(executable);
    try {
      await mesh.start(services);
      if (objects.length > 0) await mesh.apply(objects);
      await new Promise((resolve) => setTimeout(resolve, threadEndsMs));
      results.push({ title, ...(await mesh.memory()) });
    } finally {
      await mesh.close();
    }
  }
  const rows = results.map(({ title, heapMib, residentMib }) => [
    ...[title, heapMib.toFixed(1), residentMib.toFixed(1), (residentMib / results[0].residentMib).toFixed(2)],
  ]);
  show(
    'memory of the sidecar, once the pool has given its thread back',
    ['mesh', 'heap MiB', 'resident MiB', 'against nothing'],
    rows,
  );
  return results;
}

function show(title, head, rows) {
  console.log(`\n${title}\n${aligned([head, ...rows])}`);
}

// --- Options -----------------------------------------------------------------------------------------------------------------------

function readOptions() {
  const flags = {
    only: { type: 'string', default: parts.join(',') },
    tries: { type: 'string', default: '6' },
    dist: { type: 'string', default: `${root}dist` },
    json: { type: 'string' },
    help: { type: 'boolean', short: 'h' },
  };
  const values = readFlags(flags, usage);
  const only = values.only.split(',');
  for (const part of only) if (!parts.includes(part)) stop(`--only takes ${parts.join(', ')}, not ${part}.`);
  const tries = Number(values.tries);
  if (!Number.isInteger(tries) || tries < 1 || tries > 100) stop(`--tries wants 1 to 100, not ${values.tries}.`);
  return { only, tries, executable: `${values.dist}/bin/weft.js`, json: values.json ?? null };
}

await main();
