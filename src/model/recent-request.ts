/** A request that is over, as the admin port of a sidecar shows it and the command line reads it. Times are ms, and RFC 3339 where they are points. */
import type { Decision, RefusedHeadRecord, Staleness } from './decision.ts';

export interface RecentHop {
  readonly totalMs: number;
  /** By the names of telemetry/recorder.ts; those that took no time are absent. */
  readonly partsMs: Readonly<Record<string, number>>;
}

export interface RecentRequest extends RecentHop {
  /** The trace id: what a local reply calls `Weft-Request-Id`. Several calls may belong to one trace. */
  readonly traceId: string;
  /** Of this hop, and of no other. */
  readonly spanId: string;
  /** When it ended. */
  readonly time: string;
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly route: string;
  /** The Service that was called, from which a route may have led to another destination; empty: none claims the host. */
  readonly called: string;
  /** Of the configuration that decided; 0: none did, or it is the inbound side's own. */
  readonly revision: number;
  /** The last one tried; empty: none was. */
  readonly endpoint: string;
  readonly method: string;
  /** Without query, its first `limits.recentPathCharsMax` characters. */
  readonly path: string;
  readonly status: number;
  /** A code of docs/failures.md; absent: none. */
  readonly failure?: string;
  readonly detail?: string;
  /** The failure that the far sidecar gave as its answer. */
  readonly farFailure?: string;
  readonly attempts: number;
  readonly answerBytes: number;
  /** `loop` is an upper bound (docs/ledger.md). */
  readonly isLoopEstimate: boolean;
  /** What the far sidecar said of its own hop; null: there is none, or it did not say. */
  readonly far: RecentHop | null;
  /** In force for it; 0: none. */
  readonly timeoutsMs: { readonly request: number; readonly perTry: number; readonly idle: number };
  /** Of one that failed or was tried again, where it is asked for by its id and was written down (docs/ledger.md). */
  readonly decision?: Decision;
  /** The configuration may not have been the newest when it ended; said where it is asked for by its id. */
  readonly stale?: Staleness;
}

/** Empty strings, 0 and false ask for nothing. */
export interface RecentQuery {
  /** `NAME` or `NAME.NAMESPACE` that calls or is called. */
  readonly service: string;
  readonly route: string;
  /** `503`, or a class: `5xx`. */
  readonly status: string;
  readonly minMs: number;
  /** Failures and answers of 5xx. */
  readonly isFailed: boolean;
  /** A trace id or a span id. */
  readonly id: string;
  /** At most `limits.recentAnswerMax`. */
  readonly limit: number;
}

export interface RecentAnswer {
  /** Requests that have ended since the sidecar started. */
  readonly recorded: number;
  /** Of those that end now one in so many is kept among the last ones, by its trace id, for there are too many; 1: all are (docs/ledger.md). */
  readonly keptOneIn: number;
  /** Newest first. */
  readonly requests: readonly RecentRequest[];
  /** Event loops that did not answer in time: theirs are missing. */
  readonly loopsMissing: number;
  /** Heads that were refused, where they are asked for by their id. */
  readonly refusals?: readonly RefusedHeadRecord[];
}

/** The mean of the requests around one percentile. */
export interface LatencyAt extends RecentHop {
  /** 50, 95, 99. */
  readonly percentile: number;
  /** How many requests it is the mean of. */
  readonly requests: number;
  /** How many of those have a `loop` that is an upper bound. */
  readonly loopEstimates: number;
  /** The mean of what far sidecars said; null: none of them has. */
  readonly far: (RecentHop & { readonly requests: number }) | null;
  /** Of the control plane only: the percentile by the histogram, and the totals between which the requests lie; null: without bound. */
  readonly percentileMs?: number;
  readonly fromMs?: number;
  readonly toMs?: number | null;
}

export interface HopLatency {
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  /** Of the hop among those that the sidecar keeps. */
  readonly requests: number;
  readonly at: readonly LatencyAt[];
}

export interface LatencyAnswer {
  readonly hops: readonly HopLatency[];
  readonly loopsMissing: number;
}

/** `cart` and `cart.default` are names of `cart.default`. */
export const isServiceNamed = (fullName: string, service: string): boolean =>
  fullName === service || (fullName.startsWith(service) && fullName.charCodeAt(service.length) === 46);
