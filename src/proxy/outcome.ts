/**
 * The one exit of a request: whatever happened to it, it is counted, timed and logged here, once.
 */
import { type Direction, partIndex, type Recorder } from '../telemetry/recorder.ts';
import type { Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';

/** One finished request, for the access log. Valid during the call only. */
export interface FinishedRequest {
  readonly exchange: Exchange;
  readonly totalMs: number;
  readonly failure: Failure | null;
}

export interface OutcomeSinks {
  readonly direction: Direction;
  /** Own Service of an outbound listener; `unknown` where the caller has no identity. */
  readonly source: string;
  readonly recorder: Recorder;
  /** Null: no access log. */
  readonly accessLog: ((finished: FinishedRequest) => void) | null;
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
  return totalMs;
}

export function recordOutcome(exchange: Exchange, failure: Failure | null, nowMs: number, sinks: OutcomeSinks): void {
  const totalMs = closeParts(exchange, nowMs);
  const destination = exchange.destination ?? exchange.service;
  sinks.recorder
    .series(
      sinks.direction,
      sinks.source,
      destination === null ? 'unknown' : destination.name,
      exchange.action === null ? '' : exchange.action.route,
      exchange.status,
    )
    .record(totalMs, exchange.partsMs, failure !== null);
  if (failure !== null) sinks.recorder.countFailure(sinks.direction, failure.code);
  if (sinks.accessLog !== null) sinks.accessLog({ exchange, totalMs, failure });
}
