/** The tasks of the worker pool: what goes in, what comes out. A new kind is a line here and an export of worker.ts. */
import type { JudgedManifest } from '../model/judged-manifest.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';

/** Checks of one batch: check i asks whether `subjects[i]` as a whole matches `sources[patternOf[i]]`. */
export interface PatternBatch {
  readonly sources: readonly string[];
  readonly patternOf: readonly number[];
  readonly subjects: readonly string[];
  /** Where the worker tells how far it is: see `Progress`. */
  readonly progress: SharedArrayBuffer;
}

export interface Tasks {
  /** What packed-units.ts packed. */
  compile(units: SharedArrayBuffer): readonly CompiledUnit[];
  /** One byte a check, 1 when it matched. */
  matchPatterns(batch: PatternBatch): Uint8Array;
  /** See model/judged-manifest.ts. */
  judgeManifest(manifest: { readonly text: string; readonly file: string }): Promise<JudgedManifest>;
  /** Prometheus text of telemetry/render.ts, which checks its input. */
  renderMetrics(input: unknown): Promise<string>;
  /** Prometheus text of metrics that are composed already (telemetry/metric-families.ts). */
  renderFamilies(families: unknown): Promise<string>;
}
export type TaskName = keyof Tasks;

/**
 * How far a worker is with a batch, in memory that outlives it: the only witness of which pattern stalled. One writer, one reader; each
 * batch has its own, because a worker that is being ended may still write.
 */
export class Progress {
  readonly buffer: SharedArrayBuffer;
  private readonly times: Float64Array;
  private readonly at: Int32Array;

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(24)) {
    this.buffer = buffer;
    this.times = new Float64Array(buffer, 0, 2);
    this.at = new Int32Array(buffer, 16, 2);
  }

  /** By the worker, before its first check: who it is (thread-cpu.ts) and how much CPU time it had used until then, null when unknown. */
  start(threadId: number, cpuMs: number | null): void {
    this.times[1] = cpuMs ?? 0;
    this.at[1] = cpuMs === null ? 0 : threadId;
  }

  /** `nowMs` by the monotonic clock that all threads share. */
  begin(check: number, nowMs: number): void {
    this.times[0] = nowMs;
    Atomics.store(this.at, 0, check + 1);
  }

  /** All checks are done: what still takes time is nobody's pattern. */
  end(): void {
    Atomics.store(this.at, 0, 0);
  }

  /** The check being evaluated; -1 before the first and after the last. */
  get check(): number {
    return Atomics.load(this.at, 0) - 1;
  }

  get checkStartedAtMs(): number {
    return this.times[0]!;
  }

  /** 0 when the worker's CPU time is not known. */
  get threadId(): number {
    return this.at[1]!;
  }

  get cpuAtStartMs(): number {
    return this.times[1]!;
  }
}
