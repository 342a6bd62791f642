/** What one event loop of a sidecar measures itself with: its recorder, its last requests, its own delay, its access log, its spans. */
import { performance } from 'node:perf_hooks';
import type { RefusedHeadRecord } from '../model/decision.ts';
import { limits } from '../model/limits.ts';
import { AccessLog, type AccessLogWriter } from '../telemetry/access-log.ts';
import { type LoopDelay, watchLoop } from '../telemetry/loop-delay.ts';
import { atTurnEnd } from '../telemetry/loop-turn.ts';
import { pathRedaction } from '../telemetry/path-redaction.ts';
import type { Direction } from '../telemetry/recorder.ts';
import { RefusalLog } from '../telemetry/refusal-log.ts';
import { RefusalRing } from '../telemetry/refusal-ring.ts';
import { RequestRing } from '../telemetry/request-ring.ts';
import { thresholdOf } from '../telemetry/sampling.ts';
import { type RowListener, SeriesRecorder } from '../telemetry/series.ts';
import { SpanQueue } from '../telemetry/span-queue.ts';
import { ListenerEvents } from './listener-events.ts';
import type { LoopOptions, LoopReadings } from './loop.ts';
import { SpanBatches, spansLookMs } from './span-batches.ts';
import type { TakeSpans } from './span-exporter.ts';

export interface InstrumentOutlets {
  /** Null: there is no access log. */
  readonly writeAccessLog: AccessLogWriter | null;
  /** Null: no spans are exported. */
  readonly takeSpans: TakeSpans | null;
  /** Null: whoever reads the series holds their table. */
  readonly onRow: RowListener | null;
}

export class Instruments {
  readonly recorder: SeriesRecorder;
  readonly accessLog: AccessLog | null;
  readonly requests = new RequestRing();
  /** Null: none are exported. */
  readonly spans: SpanQueue | null;
  /** Of traces that begin here. Nothing is sampled that nobody here records. */
  readonly traceThreshold: number;
  /** Of each listener. */
  private readonly refusals: RefusalRing[] = [];
  readonly loop: LoopDelay;
  readonly loopWaitMs: (nowMs: number) => number;
  private readonly batches: SpanBatches | null;
  private readonly spanTimer: NodeJS.Timeout | null;
  private readonly stopLoop: () => void;
  private readonly sweeping: NodeJS.Timeout;

  constructor(
    { accessLog: policy, redactedPaths, tracing }: Pick<LoopOptions, 'accessLog' | 'redactedPaths' | 'tracing'>,
    { writeAccessLog, takeSpans, onRow }: InstrumentOutlets,
  ) {
    const { loop, stop } = watchLoop();
    this.loop = loop;
    this.loopWaitMs = (nowMs) => loop.currentLoopWaitMs(nowMs);
    this.stopLoop = stop;
    this.recorder = new SeriesRecorder(undefined, onRow);
    this.sweeping = setInterval(() => this.recorder.sweep(performance.now()), limits.seriesSweepMs).unref();
    const redactPath = pathRedaction(redactedPaths);
    this.accessLog =
      writeAccessLog === null || policy === null
        ? null
        : new AccessLog({ write: writeAccessLog, atEndOfTurn: atTurnEnd, policy, redactPath });
    this.traceThreshold = tracing === null ? 0 : thresholdOf(tracing.sampleRatio);
    this.spans = tracing === null ? null : new SpanQueue({ slowMs: tracing.slowMs, redactPath });
    this.batches =
      this.spans === null || takeSpans === null
        ? null
        : new SpanBatches({
            queue: this.spans,
            take: takeSpans,
            nowMs: () => performance.now(),
            later: (run) => setImmediate(run),
          });
    const { batches } = this;
    this.spanTimer = batches === null ? null : setInterval(() => batches.look(), spansLookMs).unref();
  }

  /** For a listener by its name. */
  listenerEvents(direction: Direction, listener: string): ListenerEvents {
    const { accessLog, recorder } = this;
    const clocks = { nowMs: () => performance.now(), wallMs: () => Date.now() };
    const log = accessLog === null ? null : new RefusalLog({ accessLog, direction, listener, ...clocks });
    const ring = new RefusalRing(direction, listener, clocks.wallMs);
    this.refusals.push(ring);
    return new ListenerEvents(direction, recorder, log, ring);
  }

  /** Heads that listeners of this loop refused, by the id that their clients were shown. */
  refusalsOf(requestId: string): readonly RefusedHeadRecord[] {
    return this.refusals.flatMap((ring) => ring.find(requestId));
  }

  read(): Omit<LoopReadings, 'upstreams' | 'listeners' | 'revision'> {
    const { recorder, accessLog, spans } = this;
    return {
      failures: recorder.failures(),
      retries: recorder.retries(),
      loop: this.loop.read(),
      requests: recorder.requests,
      overflowed: recorder.overflowed,
      accessLogLinesDropped: accessLog?.dropped ?? 0,
      accessLogLinesLeftOut: accessLog?.leftOut ?? 0,
      spansDropped: spans === null ? { 'queue-full': 0, 'over-rate': 0 } : { ...spans.dropped },
    };
  }

  /** Resolves when the spans that wait have been handed over, or nobody takes them in time. */
  async close(): Promise<void> {
    this.stopLoop();
    if (this.spanTimer !== null) clearInterval(this.spanTimer);
    await this.batches?.flush(limits.loopCloseMs / 4);
    clearInterval(this.sweeping);
  }
}
