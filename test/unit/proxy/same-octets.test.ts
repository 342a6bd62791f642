import { describe, expect, it } from 'vitest';
import { LastView } from '../../../src/proxy/last-view.ts';
import { sameOctets } from '../../../src/proxy/same-octets.ts';

describe('octets compared four at a time', () => {
  it('are the same only where each is, at any length and place', () => {
    const one = Buffer.alloc(64, 7);
    const other = Buffer.alloc(64, 7);
    const [view, otherView] = [new LastView().of(one), new LastView().of(other)];
    for (let length = 0; length <= 21; length++) {
      expect(sameOctets(view, 3, otherView, 9, length)).toBe(true);
      for (let at = -1; at <= length; at++) {
        other[9 + at] = 8;
        expect([length, at, sameOctets(view, 3, otherView, 9, length)]).toEqual([length, at, at < 0 || at === length]);
        other[9 + at] = 7;
      }
    }
  });

  it('are read through a view of the bytes that were given, wherever these lie in their memory', () => {
    const last = new LastView();
    const bytes = Buffer.from('abcdefgh').subarray(2, 6);
    const view = last.of(bytes);
    expect([view.byteLength, view.getUint8(0), last.of(bytes) === view]).toEqual([4, 99, true]);
    expect(last.of(Buffer.from('z')).getUint8(0)).toBe(122);
  });

  it('are shown in pieces as subarray shows them, of one and then of others', () => {
    const last = new LastView();
    const memory = Buffer.from('abcdefgh');
    for (const bytes of [memory, memory.subarray(2, 6), new Uint8Array(memory.subarray(1)), Buffer.from('wxyz')]) {
      for (let start = 0; start <= bytes.length; start++)
        for (let end = start; end <= bytes.length; end++)
          expect(Array.from(last.piece(bytes, start, end))).toEqual(Array.from(bytes.subarray(start, end)));
    }
    // It is no copy.
    last.piece(memory, 3, 5)[0] = 120;
    expect(memory.toString()).toBe('abcxefgh');
  });
});
