import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatServerTiming, parseFarTiming, splitNetwork } from '../../../src/telemetry/ledger.ts';
import { newPartsMs, type Part, type PartsMs, partIndex, parts } from '../../../src/telemetry/recorder.ts';

function ledger(values: Partial<Record<Part, number>>): PartsMs {
  const partsMs = newPartsMs();
  for (const part of parts) partsMs[partIndex[part]] = values[part] ?? 0;
  return partsMs;
}

const malformed: readonly [why: string, value: string][] = [
  ['empty', ''],
  ['no total', 'wait;dur=1'],
  ['total not last', 'total;dur=1, wait;dur=1'],
  ['two totals', 'total;dur=1, total;dur=1'],
  ['a part twice', 'wait;dur=1, wait;dur=1, total;dur=1'],
  ['a far part twice', 'up-wait;dur=1, up-wait;dur=1, total;dur=1'],
  ['a name of an app', 'db;dur=53, total;dur=60'],
  ['a name of the prototype', 'constructor;dur=1, total;dur=1'],
  ['upper case', 'Wait;dur=1, total;dur=1'],
  ['two hops on', 'up-up-wait;dur=1, total;dur=1'],
  ['a description', 'wait;desc="x";dur=1, total;dur=1'],
  ['a description after', 'total;dur=1;desc="x"'],
  ['a quoted number', 'total;dur="1"'],
  ['no number', 'total;dur='],
  ['no duration', 'wait, total;dur=1'],
  ['negative', 'total;dur=-1'],
  ['plus', 'total;dur=+1'],
  ['exponent', 'total;dur=1e3'],
  ['hexadecimal', 'total;dur=0x10'],
  ['infinity', 'total;dur=Infinity'],
  ['no digit before the point', 'total;dur=.5'],
  ['no digit after the point', 'total;dur=1.'],
  ['two points', 'total;dur=1.2.3'],
  ['four decimals', 'total;dur=1.2345'],
  ['eleven digits', 'total;dur=12345678901'],
  ['a space in front', ' total;dur=1'],
  ['a space after', 'total;dur=1 '],
  ['no space between', 'wait;dur=1,total;dur=1'],
  ['two spaces between', 'wait;dur=1,  total;dur=1'],
  ['a comma at the end', 'wait;dur=1, total;dur=1, '],
  ['a comma at the start', ', total;dur=1'],
  ['too long', `${'wait;dur=1, '.repeat(100)}total;dur=1`],
  ['control characters', 'total;dur=1\u0000'],
  ['digits of another script', 'total;dur=\u0661'],
];

describe('parseFarTiming', () => {
  it.each(malformed)('refuses %s', (_why, value) => {
    expect(parseFarTiming(value)).toBeNull();
  });

  it('reads the parts of the far hop and leaves out what that hop says of the next', () => {
    const far = parseFarTiming('decide;dur=0.125, wait;dur=12.5, up-own;dur=9, up-total;dur=10, total;dur=13');
    expect(far).toEqual({ partsMs: ledger({ decide: 0.125, wait: 12.5 }), totalMs: 13 });
  });

  it('never throws and takes nothing negative, whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 80 }), (noise) => {
        const far = parseFarTiming(`wait;dur=${noise}, total;dur=1`);
        return far === null || Array.from(far.partsMs).every((ms) => ms >= 0);
      }),
    );
  });
});

describe('formatServerTiming', () => {
  it('says only the total when no part took time, and nothing of what is not a time', () => {
    expect(formatServerTiming(ledger({}), 0, null)).toBe('total;dur=0');
    expect(formatServerTiming(ledger({ own: 0.0004, wait: Number.NaN, send: -1 }), Number.NaN, null)).toBe(
      'total;dur=0',
    );
  });

  it('orders parts as the ledger does, rounds to microseconds, leaves out transfer and ends with the total', () => {
    const partsMs = ledger({ own: 0.1, wait: 3.2, loop: 1 / 3, transfer: 9, connect: 0.0005 });
    expect(formatServerTiming(partsMs, 3.6338, null)).toBe(
      'loop;dur=0.333, connect;dur=0.001, wait;dur=3.2, own;dur=0.1, total;dur=3.634',
    );
  });

  it('says the far hop with up- before each name', () => {
    const far = parseFarTiming('wait;dur=2.9, own;dur=0.1, total;dur=3')!;
    expect(formatServerTiming(ledger({ wait: 3, network: 0.2, own: 0.1 }), 3.3, far)).toBe(
      'wait;dur=3, own;dur=0.1, network;dur=0.2, up-wait;dur=2.9, up-own;dur=0.1, up-total;dur=3, total;dur=3.3',
    );
  });

  it('writes no exponent, however long the time', () => {
    expect(formatServerTiming(ledger({ wait: 1e300 }), Number.POSITIVE_INFINITY, null)).toBe(
      'wait;dur=1000000000, total;dur=1000000000',
    );
  });

  it('is read back by the hop before, to the microsecond, with every part at once', () => {
    const times = fc.array(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 10, maxLength: 10 });
    fc.assert(
      fc.property(times, fc.double({ min: 0, max: 1e9, noNaN: true }), fc.boolean(), (ms, totalMs, hasFar) => {
        const partsMs = Float64Array.from(ms);
        const far = parseFarTiming(formatServerTiming(partsMs, totalMs, hasFar ? { partsMs, totalMs } : null));
        partsMs[partIndex.transfer] = 0;
        return (
          far !== null &&
          Math.abs(far.totalMs - totalMs) <= 0.001 &&
          Array.from(far.partsMs).every((part, index) => Math.abs(part - partsMs[index]!) <= 0.001)
        );
      }),
    );
  });
});

describe('splitNetwork', () => {
  const far = (totalMs: number) => ({ partsMs: ledger({}), totalMs });

  it('leaves no negative time when the far side claims more than was waited', () => {
    const partsMs = ledger({ wait: 2 });
    splitNetwork(partsMs, far(2.5));
    expect(partsMs).toEqual(ledger({ wait: 2, network: 0 }));
  });

  it('keeps the sum of the parts', () => {
    const partsMs = ledger({ wait: 5, own: 1 });
    splitNetwork(partsMs, far(3));
    expect(partsMs).toEqual(ledger({ wait: 3, network: 2, own: 1 }));
  });
});

it('there is a time for each part, and none has begun', () => {
  expect(newPartsMs()).toEqual(parts.map(() => 0));
});
