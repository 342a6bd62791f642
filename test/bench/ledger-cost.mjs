#!/usr/bin/env node
// What the ledger costs: the CPU time of a request over two sidecars against that of a build without the ledger.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readFlags, stop } from './flags.mjs';
import { comparePair, pairFlagLines, pairFlags, pairOptions } from './paired-builds.mjs';
import { bundleWithoutLedger } from './without-ledger.mjs';

const usage = `npm run bench:ledger -- [flags]: CPU of a request with the ledger against without; about 5 minutes
${pairFlagLines}
  --max SHARE       how much more is too much: the status is 1 then (0.03)
  --control         the build with the ledger against itself: what the method makes of no difference`;

const cache = fileURLToPath(new URL('../../node_modules/.cache/weft', import.meta.url));

await main();

async function main() {
  const options = readOptions();
  const distDir = join(cache, `without-ledger-${process.pid}`);
  process.on('exit', () => rmSync(distDir, { recursive: true, force: true }));
  if (!options.isControl) await bundleWithoutLedger(distDir);
  const without = options.isControl ? { name: 'the same' } : { name: 'without', distDir };
  report(await comparePair([{ name: 'with' }, without], options), options);
}

function report(results, { max }) {
  const percent = (ratio) => `${((ratio - 1) * 100).toFixed(1)} %`;
  for (const { title, median, quartiles, byStart, cpuUs } of results) {
    const [mine, others] = Object.entries(cpuUs).map(([name, us]) => `${us.toFixed(2)} µs ${name}`);
    console.log(
      `${title}: ${mine}, ${others}; ${percent(median)} more ` +
        `(middle half ${quartiles.map(percent).join(' to ')}; by start ${byStart.map(percent).join(', ')})`,
    );
  }
  if (results.some(({ median }) => median > 1 + max)) {
    console.log(`more than ${percent(1 + max)}`);
    process.exitCode = 1;
  }
}

function readOptions() {
  const values = readFlags(
    { ...pairFlags, max: { type: 'string', default: '0.03' }, control: { type: 'boolean' } },
    usage,
  );
  try {
    const max = Number(values.max);
    if (!(max > 0)) throw new Error('--max wants a share above 0.');
    return { ...pairOptions(values), max, isControl: values.control === true };
  } catch (error) {
    return stop(error.message);
  }
}
