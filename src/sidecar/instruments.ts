/** What a sidecar measures itself with: the recorder of its loop, the loop's own delay, the access log, and what `/metrics` renders. */
import { AccessLog, fileDescriptorWriter } from '../telemetry/access-log.ts';
import { type LoopDelay, watchLoop } from '../telemetry/loop-delay.ts';
import { readProcess } from '../telemetry/process-reading.ts';
import type { Direction } from '../telemetry/recorder.ts';
import { RefusalLog } from '../telemetry/refusal-log.ts';
import type { ListenerReading, MetricsInput, UpstreamReading } from '../telemetry/render.ts';
import { SeriesRecorder } from '../telemetry/series.ts';
import { StatWindow } from '../telemetry/stats.ts';
import { ListenerEvents } from './listener-events.ts';

const standardError = 2;

/** What the instruments cannot know of themselves. */
export interface InstrumentReadings {
  readonly upstreams: readonly UpstreamReading[];
  readonly listeners: readonly ListenerReading[];
  readonly config: MetricsInput['config'];
}

export class Instruments {
  readonly recorder = new SeriesRecorder();
  readonly accessLog: AccessLog | null;
  readonly stats: StatWindow;
  readonly loop: LoopDelay;
  readonly loopWaitMs: (nowMs: number) => number;
  private readonly stopLoop: () => void;

  constructor(hasAccessLog: boolean) {
    const { loop, stop } = watchLoop();
    this.loop = loop;
    this.loopWaitMs = (nowMs) => loop.currentLoopWaitMs(nowMs);
    this.stopLoop = stop;
    this.stats = new StatWindow(
      () => [this.recorder.table()],
      () => performance.now(),
    );
    this.accessLog = hasAccessLog
      ? new AccessLog({ write: fileDescriptorWriter(standardError), atEndOfTurn: (flush) => setImmediate(flush) })
      : null;
  }

  /** For a listener by its name. */
  listenerEvents(direction: Direction, listener: string): ListenerEvents {
    const { accessLog, recorder } = this;
    const clocks = { nowMs: () => performance.now(), wallMs: () => Date.now() };
    const log = accessLog === null ? null : new RefusalLog({ accessLog, direction, listener, ...clocks });
    return new ListenerEvents(direction, recorder, log);
  }

  metricsInput({ upstreams, listeners, config }: InstrumentReadings): MetricsInput {
    const { recorder } = this;
    return {
      tables: [recorder.table()],
      failures: recorder.failures(),
      retries: recorder.retries(),
      upstreams,
      listeners,
      loops: [this.loop.read()],
      config,
      process: readProcess(),
      overflowed: recorder.overflowed,
      accessLogLinesDropped: this.accessLog?.dropped ?? 0,
    };
  }

  close(): void {
    this.stopLoop();
  }
}
