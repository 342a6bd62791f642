/** Which requests become spans, what is kept of them, and what becomes of those that find no room. */
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { pathRedaction } from '../../../src/telemetry/path-redaction.ts';
import { parts } from '../../../src/telemetry/recorder.ts';
import { SpanQueue, type SpanQueueOptions } from '../../../src/telemetry/span-queue.ts';
import { finishedRequest } from '../../fixtures/finished-request.ts';

const queueOf = (options: Partial<SpanQueueOptions> = {}) =>
  new SpanQueue({ slowMs: 1_000, redactPath: null, ...options });
const sampled = { traceFlags: 1 } as const;

describe('SpanQueue', () => {
  it('drops what finds no room, counts it, and has room again for what has left', () => {
    const queue = queueOf({ capacity: 2 });
    for (const path of ['/1', '/2', '/3']) queue.record(finishedRequest({ ...sampled, path }));
    expect([queue.length, queue.dropped['queue-full']]).toEqual([2, 1]);
    expect(queue.shift()?.path).toBe('/1');
    queue.record(finishedRequest({ ...sampled, path: '/4' }));
    expect([queue.shift()?.path, queue.shift()?.path, queue.shift()]).toEqual(['/2', '/4', null]);
  });

  it('takes what is sampled, and beyond that what failed or was slow', () => {
    const queue = queueOf();
    queue.record(finishedRequest());
    queue.record(finishedRequest({ status: 499, traceFlags: 2 }));
    queue.record(finishedRequest({ totalMs: 999.9 }));
    expect(queue.length).toBe(0);
    queue.record(finishedRequest({ ...sampled, failure: 'no-route' }));
    queue.record(finishedRequest({ failure: 'no-route' }));
    queue.record(finishedRequest({ farFailure: 'pool-full' }));
    queue.record(finishedRequest({ status: 500 }));
    queue.record(finishedRequest({ totalMs: 1_000 }));
    const chosen = Array.from({ length: 5 }, () => queue.shift()?.chosenFor);
    expect(chosen).toEqual(['flag', 'failure', 'failure', 'failure', 'slow']);
    const patient = queueOf({ slowMs: 0 });
    patient.record(finishedRequest({ totalMs: 100_000 }));
    expect(patient.length).toBe(0);
  });

  it('takes so many a second that are not sampled, and counts the others', () => {
    const queue = queueOf();
    const max = limits.spansUnsampledPerSecondMax;
    for (let i = 0; i < max + 5; i++) queue.record(finishedRequest({ status: 503 }));
    queue.record(finishedRequest(sampled));
    expect([queue.length, queue.dropped['over-rate']]).toEqual([max + 1, 5]);
    queue.record(finishedRequest({ status: 503, endedAtMs: 5_000.25 + 1_000 }));
    expect([queue.length, queue.dropped['over-rate']]).toEqual([max + 2, 5]);
  });

  it('keeps of a request what it was, though the request is used again', () => {
    const queue = queueOf();
    const tried = { endpoint: 'a:1', failure: 'connect-refused', reason: 'It refused.', atMs: 4_999 };
    const partsMs = parts.map((_, index) => index / 8);
    const request = {
      ...finishedRequest({
        ...sampled,
        direction: 'inbound',
        parentId: '53995c3f42cd8ad8',
        failure: 'per-try-timeout',
        reason: 'The attempt took longer than its timeout.',
        detail: 'a:2',
        failedTries: [tried],
        partsMs,
        far: { totalMs: 0.5, partsMs: parts.map(() => 0.05) },
        isLoopEstimate: true,
      }),
    };
    queue.record(request);
    partsMs.fill(99);
    Object.assign(request, { path: '/other', traceId: '0'.repeat(32) });
    const span = queue.shift()!;
    expect(span).toMatchObject({
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      spanId: '00f067aa0ba902b7',
      parentId: '53995c3f42cd8ad8',
      direction: 'inbound',
      path: '/items',
      host: 'cart',
      failure: 'per-try-timeout',
      reason: 'The attempt took longer than its timeout.',
      detail: 'a:2',
      failedTries: [tried],
      isLoopEstimate: true,
    });
    expect(Array.from(span.hop.partsMs)).toEqual(parts.map((_, index) => index / 8));
    expect([span.far?.totalMs, Array.from(span.far?.partsMs ?? [])[3]]).toEqual([0.5, 0.05]);
  });

  it('has no parent where a trace begins, and cuts what is long', () => {
    const queue = queueOf();
    queue.record(finishedRequest({ ...sampled, parentId: 'f'.repeat(16) }));
    queue.shift();
    // The next one takes another slot, so all of a small queue are used again.
    const small = queueOf({ capacity: 1 });
    small.record(finishedRequest({ ...sampled, parentId: 'f'.repeat(16), failure: 'no-route' }));
    small.shift();
    small.record(finishedRequest({ ...sampled, path: `/${'x'.repeat(5_000)}`, host: 'h'.repeat(300) }));
    const span = small.shift()!;
    expect([span.parentId, span.failure]).toEqual(['', '']);
    expect([span.path.length, span.host.length]).toEqual([limits.recentPathCharsMax, limits.hostCharsMax]);
  });

  it('takes secrets out of the path, and out of what is said of it', () => {
    const queue = queueOf({ redactPath: pathRedaction(['/reset/*']) });
    queue.record(
      finishedRequest({
        ...sampled,
        path: '/reset/t0ken',
        failure: 'no-route',
        detail: 'GET /reset/t0ken of cart.default',
      }),
    );
    const { path, detail } = queue.shift()!;
    expect([path, detail]).toEqual(['/reset/*', 'GET /reset/* of cart.default']);
  });

  it('keeps spans of one loop in order to the microsecond while the wall clock agrees, and follows it when it is set', () => {
    const queue = queueOf();
    const ended = (atMs: number, endedAtMs: number) => {
      queue.record(finishedRequest({ ...sampled, atMs, endedAtMs }));
      return queue.shift()!.endedAtMs;
    };
    expect(ended(1_000_000, 50.5)).toBe(1_000_000);
    expect(ended(1_000_000, 50.75)).toBe(1_000_000.25);
    // The wall clock's millisecond turned 0.25 ms before: within it, so the offset stays.
    expect(ended(1_000_001, 51.5)).toBe(1_000_001);
    // It was 0.4 ms behind all the time.
    expect(ended(1_000_002, 51.6)).toBe(1_000_002);
    // Set back by an hour, and ahead by a minute.
    expect(ended(1_000_002 - 3_600_000, 52)).toBeCloseTo(1_000_002 - 3_600_000 + 0.999, 6);
    expect(ended(1_000_002 + 60_000, 53)).toBe(1_000_002 + 60_000);
  });
});
