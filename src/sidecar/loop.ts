/**
 * One event loop that serves requests, as the cold half of a sidecar sees it: its own (serving-loop.ts), or one in a thread behind
 * messages (loop-thread.ts). Whatever crosses this line is plain values and shared memory.
 */
import type { LocalAddress } from '../model/host-port.ts';
import type { RecentAnswer, RecentQuery } from '../model/recent-request.ts';
import type { UnitName } from '../model/snapshot.ts';
import type { SpanDrops } from '../model/span.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { HopRows } from '../telemetry/breakdown.ts';
import type { LoopReading } from '../telemetry/loop-delay.ts';
import type { ListenerReading, UpstreamReading } from '../telemetry/render.ts';
import type { CodeCount, SeriesTable } from '../telemetry/series.ts';
import type { SidecarOptions, TracingOptions } from './options.ts';

/** What a loop needs to know of what the sidecar was asked to be. No secret is among it. */
export type LoopOptions = Pick<
  SidecarOptions,
  | 'service'
  | 'namespace'
  | 'app'
  | 'outboundMode'
  | 'outboundHttp'
  | 'inboundHttp'
  | 'listenerPolicies'
  | 'limits'
  | 'isLinkInsecure'
  | 'accessLog'
  | 'redactedPaths'
> & {
  /** Null: no spans. Without the way to the collector, which may have secrets. */
  readonly tracing: Pick<TracingOptions, 'sampleRatio' | 'slowMs'> | null;
};

/** A port that leads to one service is named after it, as `--upstream` names it. */
export type LoopListenerName = 'outbound' | 'inbound' | 'link' | `upstream:${string}`;

export interface WantedListener {
  readonly name: LoopListenerName;
  /** A unix socket: of `outbound` only. */
  readonly at: LocalAddress;
  /** Other loops listen there, too. Only for the uWebSockets.js core. */
  readonly isShared: boolean;
}

/** From the version before to the next: every loop gets all of them, in their order. */
export interface CompiledChange {
  readonly revision: number;
  /** New units and changed ones, with their slots. */
  readonly changed: readonly CompiledUnit[];
  readonly left: readonly UnitName[];
}

export interface LoopChange extends CompiledChange {
  /** The sidecar's own Service with its app; null: there is no app, or nothing new of it. */
  readonly own: CompiledUnit | null;
}

/** Gauges and counts of one loop, but for its series, which are shared memory. */
export interface LoopReadings {
  readonly upstreams: readonly UpstreamReading[];
  readonly listeners: readonly ListenerReading[];
  readonly failures: readonly CodeCount[];
  readonly retries: readonly CodeCount[];
  readonly loop: LoopReading;
  /** Requests finished. */
  readonly requests: number;
  /** Requests counted under `other`, for want of a series of their own. */
  readonly overflowed: number;
  readonly accessLogLinesDropped: number;
  readonly accessLogLinesLeftOut: number;
  /** Before they were encoded. */
  readonly spansDropped: Pick<SpanDrops, 'queue-full' | 'over-rate'>;
  /** Of the configuration in force; 0: there is none yet. */
  readonly revision: number;
}

/** Of one loop. */
export type LoopRequests = Omit<RecentAnswer, 'loopsMissing'>;

export interface Loop {
  /** What it has counted. */
  table(): SeriesTable;
  /** Resolves with the address as bound, `HOST:PORT` or `unix:/PATH`. Rejects with ListenError, which names the flag. */
  listen(wanted: WantedListener): Promise<string>;
  /** Resolves once requests that come see the change. Rejects when that takes longer than `limits.loopAnswerMs`; it will happen yet. */
  swap(change: LoopChange): Promise<void>;
  /** Those of before, when the loop does not answer in time. */
  readings(): Promise<LoopReadings>;
  /** What it has of its last requests; null: it does not answer in time. */
  requests(query: RecentQuery): Promise<LoopRequests | null>;
  /** Times of its last requests by hop, for one Service or, with an empty name, all; null: it does not answer in time. */
  hops(service: string): Promise<readonly HopRows[] | null>;
  /** Callers over the link are told to go elsewhere. */
  drainLinks(): void;
  /** Takes no more callers; resolves with how many of their requests still run, when none does or after `waitMs`. */
  drainInbound(waitMs: number): Promise<number>;
  /** Resolves when no request of the own app is under way, or after `waitMs`. */
  settle(waitMs: number): Promise<void>;
  /** Ends everything that is open. Never rejects. */
  close(): Promise<void>;
}
