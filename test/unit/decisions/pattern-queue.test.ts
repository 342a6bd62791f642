import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PatternQueue } from '../../../src/decisions/pattern-queue.ts';
import { type PatternBatch, Progress } from '../../../src/decisions/tasks.ts';
import { limits } from '../../../src/model/limits.ts';
import { actionOf, matchOf, requestOf, sidecarOf } from '../../fixtures/service-unit.ts';

interface Submitted {
  readonly batch: PatternBatch;
  readonly signal: AbortSignal;
  readonly resolve: (verdicts: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** A queue before a worker that the test plays. */
class Bench {
  readonly submitted: Submitted[] = [];
  readonly errors: unknown[] = [];
  /** Of the one worker. */
  cpuMs: number | null = null;
  readonly queue = new PatternQueue({
    run: (batch, signal) =>
      new Promise((resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
        this.submitted.push({ batch, signal, resolve, reject });
      }),
    onError: (error) => this.errors.push(error),
    nowMs: () => performance.now(),
    threadCpuMs: () => this.cpuMs,
  });
  readonly service = serviceOf();

  ask(path: string, service = this.service) {
    const answers: (number[] | null)[] = [];
    this.queue.matchPatterns(service, requestOf(path), (verdicts) => answers.push(verdicts && [...verdicts]));
    return answers;
  }

  /** Lets the turn end and returns the newest batch. */
  async flush(): Promise<Submitted> {
    await vi.advanceTimersByTimeAsync(0);
    return this.submitted.at(-1)!;
  }

  /** The worker has taken the batch. */
  start({ batch }: Submitted): void {
    new Progress(batch.progress).start(1, this.cpuMs);
  }

  /** The worker is at this check, from now on. */
  begin({ batch }: Submitted, check: number): void {
    new Progress(batch.progress).begin(check, performance.now());
  }
}

const serviceOf = () =>
  sidecarOf({
    matches: [matchOf('pattern', '/a+'), matchOf('prefix', '/', { headers: [{ name: 'x', pattern: 'y' }] })],
    actions: [actionOf('0')],
  }).service();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('refusals', () => {
  it('refuses beyond its limit', () => {
    const bench = new Bench();
    for (let i = 0; i < limits.regexPendingMax; i++) expect(bench.ask('/a')).toEqual([]);
    expect(bench.ask('/a')).toEqual([null]);
    expect(bench.queue.stats.queueFull).toBe(1);
  });

  it('refuses a subject that is too long', () => {
    expect(new Bench().ask(`/${'a'.repeat(limits.regexSubjectBytesMax)}`)).toEqual([null]);
  });

  it('gives null to all that wait when it is closed, and ends the batch', async () => {
    const bench = new Bench();
    const first = bench.ask('/a');
    const { signal } = await bench.flush();
    const second = bench.ask('/a');
    bench.queue.close();
    expect([first, second, bench.ask('/a')]).toEqual([[null], [null], [null]]);
    expect(signal.aborted).toBe(true);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('fails a batch whose worker does not start within the wait', async () => {
    const bench = new Bench();
    const answers = bench.ask('/a');
    await bench.flush();
    await vi.advanceTimersByTimeAsync(limits.regexWaitMs - 1);
    expect(answers).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(answers).toEqual([null]);
    expect(bench.queue.stats.cutOffs).toBe(0);
  });

  it('fails what waited too long behind a batch that was slow as a whole, and blames no pattern', async () => {
    const bench = new Bench();
    const slow = bench.ask('/a');
    const batch = await bench.flush();
    const behind = bench.ask('/a');
    for (let waitedMs = 0; waitedMs <= limits.regexWaitMs; waitedMs += limits.regexDeadlineMs - 1) {
      bench.begin(batch, 0);
      await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs - 1);
    }
    expect([slow, behind]).toEqual([[null], [null]]);
    expect(bench.queue.stats).toMatchObject({ cutOffs: 0, expired: 2 });
  });

  it('reports a worker that died, blames the check it was at and tries the others again', async () => {
    const bench = new Bench();
    const [first, second] = [bench.ask('/a'), bench.ask('/aa')];
    const batch = await bench.flush();
    bench.begin(batch, 0);
    batch.reject(new Error('out of memory'));
    const retry = await bench.flush();
    expect(bench.errors).toHaveLength(1);
    expect(first).toEqual([null]);
    retry.resolve(Uint8Array.of(1));
    await bench.flush();
    expect(second).toEqual([[0, 1]]);
  });
});

describe('batches', () => {
  it('answers at once when the request carries no subject', () => {
    const bench = new Bench();
    const service = sidecarOf({
      matches: [matchOf('prefix', '/', { headers: [{ name: 'x', pattern: 'y' }] })],
      actions: [actionOf('0')],
    }).service();
    expect(bench.ask('/', service)).toEqual([[0]]);
  });

  it('gathers a turn into one batch, and what comes meanwhile into the next', async () => {
    const bench = new Bench();
    const answers = ['/a', '/b', '/aa'].map((path) => bench.ask(path));
    const first = await bench.flush();
    expect(first.batch).toMatchObject({ sources: ['/a+'], patternOf: [0, 0, 0], subjects: ['/a', '/b', '/aa'] });
    const later = bench.ask('/aaa');
    await bench.flush();
    expect(bench.submitted).toHaveLength(1);
    first.resolve(Uint8Array.of(1, 0, 1));
    const second = await bench.flush();
    const path = bench.service.routes!.patterns.findIndex(({ on }) => on === 'path');
    expect(answers.map(([verdicts]) => verdicts![path])).toEqual([1, 0, 1]);
    expect(second.batch.subjects).toEqual(['/aaa']);
    second.resolve(Uint8Array.of(1));
    await bench.flush();
    expect(later[0]![path]).toBe(1);
  });

  it('are bounded', async () => {
    const bench = new Bench();
    for (let i = 0; i < limits.regexBatchMax + 1; i++) bench.ask('/a');
    expect((await bench.flush()).batch.subjects).toHaveLength(limits.regexBatchMax);
  });
});

describe('a check that passes its deadline', () => {
  it('is cut off alone: the others are decided once more, singly', async () => {
    const bench = new Bench();
    const answers = ['/a', '/bad', '/aa'].map((path) => bench.ask(path));
    const batch = await bench.flush();
    bench.begin(batch, 1);
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs);
    expect(batch.signal.aborted).toBe(true);
    expect(answers[1]).toEqual([null]);
    // What a fake timer schedules while it runs is due a millisecond later.
    await vi.advanceTimersByTimeAsync(1);
    for (const subject of ['/a', '/aa']) {
      const alone = await bench.flush();
      expect(alone.batch.subjects).toEqual([subject]);
      alone.resolve(Uint8Array.of(1));
      await bench.flush();
    }
    expect(answers[0]![0]).toContain(1);
    expect(answers[2]![0]).toContain(1);
    expect(bench.queue.stats).toMatchObject({ cutOffs: 1, batches: 3 });
  });

  it('does not count the time of the checks before it, nor of a worker that starts', async () => {
    const bench = new Bench();
    bench.ask('/a');
    bench.ask('/aa');
    const batch = await bench.flush();
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs * 3);
    bench.begin(batch, 0);
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs - 1);
    bench.begin(batch, 1);
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs - 1);
    expect(batch.signal.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(batch.signal.aborted).toBe(true);
  });

  it('counts the time that its worker ran, not that in which it stood still', async () => {
    const bench = new Bench();
    bench.cpuMs = 700;
    const answers = bench.ask('/a');
    const batch = await bench.flush();
    bench.start(batch);
    bench.begin(batch, 0);
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs * 4);
    expect(batch.signal.aborted).toBe(false);
    bench.cpuMs += limits.regexDeadlineMs - 1;
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs);
    expect(batch.signal.aborted).toBe(false);
    bench.cpuMs += 1;
    await vi.advanceTimersByTimeAsync(1);
    expect(answers).toEqual([null]);
    expect(bench.queue.stats).toMatchObject({ cutOffs: 1, expired: 0 });
  });

  it('is cut off by the clock once nobody can tell how long its worker ran', async () => {
    const bench = new Bench();
    bench.cpuMs = 700;
    bench.ask('/a');
    const batch = await bench.flush();
    bench.start(batch);
    bench.begin(batch, 0);
    bench.cpuMs = null;
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs);
    expect(batch.signal.aborted).toBe(true);
  });

  it('is not the one whose answer lies there while the loop stood still', async () => {
    const bench = new Bench();
    const answers = bench.ask('/a');
    const batch = await bench.flush();
    bench.begin(batch, 0);
    new Progress(batch.batch.progress).end();
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs * 3);
    expect(batch.signal.aborted).toBe(false);
    batch.resolve(Uint8Array.of(1));
    await bench.flush();
    expect(answers).not.toEqual([null]);
    expect(bench.queue.stats.cutOffs).toBe(0);
  });

  const cutOff = async (bench: Bench, service = bench.service) => {
    const answers = bench.ask('/bad', service);
    const batch = await bench.flush();
    bench.begin(batch, 0);
    await vi.advanceTimersByTimeAsync(limits.regexDeadlineMs);
    expect(answers).toEqual([null]);
  };

  it('fails its pattern at once after three within the window, until the unit changes', async () => {
    const bench = new Bench();
    for (let i = 0; i < limits.regexCutOffsMax; i++) await cutOff(bench);
    const batches = bench.submitted.length;
    const blocked = bench.ask('/a');
    await bench.flush();
    expect(blocked).toEqual([null]);
    expect(bench.submitted).toHaveLength(batches);
    expect(bench.queue.stats.blocked).toBe(1);

    bench.ask('/a', serviceOf());
    await bench.flush();
    expect(bench.submitted).toHaveLength(batches + 1);
  });

  it('forgets cut-offs that lie further apart', async () => {
    const bench = new Bench();
    for (let i = 0; i < limits.regexCutOffsMax + 1; i++) {
      await cutOff(bench);
      await vi.advanceTimersByTimeAsync(limits.regexCutOffWindowMs / 2);
    }
    const answers = bench.ask('/a');
    (await bench.flush()).resolve(Uint8Array.of(1));
    await bench.flush();
    expect(answers).not.toEqual([null]);
  });
});
