/**
 * The one exit of a request: whatever happened to it, it is counted, timed and logged here, once.
 */
import type { AccessLog } from '../telemetry/access-log.ts';
import { type Direction, newPartsMs, partIndex, type Recorder } from '../telemetry/recorder.ts';
import type { RequestSink, SpanSink } from '../telemetry/request-ring.ts';
import type { FinishedRequest } from '../telemetry/request-slots.ts';
import { sampledFlag } from '../telemetry/trace-context.ts';
import { type Exchange, noFailedTries } from './exchange.ts';
import { explain } from './explanation.ts';
import { type Failure, type FailureCode, failures } from './failure.ts';

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
  /** Those that are exported; null: none is. */
  readonly spans: SpanSink | null;
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
  reason: '',
  detail: '',
  farFailure: '',
  answerBytes: 0,
  traceId: '',
  spanId: '',
  parentId: '',
  traceFlags: 0,
  headers: [],
  failedTries: noFailedTries,
  endedAtMs: 0.5,
  totalMs: 0.5,
  partsMs: newPartsMs(),
  far: null,
  isLoopEstimate: false,
  requestTimeoutMs: 0,
  perTryTimeoutMs: 0,
  idleTimeoutMs: 0,
  called: '',
  revision: 0,
};

/** The total until now, ms. */
export function closeTotal(exchange: Exchange, nowMs: number): number {
  const totalMs = exchange.partsMs[partIndex.loop]! + (nowMs - exchange.head.readAtMs);
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
  const totalMs = closeTotal(exchange, nowMs);
  const { head, action } = exchange;
  const destination = exchange.destination ?? exchange.service;
  const source = head.source === '' ? sinks.source : head.source;
  sinks.recorder
    .series(sinks.direction, source, destination, action, exchange.status)
    .record(totalMs, exchange.partsMs, failure !== null, exchange.attempts, exchange.isLoopEstimate);
  const route = action === null ? '' : action.route;
  if (failure !== null) {
    sinks.recorder.countFailure(sinks.direction, failure.code);
    if (failure.code === 'internal-error')
      sinks.onDefect({ method: head.method, host: head.host, path: head.path, route });
  }
  const { accessLog, requests, spans } = sinks;
  const isOfShare = requests?.isOfShare(exchange.trace!.chance, nowMs) === true;
  const isChosen = isAskedFor(exchange);
  const isKept =
    isOfShare ||
    (requests !== null &&
      (isChosen ||
        isFailed(failure, exchange.status, exchange.farFailure) ||
        requests.isSlow(destination, action, totalMs, nowMs)));
  if (!isKept && accessLog === null && spans === null) return;
  fill(exchange, sinks);
  finished.endedAtMs = nowMs;
  finished.destination = destination === null ? '' : destination.name;
  finished.route = route;
  finished.failure = failure === null ? '' : failure.code;
  finished.reason = reasonOf(failure, exchange.farFailure);
  finished.detail = detail;
  if (isKept) {
    const isExplained = mayNeedWords(exchange, failure) && requests!.mayExplain(nowMs);
    requests!.record(finished, isOfShare, isChosen, isExplained ? explain(exchange, finished.revision) : null);
  }
  spans?.record(finished);
  accessLog?.log(finished);
}

/** By its client, who samples its trace or wants to know its times, or because it needed more than one attempt. */
const isAskedFor = ({ isTimingAsked, failedTries, trace }: Exchange): boolean =>
  isTimingAsked || failedTries.length > 0 || (trace!.flags & sampledFlag) !== 0;

const isFailed = (failure: Failure | null, status: number, farFailure: string): boolean =>
  failure !== null || status >= 500 || farFailure !== '';

/** What a far sidecar gave may be of a later version, and then is known by its code only. */
function reasonOf(failure: Failure | null, farFailure: string): string {
  if (failure !== null) return failure.message;
  if (farFailure === '') return '';
  const far: Failure | undefined = Object.hasOwn(failures, farFailure)
    ? failures[farFailure as FailureCode]
    : undefined;
  return far === undefined ? '' : far.message;
}

/** What it was decided by is written down where something went wrong, so that the good case pays nothing for it. */
const mayNeedWords = ({ failedTries, farFailure }: Exchange, failure: Failure | null): boolean =>
  failure !== null || failedTries.length > 0 || farFailure !== '';

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
  finished.parentId = trace === null ? '' : trace.parentId;
  finished.traceFlags = trace === null ? 0 : trace.flags;
  finished.headers = head.headers;
  finished.failedTries = exchange.failedTries;
  finished.totalMs = exchange.totalMs;
  finished.partsMs = exchange.partsMs;
  finished.far = exchange.far;
  finished.isLoopEstimate = exchange.isLoopEstimate;
  finished.requestTimeoutMs = action === null ? 0 : action.timeouts.requestMs;
  finished.perTryTimeoutMs = action === null ? 0 : action.timeouts.perTryMs;
  finished.idleTimeoutMs = exchange.idleMs;
  finished.called = exchange.service === null ? '' : exchange.service.name;
  finished.revision = exchange.snapshot === null ? 0 : exchange.snapshot.revision;
}
