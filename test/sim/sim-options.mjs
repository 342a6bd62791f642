// The command line of the simulator, parsed and checked.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readFlags, stop, wholeNumbers } from '../bench/flags.mjs';

export const parts = ['join', 'idle', 'reports', 'changes', 'churn', 'reconnect', 'slow'];
/** For `--targets`: what docs/benchmarks.md has rows for. */
export const targetSizes = [1_000, 10_000];

export const usage = `Usage: npm run sim -- [flags]: a control plane with thousands of simulated sidecars; test/sim/README.md has the method
  --sidecars N        ${targetSizes[1]}
  --changes N         changes that concern every sidecar, one after the other (20)
  --only PARTS        of ${parts.join(',')} (all; join comes first in any case)
  --targets           instead: changes on ${targetSizes.join(' and ')} sidecars, for the rows of npm run bench
  --short             1,000 sidecars, 5 changes and short parts: half a minute
  --services N        Services beside \`common\` (100; short: 10)
  --calls N           Services that each sidecar subscribes to, \`common\` among them (5)
  --sets N            different sets of subscriptions among the sidecars of each Service: a scope each (1)
  --unregistered      no sidecar registers an endpoint: a join is quick then
  --processes N       of simulated sidecars (2)
  --join-rate N       sidecars that start in a second (1000)
  --idle-seconds N    (15; short: 3)
  --churn-seconds N   a change every 10 ms for so long (5; short: 2)
  --slow N            sidecars of which half are stopped and half take a second to apply a change (100)
  --json FILE         every figure
  --dist DIR          the build that is measured (dist)
  --node-flags='A B'  for the control plane's Node, such as --cpu-prof (none)

Examples:
  npm run sim -- --short
  npm run sim -- --sidecars 10000 --changes 20 --json sim.json
  npm run sim -- --targets && npm run bench -- --short --publish`;

const text = { type: 'string' };
const yes = { type: 'boolean', default: false };
const flags = {
  ...{
    sidecars: text,
    changes: text,
    only: text,
    services: text,
    calls: text,
    sets: text,
    processes: text,
    'join-rate': text,
  },
  ...{ 'idle-seconds': text, 'churn-seconds': text, slow: text, json: text, dist: text },
  ...{
    'node-flags': { ...text, default: '' },
    short: yes,
    targets: yes,
    unregistered: yes,
    help: { ...yes, short: 'h' },
  },
};
/** The control plane's own files, and connections that come while others end. */
const spareFiles = 1_100;

export function readOptions() {
  const values = readFlags(flags, usage);
  try {
    return optionsOf(values);
  } catch (error) {
    return stop(`${error.message}\n${usage}`);
  }
}

/** @throws Error saying which flag is wrong, and how. */
export function optionsOf(values) {
  const { short: isShort = false, targets: isTargets = false } = values;
  const number = (flag, fallback, min, max) => {
    const numbers = wholeNumbers(`--${flag}`, values[flag] ?? String(fallback), min, max);
    if (numbers.length > 1) throw new Error(`--${flag} wants one number, not ${values[flag]}.`);
    return numbers[0];
  };
  if (isTargets && (values.sidecars ?? values.only) !== undefined)
    throw new Error('--targets says itself how many --sidecars, and which parts.');
  const only = isTargets ? ['join', 'changes'] : (values.only?.split(',') ?? parts);
  for (const part of only) if (!parts.includes(part)) throw new Error(`--only takes ${parts.join(', ')}, not ${part}.`);
  const sizes = isTargets ? targetSizes : [number('sidecars', isShort ? 1_000 : targetSizes[1], 1, 19_000)];
  const calls = number('calls', 5, 1, 100);
  const services = number('services', isShort ? 10 : 100, calls, 1_000);
  if (Math.min(...sizes) < services) throw new Error(`--services ${services} is more than there are sidecars.`);
  const dist = values.dist ?? fileURLToPath(new URL('../../dist', import.meta.url));
  return {
    sizes,
    parts: parts.filter((part) => part === 'join' || only.includes(part)),
    json: values.json ?? null,
    isKept: isTargets,
    mesh: {
      ...{
        services,
        calls,
        sets: number('sets', 1, 1, 10_000),
        changes: number('changes', isShort ? 5 : 20, 1, 1_000),
      },
      registers: values.unregistered !== true,
      processes: number('processes', 2, 1, 64),
      joinPerSecond: number('join-rate', 1_000, 1, 100_000),
      idleSeconds: number('idle-seconds', isShort ? 3 : 15, 1, 3_600),
      churnSeconds: number('churn-seconds', isShort ? 2 : 5, 1, 600),
      churnEveryMs: 10,
      slowSidecars: number('slow', isShort ? 20 : 100, 2, 1_000),
      slowApplyMs: 1_000,
      // Longer than a lease, and than a connection may be silent.
      stoppedSeconds: isShort ? 1 : 20,
      executable: `${dist}/bin/weft.js`,
      nodeFlags: values['node-flags'].split(' ').filter(Boolean),
    },
  };
}

/** @throws Error when the system lets a process have too few open files for the connections of so many sidecars. */
export function checkOpenFiles(sidecars) {
  const [, hard] = /^Max open files +\d+ +(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  const needed = sidecars + spareFiles;
  if (hard !== undefined && hard !== 'unlimited' && Number(hard) < needed)
    throw new Error(
      `${sidecars} sidecars need ${needed} open files, and this system allows ${hard}: raise it (ulimit -Hn), or take fewer.`,
    );
}
