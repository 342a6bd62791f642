/** When the spans of a loop are encoded, and for how long at a time. */
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { SpanBatches } from '../../../src/sidecar/span-batches.ts';
import type { SpanBatch } from '../../../src/sidecar/span-exporter.ts';
import { SpanQueue } from '../../../src/telemetry/span-queue.ts';
import { traceRequestOf } from '../../../src/wire/otlp-request.ts';
import { finishedRequest } from '../../fixtures/finished-request.ts';
import { decodeTraceRequest } from '../../fixtures/otlp-decoder.ts';

/** `stepMs`: how far each look at the clock moves it. */
function batchesOf(stepMs = 0) {
  const queue = new SpanQueue({ slowMs: 0, redactPath: null });
  const clock = { nowMs: 0 };
  const turns: (() => void)[] = [];
  const taken: { readonly batch: SpanBatch; readonly done: () => void }[] = [];
  const batches = new SpanBatches({
    queue,
    take: (batch, done) => taken.push({ batch, done }),
    nowMs: () => {
      clock.nowMs += stepMs;
      return clock.nowMs;
    },
    later: (run) => turns.push(run),
  });
  const record = (count: number) => {
    for (let i = 0; i < count; i++) queue.record(finishedRequest({ traceFlags: 1 }));
  };
  /** How many turns of the loop passed until nothing was left to be done in a later one. */
  const turn = () => {
    let passed = 0;
    for (let run = turns.shift(); run !== undefined; run = turns.shift()) {
      run();
      passed++;
    }
    return passed;
  };
  return { queue, clock, batches, taken, record, turn };
}

const spansIn = ({ bytes }: SpanBatch) =>
  decodeTraceRequest(traceRequestOf({ service: 'web', namespace: 'default', instance: '1' }, [bytes])).length;

describe('SpanBatches', () => {
  it('waits for some hundred, or for a second', () => {
    const { batches, taken, record, clock } = batchesOf();
    batches.look();
    record(limits.spansEncodedAt - 1);
    clock.nowMs = limits.spansEncodedAfterMs - 1;
    batches.look();
    expect(taken).toHaveLength(0);
    clock.nowMs++;
    batches.look();
    expect(taken.map(({ batch }) => [batch.spans, spansIn(batch)])).toEqual([
      [limits.spansEncodedAt - 1, limits.spansEncodedAt - 1],
    ]);
    taken[0]!.done();
    record(limits.spansEncodedAt);
    batches.look();
    expect(taken.map(({ batch }) => batch.spans)).toEqual([limits.spansEncodedAt - 1, limits.spansEncodedAt]);
  });

  it('holds the loop for its slice, and goes on in another turn', () => {
    const { batches, record, taken, turn } = batchesOf(limits.spansSliceMs / 2);
    record(limits.spansEncodedAt);
    batches.look();
    expect(taken).toHaveLength(0);
    // Every slice encodes 16, then looks at the clock, which has moved by half of one.
    expect(turn()).toBeGreaterThan(limits.spansEncodedAt / 16 / 3);
    expect(taken.map(({ batch }) => spansIn(batch))).toEqual([limits.spansEncodedAt]);
  });

  it('hands over no more than fits into a request, and nothing before the last was taken', () => {
    const { batches, record, taken, turn, queue } = batchesOf();
    record(limits.spansPerRequestMax + limits.spansEncodedAt);
    batches.look();
    batches.look();
    turn();
    expect(taken.map(({ batch }) => batch.spans)).toEqual([limits.spansPerRequestMax]);
    taken[0]!.done();
    // Not within the call that took it.
    expect(taken).toHaveLength(1);
    turn();
    expect(taken.map(({ batch }) => batch.spans)).toEqual([limits.spansPerRequestMax, limits.spansEncodedAt]);
    expect(queue.length).toBe(0);
  });

  it('leaves the spans in their queue while nobody takes any, where they are dropped', () => {
    const { batches, record, queue, turn } = batchesOf();
    record(limits.spansWaitingMax);
    batches.look();
    record(2 * limits.spansWaitingMax);
    batches.look();
    turn();
    expect(queue.length).toBe(limits.spansWaitingMax);
    expect(queue.dropped['queue-full']).toBe(2 * limits.spansWaitingMax - limits.spansPerRequestMax);
  });

  it('hands over all that wait when it ends, and waits no longer than it may', async () => {
    const { batches, record, taken, turn } = batchesOf();
    await batches.flush(60_000);
    record(limits.spansPerRequestMax + 1);
    const flushed = batches.flush(60_000);
    taken[0]!.done();
    turn();
    taken[1]!.done();
    await flushed;
    expect(taken.map(({ batch }) => batch.spans)).toEqual([limits.spansPerRequestMax, 1]);
    record(1);
    await batches.flush(1);
    expect(taken).toHaveLength(3);
  });
});
