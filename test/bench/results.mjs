// The document of a run: the machine, every figure of every round, what they come to, and the targets. Written again after each scenario,
// so that an interrupted run has what it measured, and can be gone on with.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { measures, ratiosOf, spreadOf } from './statistics.mjs';
import { targetRows } from './targets.mjs';

const format = 'weft-bench/1';
/** What each figure is compared to: nginx, and where there is none, the floor. */
const baselineNames = ['nginx', 'relay'];

export function newDocument({ form, machine, commit, options, startedAt }) {
  const figures = { vitals: null, elsewhere: {}, scenarios: [], targets: [] };
  return { format, form, startedAt, endedAt: null, machine, commit, options, ...figures };
}

/** @throws Error when the file is no document of a run. */
export function readDocument(path) {
  const document = JSON.parse(readFileSync(path, 'utf8'));
  if (document.format !== format) throw new Error(`${path} holds no results of this benchmark (${format}).`);
  return document;
}

/** Whole or not at all, also when the machine goes down in between. */
export function writeDocument(path, document) {
  document.targets = targetRows(document);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.new`, textOf(document));
  renameSync(`${path}.new`, path);
}

/**
 * What a scenario came to.
 * @param entries `{ name, title, voidBecause }`, `figures` their rounds by name
 */
export function resultOf(scenario, entries, { figures, again }) {
  const baseline = baselineNames.find((name) => entries.some((one) => one.name === name && one.voidBecause === null));
  return {
    ...scenario,
    baseline: baseline ?? null,
    again,
    contestants: entries.map(({ name, title, voidBecause }) => {
      if (voidBecause !== null) return { name, title, voidBecause };
      const rounds = figures[name].map(rounded);
      const of = (spread) => Object.fromEntries(measures.map((measure) => [measure, spread(measure)]));
      return {
        ...{ name, title, voidBecause },
        spread: of((measure) => rounded(spreadOf(rounds.map((round) => round[measure])))),
        againstBaseline: of((measure) => rounded(spreadOf(ratiosOf(figures[name], figures[baseline], measure)))),
        rounds,
      };
    }),
  };
}

/** Five digits that count: more of them only make the file long. */
function rounded(value) {
  if (typeof value === 'number') return Number(value.toPrecision(5));
  if (Array.isArray(value)) return value.map(rounded);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, rounded(one)]));
}

/** JSON with a line for each round, which is where a reader looks for the odd one. */
function textOf(document) {
  const lines = [];
  const marked = JSON.stringify(
    document,
    (key, value) =>
      key === 'rounds' && Array.isArray(value) ? value.map((round) => `@${lines.push(round) - 1}`) : value,
    2,
  );
  return `${marked.replace(/"@(\d+)"/g, (_, index) => JSON.stringify(lines[index]))}\n`;
}
