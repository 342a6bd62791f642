/**
 * One request and its answer: what has arrived, what is kept for another attempt, and the flow of both bodies. It moves bytes and
 * applies back-pressure; what happens next is decided in proxy.ts.
 */
import { limits } from '../model/limits.ts';
import type { BodyLimits } from '../model/listener-limits.ts';
import type { TimedFailedTry } from '../model/span.ts';
import type { FarTiming, HopTiming } from '../telemetry/ledger.ts';
import { newPartsMs, type PartsMs } from '../telemetry/recorder.ts';
import type { Trace } from '../telemetry/trace-context.ts';
import { BodyPace } from './body-pace.ts';
import type { Deadlined, Deadlines } from './deadlines.ts';
import { type Failure, failures } from './failure.ts';
import type { HeaderList } from './headers.ts';
import type { Mirror } from './mirror.ts';
import type { Downstream, RequestHead, RequestReceiver } from './request.ts';
import type { LoopAction, LoopBackend, LoopEndpoint, LoopService, LoopSnapshot, PickFacts } from './tables.ts';
import { noTrailers, passableTrailers } from './trailers.ts';
import type { UpstreamHead } from './upstream/upstream.ts';

/** deciding: no attempt yet. attempting: waiting for an answer's head. answering: the head is on its way to the client. */
export type ExchangePhase = 'deciding' | 'attempting' | 'answering' | 'done';

/** The attempt under way, as its exchange needs it (attempt.ts). */
export interface CurrentAttempt {
  readonly endpoint: LoopEndpoint;
  /** The client does not read, so the answer waits: whatever times out then is not the endpoint's fault. */
  readonly isHeldBack: boolean;
  /** What earlier attempts of its exchange had waited, ms; known once its head has come. */
  readonly waitedBeforeMs: number;
  /** False: no more until it asks. */
  write(chunk: Uint8Array): boolean;
  endRequest(): void;
  resumeReading(): void;
  cancel(outcome: 'failed' | 'abandoned'): void;
}

/** The steps of a request that an exchange and its attempts lead to (proxy.ts). */
export interface ExchangeSteps {
  readonly deadlines: Deadlines;
  answer(exchange: Exchange, attempt: CurrentAttempt, head: UpstreamHead, nowMs: number): void;
  /** What this hop took until now, for a caller who wants to know it; else null. */
  timingOf(exchange: Exchange, nowMs: number): HopTiming | null;
  /** `detail`: see UpstreamHandler. */
  attemptFailed(exchange: Exchange, failure: Failure, isReusedConnection: boolean, detail: string): void;
  complete(exchange: Exchange, nowMs: number): void;
  clientGone(exchange: Exchange): void;
  checkDeadlines(exchange: Exchange, nowMs: number): void;
  /** More of the body has arrived than `bodyBytesMax`. */
  bodyTooLarge(exchange: Exchange): void;
}

/** Almost every request has none. */
export const noFailedTries: readonly TimedFailedTry[] = [];
const noSlots: readonly number[] = [];
const noMirrors: readonly Mirror[] = [];

export class Exchange implements RequestReceiver, Deadlined, PickFacts, HopTiming {
  phase: ExchangePhase = 'deciding';
  /** The configuration it sees from start to end. */
  snapshot: LoopSnapshot | null = null;
  /** The Service that was called, and the one whose endpoints are used (another one after a split). */
  service: LoopService | null = null;
  destination: LoopService | null = null;
  action: LoopAction | null = null;
  attempt: CurrentAttempt | null = null;
  attempts = 0;
  tried: readonly number[] = noSlots;
  /** Those that another one followed. */
  failedTries: readonly TimedFailedTry[] = noFailedTries;
  /** What its patterns were found to be; null: they were not asked. */
  verdicts: Uint8Array | null = null;

  /** Begun or continued once: every attempt and every copy belongs to it. Null until something needs it. */
  trace: Trace | null = null;
  readonly isTimingAsked: boolean;

  /** Request body bytes that no attempt has finished with: waiting for an attempt, or kept for another one. Bounded by `limits.replayBodyBytesMax`, then paused or dropped. */
  private heldBody: Buffer[] | null = null;
  private heldBytes = 0;
  isBodyAtHand = true;
  isRequestComplete = false;
  /** Those that are passed on; complete with the request. */
  requestTrailers: HeaderList = noTrailers;
  private isRequestPaused = false;
  /** Of the body, arrived so far. */
  requestBytes = 0;
  /** The lower one of the listener's and, once it is routed, the Service's. */
  bodyBytesMax: number;
  /** Those of the listener, for what is said when one is met. */
  readonly bodyLimits: BodyLimits;
  /** Null: it has no body, or may take its time. */
  readonly bodyPace: BodyPace | null;

  /** Copies of it under way; almost always none. */
  mirrors: readonly Mirror[] = noMirrors;
  backend: LoopBackend | null = null;
  status = 0;
  answerBytes = 0;

  readonly partsMs: PartsMs;
  /** Until now, ms; brought up to date together with `partsMs` (outcome.ts). */
  totalMs = 0;
  /** Whether `loop` is an upper bound rather than a measurement. */
  isLoopEstimate = false;
  /** What the far sidecar said of its own hop. */
  far: FarTiming | null = null;
  /** The failure that it gave as its answer; empty: none. */
  farFailure = '';
  requestDeadlineMs = 0;
  perTryDeadlineMs = 0;
  idleMs: number = limits.idleTimeoutMs;
  /** Coarse time at which a byte last moved in either direction. */
  movedAtMs: number;
  nextInSweep: Deadlined | null = null;
  previousInSweep: Deadlined | null = null;

  constructor(
    readonly steps: ExchangeSteps,
    readonly head: RequestHead,
    readonly downstream: Downstream,
    isTimingAsked: boolean,
    bodyLimits: BodyLimits,
  ) {
    const { bodyBytesMax, bodyRateMin } = bodyLimits;
    this.partsMs = newPartsMs(head.loopMs);
    this.isTimingAsked = isTimingAsked;
    this.movedAtMs = head.readAtMs;
    this.bodyBytesMax = bodyBytesMax;
    this.bodyLimits = bodyLimits;
    this.bodyPace = head.bodyBytes === 0 || bodyRateMin === 0 ? null : new BodyPace(bodyRateMin, head.readAtMs);
  }

  get request(): RequestHead {
    return this.head;
  }

  // --- From the client -----------------------------------------------------------------------------------------------------------

  onRequestBody(chunk: Uint8Array): void {
    if (this.phase === 'done') return;
    this.movedAtMs = this.steps.deadlines.coarseNowMs;
    this.requestBytes += chunk.byteLength;
    if (this.requestBytes > this.bodyBytesMax) {
      this.steps.bodyTooLarge(this);
      return;
    }
    const attempt = this.attempt;
    if (this.isBodyAtHand) {
      if (attempt === null || this.heldBytes + chunk.byteLength <= limits.replayBodyBytesMax) {
        this.heldBody ??= [];
        this.heldBody.push(Buffer.from(chunk));
        this.heldBytes += chunk.byteLength;
      } else {
        // Too much to repeat: from here on there is one attempt.
        this.dropHeldBody();
      }
    }
    for (const mirror of this.mirrors) mirror.write(chunk);
    if (attempt !== null) {
      if (!attempt.write(chunk)) this.pauseRequest();
    } else if (this.heldBytes > limits.streamBufferBytesMax) {
      this.pauseRequest();
    }
  }

  onRequestEnd(trailers: HeaderList): void {
    if (this.phase === 'done') return;
    this.isRequestComplete = true;
    this.requestTrailers = passableTrailers(trailers);
    for (const mirror of this.mirrors) mirror.endRequest(this.requestTrailers);
    this.attempt?.endRequest();
  }

  onClientGone(): void {
    if (this.phase !== 'done') this.steps.clientGone(this);
  }

  onDownstreamWritable(): void {
    this.movedAtMs = this.steps.deadlines.coarseNowMs;
    if (this.phase === 'answering') this.attempt?.resumeReading();
  }

  onAnswerRefused(): void {
    // An answer of our own that cannot be sent has no other to take its place.
    if (this.phase !== 'answering') return;
    this.attempt!.cancel('failed');
    this.steps.attemptFailed(this, failures['upstream-garbage'], false, '');
  }

  /** Its slot is not chosen again while there is another. */
  noteTried(slot: number): void {
    this.tried = this.tried.length === 0 ? [slot] : [...this.tried, slot];
  }

  addMirror(mirror: Mirror): void {
    this.mirrors = [...this.mirrors, mirror];
  }

  /** The attempt that ended now, before it is forgotten for the next one. */
  noteFailedTry({ code, message }: Failure, detail: string, nowMs: number): void {
    const endpoint = this.attempt!.endpoint.address;
    this.failedTries = this.failedTries.concat({ endpoint, failure: code, reason: message, detail, atMs: nowMs });
  }

  // --- Between client and attempt --------------------------------------------------------------------------------------------------

  /** Gives a new attempt what has arrived so far. */
  replayInto(attempt: CurrentAttempt): void {
    let hasRoom = true;
    if (this.heldBody !== null) for (const chunk of this.heldBody) hasRoom = attempt.write(chunk) && hasRoom;
    if (this.attempts === 1 && this.mirrors.length > 0) this.replayIntoMirrors();
    if (this.heldBytes > limits.replayBodyBytesMax) this.dropHeldBody();
    if (this.isRequestComplete) attempt.endRequest();
    else if (hasRoom) this.resumeRequest();
    else this.pauseRequest();
  }

  private replayIntoMirrors(): void {
    for (const mirror of this.mirrors) {
      if (this.heldBody !== null) for (const chunk of this.heldBody) mirror.write(chunk);
      if (this.isRequestComplete) mirror.endRequest(this.requestTrailers);
    }
  }

  dropHeldBody(): void {
    this.isBodyAtHand = false;
    this.heldBody = null;
    this.heldBytes = 0;
  }

  pauseRequest(): void {
    if (this.isRequestPaused || this.isRequestComplete) return;
    this.isRequestPaused = true;
    this.downstream.pauseRequest();
  }

  resumeRequest(): void {
    if (!this.isRequestPaused) return;
    this.isRequestPaused = false;
    this.downstream.resumeRequest();
  }

  /** True while it is the client's turn to send. */
  get isWaitingForClient(): boolean {
    return !this.isRequestComplete && !this.isRequestPaused && this.head.bodyBytes !== 0;
  }

  onSweep(nowMs: number): void {
    this.steps.checkDeadlines(this, nowMs);
  }
}
