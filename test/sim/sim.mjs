#!/usr/bin/env node
// The simulator: a control plane as it is built, and thousands of sidecars that speak its protocol and do nothing else.
import { writeFileSync } from 'node:fs';
import { commitOf } from '../bench/commit.mjs';
import { loadLine, machineLines, machineOf } from '../bench/tools.mjs';
import { measure } from './measures.mjs';
import { checkOpenFiles, readOptions } from './sim-options.mjs';
import { tableOf } from './sim-report.mjs';
import { keepRun } from './sim-results.mjs';
import { Simulation } from './simulation.mjs';

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));
await main();

async function main() {
  const { sizes, parts, mesh, json, isKept } = readOptions();
  checkOpenFiles(Math.max(...sizes));
  const machine = machineOf();
  for (const line of machineLines(machine)) console.log(line);
  const runs = [];
  for (const sidecars of sizes) {
    const run = await simulate({ ...mesh, sidecars }, parts, machine);
    if (isKept) keepRun(run);
    runs.push(run);
  }
  if (json !== null) writeFileSync(json, `${JSON.stringify({ runs }, null, 1)}\n`);
}

async function simulate(options, parts, machine) {
  const startedAt = new Date().toISOString();
  const loadAtStart = loadLine();
  const sim = new Simulation(options);
  sim.progress = (text) => console.error(text);
  const figures = {};
  try {
    await sim.open();
    for (const part of parts) {
      sim.progress(`${options.sidecars} sidecars: ${part}`);
      figures[part] = await measure[part](sim);
      if (part === 'join') sim.emptyMib = figures.join.emptyMib;
      console.log(tableOf(part, figures[part]));
    }
    const { faults } = await sim.fleet.status();
    if (Object.keys(faults).length > 0) throw new Error(`the protocol was broken: ${JSON.stringify(faults)}`);
  } catch (error) {
    console.error(sim.control.log.split('\n').slice(-10).join('\n'));
    throw error;
  } finally {
    await sim.close();
  }
  console.log(`\nload average at the end ${loadLine()}; no sidecar saw the protocol broken`);
  const { executable: _, ...kept } = options;
  return {
    ...{ sidecars: options.sidecars, startedAt, endedAt: new Date().toISOString(), commit: commitOf(), machine },
    ...{ load: { start: loadAtStart, end: loadLine() }, options: kept, parts: figures },
  };
}
