import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LastView } from '../../../src/proxy/last-view.ts';
import { isPlainOctets, sameText } from '../../../src/proxy/same-octets.ts';

describe('octets looked at many at a time', () => {
  it('are the same only where each is, at any length and place, whatever they are', () => {
    const one = Buffer.alloc(64, 7);
    const other = Buffer.alloc(64, 7);
    const [view, otherView] = [new LastView().of(one), new LastView().of(other)];
    for (let length = 8; length <= 25; length++) {
      expect(sameText(view, 3, otherView, 9, length)).toBe(true);
      for (let at = -1; at <= length; at++)
        for (const octet of [0, 6, 8, 0x7f, 0x80, 0x87, 0xff]) {
          one[3 + at] = octet;
          expect([length, at, sameText(view, 3, otherView, 9, length)]).toEqual([length, at, at < 0 || at === length]);
          one[3 + at] = 7;
        }
    }
  });

  it('are never the same where they differ', () => {
    const octet = fc.constantFrom(0, 1, 0x0a, 0x0d, 0x20, 0x41, 0x7e, 0x7f, 0x80, 0xf0, 0xf8, 0xff);
    const eight = fc.array(octet, { minLength: 8, maxLength: 24 });
    const text = fc.array(
      octet.filter((each) => each !== 0),
      { minLength: 8, maxLength: 24 },
    );
    fc.assert(
      fc.property(eight, text, (given, known) => {
        const length = Math.min(given.length, known.length);
        const [one, other] = [Buffer.from(given), Buffer.from(known)];
        const isSame = sameText(new LastView().of(one), 0, new LastView().of(other), 0, length);
        const really = one.subarray(0, length).equals(other.subarray(0, length));
        expect(isSame && !really).toBe(false);
        if (known.every((each) => each < 0xf0)) expect(isSame).toBe(really);
      }),
      { numRuns: 2_000 },
    );
  });

  it('are plain if each is visible or a blank', () => {
    for (let length = 1; length <= 13; length++)
      for (let at = 0; at < length; at++)
        for (let octet = 0; octet < 256; octet++)
          for (const rest of [0x20, 0x41, 0x7e]) {
            const bytes = Buffer.alloc(length + 4, rest);
            bytes[2 + at] = octet;
            const isPlain = isPlainOctets(new LastView().of(bytes), 2, 2 + length);
            if (isPlain !== (octet >= 0x20 && octet <= 0x7e)) expect([length, at, octet, rest, isPlain]).toEqual([]);
          }
    expect(isPlainOctets(new LastView().of(Buffer.alloc(4, 0)), 0, 0)).toBe(true);
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
