/** The matches of a unit, laid out for the router: paths in hash tables, tests and actions in flat records. */
import { limits } from '../../model/limits.ts';
import type { ServiceUnit, UnitAction, UnitMatch, ValueTest } from '../../model/snapshot.ts';
import { type Pattern, sections, type UnitFacts } from '../../proxy/compiled-unit.ts';
import { hashPath, prefixText, tableStart } from '../../proxy/path-hash.ts';
import { BranchWriter } from './branches.ts';
import { fitWeights, smoothSchedule } from './schedule.ts';
import type { TextWriter, UnitWriter } from './unit-writer.ts';

export type RouteFacts = Omit<
  UnitFacts,
  'service' | 'namespace' | 'hosts' | 'timeouts' | 'limits' | 'pipelinedDepth' | 'balancer'
>;

/** Writes all route sections. Throws an Error that names the route when a pattern is not a regular expression. */
export function compileRoutes(unit: ServiceUnit, writer: UnitWriter, texts: TextWriter): RouteFacts {
  const exact = groupByPath(unit.matches, 'exact');
  const prefixes = groupByPath(unit.matches, 'prefix');
  const withPattern = unit.matches.filter((match) => match.path.kind === 'pattern');

  const records = new MatchRecords(unit, texts);
  const branches = new BranchWriter(texts);
  const paths: number[] = [];
  const exactTable = compilePaths(exact, paths, records, branches);
  const prefixTable = compilePaths(prefixes, paths, records, branches);
  const patternMatchFirst = records.count;
  for (const match of withPattern) records.add(match);

  writer.set(sections.exactTable, exactTable);
  writer.set(sections.prefixTable, prefixTable);
  writer.set(sections.paths, Int32Array.from(paths));
  writer.set(sections.matches, Int32Array.from(records.matches));
  writer.set(sections.tests, Int32Array.from(records.tests));
  writer.set(sections.branches, Int32Array.from(branches.branches));
  writer.set(sections.branchMembers, Int32Array.from(branches.members));
  compileActions(unit.actions, writer, texts);
  return {
    hasRoutes: unit.matches.length > 0,
    patterns: records.patterns,
    patternMatchFirst,
    patternMatchCount: withPattern.length,
    exactCharsMax: longest(exact, (path) => path.length),
    prefixCharsMax: longest(prefixes, (path) => path.length),
    prefixSlashesMax: longest(prefixes, (path) => path.split('/').length - 1),
  };
}

function groupByPath(matches: readonly UnitMatch[], kind: 'exact' | 'prefix'): Map<string, UnitMatch[]> {
  const groups = new Map<string, UnitMatch[]>();
  for (const match of matches) {
    if (match.path.kind !== kind) continue;
    const path = kind === 'prefix' ? prefixText(match.path.value) : match.path.value;
    const group = groups.get(path);
    if (group === undefined) groups.set(path, [match]);
    else group.push(match);
  }
  return groups;
}

function longest(groups: ReadonlyMap<string, unknown>, measure: (path: string) => number): number {
  let most = 0;
  for (const path of groups.keys()) most = Math.max(most, measure(path));
  return most;
}

/** An open-addressing table at most half full; empty when there is no path. */
function compilePaths(
  groups: ReadonlyMap<string, readonly UnitMatch[]>,
  paths: number[],
  records: MatchRecords,
  branches: BranchWriter,
): Int32Array {
  if (groups.size === 0) return new Int32Array(0);
  const entries = 2 ** Math.ceil(Math.log2(groups.size * 2));
  const mask = entries - 1;
  const table = new Int32Array(2 * entries);
  for (const [path, matches] of groups) {
    const at = paths.length;
    const only = matches.length === 1 ? matches[0]! : null;
    if (only !== null && only.method === null && only.headers.length === 0 && only.query.length === 0) {
      paths.push(path.length, only.action, 0, -1);
    } else {
      paths.push(path.length, records.count, matches.length, branches.add(matches, records.count));
      for (const match of matches) records.add(match);
    }
    for (let i = 0; i < path.length; i += 2) paths.push(pairOf(path.charCodeAt(i), path.charCodeAt(i + 1)));
    const hash = hashPath(path);
    let entry = tableStart(hash, mask);
    while (table[2 * entry + 1] !== 0) entry = (entry + 1) & mask;
    table[2 * entry] = hash;
    table[2 * entry + 1] = at + 1;
  }
  return table;
}

const pair = new Uint16Array(2);
const paired = new Int32Array(pair.buffer);

/** Two characters as one number, so that they lie in memory one after the other; NaN, behind the last one, is 0. */
function pairOf(first: number, second: number): number {
  pair[0] = first;
  pair[1] = second;
  return paired[0]!;
}

/** Matches and their tests as flat numbers, and the patterns that they share. */
class MatchRecords {
  readonly matches: number[] = [];
  readonly tests: number[] = [];
  readonly patterns: Pattern[] = [];
  count = 0;

  private readonly patternIndexes = new Map<string, number>();
  private readonly unit: ServiceUnit;
  private readonly texts: TextWriter;

  constructor(unit: ServiceUnit, texts: TextWriter) {
    this.unit = unit;
    this.texts = texts;
  }

  add(match: UnitMatch): void {
    const { path, method, headers, query, action } = match;
    const methodText = method === null ? -1 : this.texts.add(method);
    const headersFirst = this.addTests(headers, 'header', action);
    const queryFirst = this.addTests(query, 'query', action);
    const pattern = path.kind === 'pattern' ? this.addPattern('path', '', path.value, action) : -1;
    this.matches.push(methodText, headersFirst, headers.length, queryFirst, query.length, pattern, action);
    this.count++;
  }

  private addTests(tests: readonly ValueTest[], on: 'header' | 'query', action: number): number {
    const first = this.tests.length / 2;
    for (const test of tests) {
      const value =
        'exact' in test ? this.texts.add(test.exact) : -1 - this.addPattern(on, test.name, test.pattern, action);
      this.tests.push(this.texts.add(test.name), value);
    }
    return first;
  }

  private addPattern(on: Pattern['on'], name: string, source: string, action: number): number {
    const key = `${on} ${name} ${source}`;
    const known = this.patternIndexes.get(key);
    if (known !== undefined) return known;
    try {
      new RegExp(source);
    } catch (cause) {
      const { route } = this.unit.actions[action]!;
      throw new Error(`route ${route}: '${source}' is not a regular expression`, { cause });
    }
    const index = this.patterns.length;
    this.patterns.push({ on, name, source });
    this.patternIndexes.set(key, index);
    return index;
  }
}

/** Actions stay JSON until a loop first needs one; their splits are tables. Splits with the same weights share one schedule. */
function compileActions(actions: readonly UnitAction[], writer: UnitWriter, texts: TextWriter): void {
  const records = new Int32Array(4 * actions.length);
  const schedules = new Map<string, { first: number; count: number }>();
  const entries: number[] = [];
  // One ticket for all actions of a rule, which differ only in what they rewrite.
  const splits = new Map<string, number>();
  for (let i = 0; i < actions.length; i++) {
    const action = actions[i]!;
    const weights = fitWeights(
      action.backends.map(({ weight }) => weight),
      limits.scheduleEntriesMax,
    );
    const key = weights.join(' ');
    let schedule = schedules.get(key);
    if (schedule === undefined) {
      const order = smoothSchedule(weights);
      schedule = { first: entries.length, count: order.length };
      for (const entry of order) entries.push(entry);
      schedules.set(key, schedule);
    }
    let split = -1;
    if (schedule.count > 1) {
      split = splits.get(action.route) ?? splits.size;
      splits.set(action.route, split);
    }
    records.set([texts.add(JSON.stringify(action)), schedule.first, schedule.count, split], 4 * i);
  }
  writer.set(sections.actions, records);
  writer.set(sections.splitEntries, Uint8Array.from(entries));
  writer.setJson(sections.splitNames, [...splits.keys()]);
}
