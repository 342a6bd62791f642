/** What becomes of spans when their collector is slow, refuses them, or is gone. Time and the collector are the test's own. */
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { Clock } from '../../../src/sidecar/clock.ts';
import type { PostOutcome } from '../../../src/sidecar/otlp-client.ts';
import { SpanExporter } from '../../../src/sidecar/span-exporter.ts';
import { LimitedLog } from '../../../src/telemetry/limited-log.ts';
import { encodeTraceResponse } from '../../fixtures/otlp-decoder.ts';

class ManualClock implements Clock {
  private readonly timers = new Set<{ readonly atMs: number; readonly run: () => void }>();
  private now = Date.UTC(2026, 0, 2);
  nowMs = () => this.now;
  after = (ms: number, run: () => void) => {
    const timer = { atMs: this.now + ms, run };
    this.timers.add(timer);
    return () => void this.timers.delete(timer);
  };
  /** To the first timer that waits; answers how long that was. */
  next(): number {
    const [first] = [...this.timers].sort((a, b) => a.atMs - b.atMs);
    const waitedMs = first!.atMs - this.now;
    this.now = first!.atMs;
    this.timers.delete(first!);
    first!.run();
    return waitedMs;
  }
}

const answered = (status: number, retryAfter = '', body: Uint8Array = Buffer.alloc(0)): PostOutcome => ({
  tag: 'answered',
  status,
  retryAfter,
  body,
});
const gone: PostOutcome = { tag: 'failed', reason: 'connect ECONNREFUSED' };
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A collector that answers when the test says so. */
function exporterTo() {
  const clock = new ManualClock();
  const posts: { readonly bytes: number; readonly answer: (outcome: PostOutcome) => Promise<void> }[] = [];
  const logged: (readonly [object, string])[] = [];
  const none = () => {};
  const logger = {
    debug: none,
    info: none,
    error: none,
    fatal: none,
    warn: (f: object, m: string) => logged.push([f, m]),
  };
  const exporter = new SpanExporter({
    resource: { service: 'web', namespace: 'default', instance: '1' },
    url: 'http://collector:4318/v1/traces',
    post: (body) =>
      new Promise((resolve) =>
        posts.push({
          bytes: body.byteLength,
          answer: (outcome) => {
            resolve(outcome);
            return settled();
          },
        }),
      ),
    clock,
    random: () => 1,
    log: new LimitedLog(clock, logger),
  });
  let taken = 0;
  const take = (spans: number, bytes = spans) =>
    exporter.take({ bytes: new Uint8Array(bytes), spans }, () => {
      taken++;
    });
  return { exporter, clock, posts, logged, take, taken: () => taken };
}

describe('SpanExporter', () => {
  it.each([429, 502, 503, 504])(
    'tries again what was answered with %s, later each time, and gives up',
    async (status) => {
      const { exporter, clock, posts, logged, take } = exporterTo();
      take(3);
      await settled();
      const waits: number[] = [];
      for (let tries = 1; tries < limits.otlpTriesMax; tries++) {
        await posts.at(-1)!.answer(answered(status));
        waits.push(clock.next());
        await settled();
      }
      await posts.at(-1)!.answer(answered(status));
      expect(waits).toEqual([1_000, 2_000, 4_000, 8_000]);
      expect(posts).toHaveLength(limits.otlpTriesMax);
      expect([exporter.exported, exporter.dropped.unreachable]).toEqual([0, 3]);
      expect(logged).toMatchObject([
        [{ spans: 3, why: 'unreachable', reason: `it answered ${status}` }, /spans were not exported/],
      ]);
    },
  );

  it('waits as long as Retry-After asks, in seconds or as a date, up to a limit', async () => {
    for (const [retryAfter, waitedMs] of [
      ['7', 7_000],
      ['Fri, 02 Jan 2026 00:00:09 GMT', 9_000],
      ['Fri, 02 Jan 2025 00:00:09 GMT', 0],
      ['86400', limits.otlpRetryAfterMsMax],
      ['soon', 1_000],
    ] as const) {
      const { clock, posts, take, exporter } = exporterTo();
      take(1);
      await settled();
      await posts[0]!.answer(answered(503, retryAfter));
      expect([retryAfter, clock.next()]).toEqual([retryAfter, waitedMs]);
      await settled();
      await posts[1]!.answer(answered(200));
      expect(exporter.exported).toBe(1);
    }
  });

  it.each([400, 401, 404, 413, 500, 501, 302])('never tries again what was answered with %s', async (status) => {
    const { exporter, posts, take } = exporterTo();
    take(2);
    await settled();
    await posts[0]!.answer(answered(status));
    take(1);
    await settled();
    await posts[1]!.answer(answered(200));
    expect([exporter.exported, exporter.dropped.refused, posts.length]).toEqual([1, 2, 2]);
  });

  it('counts what a collector takes only in part, and never more than was sent', async () => {
    const { exporter, posts, take, logged } = exporterTo();
    for (const rejected of [4, 99]) {
      take(10);
      await settled();
      await posts.at(-1)!.answer(answered(200, '', encodeTraceResponse(rejected, 'too old')));
    }
    expect([exporter.exported, exporter.dropped.refused]).toEqual([6, 14]);
    expect(logged[0]).toMatchObject([{ reason: 'it rejected some: too old' }, expect.anything()]);
  });

  it('sends one request at a time, with the batches that came meanwhile together', async () => {
    const { posts, take, exporter, taken } = exporterTo();
    take(1);
    await settled();
    for (const spans of [200, 200, 200]) take(spans);
    await settled();
    expect([posts.length, taken()]).toEqual([1, 4]);
    await posts[0]!.answer(answered(200));
    await posts[1]!.answer(answered(200));
    expect(exporter.exported).toBe(401);
    await posts[2]!.answer(answered(200));
    expect([exporter.exported, posts.length]).toEqual([601, 3]);
  });

  it('takes no more than it holds while nobody takes anything, and goes on when somebody does', async () => {
    const { posts, take, taken, exporter } = exporterTo();
    const half = limits.spansBacklogBytesMax / 2;
    for (let i = 0; i < 5; i++) take(512, half);
    await settled();
    // One is under way, and two fill the room.
    expect([posts.length, taken()]).toEqual([1, 3]);
    await posts[0]!.answer(answered(200));
    expect(taken()).toBe(4);
    for (let i = 1; i < 5; i++) await posts[i]!.answer(answered(200));
    expect([taken(), exporter.exported]).toEqual([5, 5 * 512]);
  });

  it('begins slowly again only after a success', async () => {
    const { posts, clock, take } = exporterTo();
    take(1);
    await settled();
    const waitAfter = async (outcome: PostOutcome) => {
      await posts.at(-1)!.answer(outcome);
      const waitedMs = clock.next();
      await settled();
      return waitedMs;
    };
    for (let tries = 1; tries < limits.otlpTriesMax; tries++) await waitAfter(gone);
    await posts.at(-1)!.answer(gone);
    take(1);
    await settled();
    expect(await waitAfter(gone)).toBe(30_000);
    await posts.at(-1)!.answer(answered(200));
    take(1);
    await settled();
    expect(await waitAfter(gone)).toBe(1_000);
  });

  it('sends what it has when it ends, once and at once', async () => {
    const { exporter, posts, take } = exporterTo();
    take(5);
    await settled();
    await posts[0]!.answer(gone);
    const closed = exporter.close();
    await settled();
    await posts[1]!.answer(answered(200));
    await closed;
    expect([exporter.exported, exporter.dropped.ended]).toEqual([5, 0]);
  });

  it('ends in time though its collector does not answer, and counts what was left', async () => {
    const { exporter, posts, clock, take, logged } = exporterTo();
    take(512);
    await settled();
    take(7);
    await settled();
    const closed = exporter.close();
    await settled();
    expect(clock.next()).toBe(limits.otlpCloseMs);
    await closed;
    expect([posts.length, exporter.dropped.ended]).toEqual([1, 7]);
    expect(logged).toMatchObject([[{ spans: 7, why: 'ended' }, expect.anything()]]);
  });

  it('ends at once where there is nothing to send', async () => {
    const { exporter, posts } = exporterTo();
    await exporter.close();
    expect(posts).toHaveLength(0);
  });
});
