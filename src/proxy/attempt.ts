/**
 * One try of one request at one endpoint: its stream, its clocks, its slot in the live state. It ends exactly once, in `settle`.
 */
import { limits } from '../model/limits.ts';
import { type FarTiming, splitNetwork } from '../telemetry/ledger.ts';
import { partIndex } from '../telemetry/recorder.ts';
import type { CurrentAttempt, Exchange } from './exchange.ts';
import type { Failure } from './failure.ts';
import type { HeaderList } from './headers.ts';
import type { AttemptOutcome, LiveState, LoopEndpoint } from './tables.ts';
import { passableTrailers } from './trailers.ts';
import type { UpstreamHandler, UpstreamHead, UpstreamRequest, UpstreamStream } from './upstream/upstream.ts';

export class Attempt implements UpstreamHandler, CurrentAttempt {
  private stream: UpstreamStream | null = null;
  private isSettled = false;
  private isAssigned = false;
  private assignedAtMs = 0;
  /** When the last byte of the request was handed over; 0 while it is still being sent. */
  private sentAtMs = 0;
  private headAtMs = 0;
  waitedBeforeMs = 0;
  isHeldBack = false;

  constructor(
    readonly exchange: Exchange,
    readonly endpoint: LoopEndpoint,
    private readonly live: LiveState,
    private readonly now: () => number,
    readonly openedAtMs: number,
  ) {}

  /** `isLast`: no other follows, so it is not risked on a kept connection. */
  open(request: UpstreamRequest, isLast: boolean): void {
    this.live.begin(this.endpoint.slot);
    this.stream = this.endpoint.upstream!.open(request, this, this.openedAtMs, isLast);
  }

  // --- Towards the endpoint ---------------------------------------------------------------------------------------------------------

  write(chunk: Uint8Array): boolean {
    return this.stream!.write(chunk);
  }

  endRequest(): void {
    this.stream!.end(this.exchange.requestTrailers);
    if (this.isAssigned && this.sentAtMs === 0) this.sentAtMs = this.now();
  }

  resumeReading(): void {
    this.isHeldBack = false;
    this.stream?.resumeReading();
  }

  /** Ends it from our side: a timeout, the client gone. */
  cancel(outcome: 'failed' | 'abandoned'): void {
    if (this.isSettled) return;
    this.stream!.destroy();
    const nowMs = this.now();
    this.stopClocks(nowMs);
    this.settle(outcome, nowMs);
  }

  // --- From the endpoint --------------------------------------------------------------------------------------------------------------

  onAssigned(queueMs: number, connectMs: number, _isReused: boolean, nowMs: number, tlsMs: number): void {
    const { partsMs } = this.exchange;
    partsMs[partIndex.queue]! += queueMs;
    partsMs[partIndex.connect]! += connectMs;
    partsMs[partIndex.tls]! += tlsMs;
    this.isAssigned = true;
    this.assignedAtMs = nowMs;
    // A request without a body is written with its head, whenever its listener says that it is complete.
    const { isRequestComplete, head } = this.exchange;
    if (isRequestComplete || head.bodyBytes === 0) this.sentAtMs = nowMs;
  }

  onHead(head: UpstreamHead): void {
    const nowMs = this.now();
    this.headAtMs = nowMs;
    const { exchange } = this;
    this.waitedBeforeMs = exchange.partsMs[partIndex.wait]!;
    this.addSendAndWait(nowMs);
    if (head.far !== null) {
      exchange.far = head.far;
      splitNetwork(exchange.partsMs, head.far, this.waitedBeforeMs);
    }
    exchange.steps.answer(exchange, this, head, nowMs);
  }

  onBody(chunk: Uint8Array): void {
    const { exchange } = this;
    exchange.movedAtMs = exchange.steps.deadlines.coarseNowMs;
    exchange.answerBytes += chunk.length;
    if (exchange.downstream.body(chunk)) return;
    this.isHeldBack = true;
    this.stream!.pauseReading();
  }

  onEnd(trailers: HeaderList, far: FarTiming | null): void {
    const { exchange } = this;
    const { downstream, status, steps } = exchange;
    if (far !== null) exchange.far = far;
    this.settle(status === 429 || status === 503 ? 'overloaded' : 'ok', this.headAtMs);
    if (downstream.wantsTiming) {
      this.endTimed(trailers);
      return;
    }
    // An answer is written within this call, and its client has it no sooner: the transfer ends behind it.
    downstream.end(passableTrailers(trailers), null);
    const nowMs = this.now();
    this.stopClocks(nowMs);
    steps.complete(exchange, nowMs);
  }

  /** To a caller who wants to know what it took. The frames of a link leave at the end of the turn, so nothing is written here. */
  private endTimed(trailers: HeaderList): void {
    const { exchange } = this;
    const nowMs = this.now();
    this.stopClocks(nowMs);
    // What a short transfer took is not worth its bytes: the timing that went with the head stands then.
    const isLong = exchange.partsMs[partIndex.transfer]! >= limits.transferToldMs;
    exchange.downstream.end(passableTrailers(trailers), isLong ? exchange.steps.timingOf(exchange, nowMs) : null);
    exchange.steps.complete(exchange, nowMs);
  }

  onFailure(failure: Failure, isReusedConnection: boolean, detail = ''): void {
    const nowMs = this.now();
    this.stopClocks(nowMs);
    this.settle('failed', nowMs);
    this.exchange.steps.attemptFailed(this.exchange, failure, isReusedConnection, detail);
  }

  onWritable(): void {
    this.exchange.movedAtMs = this.exchange.steps.deadlines.coarseNowMs;
    this.exchange.resumeRequest();
  }

  /** Whatever part is running when the attempt ends, for whatever reason, gets its time: else it would look like the proxy's own. */
  private stopClocks(nowMs: number): void {
    if (this.headAtMs === 0) this.addSendAndWait(nowMs);
    else this.exchange.partsMs[partIndex.transfer]! += nowMs - this.headAtMs;
  }

  /** An answer may begin before the request was sent whole: then everything until its head was sending. */
  private addSendAndWait(nowMs: number): void {
    const { partsMs } = this.exchange;
    if (!this.isAssigned) {
      partsMs[partIndex.connect]! += nowMs - this.openedAtMs;
      return;
    }
    const sentAtMs = this.sentAtMs === 0 ? nowMs : this.sentAtMs;
    partsMs[partIndex.send]! += sentAtMs - this.assignedAtMs;
    partsMs[partIndex.wait]! += nowMs - sentAtMs;
  }

  private settle(outcome: AttemptOutcome, nowMs: number): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.live.end(this.endpoint.slot, (this.headAtMs === 0 ? nowMs : this.headAtMs) - this.openedAtMs, outcome);
  }
}
