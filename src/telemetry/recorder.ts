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
/** Index of each part in a parts array (ms, `Float64Array(parts.length)`). */
export const partIndex = Object.fromEntries(parts.map((part, index) => [part, index])) as Readonly<
  Record<Part, number>
>;

export type Direction = 'outbound' | 'inbound';

/** One combination of labels. Obtained once and kept by the caller; beyond `limits.seriesMax` all share one series `other`. */
export interface Series {
  /** `totalMs` from head read to last byte; `partsMs` sums to it. */
  record(totalMs: number, partsMs: Float64Array, isFailure: boolean): void;
}

export interface Recorder {
  /** `status` is the status sent downstream (499 when the client went). */
  series(direction: Direction, source: string, destination: string, route: string, status: number): Series;
  /** `weft_failures_total{direction,code}`: local replies, cut answers, refused heads. */
  countFailure(direction: Direction, code: string): void;
  countRetry(direction: Direction, code: string): void;
}
