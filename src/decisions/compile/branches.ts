/**
 * Branches: where very many matches share one path and differ by the value of one field (a header `tenant`, say), a table from that value
 * to the matches that ask for it. Without it a look-up would try them one after the other.
 */
import type { UnitMatch } from '../../model/snapshot.ts';
import { branchKinds, groupStride } from '../../proxy/match-branch.ts';
import { hashPath, tableStart } from '../../proxy/path-hash.ts';
import type { TextWriter } from './unit-writer.ts';

/** Fewer are tried one after the other sooner than a value is hashed. */
const branchedMatchesMin = 8;

interface Field {
  readonly on: 'header' | 'query';
  readonly name: string;
}

export class BranchWriter {
  readonly branches: number[] = [];
  readonly members: number[] = [];

  constructor(private readonly texts: TextWriter) {}

  /** Of the matches of one path, in order of precedence, the first of which is number `first`. Answers where the branch begins, or -1. */
  add(matches: readonly UnitMatch[], first: number): number {
    if (matches.length < branchedMatchesMin) return -1;
    const field = fieldOfMost(matches);
    if (field === null) return -1;
    const groups = new Map<string, number[]>();
    const others: number[] = [];
    matches.forEach((match, i) => {
      const value = wantedOf(match, field);
      if (value === undefined) others.push(first + i);
      else groupOf(groups, value).push(first + i);
    });
    return this.write(field, groups, others);
  }

  private write(field: Field, groups: ReadonlyMap<string, readonly number[]>, others: readonly number[]): number {
    const at = this.branches.length;
    const entries = 2 ** Math.ceil(Math.log2(groups.size * 2));
    const mask = entries - 1;
    const table = new Int32Array(groupStride * entries);
    let valueCharsMax = 0;
    for (const [value, matches] of groups) {
      valueCharsMax = Math.max(valueCharsMax, value.length);
      const hash = hashPath(value);
      let entry = tableStart(hash, mask);
      while (table[groupStride * entry + 3] !== 0) entry = (entry + 1) & mask;
      table.set([hash, this.texts.add(value), this.addMembers(matches), matches.length], groupStride * entry);
    }
    const name = this.texts.add(field.name);
    this.branches.push(branchKinds[field.on], name, valueCharsMax, entries, this.addMembers(others), others.length);
    for (const number of table) this.branches.push(number);
    return at;
  }

  private addMembers(matches: readonly number[]): number {
    const first = this.members.length;
    for (const match of matches) this.members.push(match);
    return first;
  }
}

/** The field for whose value most of the matches ask, if enough of them do. */
function fieldOfMost(matches: readonly UnitMatch[]): Field | null {
  const counts = new Map<string, { readonly field: Field; count: number }>();
  for (const match of matches) {
    for (const on of ['header', 'query'] as const) {
      const tests = on === 'header' ? match.headers : match.query;
      for (const name of new Set(tests.filter((test) => 'exact' in test).map((test) => test.name))) {
        const known = counts.get(`${on} ${name}`);
        if (known === undefined) counts.set(`${on} ${name}`, { field: { on, name }, count: 1 });
        else known.count++;
      }
    }
  }
  let most: { readonly field: Field; readonly count: number } | null = null;
  for (const one of counts.values()) if (most === null || one.count > most.count) most = one;
  return most === null || most.count < branchedMatchesMin ? null : most.field;
}

/** What the match asks of the field; undefined: nothing, or not a certain value. */
function wantedOf({ headers, query }: UnitMatch, { on, name }: Field): string | undefined {
  const tests = on === 'header' ? headers : query;
  for (const test of tests) if (test.name === name && 'exact' in test) return test.exact;
  return undefined;
}

function groupOf(groups: Map<string, number[]>, value: string): number[] {
  let group = groups.get(value);
  if (group === undefined) {
    group = [];
    groups.set(value, group);
  }
  return group;
}
