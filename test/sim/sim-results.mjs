// The document of the simulations: the newest one of each size, for the rows of `npm run bench`.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const format = 'weft-sim/1';
export const resultsFile = fileURLToPath(new URL('../../bench-results/sim.json', import.meta.url));

/** Adds a run that has measured changes, in the place of the older one with as many sidecars. */
export function keepRun(run, path = resultsFile) {
  const document = readRuns(path) ?? { format, runs: [] };
  const others = document.runs.filter(({ sidecars }) => sidecars !== run.sidecars);
  const runs = [...others, run].sort((a, b) => a.sidecars - b.sidecars);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, `${JSON.stringify({ format, runs }, null, 1)}\n`);
  renameSync(`${path}.new`, path);
}

/** Null: there is none, or it is of another format. */
export function readRuns(path = resultsFile) {
  try {
    const document = JSON.parse(readFileSync(path, 'utf8'));
    return document.format === format ? document : null;
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}
