import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { RefusalFacts } from '../../../src/telemetry/refusal-log.ts';
import { RefusalRing } from '../../../src/telemetry/refusal-ring.ts';

const refusal = (requestId: string, changes: Partial<RefusalFacts> = {}): RefusalFacts => ({
  status: 431,
  failure: 'headers-too-large',
  reason: 'The head has too many fields.',
  detail: 'There are more than 50 fields.',
  requestId,
  sourceAddress: '127.0.0.1',
  source: '',
  request: { method: 'GET', host: 'cart', path: '/items' },
  ...changes,
});

describe('the last refused heads', () => {
  it('are found by the id that their client was shown, with what could be told apart', () => {
    const ring = new RefusalRing('outbound', 'outbound', () => Date.UTC(2026, 0, 2));
    ring.record(refusal('a'));
    ring.record(refusal('b', { request: null }));
    expect(ring.find('a')).toEqual([
      {
        requestId: 'a',
        time: '2026-01-02T00:00:00.000Z',
        direction: 'outbound',
        listener: 'outbound',
        source: '',
        sourceAddress: '127.0.0.1',
        method: 'GET',
        host: 'cart',
        path: '/items',
        status: 431,
        failure: 'headers-too-large',
        detail: 'There are more than 50 fields.',
      },
    ]);
    expect(ring.find('b')).toMatchObject([{ method: '', host: '', path: '' }]);
    expect(ring.find('c')).toEqual([]);
  });

  it('are so many and no more, and each is bounded; one that nobody could ask for is not kept', () => {
    const ring = new RefusalRing('inbound', 'inbound', () => 0);
    const long = 'x'.repeat(64 * 1024);
    for (let i = 0; i <= limits.recentRefusalsMax; i++)
      ring.record(refusal(`${i}`, { detail: long, request: { method: long, host: long, path: long } }));
    ring.record(refusal(''));
    expect(ring.find('0')).toEqual([]);
    expect(ring.find('')).toEqual([]);
    const [last] = ring.find(`${limits.recentRefusalsMax}`);
    expect(ring.find('1')).toHaveLength(1);
    for (const text of [last!.detail, last!.method, last!.host, last!.path])
      expect(text).toHaveLength(limits.refusalDetailCharsMax);
  });
});
