#!/usr/bin/env node
// Is a change worth it? The CPU time of a request of one build, or with some of Node's flags, against another's.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readFlags, stop } from './flags.mjs';
import { comparePair, pairFlagLines, pairFlags, pairOptions } from './paired-builds.mjs';
import { short } from './statistics.mjs';

const usage = `npm run bench:builds -- [flags]: CPU of a request of dist/ against that of another build, or with other flags of Node's
  --dist DIR                  the build that is measured (dist)
  --against DIR               the build that it is compared with: a copy of an earlier dist/ (dist)
  --node-flags='A B'          for Node itself, in the sidecars of the first
  --against-node-flags='A B'  the same, of the second
${pairFlagLines}
Examples:
  cp -r dist /tmp/before; edit; npm run bench:builds -- --against /tmp/before
  npm run bench:builds -- --node-flags=--max-semi-space-size=4 --scenario two-hops-tls/busy-64/get-100`;

await main();

async function main() {
  const values = readFlags(
    {
      ...pairFlags,
      ...{ dist: { type: 'string' }, against: { type: 'string' } },
      ...{ 'node-flags': { type: 'string', default: '' }, 'against-node-flags': { type: 'string', default: '' } },
    },
    usage,
  );
  const words = (flags) => flags.split(' ').filter((word) => word !== '');
  const builds = [
    { name: 'this', distDir: values.dist, nodeFlags: words(values['node-flags']) },
    { name: 'other', distDir: values.against, nodeFlags: words(values['against-node-flags']) },
  ];
  const ratio = (one) => one.toFixed(3);
  const results = await comparePair(builds, readOptions(values, builds));
  for (const { title, median, quartiles, byStart, cpuUs, p99Ms } of results)
    console.log(
      `${title}: ${short(cpuUs.this)} against ${short(cpuUs.other)} µs, ${ratio(median)} ` +
        `(middle half ${quartiles.map(ratio).join(' to ')}; by start ${byStart.map(ratio).join(', ')}); ` +
        `p99 ${short(p99Ms.this)} against ${short(p99Ms.other)} ms`,
    );
}

function readOptions(values, builds) {
  try {
    const [one, other] = builds.map((build) => JSON.stringify({ ...build, name: '' }));
    if (one === other)
      throw new Error('Nothing differs: name another build with --against, or flags of one of the two.');
    for (const { distDir } of builds)
      if (distDir !== undefined && !existsSync(join(distDir, 'bin/weft.js')))
        throw new Error(`${distDir} is no build: it has no bin/weft.js.`);
    return pairOptions(values);
  } catch (error) {
    return stop(error.message);
  }
}
