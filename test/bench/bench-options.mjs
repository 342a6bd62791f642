// The command line of the benchmark, parsed and checked.
import { parseArgs } from 'node:util';
import { contestantsOf } from './contestants.mjs';
import { wholeNumbers } from './flags.mjs';
import { readDocument } from './results.mjs';
import { loads, messages, selectScenarios, topologies } from './scenarios.mjs';
import { targetScenarios } from './targets.mjs';

const namesOf = (table) => Object.keys(table).join(' ');
const contestantNames = [...new Set(Object.values(contestantsOf).flatMap(Object.keys))];
/** Who takes part when the time is short. */
const shortNames = ['relay', 'nginx', 'weft'];
/** Where Weft is profiled when nothing else is said. */
const profiled = ['one-hop/busy-64/get-100', 'two-hops/busy-64/get-100', 'two-hops-tls/busy-64/get-100'];

export const usage = `npm run bench -- [flags]: Weft against other proxies; native-bench/README.md has the method
  --short             four scenarios and ${shortNames.join(', ')}: about two minutes (all of it takes about two hours)
  --targets           the scenarios that the rows of targets need, everybody, start and memory: about 20 minutes
  --only NAME,NAME    contestants: ${contestantNames.join(' ')} (all)
  --scenario ID,ID    TOPOLOGY/LOAD/MESSAGE, a part may be *, those at the end may be missing (all)
                      ${namesOf(topologies)}
                      ${namesOf(loads)}
                      ${namesOf(messages)}
  --list              shows the chosen scenarios and how long they take, and measures nothing
  --rounds N          rounds of every contestant (5; short: 3)
  --seconds N         length of a round (3; short: 2)
  --json FILE         where the results go, written again after each scenario (bench-results/TIME.json)
  --resume FILE       goes on with an interrupted run: its options, and the scenarios that are missing
  --from FILE         measures nothing: prints the results of that file, and publishes them if asked to
  --publish           writes docs/benchmarks.md and its chart
  --profile           instead: prints where CPU time went, and leaves CPU profiles and counts of system calls of each sidecar in bench-results/
  --no-install        leaves out contestants whose program is missing, instead of installing it
  --dist DIR          the build that is measured (dist)
  --cores P,L         core of the proxies, core of load and app (0,1)
  --others-max SHARE  what is measured with more of the proxies' core in other hands is done again, 6 times at most (1: never)
  --node-flags='A B'  for Node itself, in all sidecars (none)`;

const text = { type: 'string' };
const yes = { type: 'boolean', default: false };
const flags = {
  ...{
    short: yes,
    targets: yes,
    list: yes,
    publish: yes,
    profile: yes,
    'no-install': yes,
    help: { ...yes, short: 'h' },
  },
  ...{ only: text, scenario: text, rounds: text, seconds: text, json: text, resume: text, from: text, dist: text },
  ...{
    cores: { ...text, default: '0,1' },
    'others-max': { ...text, default: '1' },
    'node-flags': { ...text, default: '' },
  },
};

/**
 * @returns null when only help is wanted
 * @throws Error saying which flag is wrong, and how.
 */
export function readOptions(words) {
  const { values } = parseArgs({ args: words, options: flags });
  if (values.help) return null;
  const resumed = values.resume === undefined ? null : readDocument(values.resume);
  if (resumed !== null)
    for (const name of ['only', 'scenario', 'rounds', 'seconds', 'json', 'short', 'targets'])
      if (values[name]) throw new Error(`--resume has --${name} from its file.`);
  const chosen = resumed?.options ?? choiceOf(values);
  const [proxyCore, loadCore] = wholeNumbers('--cores', values.cores, 0, 4_095);
  if (loadCore === undefined) throw new Error('--cores wants two numbers: P,L.');
  const othersMax = Number(values['others-max']);
  if (!(othersMax > 0 && othersMax <= 1)) throw new Error('--others-max wants a share above 0 and at most 1.');
  return {
    ...{ isList: values.list, isPublished: values.publish, isProfile: values.profile },
    ...{ mayInstall: !values['no-install'], proxyCore, loadCore, othersMax, distDir: values.dist },
    nodeFlags: values['node-flags'].split(' ').filter(Boolean),
    ...{ resumed, chosen, json: values.resume ?? values.json ?? null },
    from: values.from === undefined ? null : readDocument(values.from),
  };
}

/** What is measured, as it stands in the results, too. */
function choiceOf(values) {
  const isShort = values.short;
  if (values.targets && (isShort || values.scenario !== undefined))
    throw new Error('--targets says which scenarios: it goes with neither --short nor --scenario.');
  const names = values.only?.split(',') ?? (isShort ? shortNames : contestantNames);
  for (const name of names)
    if (!contestantNames.includes(name))
      throw new Error(`There is no contestant ${name}, only ${contestantNames.join(', ')}.`);
  const patterns = values.scenario?.split(',') ?? (values.targets ? targetScenarios : values.profile ? profiled : []);
  const isOfAll = values.scenario === undefined && values.only === undefined && !values.profile;
  return {
    form: !isOfAll ? 'partial' : values.targets ? 'targets' : isShort ? 'short' : 'full',
    names,
    scenarios: selectScenarios(patterns, { isShort }).map(({ id }) => id),
    rounds: numberOf('--rounds', values.rounds ?? (isShort ? '3' : '5'), 1, 1_000),
    seconds: numberOf('--seconds', values.seconds ?? (isShort ? '2' : '3'), 1, 600),
    firstWarmUpSeconds: isShort ? 3 : 4,
    warmUpSeconds: isShort ? 1 : 1.5,
    /** A part of the scenarios says nothing about starting, unless everybody was asked for. */
    vitalStarts: values.scenario !== undefined || values.profile || !names.includes('weft') ? 0 : isShort ? 1 : 10,
  };
}

function numberOf(flag, value, min, max) {
  const numbers = wholeNumbers(flag, value, min, max);
  if (numbers.length > 1) throw new Error(`${flag} wants one number, not ${value}.`);
  return numbers[0];
}
