import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { chanceOf, KeptShare } from '../../../src/telemetry/kept-share.ts';

/** What is kept of each second of a load that has this many requests in it; chances as random as trace ids are. */
function keptOf(share: KeptShare, ratesPerSecond: readonly number[]): number[] {
  return ratesPerSecond.map((rate, second) => {
    let kept = 0;
    for (let i = 0; i < rate; i++)
      if (share.keeps(Math.floor(Math.random() * 4_096), 1_000 * (second + i / rate))) kept++;
    return kept;
  });
}

const fitPerSecond = (1_000 * limits.recentRequestsMax) / limits.recentSpanMs;

describe('KeptShare', () => {
  it('keeps all of what fits', () => {
    const rates = [1, fitPerSecond / 2, fitPerSecond, 10];
    expect(keptOf(new KeptShare(), rates)).toEqual(rates);
  });

  it('keeps so many of more that the last ones reach back far enough, but not few', () => {
    const share = new KeptShare();
    const [, ...fitted] = keptOf(share, [40_000, 40_000, 40_000]);
    expect(share.oneIn).toBe(128);
    for (const kept of fitted) {
      expect(kept).toBeLessThan(fitPerSecond);
      expect(kept).toBeGreaterThan(fitPerSecond / 2);
    }
  });

  it('keeps all again soon after a busy time, and after a silence', () => {
    const share = new KeptShare();
    const [, quiet] = keptOf(share, [40_000, 400]);
    // None of the first quarter, of the second one in 2, for what was left of the busy time counts in it, and then all: 250.
    expect(quiet).toBeGreaterThan(225);
    keptOf(share, [40_000]);
    share.keeps(0, 3_600_000);
    expect(share.oneIn).toBe(1);
  });

  it('gives hops of other rates the same calls', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 0, max: 4_095 }), (doublings, chance) => {
        const [busy, busier] = [new KeptShare(), new KeptShare()];
        busy.oneIn = 2 ** (doublings - 1);
        busier.oneIn = 2 ** doublings;
        // Not yet time to fit it.
        for (const share of [busy, busier]) Object.assign(share, { beganAtMs: 0 });
        if (busier.keeps(chance, 1)) expect(busy.keeps(chance, 1)).toBe(true);
      }),
    );
  });
});

describe('chanceOf', () => {
  it('is the number that the last three digits are', () => {
    expect([chanceOf('00fff', 5), chanceOf('000a9x', 5), chanceOf('000', 3)]).toEqual([4_095, 0x0a9, 0]);
  });

  it('is some number of three digits whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 3 }), (text) => {
        const chance = chanceOf(text, text.length);
        expect(Number.isInteger(chance) && chance >= 0 && chance < 4_096, String(chance)).toBe(true);
      }),
    );
  });
});
