/**
 * Which match of a Service's routes applies to a request. One pass over the path hashes every prefix that ends at a segment, so the
 * cost depends on the path and not on how many routes there are. Order: exact paths, patterns, prefixes from longest to shortest;
 * within one path the order of precedence that the snapshot gave.
 */
import {
  type CompiledUnit,
  int32Of,
  matchStride,
  notFound,
  type Pattern,
  pathHeader,
  sections,
  type Texts,
  type UnitFacts,
  uint16Of,
  undecided,
} from './compiled-unit.ts';
import { joinedHeaderValue } from './headers.ts';
import type { OpenAction } from './loop-action.ts';
import { MatchBranches } from './match-branch.ts';
import { emptyPathHash, extendPathHash, tableStart } from './path-hash.ts';
import { queryValue } from './query.ts';
import type { RequestHead } from './request.ts';
import { trialsOf } from './route-trials.ts';
import type { LoopAction, LoopService, RouteDecision, RouteLookup, RouteTrials } from './tables.ts';

const noMatch: RouteDecision = { tag: 'no-match' };
const needsPatterns: RouteDecision = { tag: 'needs-patterns' };
/** One for all answers: a decision is read before the next one is made. */
const decided: { tag: 'action'; action: LoopAction } = { tag: 'action', action: null as unknown as LoopAction };

/**
 * Decides a request's action. `verdicts` are the answers of `SlowDecisions.matchPatterns`, null when it was not asked yet: it needs to
 * be only when no match of higher precedence without a pattern applies. The answer is valid until the next call.
 */
export function route(service: LoopService, request: RequestHead, verdicts: Uint8Array | null): RouteDecision {
  const { routes } = service;
  if (routes === null) {
    decided.action = service.directAction;
    return decided;
  }
  const action = routes.find(request, verdicts);
  if (action === notFound) return noMatch;
  if (action === undecided) return needsPatterns;
  decided.action = routes.action(action);
  return decided;
}

const slash = 0x2f;

/** Scratch of one look-up, for all tables of the loop: where prefixes of the path end, and their hashes, shortest first. */
let prefixEnds = new Int32Array(16);
let prefixHashes = new Int32Array(16);

function growScratch(prefixes: number): void {
  if (prefixes <= prefixEnds.length) return;
  prefixEnds = new Int32Array(prefixes);
  prefixHashes = new Int32Array(prefixes);
}

export class RouteTable implements RouteLookup {
  readonly patterns: readonly Pattern[];

  // What is not private is read by route-trials.ts, which tells people what is decided here.
  readonly texts: Texts;
  readonly exactTable: Int32Array;
  readonly prefixTable: Int32Array;
  readonly paths: Int32Array;
  readonly pathChars: Uint16Array;
  readonly matches: Int32Array;
  readonly tests: Int32Array;
  private readonly branches: MatchBranches;
  readonly patternMatchFirst: number;
  readonly patternMatchCount: number;
  private readonly exactCharsMax: number;
  readonly hashedCharsMax: number;
  private readonly prefixSlashesMax: number;
  /** The action of all requests, where the one rule asks nothing of them; -1: it depends. */
  private readonly forAll: number;
  /** That its rules name, each once; null: nobody has asked. */
  private methods: readonly string[] | null = null;
  private readonly actions: (OpenAction | null)[];
  private readonly openAction: (index: number) => OpenAction;

  /** `openAction` is called once an action, when a request first needs it. */
  constructor(
    unit: CompiledUnit,
    facts: UnitFacts,
    texts: Texts,
    actionCount: number,
    openAction: (index: number) => OpenAction,
  ) {
    this.patterns = facts.patterns;
    this.texts = texts;
    this.exactTable = int32Of(unit, sections.exactTable);
    this.prefixTable = int32Of(unit, sections.prefixTable);
    this.paths = int32Of(unit, sections.paths);
    this.pathChars = uint16Of(unit, sections.paths);
    this.matches = int32Of(unit, sections.matches);
    this.tests = int32Of(unit, sections.tests);
    this.branches = new MatchBranches(unit, texts);
    this.patternMatchFirst = facts.patternMatchFirst;
    this.patternMatchCount = facts.patternMatchCount;
    this.exactCharsMax = facts.exactCharsMax;
    // One more than the longest prefix: the character behind it decides whether a segment ends there.
    this.hashedCharsMax = Math.max(facts.exactCharsMax, facts.prefixCharsMax + 1);
    this.prefixSlashesMax = facts.prefixSlashesMax;
    growScratch(facts.prefixSlashesMax + 1);
    this.forAll = this.onlyAction();
    this.actions = new Array<OpenAction | null>(actionCount).fill(null);
    this.openAction = openAction;
  }

  action(index: number): OpenAction {
    let action = this.actions[index]!;
    if (action === null) {
      action = this.openAction(index);
      this.actions[index] = action;
    }
    return action;
  }

  otherMethods(request: RequestHead, verdicts: Uint8Array | null): readonly string[] {
    this.methods ??= this.methodsAsked();
    return this.methods.filter(
      (method) => method !== request.method && this.find({ ...request, method }, verdicts) >= 0,
    );
  }

  private methodsAsked(): readonly string[] {
    const { matches, texts } = this;
    const methods = new Set<number>();
    for (let at = 0; at < matches.length; at += matchStride) if (matches[at] !== -1) methods.add(matches[at]!);
    return [...new Set(Array.from(methods, (method) => texts.at(method)))];
  }

  trials(request: RequestHead, verdicts: Uint8Array | null): RouteTrials {
    return trialsOf(this, request, verdicts);
  }

  /** Most routes of a mesh split what is sent to a Service, whatever it is. */
  private onlyAction(): number {
    const { paths, exactTable } = this;
    const isOne = exactTable.length === 0 && this.patternMatchCount === 0 && paths.length === pathHeader;
    return isOne && paths[2] === 0 ? paths[1]! : -1;
  }

  /** Index of the action, `notFound` or `undecided`. */
  find(request: RequestHead, verdicts: Uint8Array | null): number {
    if (this.forAll !== -1) return this.forAll;
    const { path } = request;
    const hashedChars = Math.min(path.length, this.hashedCharsMax);
    let hash = emptyPathHash;
    let prefixes = 0;
    for (let i = 0; i < hashedChars; i++) {
      const c = path.charCodeAt(i);
      if (c === slash && prefixes <= this.prefixSlashesMax) {
        prefixEnds[prefixes] = i;
        prefixHashes[prefixes++] = hash;
      }
      hash = extendPathHash(hash, c);
    }
    const isWhole = hashedChars === path.length;
    if (isWhole && prefixes <= this.prefixSlashesMax && path.charCodeAt(path.length - 1) !== slash) {
      prefixEnds[prefixes] = path.length;
      prefixHashes[prefixes++] = hash;
    }

    if (isWhole && path.length <= this.exactCharsMax) {
      const at = this.findPath(this.exactTable, path, path.length, hash);
      const action = at === -1 ? notFound : this.firstOfPath(at, request, verdicts);
      if (action !== notFound) return action;
    }
    if (this.patternMatchCount > 0) {
      const action = this.firstMatch(this.patternMatchFirst, this.patternMatchCount, request, verdicts);
      if (action !== notFound) return action;
    }
    for (let i = prefixes - 1; i >= 0; i--) {
      const at = this.findPath(this.prefixTable, path, prefixEnds[i]!, prefixHashes[i]!);
      const action = at === -1 ? notFound : this.firstOfPath(at, request, verdicts);
      if (action !== notFound) return action;
    }
    return notFound;
  }

  /** Where the record in `paths` begins of the first `length` characters of `path`, or -1. */
  findPath(table: Int32Array, path: string, length: number, hash: number): number {
    const mask = (table.length >> 1) - 1;
    if (mask < 0) return -1;
    for (let entry = tableStart(hash, mask); ; entry = (entry + 1) & mask) {
      const at = table[2 * entry + 1]! - 1;
      if (at === -1) return -1;
      if (table[2 * entry] !== hash) continue;
      if (this.isPath(at, path, length)) return at;
    }
  }

  private isPath(at: number, path: string, length: number): boolean {
    const { pathChars } = this;
    if (this.paths[at] !== length) return false;
    const start = 2 * (at + pathHeader);
    for (let i = 0; i < length; i++) if (pathChars[start + i] !== path.charCodeAt(i)) return false;
    return true;
  }

  private firstOfPath(at: number, request: RequestHead, verdicts: Uint8Array | null): number {
    const count = this.paths[at + 2]!;
    if (count === 0) return this.paths[at + 1]!;
    const branch = this.paths[at + 3]!;
    if (branch !== -1) return this.firstOfBranch(branch, request, verdicts);
    return this.firstMatch(this.paths[at + 1]!, count, request, verdicts);
  }

  private firstOfBranch(branch: number, request: RequestHead, verdicts: Uint8Array | null): number {
    const { branches } = this;
    for (let match = branches.begin(branch, request); match !== -1; match = branches.next()) {
      const result = this.testMatch(match * matchStride, request, verdicts);
      if (result !== notFound) return result;
    }
    return notFound;
  }

  private firstMatch(first: number, count: number, request: RequestHead, verdicts: Uint8Array | null): number {
    for (let match = first; match < first + count; match++) {
      const result = this.testMatch(match * matchStride, request, verdicts);
      if (result !== notFound) return result;
    }
    return notFound;
  }

  /** Cheap tests first: verdicts are asked for only when all else holds. */
  testMatch(at: number, request: RequestHead, verdicts: Uint8Array | null): number {
    const { matches } = this;
    const method = matches[at]!;
    if (method !== -1 && this.texts.at(method) !== request.method) return notFound;
    const headers = this.runTests(matches[at + 1]!, matches[at + 2]!, request, true, verdicts);
    if (headers === notFound) return notFound;
    const query = this.runTests(matches[at + 3]!, matches[at + 4]!, request, false, verdicts);
    if (query === notFound) return notFound;
    const pathPattern = matches[at + 5]!;
    if (pathPattern !== -1) {
      if (verdicts === null) return undecided;
      if (verdicts[pathPattern] !== 1) return notFound;
    }
    return headers === undecided || query === undecided ? undecided : matches[at + 6]!;
  }

  /** 0 when every test holds, `notFound` when one does not, `undecided` when that depends on verdicts that are not there. */
  runTests(
    first: number,
    count: number,
    request: RequestHead,
    onHeaders: boolean,
    verdicts: Uint8Array | null,
  ): number {
    let result = 0;
    for (let at = 2 * first; at < 2 * (first + count); at += 2) {
      const value = this.tests[at + 1]!;
      if (value < 0) {
        if (verdicts === null) result = undecided;
        else if (verdicts[-1 - value] !== 1) return notFound;
        continue;
      }
      const name = this.texts.at(this.tests[at]!);
      const sent = onHeaders ? joinedHeaderValue(request.headers, name) : queryValue(request.query, name);
      if (sent !== this.texts.at(value)) return notFound;
    }
    return result;
  }
}
