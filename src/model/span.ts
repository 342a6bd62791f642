/** One hop of a request as it is told to a collector of traces: what one sidecar knows of one call, its far hop included. */

/** A hop's total and its parts, ms, by the ledger's order of parts. */
export interface SpanHop {
  readonly totalMs: number;
  readonly partsMs: ArrayLike<number>;
}

/** A try that failed, and that another one followed. */
export interface FailedTry {
  /** `HOST:PORT` */
  readonly endpoint: string;
  /** Failure code. */
  readonly failure: string;
  /** The same in words. */
  readonly reason: string;
  /** When it had failed, on the monotonic clock of its event loop. */
  readonly atMs: number;
}

/** `flag`: its trace is sampled. The others are not, and so have no spans of other hops unless those failed or were slow too. */
export type SpanChoice = 'flag' | 'failure' | 'slow';

export interface Span {
  /** 32, 16 and 16 hexadecimal digits; `parentId` is empty for the first span of a trace. */
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  /** W3C trace flags. */
  readonly traceFlags: number;
  readonly chosenFor: SpanChoice;
  readonly direction: 'outbound' | 'inbound';
  /** When it ended: ms since the epoch, with a fraction. It began `totalMs` before. */
  readonly endedAtMs: number;
  /** Added to a time of the loop's monotonic clock it is one since the epoch. */
  readonly wallOffsetMs: number;
  readonly method: string;
  readonly host: string;
  /** Redacted, without query, cut at a length. */
  readonly path: string;
  /** Services, `cart.default`; empty or `unknown` where there is none. */
  readonly source: string;
  readonly destination: string;
  readonly route: string;
  /** IP address of the caller; `unknown` where it has none. */
  readonly sourceAddress: string;
  /** `HOST:PORT` or `unix:/PATH` of the last endpoint tried; empty: there was none. */
  readonly endpoint: string;
  readonly attempts: number;
  readonly failedTries: readonly FailedTry[];
  readonly status: number;
  readonly answerBytes: number;
  /** Failure code here, and the one that the far sidecar gave; empty: none. */
  readonly failure: string;
  readonly farFailure: string;
  /** Either in words, and what of this request it was. */
  readonly reason: string;
  readonly detail: string;
  readonly hop: SpanHop;
  readonly isLoopEstimate: boolean;
  /** Null: there is no far sidecar, or it does not say. */
  readonly far: SpanHop | null;
}

/** Why a span was not exported, as `weft_spans_dropped_total` says it. */
export const spanDropReasons = [
  /** Its loop has as many as it holds: they are made faster than they are sent. */
  'queue-full',
  /** Failed and slow ones of traces that are not sampled, beyond so many a second. */
  'over-rate',
  /** The collector could not be reached, or had no time, in all tries. */
  'unreachable',
  /** The collector refused the request, or some spans of it. */
  'refused',
  /** The sidecar ended before it could be sent. */
  'ended',
] as const;
export type SpanDropReason = (typeof spanDropReasons)[number];
export type SpanDrops = Readonly<Record<SpanDropReason, number>>;
