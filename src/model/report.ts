/**
 * What a sidecar tells the control plane about its traffic: the growth of each series since the last report. The wire codec
 * converts it to `Report` of push.proto and back; the control plane adds the deltas of a window up for `weft stat`, `top` and `latency`.
 */
import type { HopLatency } from './recent-request.ts';

/** Stands for the Service of a caller without an identity, and for one that was called by a name that nobody has. */
export const unknownService = 'unknown';

export type StatusClass = '1xx' | '2xx' | '3xx' | '4xx' | '5xx';

export interface TrafficReport {
  /** Names out of telemetry/recorder.ts, in the order of `partsUs`. */
  readonly parts: readonly string[];
  readonly series: readonly SeriesDelta[];
}

export interface SeriesDelta {
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly route: string;
  readonly statusClass: StatusClass;
  readonly requests: number;
  /** Local replies and cut answers among them. */
  readonly failures: number;
  /** At endpoints, and how many of these failed. */
  readonly attempts: number;
  readonly attemptsFailed: number;
  /** Buckets of telemetry/histogram.ts that grew: index and growth, in pairs, by index. */
  readonly durationBuckets: readonly number[];
  /** Only those that grew. */
  readonly bands: readonly BandDelta[];
}

/** One band of the total (telemetry/bands.ts). How many requests it has is the sum of its buckets. */
export interface BandDelta {
  readonly band: number;
  /** Of its requests: how many have a `loop` that is an upper bound. */
  readonly loopEstimates: number;
  /** Whole microseconds of each part: what is added up in any order is then the same sum. */
  readonly partsUs: readonly number[];
}

/** How many requests of one status class did not succeed: of 5xx all, else the failures. */
export function failedOf({
  statusClass,
  requests,
  failures,
}: Pick<SeriesDelta, 'statusClass' | 'requests' | 'failures'>): number {
  return statusClass === '5xx' ? requests : failures;
}

/** Golden metrics of one kind of hop, out of the counts of a window: what `stat` shows. */
export interface SeriesStats {
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly route: string;
  readonly requests: number;
  readonly failures: number;
  /** Requests that were answered with 5xx, by whomever, or that were a failure: each of them once. */
  readonly failed: number;
  /** At endpoints: what the requests needed. One that was answered without has none. */
  readonly attempts: number;
  readonly attemptsFailed: number;
  /** By status class, `2xx` and so on; classes without requests are absent. */
  readonly byStatus: Readonly<Record<string, number>>;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** Mean ms a request of each part that is not zero; they add up to the mean of the total. */
  readonly parts: Readonly<Record<string, number>>;
}

export interface WindowStats {
  /** How long the counted time is. */
  readonly windowMs: number;
  readonly series: readonly SeriesStats[];
}

/** Whose reports an answer of a control plane is made of. */
export interface ReportScope {
  /** `HOST:PORT` of its API; empty: not known yet. */
  readonly controlPlane: string;
  /** Control planes on its store; those others have reports of their own, which are not in here. */
  readonly controlPlanes: number;
  /** Connected to this one, and to others. */
  readonly sidecars: number;
  readonly sidecarsElsewhere: number;
  /** Requests of the window that are counted, but not in percentiles and parts: there was no room for how they were spread. */
  readonly requestsWithoutDetail: number;
}

export interface MeshStats extends WindowStats {
  readonly scope: ReportScope;
}

export interface MeshHop extends HopLatency {
  /** 0: calls to the Service; 1: calls that it makes; 2: those that the ones make that it calls, and so on. */
  readonly depth: number;
  /** All of them together where routes were not asked for. */
  readonly route: string | null;
}

export interface MeshLatency {
  readonly windowMs: number;
  readonly scope: ReportScope;
  /** Along the calls. */
  readonly hops: readonly MeshHop[];
  /** For want of room in one answer. */
  readonly hopsLeftOut: number;
}

export interface StatsQuestion {
  /** Hops from or to it; absent: all. */
  readonly service?: string;
  /** Of the newest part of the window; absent: all of it. */
  readonly seconds?: number;
}

export interface LatencyQuestion {
  /** `NAME` or `NAME.NAMESPACE`. */
  readonly service: string;
  /** Of hops to look at; null: all. */
  readonly route: string | null;
  /** Each route of a hop by itself. */
  readonly isByRoute: boolean;
  /** How far to follow the calls: see `MeshHop.depth`. */
  readonly depth: number;
}
