/**
 * Requests that wait for regular expressions: gathered per loop turn into one batch, one batch at a time, each check with a deadline. A
 * check that passes it ends its worker; the batch's other members are decided once more, each alone. The deadline is one of CPU time
 * where that is known: on a machine that is busy, or whose container is throttled, any thread stands still for 50 ms now and then.
 */
import { limits } from '../model/limits.ts';
import type { Pattern } from '../proxy/compiled-unit.ts';
import { joinedHeaderValue } from '../proxy/headers.ts';
import { queryValue } from '../proxy/query.ts';
import type { RequestHead } from '../proxy/request.ts';
import type { LoopService, RouteLookup, SlowDecisions } from '../proxy/tables.ts';
import { type PatternBatch, Progress } from './tasks.ts';

export interface PatternQueueOptions {
  /** Evaluates a batch in a worker. An abort ends the worker and rejects. */
  readonly run: (batch: PatternBatch, signal: AbortSignal) => Promise<Uint8Array>;
  /** A worker failed for a reason other than its deadline. */
  readonly onError: (error: unknown) => void;
  /** The monotonic clock that all threads share. */
  readonly nowMs: () => number;
  /** See thread-cpu.ts. */
  readonly threadCpuMs: (threadId: number) => number | null;
}

/** Counted since start; each is a reason for `pattern-failed` but the first two. */
export interface PatternStats {
  requests: number;
  batches: number;
  cutOffs: number;
  queueFull: number;
  expired: number;
  blocked: number;
  workerFailures: number;
}

interface Waiting {
  readonly routes: RouteLookup;
  /** Patterns whose subject the request carries, and those subjects. The others did not match. */
  readonly patterns: readonly number[];
  readonly subjects: readonly string[];
  readonly sinceMs: number;
  readonly done: (verdicts: Uint8Array | null) => void;
  /** Was in a batch that was cut off by another member. */
  isAlone: boolean;
}

interface InFlight {
  readonly members: readonly Waiting[];
  readonly progress: Progress;
  readonly abort: AbortController;
  readonly submittedAtMs: number;
  timer: NodeJS.Timeout | null;
  /** The check under way has passed its deadline. */
  isOverdue: boolean;
}

export class PatternQueue implements SlowDecisions {
  readonly stats: PatternStats = {
    requests: 0,
    batches: 0,
    cutOffs: 0,
    queueFull: 0,
    expired: 0,
    blocked: 0,
    workerFailures: 0,
  };

  private readonly options: PatternQueueOptions;
  private readonly cutOffs = new CutOffs();
  private waiting: Waiting[] = [];
  private inFlight: InFlight | null = null;
  private isFlushDue = false;
  private isClosed = false;

  constructor(options: PatternQueueOptions) {
    this.options = options;
  }

  /** May call back at once: when there is nothing to evaluate, or no place for it. */
  matchPatterns({ routes }: LoopService, request: RequestHead, done: (verdicts: Uint8Array | null) => void): void {
    this.stats.requests++;
    const held = this.waiting.length + (this.inFlight?.members.length ?? 0);
    if (this.isClosed || held >= limits.regexPendingMax) {
      this.stats.queueFull++;
      done(null);
      return;
    }
    const patterns: number[] = [];
    const subjects: string[] = [];
    const count = routes === null ? 0 : routes.patterns.length;
    for (let i = 0; i < count; i++) {
      const subject = subjectOf(routes!.patterns[i]!, request);
      if (subject === undefined) continue;
      patterns.push(i);
      subjects.push(subject);
    }
    if (routes === null || patterns.length === 0) {
      done(new Uint8Array(count));
      return;
    }
    if (subjects.some((subject) => subject.length > limits.regexSubjectBytesMax)) {
      this.stats.blocked++;
      done(null);
      return;
    }
    this.waiting.push({ routes, patterns, subjects, sinceMs: this.options.nowMs(), done, isAlone: false });
    this.flushSoon();
  }

  /** Everything that waits gets null. */
  close(): void {
    this.isClosed = true;
    const { waiting, inFlight } = this;
    this.waiting = [];
    this.inFlight = null;
    if (inFlight !== null) {
      clearTimeout(inFlight.timer ?? undefined);
      inFlight.abort.abort();
      for (const member of inFlight.members) member.done(null);
    }
    for (const member of waiting) member.done(null);
  }

  /** At the end of the loop's turn, so that all requests read in it share one hop to the worker. */
  private flushSoon(): void {
    if (this.isFlushDue || this.inFlight !== null) return;
    this.isFlushDue = true;
    setImmediate(() => {
      this.isFlushDue = false;
      this.flush();
    });
  }

  private flush(): void {
    if (this.inFlight !== null || this.isClosed) return;
    const members = this.takeMembers();
    if (members.length === 0) return;
    const progress = new Progress();
    const inFlight: InFlight = {
      members,
      progress,
      abort: new AbortController(),
      submittedAtMs: this.options.nowMs(),
      timer: null,
      isOverdue: false,
    };
    this.inFlight = inFlight;
    this.stats.batches++;
    this.watch(inFlight, limits.regexDeadlineMs);
    this.options.run(batchOf(members, progress), inFlight.abort.signal).then(
      (verdicts) => this.answered(inFlight, verdicts),
      (error: unknown) => this.failed(inFlight, error),
    );
  }

  /** The next batch, in order; members that must be alone come alone. */
  private takeMembers(): Waiting[] {
    const nowMs = this.options.nowMs();
    const members: Waiting[] = [];
    let taken = 0;
    for (const next of this.waiting) {
      if (members.length === limits.regexBatchMax || (members.length > 0 && (next.isAlone || members[0]!.isAlone)))
        break;
      taken++;
      if (nowMs - next.sinceMs > limits.regexWaitMs) this.fail(next, 'expired');
      else if (next.patterns.some((pattern) => this.cutOffs.isBlocked(next.routes, pattern)))
        this.fail(next, 'blocked');
      else members.push(next);
    }
    this.waiting.splice(0, taken);
    return members;
  }

  private fail(member: Waiting, reason: 'expired' | 'blocked' | 'cutOffs' | 'workerFailures'): void {
    this.stats[reason]++;
    member.done(null);
  }

  /** The deadline is that of the check under way, so that no innocent pattern pays for a large batch or a worker that starts. */
  private watch(inFlight: InFlight, inMs: number): void {
    inFlight.timer = setTimeout(() => {
      const nowMs = this.options.nowMs();
      const leftMs = limits.regexDeadlineMs - this.ranMs(inFlight.progress, nowMs);
      const batchLeftMs = inFlight.submittedAtMs + limits.regexWaitMs - nowMs;
      inFlight.isOverdue = leftMs <= 0;
      if (leftMs <= 0 || batchLeftMs <= 0) inFlight.abort.abort();
      else this.watch(inFlight, Math.ceil(Math.min(leftMs, batchLeftMs)));
    }, inMs);
  }

  /** How long the check under way has run: at most as long as it has been there, and as its worker has run since it took the batch. */
  private ranMs({ check, checkStartedAtMs, threadId, cpuAtStartMs }: Progress, nowMs: number): number {
    if (check === -1) return 0;
    const passedMs = nowMs - checkStartedAtMs;
    const cpuMs = this.options.threadCpuMs(threadId);
    return cpuMs === null ? passedMs : Math.min(passedMs, cpuMs - cpuAtStartMs);
  }

  private answered(inFlight: InFlight, verdicts: Uint8Array): void {
    if (!this.release(inFlight)) return;
    let check = 0;
    for (const { routes, patterns, done } of inFlight.members) {
      const answer = new Uint8Array(routes.patterns.length);
      for (const pattern of patterns) answer[pattern] = verdicts[check++]!;
      done(answer);
    }
    this.flushSoonIfWaiting();
  }

  /** Cut off, or the worker died: the check under way is the cause, and whoever shared its batch gets another try. */
  private failed(inFlight: InFlight, error: unknown): void {
    if (!this.release(inFlight)) return;
    const isCutOff = inFlight.abort.signal.aborted;
    if (!isCutOff) this.options.onError(error);
    const { check } = inFlight.progress;
    // Cut off because the batch as a whole took too long: then nobody is to blame.
    const isBlamed = check !== -1 && (!isCutOff || inFlight.isOverdue);
    const again: Waiting[] = [];
    let first = 0;
    for (const member of inFlight.members) {
      const culprit = isBlamed ? member.patterns[check - first] : undefined;
      first += member.patterns.length;
      if (culprit !== undefined) {
        this.cutOffs.add(member.routes, culprit, this.options.nowMs());
        this.fail(member, 'cutOffs');
      } else if (member.isAlone || check === -1) {
        this.fail(member, isCutOff ? 'expired' : 'workerFailures');
      } else {
        member.isAlone = true;
        again.push(member);
      }
    }
    this.waiting = [...again, ...this.waiting];
    this.flushSoonIfWaiting();
  }

  /** False when `close` was quicker. */
  private release(inFlight: InFlight): boolean {
    if (this.inFlight !== inFlight) return false;
    clearTimeout(inFlight.timer ?? undefined);
    this.inFlight = null;
    return true;
  }

  private flushSoonIfWaiting(): void {
    if (this.waiting.length > 0) this.flushSoon();
  }
}

function subjectOf({ on, name }: Pattern, request: RequestHead): string | undefined {
  switch (on) {
    case 'path':
      return request.path;
    case 'header':
      return joinedHeaderValue(request.headers, name);
    case 'query':
      return queryValue(request.query, name);
    default:
      return on satisfies never;
  }
}

function batchOf(members: readonly Waiting[], { buffer }: Progress): PatternBatch {
  const indexes = new Map<string, number>();
  const patternOf: number[] = [];
  const subjects: string[] = [];
  for (const member of members) {
    for (let i = 0; i < member.patterns.length; i++) {
      const { source } = member.routes.patterns[member.patterns[i]!]!;
      let index = indexes.get(source);
      if (index === undefined) {
        index = indexes.size;
        indexes.set(source, index);
      }
      patternOf.push(index);
      subjects.push(member.subjects[i]!);
    }
  }
  return { sources: [...indexes.keys()], patternOf, subjects, progress: buffer };
}

/** Which patterns were cut off, for as long as their unit stays as it is: a changed unit has a new route table. */
class CutOffs {
  private readonly byTable = new WeakMap<RouteLookup, Map<number, { timesMs: number[]; isBlocked: boolean }>>();

  isBlocked(routes: RouteLookup, pattern: number): boolean {
    return this.byTable.get(routes)?.get(pattern)?.isBlocked ?? false;
  }

  add(routes: RouteLookup, pattern: number, nowMs: number): void {
    const table = this.byTable.get(routes) ?? new Map<number, { timesMs: number[]; isBlocked: boolean }>();
    this.byTable.set(routes, table);
    const { timesMs, isBlocked } = table.get(pattern) ?? { timesMs: [], isBlocked: false };
    const recent = timesMs.filter((timeMs) => nowMs - timeMs < limits.regexCutOffWindowMs);
    recent.push(nowMs);
    table.set(pattern, { timesMs: recent, isBlocked: isBlocked || recent.length >= limits.regexCutOffsMax });
  }
}
