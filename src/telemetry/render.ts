/**
 * The text of `/metrics`: counts out of shared memory and gauges read at the time, rendered by prom-client in the worker pool.
 *
 * prom-client's own histograms only take observations one by one, so counts are handed to it in the form in which it takes them from
 * other processes of a cluster (`AggregatorRegistry.aggregate`), which also adds up the tables of several event loops.
 */
import assert from 'node:assert/strict';
import { AggregatorRegistry } from 'prom-client';
import { bucketCount, bucketIndex } from './histogram.ts';
import type { LoopReading } from './loop-delay.ts';
import {
  add,
  addHistogram,
  type Cut,
  counter,
  gauge,
  histogram,
  type MetricFamily,
  processFamilies,
  seconds,
} from './metric-families.ts';
import type { ProcessReading } from './process-reading.ts';
import { parts } from './recorder.ts';
import { type CodeCount, partBoundsMs, rowLayout, rowOf, type SeriesLabels, type SeriesTable } from './series.ts';

export interface UpstreamReading {
  readonly destination: string;
  readonly connections: number;
  readonly idle: number;
  readonly pending: number;
}

export interface ListenerReading {
  /** `outbound`, `inbound`, `upstream:NAME`. */
  readonly listener: string;
  readonly connections: number;
  /** Since the start: closed after the last request that they may have. */
  readonly connectionsUsedUp: number;
}

export interface LoopMetrics extends LoopReading {
  /** Held by callers to all of the loop's listeners. */
  readonly connections: number;
}

/** Plain values and shared memory only: it is posted to a worker. Lists with the same labels twice are added up. */
export interface MetricsInput {
  /** One for each event loop, in the order of `loops`. */
  readonly tables: readonly SeriesTable[];
  readonly failures: readonly CodeCount[];
  readonly retries: readonly CodeCount[];
  readonly upstreams: readonly UpstreamReading[];
  readonly listeners: readonly ListenerReading[];
  readonly loops: readonly LoopMetrics[];
  readonly config: { readonly revision: number; readonly isConnected: boolean; readonly nacks: number };
  /** End of the validity of the certificate for links, ms since the epoch; null: there is none. */
  readonly certificateExpiresAtMs: number | null;
  readonly process: ProcessReading;
  /** Requests counted under `other`, for want of a series of their own. */
  readonly overflowed: number;
  readonly accessLogLinesDropped: number;
}

/** `le` of weft_request_duration_seconds and of weft_hop_seconds, ms. All are bounds of what was counted, so no count is a guess. */
export const durationBoundsMs = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000, 60_000] as const;
export const hopBoundsMs = [0.1, 0.5, 1, 5, 25, 100, 1000] as const;

/**
 * Prometheus text format 0.0.4. `input` is a `MetricsInput`; it comes from another thread, so its type is checked here.
 * @throws AssertionError when it is something else.
 */
export async function renderMetrics(input: unknown): Promise<string> {
  assertMetricsInput(input);
  return AggregatorRegistry.aggregate([
    [...trafficMetrics(input), ...stateMetrics(input), ...processMetrics(input)],
  ]).metrics();
}

/** Prometheus text format 0.0.4 of what somebody has composed. @throws AssertionError when it is something else. */
export async function renderFamilies(families: unknown): Promise<string> {
  assert(Array.isArray(families), 'metrics are rendered from a list of families');
  return AggregatorRegistry.aggregate([families]).metrics();
}

function trafficMetrics(input: MetricsInput): MetricFamily[] {
  const requests = counter('weft_requests_total', 'Requests finished, by the class of the status sent to the caller.');
  const durations = histogram(
    'weft_request_duration_seconds',
    'From head read to last byte, with the wait for the loop.',
  );
  const hops = histogram('weft_hop_seconds', 'Parts of the duration; a request counts only in parts that took time.');
  for (const table of input.tables) {
    table.labels.forEach((labels, index) => {
      addRow(rowOf(table, index), labels, requests, durations, hops);
    });
  }
  const failures = counter('weft_failures_total', 'Local replies, cut answers and refused heads, by failure code.');
  for (const { direction, code, count } of input.failures) add(failures, { direction, code }, count);
  const retries = counter('weft_retries_total', 'Further attempts, by the failure that caused them.');
  for (const { direction, code, count } of input.retries) add(retries, { direction, code }, count);
  const overflowed = counter(
    'weft_series_overflowed_total',
    'Requests counted as "other": the limit of series is reached.',
  );
  add(overflowed, {}, input.overflowed);
  return [requests, durations, hops, failures, retries, overflowed];
}

function addRow(
  row: Float64Array,
  { direction, source, destination, route, statusClass }: SeriesLabels,
  requests: MetricFamily,
  durations: MetricFamily,
  hops: MetricFamily,
): void {
  const labels = { direction, source, destination, route, status_class: statusClass };
  add(requests, labels, row[rowLayout.requests]!);
  const duration = row.subarray(rowLayout.duration, rowLayout.duration + bucketCount);
  addHistogram(durations, labels, duration, durationCuts, row[rowLayout.durationSumMs]!);
  parts.forEach((part, index) => {
    const start = rowLayout.parts + index * rowLayout.partBuckets;
    const counts = row.subarray(start, start + rowLayout.partBuckets);
    if (counts.every((count) => count === 0)) return;
    addHistogram(hops, { ...labels, part }, counts, hopCuts, row[rowLayout.partSumsMs + index]!);
  });
}

function stateMetrics(input: MetricsInput): MetricFamily[] {
  const connections = gauge('weft_upstream_connections', 'Connections to endpoints of a Service.', 'sum');
  const pending = gauge('weft_upstream_pending', 'Requests that wait for a connection.', 'sum');
  for (const upstream of input.upstreams) {
    const { destination } = upstream;
    add(connections, { destination, state: 'active' }, upstream.connections - upstream.idle);
    add(connections, { destination, state: 'idle' }, upstream.idle);
    add(pending, { destination }, upstream.pending);
  }
  const listeners = gauge('weft_listener_connections', 'Connections that callers hold to a listener.', 'sum');
  const usedUp = counter(
    'weft_listener_connections_used_up_total',
    'Connections closed because they had all the requests that they may have (--limit LISTENER.requests-per-connection).',
  );
  for (const { listener, connections: open, connectionsUsedUp } of input.listeners) {
    add(listeners, { listener }, open);
    add(usedUp, { listener }, connectionsUsedUp);
  }

  const delay = gauge(
    'weft_event_loop_delay_seconds',
    'Longest turn of the event loop since about the last two scrapes.',
  );
  const utilization = gauge(
    'weft_event_loop_utilization',
    'Share of time in which the event loop did not sleep, 0 to 1.',
  );
  const loopConnections = gauge(
    'weft_loop_connections',
    'Connections that callers hold to listeners of the event loop.',
  );
  const loopRequests = counter('weft_loop_requests_total', 'Requests finished on the event loop.');
  input.loops.forEach((reading, loop) => {
    add(delay, { loop }, reading.longestTurnMs / 1000);
    add(utilization, { loop }, reading.utilization);
    add(loopConnections, { loop }, reading.connections);
    add(loopRequests, { loop }, requestsOf(input.tables[loop]));
  });

  const revision = gauge('weft_config_revision', 'Revision of the configuration in force.');
  add(revision, {}, input.config.revision);
  const connected = gauge('weft_config_connected', '1 while connected to a control plane.');
  add(connected, {}, input.config.isConnected ? 1 : 0);
  const nacks = counter('weft_config_nacks_total', 'Configurations that were refused.');
  add(nacks, {}, input.config.nacks);
  const expires = gauge(
    'weft_certificate_expires_timestamp_seconds',
    'When the certificate for links expires, since unix epoch in seconds.',
  );
  // Without one there is no value: 0 would look like one that expired in 1970.
  if (input.certificateExpiresAtMs !== null) add(expires, {}, input.certificateExpiresAtMs / 1000);
  return [
    ...[connections, pending, listeners, usedUp, delay, utilization, loopConnections, loopRequests],
    ...[revision, connected, nacks, expires],
  ];
}

function requestsOf(table: SeriesTable | undefined): number {
  return table === undefined
    ? 0
    : table.labels.reduce((sum, _, index) => sum + rowOf(table, index)[rowLayout.requests]!, 0);
}

function processMetrics({ process: reading, accessLogLinesDropped }: MetricsInput): MetricFamily[] {
  const dropped = counter('weft_access_log_lines_dropped_total', 'Lines of the access log that could not be written.');
  add(dropped, {}, accessLogLinesDropped);
  return [...processFamilies(reading), dropped];
}

const durationCuts: readonly Cut[] = durationBoundsMs.map((ms) => ({ le: seconds(ms), end: bucketIndex(ms) + 1 }));
const hopCuts: readonly Cut[] = hopBoundsMs.map((ms) => ({ le: seconds(ms), end: partBoundsMs.indexOf(ms) + 1 }));

function assertMetricsInput(input: unknown): asserts input is MetricsInput {
  assert(typeof input === 'object' && input !== null, 'metrics are rendered from an object');
  const lists: (keyof MetricsInput)[] = ['tables', 'failures', 'retries', 'upstreams', 'listeners', 'loops'];
  const fields = input as Readonly<Record<string, unknown>>;
  for (const name of lists) assert(Array.isArray(fields[name]), `metrics are rendered from a list of ${name}`);
  for (const name of ['config', 'process'])
    assert(typeof fields[name] === 'object' && fields[name] !== null, `metrics are rendered from a ${name}`);
}
