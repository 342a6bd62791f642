/**
 * The one exit of a request: whatever happened to it, it is counted, timed and logged here, once.
 */
import type { AccessLog } from '../telemetry/access-log.ts';
import { type Direction, partIndex, type Recorder } from '../telemetry/recorder.ts';
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
}

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
    .record(totalMs, exchange.partsMs, failure !== null);
  const { head, attempt } = exchange;
  const route = exchange.action === null ? '' : exchange.action.route;
  if (failure !== null) {
    sinks.recorder.countFailure(sinks.direction, failure.code);
    if (failure.code === 'internal-error')
      sinks.onDefect({ method: head.method, host: head.host, path: head.path, route });
  }
  if (sinks.accessLog === null) return;
  sinks.accessLog.log({
    atMs: Date.now(),
    direction: sinks.direction,
    method: head.method,
    host: head.host,
    path: head.path,
    source: head.source === '' ? sinks.source : head.source,
    sourceAddress: head.sourceAddress === '' ? 'unknown' : head.sourceAddress,
    destination: destination === null ? '' : destination.name,
    route,
    endpoint: attempt === null ? '' : attempt.endpoint.address,
    attempts: exchange.attempts,
    status: exchange.status,
    failure: failure === null ? '' : failure.code,
    detail,
    farFailure: exchange.farFailure,
    answerBytes: exchange.answerBytes,
    traceId: exchange.trace === null ? '' : exchange.trace.traceId,
    totalMs,
    partsMs: exchange.partsMs,
    far: exchange.far,
  });
}
