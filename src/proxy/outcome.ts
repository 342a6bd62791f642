/**
 * The one exit of a request: whatever happened to it, it is counted, timed and logged here, once.
 */
import type { AccessLog } from '../telemetry/access-log.ts';
import { type Direction, newPartsMs, partIndex, type Recorder } from '../telemetry/recorder.ts';
import type { RequestSink } from '../telemetry/request-ring.ts';
import type { FinishedRequest } from '../telemetry/request-slots.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';

export interface OutcomeSinks {
  readonly direction: Direction;
  /** Own Service of an outbound listener; `unknown` where the caller has no identity. */
  readonly source: string;
  readonly recorder: Recorder;
  /** A request met what cannot happen (`internal-error`): for the log. */
  readonly onDefect: (request: {
    readonly method: string;
    readonly host: string;
    readonly path: string;
    readonly route: string;
  }) => void;
  /** Null: no access log. */
  readonly accessLog: AccessLog | null;
  /** Keeps the last ones for who asks; null: nobody does. */
  readonly requests: RequestSink | null;
}

/** One for all requests of the loop, filled anew for each: nobody keeps it. */
const finished: { -readonly [Name in keyof FinishedRequest]: FinishedRequest[Name] } = {
  atMs: 0.5,
  direction: 'outbound',
  method: '',
  host: '',
  path: '',
  source: '',
  sourceAddress: '',
  destination: '',
  route: '',
  endpoint: '',
  attempts: 0,
  status: 0,
  failure: '',
  detail: '',
  farFailure: '',
  answerBytes: 0,
  traceId: '',
  spanId: '',
  totalMs: 0.5,
  partsMs: newPartsMs(),
  far: null,
  isLoopEstimate: false,
  requestTimeoutMs: 0,
  perTryTimeoutMs: 0,
  idleTimeoutMs: 0,
};

/** Total so far with `own` as what no other part explains; ms. Called when the answer's head leaves and when all is done. */
export function closeParts(exchange: Exchange, nowMs: number): number {
  const { partsMs, head } = exchange;
  const totalMs = head.loopMs + (nowMs - head.readAtMs);
  partsMs[partIndex.loop] = head.loopMs;
  partsMs[partIndex.own] = 0;
  let explainedMs = 0;
  for (let i = 0; i < partsMs.length; i++) explainedMs += partsMs[i]!;
  partsMs[partIndex.own] = Math.max(0, totalMs - explainedMs);
  exchange.totalMs = totalMs;
  return totalMs;
}

/** `detail`: what was said of the failure, empty where nobody was told anything. */
export function recordOutcome(
  exchange: Exchange,
  failure: Failure | null,
  detail: string,
  nowMs: number,
  sinks: OutcomeSinks,
): void {
  const totalMs = closeParts(exchange, nowMs);
  const destination = exchange.destination ?? exchange.service;
  sinks.recorder
    .series(
      sinks.direction,
      exchange.head.source === '' ? sinks.source : exchange.head.source,
      destination === null ? 'unknown' : destination.name,
      exchange.action === null ? '' : exchange.action.route,
      exchange.status,
    )
    .record(totalMs, exchange.partsMs, failure !== null, exchange.attempts, exchange.isLoopEstimate);
  const { head } = exchange;
  const route = exchange.action === null ? '' : exchange.action.route;
  if (failure !== null) {
    sinks.recorder.countFailure(sinks.direction, failure.code);
    if (failure.code === 'internal-error')
      sinks.onDefect({ method: head.method, host: head.host, path: head.path, route });
  }
  const { accessLog, requests } = sinks;
  if (accessLog === null && requests === null) return;
  fill(exchange, sinks);
  finished.destination = destination === null ? '' : destination.name;
  finished.route = route;
  finished.failure = failure === null ? '' : failure.code;
  finished.detail = detail;
  requests?.record(finished);
  accessLog?.log(finished);
}

function fill(exchange: Exchange, sinks: OutcomeSinks): void {
  const { head, attempt, trace, action } = exchange;
  finished.atMs = Date.now();
  finished.direction = sinks.direction;
  finished.method = head.method;
  finished.host = head.host;
  finished.path = head.path;
  finished.source = head.source === '' ? sinks.source : head.source;
  finished.sourceAddress = head.sourceAddress === '' ? 'unknown' : head.sourceAddress;
  finished.endpoint = attempt === null ? '' : attempt.endpoint.address;
  finished.attempts = exchange.attempts;
  finished.status = exchange.status;
  finished.farFailure = exchange.farFailure;
  finished.answerBytes = exchange.answerBytes;
  finished.traceId = trace === null ? '' : trace.traceId;
  finished.spanId = trace === null ? '' : trace.spanId;
  finished.totalMs = exchange.totalMs;
  finished.partsMs = exchange.partsMs;
  finished.far = exchange.far;
  finished.isLoopEstimate = exchange.isLoopEstimate;
  finished.requestTimeoutMs = action === null ? 0 : action.timeouts.requestMs;
  finished.perTryTimeoutMs = action === null ? 0 : action.timeouts.perTryMs;
  finished.idleTimeoutMs = exchange.idleMs;
}
