import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { Stalenesses } from '../../../src/sidecar/stalenesses.ts';

function room() {
  const clock = { nowMs: 1_000 };
  return { clock, stalenesses: new Stalenesses(() => clock.nowMs) };
}
const since = (ms: number): string => new Date(ms).toISOString();

describe('times in which the configuration may be out of date', () => {
  it('are told of by the time of a request: before, within, after', () => {
    const { clock, stalenesses } = room();
    clock.nowMs = 2_000;
    stalenesses.begin('unconnected', 'ECONNREFUSED');
    clock.nowMs = 3_000;
    stalenesses.begin('unconnected', 'ETIMEDOUT');
    expect(stalenesses.at(1_999)).toBeNull();
    // The last try to reach one says best why there is none; since when is the first's to say.
    expect(stalenesses.at(5_000)).toEqual({ since: since(2_000), reason: 'ETIMEDOUT' });
    clock.nowMs = 4_000;
    stalenesses.end('unconnected');
    expect(stalenesses.at(3_500)).toMatchObject({ since: since(2_000) });
    expect(stalenesses.at(4_001)).toBeNull();
  });

  it('may overlap: a refused change stays when the connection is back', () => {
    const { clock, stalenesses } = room();
    stalenesses.begin('refused', 'a change is refused');
    clock.nowMs = 2_000;
    stalenesses.begin('unconnected', 'gone');
    clock.nowMs = 3_000;
    stalenesses.end('unconnected');
    expect(stalenesses.at(2_500)).toMatchObject({ reason: 'gone' });
    expect(stalenesses.at(4_000)).toEqual({ since: since(1_000), reason: 'a change is refused' });
    stalenesses.end('refused');
    stalenesses.end('refused');
    expect(stalenesses.at(4_000)).toBeNull();
  });

  it('are remembered up to a bound, the oldest given up first, and their reasons bounded', () => {
    const { clock, stalenesses } = room();
    for (let i = 0; i <= limits.stalenessesMax; i++) {
      clock.nowMs = 10_000 + 10 * i;
      stalenesses.begin('unconnected', 'x'.repeat(100_000));
      clock.nowMs += 5;
      stalenesses.end('unconnected');
    }
    expect(stalenesses.at(10_002)).toBeNull();
    expect(stalenesses.at(10_012)!.reason).toHaveLength(limits.recentDetailCharsMax);
  });
});
