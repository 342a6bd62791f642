/**
 * The hop ledger's vocabulary and what the proxy calls once per request. Implemented in typed arrays (histogram.ts, series.ts).
 */
export const parts = [
  'loop',
  'decide',
  'queue',
  'connect',
  'tls',
  'send',
  'wait',
  'transfer',
  'own',
  'network',
] as const;
export type Part = (typeof parts)[number];
/** Index of each part in a `PartsMs`. */
export const partIndex = Object.fromEntries(parts.map((part, index) => [part, index])) as Readonly<
  Record<Part, number>
>;

/** Milliseconds by `partIndex`. */
export interface PartsMs {
  readonly length: number;
  [part: number]: number;
}

/**
 * An array of doubles, for which V8 takes it by the half that is in it at first. Written out, it is made in place; a copy of another would be a call, and a Float64Array
 * has its memory outside the heap: 7.6 instead of 5.8 µs of CPU for a request (both sidecars' JavaScript, 64 at once).
 */
export function newPartsMs(loopMs = 0): PartsMs {
  const partsMs = [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  partsMs[0] = loopMs;
  return partsMs;
}

/** What no other part explains of the total, ms. */
export function ownOf(partsMs: PartsMs, totalMs: number): number {
  let ownMs = totalMs;
  for (let part = 0; part < parts.length; part++) if (part !== partIndex.own) ownMs -= partsMs[part]!;
  return Math.max(0, ownMs);
}

export type Direction = 'outbound' | 'inbound';

/** One combination of labels; beyond `limits.seriesMax` all share one series `other`. */
export interface Series {
  /** `totalMs` from head read to last byte. What no other part of `partsMs` explains of it is written there as `own`. `attempts`: at endpoints; by default one. */
  record(totalMs: number, partsMs: PartsMs, isFailure: boolean, attempts?: number, isLoopEstimate?: boolean): void;
}

/** A Service that was called, and the rule that chose it: objects of a configuration, so that the same ones can be known again without a look at their names. */
export interface Destination {
  readonly name: string;
}
export interface Rule {
  /** Name of its route; empty: the Service's own, without one. */
  readonly route: string;
}

export interface Recorder {
  /**
   * Of a request that is over: asked once, recorded at once, and not kept, for its place may soon be another's. Null: it came to none. `status` is the
   * status sent downstream (499 when the client went).
   */
  series(
    direction: Direction,
    source: string,
    destination: Destination | null,
    rule: Rule | null,
    status: number,
  ): Series;
  /** `weft_failures_total{direction,code}`: local replies, cut answers, refused heads. */
  countFailure(direction: Direction, code: string): void;
  countRetry(direction: Direction, code: string): void;
}
