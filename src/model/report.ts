/**
 * What a sidecar tells the control plane about its traffic: the growth of each series since the last report. The wire codec
 * converts it to `SeriesDelta` of push.proto and back; the control plane adds the deltas of a window up for `weft stat`.
 */
export type StatusClass = '1xx' | '2xx' | '3xx' | '4xx' | '5xx';

export interface SeriesDelta {
  readonly direction: 'outbound' | 'inbound';
  readonly source: string;
  readonly destination: string;
  readonly route: string;
  readonly statusClass: StatusClass;
  readonly requests: number;
  /** Local replies and cut answers among them. */
  readonly failures: number;
  /** Buckets of telemetry/histogram.ts that grew: index and growth, in pairs, by index. */
  readonly durationBuckets: readonly number[];
  /** Only parts that took time since the last report. */
  readonly parts: readonly PartDelta[];
}

/** How many requests of one status class did not succeed: of 5xx all, else the failures. */
export function failedOf({
  statusClass,
  requests,
  failures,
}: Pick<SeriesDelta, 'statusClass' | 'requests' | 'failures'>): number {
  return statusClass === '5xx' ? requests : failures;
}

export interface PartDelta {
  /** A name out of telemetry/recorder.ts `parts`. */
  readonly part: string;
  readonly seconds: number;
  /** As `durationBuckets`, but coarser: only the indices of `partBoundsMs` (telemetry/series.ts) and the overflow occur. */
  readonly buckets: readonly number[];
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
