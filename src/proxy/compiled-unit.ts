/**
 * One compiled Service: the layout of its SharedArrayBuffer, which decisions/compile/ writes and every loop reads in place. It is a
 * list of sections; numbers are typed arrays, strings UTF-8 that a loop decodes once, at their first use.
 */
import assert from 'node:assert';
import type { Timeouts, UnitBalancer, UnitLimits, UnitName } from '../model/snapshot.ts';

export interface CompiledUnit {
  readonly name: UnitName;
  readonly buffer: SharedArrayBuffer;
}

/** Sections in the order of the directory at the buffer's start. `x N` is the stride of a record in array elements. */
export const sections = {
  /** JSON of `UnitFacts`. */
  facts: 0,
  /** Int32: where each text ends in `textBytes`. */
  textEnds: 1,
  textBytes: 2,
  /** Int32 x 4: port, weight, 1 when it has a sidecar, index into `identities`. */
  endpoints: 3,
  /** JSON of `EndpointNames`. */
  endpointNames: 4,
  /** Int32, written by slot-table.ts: 1 when assigned, the unit's slot, a slot for each endpoint, a slot for each split. */
  slots: 5,
  /** Int32 x 2, open addressing, a power of two: hash, where its record in `paths` begins, plus 1 (0: empty). */
  exactTable: 6,
  prefixTable: 7,
  /**
   * Int32, records of any length: characters of the path, first match, how many, where its branch begins or -1; then the characters, two in
   * each number (Uint16), beside the rest because they are always read with it. Matches of one path are in order of precedence. There are
   * 0 for a path whose one match asks nothing else of a request: then the first is the action itself.
   */
  paths: 8,
  /** Int32 x 7: method text or -1, first header test, how many, first query test, how many, path pattern or -1, action. */
  matches: 9,
  /** Int32 x 2: name text, value text (>= 0) or pattern (-1 - index). */
  tests: 10,
  /** Int32 x 4: text (JSON of `ActionFacts`), first entry of its schedule, how many, index of its split or -1. */
  actions: 11,
  /** Uint8: backends' indexes, the schedules of all splits. */
  splitEntries: 12,
  /** JSON of the splits' names, one for each slot. */
  splitNames: 13,
  /** Uint16, WeightedRoundRobin: positions among the endpoints with weight. */
  schedule: 14,
  /** Float64: running sum of the weights of the endpoints with weight. */
  cumulative: 15,
  /** Uint32, ascending, and Uint16: RingHash. */
  ringPositions: 16,
  ringOwners: 17,
  /** Uint16: Maglev. */
  maglev: 18,
  /** Int32, see match-branch.ts. */
  branches: 19,
  /** Int32: matches, ascending within a group of a branch. */
  branchMembers: 20,
} as const;
export type Section = (typeof sections)[keyof typeof sections];
export const sectionCount = Object.keys(sections).length;

export interface Pattern {
  readonly on: 'path' | 'header' | 'query';
  /** Lower-case field, or parameter; empty for the path. */
  readonly name: string;
  /** As written. It must match the whole subject. */
  readonly source: string;
}

export interface UnitFacts {
  readonly service: string;
  readonly namespace: string;
  readonly hosts: readonly string[];
  readonly timeouts: Timeouts;
  readonly limits: UnitLimits | null;
  readonly pipelinedDepth: number;
  readonly balancer: UnitBalancer;
  readonly hasRoutes: boolean;
  readonly patterns: readonly Pattern[];
  /** Matches with a path pattern lie together in `matches`. */
  readonly patternMatchFirst: number;
  readonly patternMatchCount: number;
  /** Nothing longer is an exact path or a prefix, and no prefix has more slashes: what bounds the hashing of a request's path. */
  readonly exactCharsMax: number;
  readonly prefixCharsMax: number;
  readonly prefixSlashesMax: number;
}

/** Parallel to the section `endpoints`, but for the identities. */
export interface EndpointNames {
  readonly addresses: readonly string[];
  readonly hosts: readonly string[];
  readonly zones: readonly string[];
  /** Empty when no endpoint has a link. */
  readonly links: readonly (readonly string[])[];
  /** Each once: nearly all endpoints of a Service have the Service's own. */
  readonly identities: readonly string[];
}

export const slotsHeader = 2;
/** Numbers of a record in `paths` before the characters. */
export const pathHeader = 4;
/** Of a record in `matches`. */
export const matchStride = 7;
/** What a look-up of an action answers where there is none, and where that depends on verdicts of patterns that are not there. */
export const notFound = -1;
export const undecided = -2;

function directory(buffer: SharedArrayBuffer, section: Section): Int32Array {
  return new Int32Array(buffer, section * 8, 2);
}

export function bytesOf(unit: CompiledUnit, section: Section): Uint8Array {
  const [offset, byteLength] = directory(unit.buffer, section);
  return new Uint8Array(unit.buffer, offset!, byteLength!);
}

export function int32Of(unit: CompiledUnit, section: Section): Int32Array {
  const [offset, byteLength] = directory(unit.buffer, section);
  return new Int32Array(unit.buffer, offset!, byteLength! / 4);
}

export function uint32Of(unit: CompiledUnit, section: Section): Uint32Array {
  const [offset, byteLength] = directory(unit.buffer, section);
  return new Uint32Array(unit.buffer, offset!, byteLength! / 4);
}

export function uint16Of(unit: CompiledUnit, section: Section): Uint16Array {
  const [offset, byteLength] = directory(unit.buffer, section);
  return new Uint16Array(unit.buffer, offset!, byteLength! / 2);
}

export function float64Of(unit: CompiledUnit, section: Section): Float64Array {
  const [offset, byteLength] = directory(unit.buffer, section);
  return new Float64Array(unit.buffer, offset!, byteLength! / 8);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

export const factsOf = (unit: CompiledUnit): UnitFacts => JSON.parse(textOf(bytesOf(unit, sections.facts)));
export const endpointNamesOf = (unit: CompiledUnit): EndpointNames =>
  JSON.parse(textOf(bytesOf(unit, sections.endpointNames)));
export const splitNamesOf = (unit: CompiledUnit): readonly string[] =>
  JSON.parse(textOf(bytesOf(unit, sections.splitNames)));

/** The strings of one unit on one loop: each is decoded at its first use and kept as long as the version is. */
export class Texts {
  private readonly ends: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly decoded: (string | null)[];

  constructor(unit: CompiledUnit) {
    this.ends = int32Of(unit, sections.textEnds);
    this.bytes = bytesOf(unit, sections.textBytes);
    this.decoded = new Array<string | null>(this.ends.length).fill(null);
  }

  at(index: number): string {
    return this.decoded[index] ?? this.decode(index);
  }

  private decode(index: number): string {
    assert(index >= 0 && index < this.ends.length, 'a text index lies within its unit');
    const start = index === 0 ? 0 : this.ends[index - 1]!;
    const text = textOf(this.bytes.subarray(start, this.ends[index]!));
    this.decoded[index] = text;
    return text;
  }
}
