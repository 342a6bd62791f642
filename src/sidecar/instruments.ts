/** What one event loop of a sidecar measures itself with: its recorder, its last requests, its own delay, its access log. */
import { limits } from '../model/limits.ts';
import { AccessLog, type AccessLogWriter } from '../telemetry/access-log.ts';
import { type LoopDelay, watchLoop } from '../telemetry/loop-delay.ts';
import type { Direction } from '../telemetry/recorder.ts';
import { RefusalLog } from '../telemetry/refusal-log.ts';
import { RequestRing } from '../telemetry/request-ring.ts';
import { type RowListener, SeriesRecorder } from '../telemetry/series.ts';
import { ListenerEvents } from './listener-events.ts';
import type { LoopReadings } from './loop.ts';

export interface InstrumentsOptions {
  /** Null: there is no access log. */
  readonly writeAccessLog: AccessLogWriter | null;
  /** Null: whoever reads the series holds their table. */
  readonly onRow: RowListener | null;
}

export class Instruments {
  readonly recorder: SeriesRecorder;
  readonly accessLog: AccessLog | null;
  readonly requests = new RequestRing();
  readonly loop: LoopDelay;
  readonly loopWaitMs: (nowMs: number) => number;
  private readonly stopLoop: () => void;
  private readonly sweeping: NodeJS.Timeout;

  constructor({ writeAccessLog, onRow }: InstrumentsOptions) {
    const { loop, stop } = watchLoop();
    this.loop = loop;
    this.loopWaitMs = (nowMs) => loop.currentLoopWaitMs(nowMs);
    this.stopLoop = stop;
    this.recorder = new SeriesRecorder(undefined, onRow);
    this.sweeping = setInterval(() => this.recorder.sweep(performance.now()), limits.seriesSweepMs).unref();
    this.accessLog =
      writeAccessLog === null
        ? null
        : new AccessLog({ write: writeAccessLog, atEndOfTurn: (flush) => setImmediate(flush) });
  }

  /** For a listener by its name. */
  listenerEvents(direction: Direction, listener: string): ListenerEvents {
    const { accessLog, recorder } = this;
    const clocks = { nowMs: () => performance.now(), wallMs: () => Date.now() };
    const log = accessLog === null ? null : new RefusalLog({ accessLog, direction, listener, ...clocks });
    return new ListenerEvents(direction, recorder, log);
  }

  read(): Pick<LoopReadings, 'failures' | 'retries' | 'loop' | 'requests' | 'overflowed' | 'accessLogLinesDropped'> {
    const { recorder } = this;
    return {
      failures: recorder.failures(),
      retries: recorder.retries(),
      loop: this.loop.read(),
      requests: recorder.requests,
      overflowed: recorder.overflowed,
      accessLogLinesDropped: this.accessLog?.dropped ?? 0,
    };
  }

  close(): void {
    this.stopLoop();
    clearInterval(this.sweeping);
  }
}
