// What other commands have measured: the figures that the targets' table has rows for, from the files that those commands leave behind.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readRuns, resultsFile as simFile } from '../sim/sim-results.mjs';
import { spreadOf } from './statistics.mjs';

const configFormat = 'weft-config/1';
const configFile = fileURLToPath(new URL('../../bench-results/config-scale.json', import.meta.url));

/** Adds what `npm run bench:config` measured to its file, each part in the place of the older one. */
export function keepConfigScale(measured, { commit, at }, path = configFile) {
  const parts = { ...readConfigScale(path)?.parts };
  for (const [part, figures] of Object.entries(measured)) parts[part] = { at, commit, figures };
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify({ format: configFormat, parts }, null, 1)}\n`);
  renameSync(`${path}.new`, path);
}

function readConfigScale(path) {
  try {
    const document = JSON.parse(readFileSync(path, 'utf8'));
    return document.format === configFormat ? document : null;
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** By name: `{ spread, at, commit }` of what was measured; what was not is not there. */
export function readElsewhere({ config = configFile, sim = simFile } = {}) {
  return { ...ofConfigScale(readConfigScale(config)?.parts ?? {}), ...ofSimulations(readRuns(sim)?.runs ?? []) };
}

function ofConfigScale({ 'look-ups': lookUps, memory }) {
  const found = {};
  // Of hosts 10,000 are 10,000 Services: that row is about routes of one.
  const ratios = lookUps?.figures.filter(({ kind }) => kind !== 'host').map(({ ratio }) => ratio);
  if (ratios !== undefined) found.lookUp = { spread: spreadOf(ratios), at: lookUps.at, commit: lookUps.commit };
  const [nothing, thousand] = memory?.figures ?? [];
  if (thousand !== undefined) {
    const spread = spreadOf([thousand.residentMib / nothing.residentMib]);
    found.fewOfMany = { spread, at: memory.at, commit: memory.commit };
  }
  return found;
}

function ofSimulations(runs) {
  const found = {};
  for (const { sidecars, startedAt: at, commit, parts } of runs) {
    const { p99Ms, cpuUsPerSidecar } = parts.changes;
    found[`applied${sidecars}`] = { spread: p99Ms, at, commit };
    found[`pushCpu${sidecars}`] = { spread: cpuUsPerSidecar, at, commit };
  }
  return found;
}
