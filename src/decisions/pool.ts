/**
 * The worker pool: two piscina pools of at most one thread each, started when first needed. Compiling and rendering may take seconds,
 * so patterns, for which requests wait, have a thread of their own; and ending that thread interrupts no compilation.
 */
import { fileURLToPath } from 'node:url';
import { Piscina } from 'piscina';
import type { JudgedManifest } from '../model/judged-manifest.ts';
import { limits } from '../model/limits.ts';
import type { ServiceUnit } from '../model/snapshot.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import { monotonicMs } from '../proxy/live-state.ts';
import type { RequestHead } from '../proxy/request.ts';
import type { LoopService, SlowDecisions } from '../proxy/tables.ts';
import type { MetricFamily } from '../telemetry/metric-families.ts';
import { packUnits } from './packed-units.ts';
import { PatternQueue, type PatternStats } from './pattern-queue.ts';
import { inSlices } from './slices.ts';
import { type PatternBatch, Progress, type TaskName, type Tasks } from './tasks.ts';
import { threadCpuMs } from './thread-cpu.ts';

export interface DecisionPoolOptions {
  /** The bundled worker. Default: beside the executable's own files in dist/. */
  readonly workerFile?: URL;
  /** A worker failed for a reason other than a pattern's deadline: to be logged. */
  readonly onError: (error: unknown) => void;
}

/** Longer than the 15 s between two scrapes: a thread that renders for them stays, an unused one gives its 10 MiB back. */
const idleTimeoutMs = 20_000;
/** Endpoints, matches and actions per compile task, so that what else waits for the thread gets its turn. */
const compileBatchWeight = 2_000;
const queuedTasksMax = 1_024;

export class DecisionPool implements SlowDecisions {
  private readonly bulk: Piscina;
  private readonly matcher: Piscina;
  private readonly patterns: PatternQueue;
  /** Aborted when a bulk thread cannot start: piscina itself would leave the queued tasks waiting for ever. */
  private bulkBroken = new AbortController();

  /** Starts no thread yet. */
  constructor({ workerFile = new URL('../decisions/worker.js', import.meta.url), onError }: DecisionPoolOptions) {
    const filename = fileURLToPath(workerFile);
    const shared = { filename, minThreads: 0, maxThreads: 1, idleTimeout: idleTimeoutMs, maxQueue: queuedTasksMax };
    this.bulk = new Piscina({ ...shared, name: 'compile', resourceLimits: { maxOldGenerationSizeMb: 512 } });
    this.matcher = new Piscina({ ...shared, name: 'matchPatterns', resourceLimits: { maxOldGenerationSizeMb: 64 } });
    this.bulk.on('error', (error) => {
      this.bulkBroken.abort(error);
      this.bulkBroken = new AbortController();
      onError(error);
    });
    this.matcher.on('error', onError);
    this.patterns = new PatternQueue({
      run: (batch, signal) => run(this.matcher, 'matchPatterns', batch, signal),
      onError,
      nowMs: monotonicMs,
      threadCpuMs,
    });
  }

  get patternStats(): Readonly<PatternStats> {
    return this.patterns.stats;
  }

  /**
   * Compiles units, in their order. Rejects as a whole, with an Error that names the unit's fault, when one cannot be compiled; with an
   * `AbortError` when the worker fails or takes longer than `limits.poolTaskMs`. When a unit
   * has patterns the thread for them is started too, so that the first request does not wait for it.
   */
  async compile(units: readonly ServiceUnit[]): Promise<CompiledUnit[]> {
    const compiled: CompiledUnit[] = [];
    for (const batch of compileBatches(units))
      compiled.push(...(await this.runBulk('compile', await inSlices(packUnits(batch)))));
    if (units.some(hasPattern)) this.warmPatterns();
    return compiled;
  }

  /** As model/judged-manifest.ts does: of a large file it takes seconds. Rejects when the worker fails. */
  judgeManifest(text: string, file: string): Promise<JudgedManifest> {
    return this.runBulk('judgeManifest', { text, file });
  }

  /** Prometheus text, by telemetry/render.ts. */
  renderMetrics(input: unknown): Promise<string> {
    return this.runBulk('renderMetrics', input);
  }

  /** Prometheus text of what is composed already. */
  renderFamilies(families: readonly MetricFamily[]): Promise<string> {
    return this.runBulk('renderFamilies', families);
  }

  matchPatterns(service: LoopService, request: RequestHead, done: (verdicts: Uint8Array | null) => void): void {
    this.patterns.matchPatterns(service, request, done);
  }

  /** A batch that another event loop has gathered in a queue of its own. An abort ends the worker that is at it, and rejects. */
  matchBatch(batch: PatternBatch, signal: AbortSignal): Promise<Uint8Array> {
    return run(this.matcher, 'matchPatterns', batch, signal);
  }

  /** Ends all threads; what still waits is refused. Afterwards nothing of the pool keeps the process alive. */
  async close(): Promise<void> {
    this.patterns.close();
    await Promise.all([this.bulk.destroy(), this.matcher.destroy()]);
  }

  private runBulk<Name extends TaskName>(name: Name, input: Parameters<Tasks[Name]>[0]): Answer<Name> {
    const signal = AbortSignal.any([this.bulkBroken.signal, AbortSignal.timeout(limits.poolTaskMs)]);
    return run(this.bulk, name, input, signal);
  }

  private warmPatterns(): void {
    const nothing = { sources: [], patternOf: [], subjects: [], progress: new Progress().buffer };
    // A thread that cannot start fails the batches of requests, where it is counted and reported.
    run(this.matcher, 'matchPatterns', nothing).catch(() => undefined);
  }
}

type Answer<Name extends TaskName> = Promise<Awaited<ReturnType<Tasks[Name]>>>;

function run<Name extends TaskName>(
  pool: Piscina,
  name: Name,
  input: Parameters<Tasks[Name]>[0],
  signal: AbortSignal | null = null,
): Answer<Name> {
  return pool.run(input, { name, signal });
}

function* compileBatches(units: readonly ServiceUnit[]): Generator<readonly ServiceUnit[]> {
  let batch: ServiceUnit[] = [];
  let weight = 0;
  for (const unit of units) {
    batch.push(unit);
    weight += 1 + unit.endpoints.length + unit.matches.length + unit.actions.length;
    if (weight < compileBatchWeight) continue;
    yield batch;
    batch = [];
    weight = 0;
  }
  if (batch.length > 0) yield batch;
}

function hasPattern({ matches }: ServiceUnit): boolean {
  return matches.some(
    ({ path, headers, query }) =>
      path.kind === 'pattern' || headers.some((test) => 'pattern' in test) || query.some((test) => 'pattern' in test),
  );
}
