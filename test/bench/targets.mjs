// The targets, as rows that a run's document fills: what was to be reached, what was, and whether that holds.
import { rangeLine, ratiosOf, short, spreadOf } from './statistics.mjs';

/** Measures the rows about many routes and services. */
const scaleCommand = 'npm run bench:config';
/** Measures those about many sidecars. */
const simCommand = 'npm run sim -- --targets';
const small = 'get-100';

/** A row whose figure is a ratio of rounds; `max` is the most that holds. */
const ratio = (row, scenario, max, { measure = 'cpuUs', against = 'nginx' } = {}) => ({
  ...{ row, max, unit: '', scenario },
  reach: (document) => ratioIn(document, scenario, measure, against),
  voidBecause: (document) => voidIn(document, scenario, ['weft', against]),
});

const vital = (row, name, max, unit) => ({ row, max, unit, reach: ({ vitals }) => vitals?.[name] ?? null });

/** A row that another command fills: what it has left behind was taken into the document (elsewhere.mjs). */
const elsewhere = (row, max, unit, command, name) => ({
  ...{ row, max, unit },
  reach: ({ elsewhere }) => elsewhere?.[name]?.spread ?? null,
  voidBecause: () => `measured by \`${command}\``,
  /** It may be another build's, or another day's. */
  remark: ({ elsewhere }) => ` (${elsewhere[name].commit}, ${elsewhere[name].at.slice(0, 10)})`,
});

const targets = [
  ratio('two hops, mutual TLS, 64 busy: CPU against nginx', `two-hops-tls/busy-64/${small}`, 0.45),
  ratio('two hops, plain, 64 busy: CPU against nginx', `two-hops/busy-64/${small}`, 0.55),
  ratio('two hops, plain, 8 busy: CPU against nginx', `two-hops/busy-8/${small}`, 0.8),
  ratio('two hops, plain, 3,000 a second: CPU against nginx', `two-hops/rate-3000/${small}`, 1),
  ratio('two hops, plain, 1 connection: CPU against nginx', `two-hops/busy-1/${small}`, 1),
  ratio('two hops, mutual TLS, 8 busy: CPU against nginx', `two-hops-tls/busy-8/${small}`, 0.9),
  ratio('two hops, mutual TLS, 3,000 a second: CPU against nginx', `two-hops-tls/rate-3000/${small}`, 1),
  ratio('one hop to an app without a sidecar, 64 busy: CPU against nginx', `one-hop/busy-64/${small}`, 1.1),
  ratio('the same, pipelining declared safe', `one-hop-pipelining/busy-64/${small}`, 0.75),
  ratio('two hops, plain, 3,000 a second: p50 against nginx', `two-hops/rate-3000/${small}`, 1, { measure: 'p50Ms' }),
  ratio('two hops, plain, 3,000 a second: p99 against nginx', `two-hops/rate-3000/${small}`, 1, { measure: 'p99Ms' }),
  ...['busy-8', 'busy-64'].flatMap((load) => [
    ratio(`two hops, plain, GET 64 KiB, ${load.slice(5)} busy: CPU against nginx`, `two-hops/${load}/get-64k`, 1),
    ratio(`two hops, plain, GET 1 MiB, ${load.slice(5)} busy: CPU against nginx`, `two-hops/${load}/get-1m`, 1),
  ]),
  ...[
    ['http-proxy', 'http-proxy'],
    ['fastify', '@fastify/http-proxy'],
  ].map(([against, title]) =>
    ratio(`one hop, 64 busy: CPU against ${title}`, `one-hop/busy-64/${small}`, 0.25, { against }),
  ),
  elsewhere('route look-up with 10,000 routes against 10', 1.5, '', scaleCommand, 'lookUp'),
  vital('memory of an idle sidecar', 'idleMib', 60, ' MiB'),
  {
    ...{ row: 'memory of a sidecar, mutual TLS, 64 busy', max: 90, unit: ' MiB' },
    reach: (document) => busyMibIn(document, `two-hops-tls/busy-64/${small}`),
  },
  elsewhere('memory with 1,000 services of which it calls 5, against none', 1.1, '', scaleCommand, 'fewOfMany'),
  vital('ready from start, warm disk', 'readyMs', 300, ' ms'),
  elsewhere('change to applied on 1,000 sidecars, p99', 100, ' ms', simCommand, 'applied1000'),
  elsewhere('change to applied on 10,000 sidecars, p99', 500, ' ms', simCommand, 'applied10000'),
  elsewhere('control-plane CPU for a change on 10,000', 25, ' µs a sidecar', simCommand, 'pushCpu10000'),
];

/** What must be measured for the rows that this benchmark fills itself. */
export const targetScenarios = [
  ...new Set(targets.map(({ scenario }) => scenario).filter((scenario) => scenario !== undefined)),
];

/** @returns `{ row, target, reached, verdict }`, all words; the verdict is that of the median */
export function targetRows(document) {
  return targets.map((one) => {
    const { row } = one;
    const show = (value) => (one.unit === '' ? value.toFixed(2) : short(value));
    const target = `<= ${one.unit === '' ? one.max.toFixed(2) : one.max}${one.unit}`;
    const spread = one.reach(document);
    if (spread !== null) {
      const verdict = `${spread.median <= one.max ? 'holds' : 'does not hold'}${one.remark?.(document) ?? ''}`;
      return { row, target, reached: `${rangeLine(spread, show)}${one.unit}`, verdict };
    }
    return { row, target, reached: '-', verdict: one.voidBecause?.(document) ?? 'not measured' };
  });
}

const contestantIn = (document, scenario, name) =>
  document.scenarios.find(({ id }) => id === scenario)?.contestants.find((one) => one.name === name);

function ratioIn(document, scenario, measure, against) {
  const [weft, other] = ['weft', against].map((name) => contestantIn(document, scenario, name)?.rounds);
  return weft === undefined ? null : spreadOf(ratiosOf(weft, other, measure));
}

function voidIn(document, scenario, names) {
  const found = names.map((name) => contestantIn(document, scenario, name)).find((one) => one?.voidBecause);
  return found === undefined ? null : `void: ${found.title}: ${found.voidBecause}`;
}

/** Of the sidecar that has more, round by round. */
function busyMibIn(document, scenario) {
  const rounds = contestantIn(document, scenario, 'weft')?.rounds;
  return rounds === undefined ? null : spreadOf(rounds.map(({ hopMib }) => Math.max(...hopMib)));
}
