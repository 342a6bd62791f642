/**
 * Which of very many matches of one path can apply to a request at all: those that ask for the value that it has of the path's branching
 * field, and those that ask nothing of that field. decisions/compile/branches.ts writes what is read here.
 */
import { type CompiledUnit, int32Of, sections, type Texts } from './compiled-unit.ts';
import { joinedHeaderValue } from './headers.ts';
import { hashPath, tableStart } from './path-hash.ts';
import { queryValue } from './query.ts';
import type { RequestHead } from './request.ts';

/**
 * A branch: what the field is (`branchKinds`), text of its name, characters of the longest value, entries of the table, first of the other
 * matches in `branchMembers`, how many. Then the table, open addressing, a power of two of entries, at most half full.
 */
const branchHeader = 6;
/** An entry of the table: hash, text of the value, first of its matches in `branchMembers`, how many (0: empty). */
export const groupStride = 4;
export const branchKinds = { header: 0, query: 1 } as const;

export class MatchBranches {
  private readonly branches: Int32Array;
  private readonly members: Int32Array;
  private readonly texts: Texts;
  /** Of the walk that is under way: what is left of the value's matches and of the others, both ascending. */
  private at = 0;
  private end = 0;
  private otherAt = 0;
  private otherEnd = 0;

  constructor(unit: CompiledUnit, texts: Texts) {
    this.branches = int32Of(unit, sections.branches);
    this.members = int32Of(unit, sections.branchMembers);
    this.texts = texts;
  }

  /** The first match in order of precedence, or -1. One walk at a time. */
  begin(branch: number, request: RequestHead): number {
    const { branches } = this;
    const name = this.texts.at(branches[branch + 1]!);
    const isHeader = branches[branch] === branchKinds.header;
    const value = isHeader ? joinedHeaderValue(request.headers, name) : queryValue(request.query, name);
    this.otherAt = branches[branch + 4]!;
    this.otherEnd = this.otherAt + branches[branch + 5]!;
    this.at = 0;
    this.end = 0;
    if (typeof value === 'string' && value.length <= branches[branch + 2]!) this.findGroup(branch, value);
    return this.next();
  }

  next(): number {
    const { members } = this;
    const hasOther = this.otherAt < this.otherEnd;
    if (this.at === this.end) return hasOther ? members[this.otherAt++]! : -1;
    if (hasOther && members[this.otherAt]! < members[this.at]!) return members[this.otherAt++]!;
    return members[this.at++]!;
  }

  private findGroup(branch: number, value: string): void {
    const { branches } = this;
    const mask = branches[branch + 3]! - 1;
    const hash = hashPath(value);
    for (let entry = tableStart(hash, mask); ; entry = (entry + 1) & mask) {
      const group = branch + branchHeader + groupStride * entry;
      const count = branches[group + 3]!;
      if (count === 0) return;
      if (branches[group] !== hash || this.texts.at(branches[group + 1]!) !== value) continue;
      this.at = branches[group + 2]!;
      this.end = this.at + count;
      return;
    }
  }
}
