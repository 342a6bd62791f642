/**
 * What a request was held against, for people: the matches of its Service's rules in the order in which the router tries them, and why each
 * did not apply. Whether one applies is asked of the router itself, test by test; nothing is decided here.
 */
import type { RuleTrial } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import { matchStride, notFound, pathHeader, undecided } from './compiled-unit.ts';
import { joinedHeaderValue } from './headers.ts';
import { hashPath } from './path-hash.ts';
import { queryValue } from './query.ts';
import type { RequestHead } from './request.ts';
import type { RouteTable } from './router.ts';
import type { RouteTrials } from './tables.ts';

type PathKind = 'exact' | 'prefix' | 'pattern';

/** A path that rules ask for, and the matches behind it. */
interface PathRecord {
  readonly kind: PathKind;
  /** Of the path; empty for patterns. */
  readonly text: string;
  /** First match, or where there are 0 the action itself. */
  readonly first: number;
  readonly count: number;
}

const slash = 0x2f;

export function trialsOf(table: RouteTable, request: RequestHead, verdicts: Uint8Array | null): RouteTrials {
  const chosen = table.find(request, verdicts);
  const trials: RuleTrial[] = [];
  const met = recordsOn(table, request.path);
  let isFound = false;
  for (const record of met) {
    for (let i = 0; i < Math.max(1, record.count) && !isFound && trials.length < limits.decisionRulesMax; i++) {
      const trial = trialOf(table, record, i, request, verdicts);
      trials.push(trial);
      isFound = trial.why === '' && chosen >= 0;
    }
  }
  // One that lies beyond the bound is shown all the same: it is what the rest is about.
  if (chosen >= 0 && !isFound) {
    const rule = table.action(chosen).route;
    trials[Math.min(trials.length, limits.decisionRulesMax - 1)] = {
      rule,
      asks: 'one of its further matches',
      why: '',
    };
  }
  const taken = new Set(met.map(({ kind, text }) => `${kind} ${text}`));
  for (const record of allRecords(table)) {
    // A Service may have ten thousand: those that nobody would see are not looked at.
    if (trials.length >= limits.decisionRulesMax) break;
    if (taken.has(`${record.kind} ${record.text}`)) continue;
    for (let i = 0; i < Math.max(1, record.count) && trials.length < limits.decisionRulesMax; i++)
      trials.push({ ...trialOf(table, record, i, request, verdicts), why: 'its path is another one' });
  }
  return { trials, leftOut: matchesIn(table) - trials.length };
}

function matchesIn({ paths, patternMatchCount }: RouteTable): number {
  let total = patternMatchCount;
  for (let at = 0; at < paths.length; at += pathHeader + Math.ceil(paths[at]! / 2))
    total += Math.max(1, paths[at + 2]!);
  return total;
}

/** Those whose path the request's path meets, in the order of `RouteTable.find`. */
function recordsOn(table: RouteTable, path: string): readonly PathRecord[] {
  const records: PathRecord[] = [];
  const add = (kind: PathKind, text: string) => {
    const at = table.findPath(
      kind === 'exact' ? table.exactTable : table.prefixTable,
      text,
      text.length,
      hashPath(text),
    );
    if (at !== -1) records.push(recordAt(table, kind, at));
  };
  add('exact', path);
  if (table.patternMatchCount > 0) records.push(patternsOf(table));
  const isWhole = path.charCodeAt(path.length - 1) !== slash;
  for (
    let end = isWhole ? path.length : path.length - 1;
    end >= 0;
    end = end === 0 ? -1 : path.lastIndexOf('/', end - 1)
  )
    if (end <= table.hashedCharsMax) add('prefix', path.slice(0, end));
  return records;
}

/** Every path that there is: exact ones first, and each kind in order of precedence, as they were compiled. */
function* allRecords(table: RouteTable): Generator<PathRecord> {
  const { paths } = table;
  for (let at = 0; at < paths.length; at += pathHeader + Math.ceil(paths[at]! / 2)) {
    const text = textAt(table, at);
    const isExact = table.findPath(table.exactTable, text, text.length, hashPath(text)) === at;
    yield recordAt(table, isExact ? 'exact' : 'prefix', at);
  }
  if (table.patternMatchCount > 0) yield patternsOf(table);
}

const recordAt = (table: RouteTable, kind: PathKind, at: number): PathRecord => ({
  kind,
  text: textAt(table, at),
  first: table.paths[at + 1]!,
  count: table.paths[at + 2]!,
});

const patternsOf = ({ patternMatchFirst: first, patternMatchCount: count }: RouteTable): PathRecord => ({
  kind: 'pattern',
  text: '',
  first,
  count,
});

function textAt({ paths, pathChars }: RouteTable, at: number): string {
  const start = 2 * (at + pathHeader);
  return String.fromCharCode(...pathChars.subarray(start, start + paths[at]!));
}

function trialOf(
  table: RouteTable,
  record: PathRecord,
  index: number,
  request: RequestHead,
  verdicts: Uint8Array | null,
): RuleTrial {
  // A path whose one match asks nothing else has no match of its own.
  if (record.count === 0)
    return { rule: table.action(record.first).route, asks: pathText(record.kind, record.text), why: '' };
  const at = (record.first + index) * matchStride;
  const { matches } = table;
  return {
    rule: table.action(matches[at + 6]!).route,
    asks: asksOf(table, record, at),
    why: whyNot(table, at, request, verdicts),
  };
}

function asksOf(table: RouteTable, { kind, text }: PathRecord, at: number): string {
  const { matches, patterns, texts } = table;
  const method = matches[at]! === -1 ? '' : `${texts.at(matches[at]!)} `;
  const pattern = matches[at + 5]!;
  const path = kind === 'pattern' ? pathText(kind, patterns[pattern]!.source) : pathText(kind, text);
  const tests = [
    ...testsOf(table, matches[at + 1]!, matches[at + 2]!).map((test) => `header ${test}`),
    ...testsOf(table, matches[at + 3]!, matches[at + 4]!).map((test) => `query ${test}`),
  ];
  return [method + path, ...tests].join(', ').slice(0, limits.decisionTextCharsMax);
}

function pathText(kind: PathKind, text: string): string {
  switch (kind) {
    case 'exact':
      return `path ${text}`;
    case 'prefix':
      return text === '' ? 'any path' : `path ${text} or below`;
    case 'pattern':
      return `path like ${text}`;
    default:
      return kind satisfies never;
  }
}

function testsOf({ patterns, tests, texts }: RouteTable, first: number, count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => {
    const at = 2 * (first + i);
    const value = tests[at + 1]!;
    const name = texts.at(tests[at]!);
    return value < 0 ? `${name} like ${patterns[-1 - value]!.source}` : `${name} = ${texts.at(value)}`;
  });
}

/** Empty: the match applies. What the request has is not said: it may be a secret. */
function whyNot(table: RouteTable, at: number, request: RequestHead, verdicts: Uint8Array | null): string {
  const outcome = table.testMatch(at, request, verdicts);
  if (outcome >= 0) return '';
  const { matches, texts } = table;
  const method = matches[at]!;
  if (method !== -1 && texts.at(method) !== request.method) return `the method is ${request.method}`;
  const failed =
    failedTest(table, matches[at + 1]!, matches[at + 2]!, request, true, verdicts) ??
    failedTest(table, matches[at + 3]!, matches[at + 4]!, request, false, verdicts);
  if (failed !== null) return failed;
  return outcome === undecided ? 'its regular expressions were not asked' : 'the path is not like that';
}

/** Null: all tests hold, or could. */
function failedTest(
  table: RouteTable,
  first: number,
  count: number,
  request: RequestHead,
  onHeaders: boolean,
  verdicts: Uint8Array | null,
): string | null {
  for (let i = first; i < first + count; i++) {
    if (table.runTests(i, 1, request, onHeaders, verdicts) !== notFound) continue;
    const name = table.texts.at(table.tests[2 * i]!);
    const sent = onHeaders ? joinedHeaderValue(request.headers, name) : queryValue(request.query, name);
    return `${onHeaders ? 'header' : 'query'} ${name} is ${sent === undefined ? 'absent' : 'another'}`;
  }
  return null;
}
