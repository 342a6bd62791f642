/**
 * The life of a request, top to bottom:
 *
 *   accept        a listener hands over a checked head
 *   route         which Service was called, and which rule of its routes applies       (router.ts, tables.ts)
 *   attempt       one backend by the split, one endpoint by the balancer, one stream   (attempt.ts, upstream/)
 *   answer        the answer's head goes to the client; bodies flow by themselves      (exchange.ts)
 *   attemptFailed another attempt, or a local reply that says why                      (retry.ts, failure.ts)
 *   complete      counted, timed and logged, once                                      (outcome.ts)
 *
 * The outbound and the inbound side of a sidecar are two of these: the inbound one knows a single Service, its own app.
 */
import { limits } from '../model/limits.ts';
import { type BodyLimits, noBodyLimits } from '../model/listener-limits.ts';
import type { HeaderChange, UnitLimits, UnitName } from '../model/snapshot.ts';
import { formatServerTiming, type HopTiming, parseFarTiming, splitNetwork } from '../telemetry/ledger.ts';
import { ownOf, partIndex } from '../telemetry/recorder.ts';
import { RandomIds, type Trace } from '../telemetry/trace-context.ts';
import { Attempt } from './attempt.ts';
import type { Deadlines } from './deadlines.ts';
import type { Discovery } from './discovery.ts';
import { hasUntried, pickEndpoint } from './endpoint-choice.ts';
import { type CurrentAttempt, Exchange, type ExchangeSteps } from './exchange.ts';
import { type Failure, type FailureCode, failures } from './failure.ts';
import { attemptDetail, clientGoneDetail, noBackendDetail, noEndpointDetail, noRouteDetail } from './failure-detail.ts';
import { fieldIds } from './field-names.ts';
import { dropFields, fieldOf, fieldValue, type HeaderList } from './headers.ts';
import { answerLimitMet, bodyLimitMet, type LimitMet } from './limit-met.ts';
import { localReply, reasonOf } from './local-reply.ts';
import { Mirror } from './mirror.ts';
import { closeTotal, type OutcomeSinks, recordOutcome } from './outcome.ts';
import type { Downstream, RequestAcceptor, RequestHead, RequestReceiver } from './request.ts';
import { mayTryAgain } from './retry.ts';
import { route } from './router.ts';
import { isHeadLarger, serviceLimitMet } from './service-limits.ts';
import { changeHeaders, redirectLocation, shapeRequest } from './shape.ts';
import type {
  LiveState,
  LoopAction,
  LoopBackend,
  LoopEndpoint,
  LoopMirror,
  LoopService,
  LoopSnapshot,
  SlowDecisions,
} from './tables.ts';
import { timeoutMet } from './timeout-met.ts';
import { traceOfHead } from './trace.ts';
import type { Upstream, UpstreamHead, UpstreamRequest } from './upstream/upstream.ts';

/** Where a proxy finds the configuration in force: read once per request. */
export interface ConfigurationInForce {
  /** Null until there is a first one. */
  readonly current: LoopSnapshot | null;
}

export interface HttpProxyParts extends OutcomeSinks {
  readonly configuration: ConfigurationInForce;
  readonly discovery: Discovery;
  readonly slowDecisions: SlowDecisions;
  readonly live: LiveState;
  readonly openUpstream: (endpoint: LoopEndpoint) => Upstream;
  readonly deadlines: Deadlines;
  /** Whether the wait for the loop of the request that is being accepted is an upper bound (`LoopDelay.isEstimate`). */
  readonly isLoopEstimate: () => boolean;
  /** Of traces that begin here so many are sampled (`thresholdOf` of telemetry/sampling.ts). */
  readonly traceThreshold: number;
  /** `performance.now`. */
  readonly now: () => number;
  /** `Math.random`. */
  readonly random: () => number;
}

export class HttpProxy implements RequestAcceptor, ExchangeSteps {
  readonly deadlines: Deadlines;
  /** Requests in flight: what a drain waits for. */
  active = 0;
  private readonly ids = new RandomIds();

  constructor(private readonly parts: HttpProxyParts) {
    this.deadlines = parts.deadlines;
  }

  /** `body`: the limits of the listener that it came in by. */
  accept(head: RequestHead, downstream: Downstream, body: BodyLimits = noBodyLimits): RequestReceiver {
    const exchange = new Exchange(this, head, downstream, fieldValue(head.headers, fieldIds.weftTiming) === '1', body);
    exchange.isLoopEstimate = this.parts.isLoopEstimate();
    this.active++;
    this.deadlines.add(exchange);
    if (head.bodyBytes > body.bodyBytesMax) this.bodyTooLarge(exchange);
    else this.route(exchange);
    return exchange;
  }

  // --- Route ---------------------------------------------------------------------------------------------------------------------

  private route(exchange: Exchange): void {
    if (!this.routeIfKnown(exchange))
      this.parts.discovery.discover(exchange.head.host, (answer) => this.discovered(exchange, answer));
  }

  /** False when the configuration in force does not hold the host. */
  private routeIfKnown(exchange: Exchange): boolean {
    const snapshot = this.parts.configuration.current;
    const service = snapshot === null ? null : snapshot.findByHost(exchange.head.host);
    exchange.snapshot = snapshot;
    if (service === null) return false;
    exchange.service = service;
    this.match(exchange, service, null);
    return true;
  }

  private discovered(
    exchange: Exchange,
    answer: 'ready' | 'unknown-service' | 'no-configuration' | 'discovery-timeout' | 'discovery-full',
  ): void {
    if (exchange.phase === 'done') return;
    if (answer === 'ready' && this.routeIfKnown(exchange)) return;
    this.failLocally(exchange, failures[answer === 'ready' ? 'unknown-service' : answer], exchange.head.host);
  }

  private match(exchange: Exchange, service: LoopService, verdicts: Uint8Array | null): void {
    exchange.verdicts = verdicts;
    const decision = route(service, exchange.head, verdicts);
    switch (decision.tag) {
      case 'action':
        this.act(exchange, decision.action);
        break;
      case 'no-match':
        this.failLocally(exchange, failures['no-route'], noRouteDetail(service, exchange.head, verdicts));
        break;
      case 'needs-patterns':
        this.parts.slowDecisions.matchPatterns(service, exchange.head, (answer) => {
          if (exchange.phase === 'done') return;
          if (answer === null) this.failLocally(exchange, failures['pattern-failed'], service.name);
          else this.match(exchange, service, answer);
        });
        break;
      default:
        decision satisfies never;
    }
  }

  /** The rule is known: answer from here, or shape the request for its backends. */
  private act(exchange: Exchange, action: LoopAction): void {
    const { head } = exchange;
    exchange.action = action;
    const nowMs = this.parts.now();
    const { requestMs, idleMs } = action.timeouts;
    exchange.requestDeadlineMs = requestMs === 0 ? 0 : head.readAtMs + requestMs;
    exchange.idleMs = idleMs;
    exchange.partsMs[partIndex.decide] = nowMs - head.readAtMs;

    if (action.redirect !== null) {
      const headers = [fieldOf('Location', redirectLocation(head, action.redirect))];
      if (action.responseHeaders !== null) changeHeaders(headers, action.responseHeaders);
      this.replyLocally(exchange, action.redirect.status, headers, null);
      this.complete(exchange, this.parts.now());
      return;
    }
    // One ticket a request: another attempt stays with the backend that the split chose.
    const backend = action.pickBackend();
    if (backend === null) {
      this.failLocally(exchange, failures['no-backend'], noBackendDetail(action));
      return;
    }
    this.attempt(exchange, backend, nowMs);
  }

  // --- Attempt -------------------------------------------------------------------------------------------------------------------

  private attempt(exchange: Exchange, backend: LoopBackend, nowMs: number): void {
    const action = exchange.action!;
    const destination = backend.unit === null ? null : exchange.snapshot!.find(backend.unit);
    if (destination === null) {
      this.failLocally(exchange, failures['backend-not-found'], backend.ref);
      return;
    }
    exchange.destination = destination;
    const endpoint = pickEndpoint(destination, exchange);
    if (endpoint === null) {
      this.failLocally(exchange, failures['no-endpoint'], noEndpointDetail(destination));
      return;
    }
    endpoint.upstream ??= this.parts.openUpstream(endpoint);

    // Over a link the far side says what it took without being asked.
    const isTimingForwarded = exchange.isTimingAsked && endpoint.hasSidecar && endpoint.link.length === 0;
    const request = this.shape(exchange, isTimingForwarded, backend.requestHeaders);
    if (destination.limits !== null && !this.keepLimits(exchange, request, destination.limits, destination.name))
      return;
    if (exchange.attempts === 0) for (const mirror of action.mirrors) this.mirror(exchange, mirror, nowMs);
    const attempt = new Attempt(exchange, endpoint, this.parts.live, this.parts.now, nowMs);
    const { perTryMs } = action.timeouts;
    exchange.perTryDeadlineMs = perTryMs === 0 ? 0 : nowMs + perTryMs;
    exchange.attempt = attempt;
    // What another endpoint took, in an attempt before, is not this one's.
    exchange.far = null;
    exchange.attempts++;
    exchange.noteTried(endpoint.slot);
    exchange.phase = 'attempting';
    exchange.backend = backend;
    attempt.open(request, exchange.attempts === limits.attemptsMax);
    exchange.replayInto(attempt);
  }

  /** False: the request is more than the Service takes, and was answered. */
  private keepLimits(exchange: Exchange, request: UpstreamRequest, limits: UnitLimits, service: UnitName): boolean {
    if (limits.requestBodyBytes !== 0) exchange.bodyBytesMax = Math.min(exchange.bodyBytesMax, limits.requestBodyBytes);
    let met = serviceLimitMet(request, limits, service);
    // What arrived while it was being decided counts too.
    if (exchange.requestBytes > exchange.bodyBytesMax) met ??= bodyLimitMet(exchange);
    if (met === null) return true;
    this.failLocally(exchange, met.failure, met.detail);
    return false;
  }

  /** The request as the next hop gets it. `backendHeaders`: the filter of the backendRef. */
  private shape(exchange: Exchange, isTimingForwarded: boolean, backendHeaders: HeaderChange | null): UpstreamRequest {
    const { traceparent, isContinued } = this.traceOf(exchange);
    const { head, action } = exchange;
    return shapeRequest(head, action!, traceparent, isContinued, isTimingForwarded, backendHeaders);
  }

  private traceOf(exchange: Exchange): Trace {
    exchange.trace ??= traceOfHead(exchange.head, this.ids, this.parts.traceThreshold);
    return exchange.trace;
  }

  /** The copy has what the rule's filters made of the request, not what a backendRef's own did: it goes to another backend. */
  private mirror(exchange: Exchange, { unit, fraction }: LoopMirror, nowMs: number): void {
    if (fraction < 1 && this.parts.random() >= fraction) return;
    const destination = unit === null ? null : exchange.snapshot!.find(unit);
    const endpoint = destination === null ? null : destination.pick(exchange);
    if (endpoint === null) {
      this.parts.recorder.countFailure(this.parts.direction, 'mirror-failed');
      return;
    }
    endpoint.upstream ??= this.parts.openUpstream(endpoint);
    const request = this.shape(exchange, false, null);
    const { live, recorder, direction } = this.parts;
    const mirror = Mirror.open(endpoint, request, live, this.deadlines, recorder, direction, nowMs);
    if (mirror !== null) exchange.addMirror(mirror);
  }

  // --- Answer --------------------------------------------------------------------------------------------------------------------

  /** The attempt's answer begins. */
  answer(exchange: Exchange, attempt: CurrentAttempt, head: UpstreamHead, nowMs: number): void {
    const { headers, status } = head;
    const isSidecar = attempt.endpoint.hasSidecar;
    const farFailure = takeValue(headers, fieldIds.weftFailure);
    // A registered sidecar that says that no byte was acted upon lets us go elsewhere. Nobody else's word counts, nor is it passed on:
    // a caller could not tell it from ours.
    if (isSidecar && farFailure !== null && status === 503) {
      const failure = failures[farFailure as FailureCode] as Failure | undefined;
      if (failure?.isSafeToRetry === true && this.tryAgain(exchange, failure, false, 'its sidecar says so')) return;
    }
    const service = exchange.destination!.limits;
    if (service !== null && isHeadLarger(headers, service.responseHeadBytes)) {
      this.limitMet(exchange, answerLimitMet(service.responseHeadBytes, exchange.destination!.name));
      return;
    }
    exchange.phase = 'answering';
    exchange.perTryDeadlineMs = 0;
    exchange.status = status;
    exchange.movedAtMs = nowMs;
    const action = exchange.action!;
    if (action.responseHeaders !== null) changeHeaders(headers, action.responseHeaders);
    if (exchange.backend!.responseHeaders !== null) changeHeaders(headers, exchange.backend!.responseHeaders);
    if (farFailure !== null && isSidecar) {
      exchange.farFailure = farFailure;
      headers.push(fieldOf('Weft-Failure', farFailure));
    }
    if (exchange.isTimingAsked) this.addServerTiming(exchange, headers, isSidecar, nowMs);
    exchange.downstream.head(head, this.timingOf(exchange, nowMs));
  }

  timingOf(exchange: Exchange, nowMs: number): HopTiming | null {
    if (!exchange.downstream.wantsTiming) return null;
    closeTotal(exchange, nowMs);
    return exchange;
  }

  /**
   * The far sidecar's parts, when there is one, split the wait into its own time and the network's. A link has said them already; over
   * HTTP/1.1 they come in a field.
   */
  private addServerTiming(exchange: Exchange, headers: HeaderList, isSidecar: boolean, nowMs: number): void {
    const { partsMs } = exchange;
    let { far } = exchange;
    if (far === null && isSidecar) {
      far = takeFarTiming(headers);
      exchange.far = far;
      if (far !== null) splitNetwork(partsMs, far, exchange.attempt!.waitedBeforeMs);
    }
    const totalMs = closeTotal(exchange, nowMs);
    partsMs[partIndex.own] = ownOf(partsMs, totalMs);
    headers.push(fieldOf('Server-Timing', formatServerTiming(partsMs, totalMs, far)));
  }

  // --- Failure -------------------------------------------------------------------------------------------------------------------

  attemptFailed(exchange: Exchange, failure: Failure, isReusedConnection: boolean, detail: string): void {
    const { endpoint } = exchange.attempt!;
    if (exchange.phase === 'answering') {
      const cut = failure.code === 'upstream-reset' ? failures['answer-cut'] : failure;
      const said = attemptDetail(failure, endpoint, detail);
      if (this.failRetracted(exchange, failure, said)) return;
      exchange.downstream.abort();
      this.complete(exchange, this.parts.now(), cut, said);
      return;
    }
    if (this.tryAgain(exchange, failure, isReusedConnection, detail)) return;
    this.failLocally(exchange, failure, attemptDetail(failure, endpoint, detail));
  }

  private tryAgain(exchange: Exchange, failure: Failure, isReusedConnection: boolean, detail: string): boolean {
    const { attempts, isBodyAtHand } = exchange;
    const { method } = exchange.head;
    if (!mayTryAgain({ method, failure, isReusedConnection, isBodyAtHand, attempts })) return false;
    // A connect that ran into its deadline has cost the client seconds: only another endpoint is worth as much again.
    if (failure.code === 'connect-timeout' && !hasUntried(exchange)) return false;
    exchange.attempt!.cancel('failed');
    const nowMs = this.parts.now();
    exchange.noteFailedTry(failure, detail, nowMs);
    exchange.attempt = null;
    this.parts.recorder.countRetry(this.parts.direction, failure.code);
    this.attempt(exchange, exchange.backend!, nowMs);
    return true;
  }

  clientGone(exchange: Exchange): void {
    exchange.attempt?.cancel('abandoned');
    if (exchange.status === 0) exchange.status = failures['client-gone'].status;
    const nowMs = this.parts.now();
    if (exchange.action === null) exchange.partsMs[partIndex.decide] = nowMs - exchange.head.readAtMs;
    this.complete(exchange, nowMs, failures['client-gone'], clientGoneDetail(exchange));
  }

  /** Called by every sweep for every request in flight. */
  checkDeadlines(exchange: Exchange, nowMs: number): void {
    const met = timeoutMet(exchange, nowMs);
    if (met !== null) this.limitMet(exchange, met);
  }

  bodyTooLarge(exchange: Exchange): void {
    this.limitMet(exchange, bodyLimitMet(exchange));
  }

  /** Ends it from here, for what its client, its endpoint or the clock did. */
  private limitMet(exchange: Exchange, { failure, detail }: LimitMet): void {
    const attempt = exchange.attempt;
    const isClients = failure.source === 'downstream' || exchange.isWaitingForClient || attempt?.isHeldBack === true;
    attempt?.cancel(isClients ? 'abandoned' : 'failed');
    if (exchange.phase === 'answering') {
      if (this.failRetracted(exchange, failure, detail)) return;
      exchange.downstream.abort();
      this.complete(exchange, this.parts.now(), failure, detail);
    } else {
      this.failLocally(exchange, failure, detail);
    }
  }

  /** False when something of the answer has left: then it can only be cut. Nothing is tried again, for the endpoint has acted upon the request. */
  private failRetracted(exchange: Exchange, failure: Failure, detail: string): boolean {
    if (!exchange.downstream.retract()) return false;
    exchange.answerBytes = 0;
    exchange.phase = 'attempting';
    this.failLocally(exchange, failure, detail);
    return true;
  }

  private failLocally(exchange: Exchange, failure: Failure, detail: string): void {
    const nowMs = this.parts.now();
    // Without an action it failed while it was being decided.
    if (exchange.action === null) exchange.partsMs[partIndex.decide] = nowMs - exchange.head.readAtMs;
    const reply = localReply(failure, detail, this.traceOf(exchange).traceId);
    if (exchange.isTimingAsked) this.addServerTiming(exchange, reply.headers, false, nowMs);
    // Nobody waits for the rest of a body that is too large or too slow.
    const endsConnection =
      failure.source === 'downstream' && !exchange.isRequestComplete && exchange.head.bodyBytes !== 0;
    this.replyLocally(exchange, reply.status, reply.headers, reply.body, endsConnection);
    this.complete(exchange, this.parts.now(), failure, detail);
  }

  private replyLocally(
    exchange: Exchange,
    status: number,
    headers: HeaderList,
    body: Buffer | null,
    endsConnection = false,
  ): void {
    exchange.status = status;
    const hasBody = body !== null && exchange.head.method !== 'HEAD';
    const timing = this.timingOf(exchange, this.parts.now());
    const head = {
      status,
      reason: reasonOf(status),
      headers,
      bodyBytes: body === null ? 0 : body.byteLength,
      hasBody: hasBody || body === null,
      endsConnection,
    };
    exchange.downstream.head(head, timing);
    if (hasBody) exchange.downstream.body(body);
    exchange.downstream.end([], timing);
  }

  // --- Complete ------------------------------------------------------------------------------------------------------------------

  /** The one exit: nothing of the request is touched after it. */
  complete(exchange: Exchange, nowMs: number, failure: Failure | null = null, detail = ''): void {
    if (exchange.phase === 'done') return;
    exchange.phase = 'done';
    this.active--;
    this.deadlines.remove(exchange);
    if (!exchange.isRequestComplete) for (const mirror of exchange.mirrors) mirror.drop();
    exchange.dropHeldBody();
    // Whatever never left this sidecar can be asked for, too.
    this.traceOf(exchange);
    recordOutcome(exchange, failure, detail, nowMs, this.parts);
  }
}

/** Removes a field and returns its last value, or null. */
function takeValue(headers: HeaderList, fieldId: number): string | null {
  if (fieldValue(headers, fieldId) === undefined) return null;
  let last = '';
  dropFields(headers, ({ id, value }) => {
    if (id === fieldId) last = value;
    return id === fieldId;
  });
  return last;
}

/** The far sidecar's Server-Timing is the last one: fields of its app come before it and stay. */
function takeFarTiming(headers: HeaderList): ReturnType<typeof parseFarTiming> {
  for (let i = headers.length - 1; i >= 0; i--) {
    const { id, value } = headers[i]!;
    if (id !== fieldIds.serverTiming) continue;
    const far = parseFarTiming(value);
    if (far !== null) headers.splice(i, 1);
    return far;
  }
  return null;
}
