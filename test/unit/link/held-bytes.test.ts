import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HeldBytes } from '../../../src/proxy/link/held-bytes.ts';

describe('HeldBytes', () => {
  it('shows nothing of nothing', () => {
    const held = new HeldBytes();
    expect([held.bytes, held.first(100).length]).toEqual([0, 0]);
    held.add(Buffer.alloc(0));
    expect([held.bytes, held.first(100).length]).toEqual([0, 0]);
  });

  it.each([false, true])(
    'gives back what it was given, in order, however it is put in and taken out (reused: %s)',
    (reused) => {
      const anyBytes = fc.oneof(
        fc.uint8Array({ maxLength: 5_000 }),
        fc.tuple(fc.nat(200_000), fc.nat(255)).map(([length, byte]) => Uint8Array.from({ length }, (_, i) => byte + i)),
      );
      const step = fc.oneof(
        fc.record({ add: anyBytes }),
        fc.record({ take: fc.oneof(fc.nat(6_000), fc.nat(200_000)) }),
        fc.constant({ clear: true as const }),
      );
      fc.assert(
        fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
          const held = new HeldBytes(reused);
          // Another stream, that has the same blocks in turn.
          const other = new HeldBytes(reused);
          let expected = Buffer.alloc(0);
          for (const one of steps) {
            if ('add' in one) {
              held.add(one.add);
              expected = Buffer.concat([expected, one.add]);
              // It keeps a copy.
              one.add.fill(0xff);
            } else if ('take' in one) {
              const first = held.first(one.take);
              expect(first.equals(expected.subarray(0, first.length))).toBe(true);
              expect(first.length > 0).toBe(expected.length > 0 && one.take > 0);
              held.drop(first.length);
              other.add(new Uint8Array(70_000).fill(0xee));
              expected = expected.subarray(first.length);
            } else {
              held.clear();
              other.clear();
              expected = Buffer.alloc(0);
            }
            expect(held.bytes).toBe(expected.length);
          }
        }),
      );
    },
  );

  it('makes no block anew for what comes and goes in large pieces', () => {
    const held = new HeldBytes(true);
    const owners = new Set<ArrayBufferLike>();
    for (let i = 0; i < 100; i++) {
      held.add(new Uint8Array(60_000));
      const first = held.first(64 * 1024);
      owners.add(first.buffer);
      held.drop(first.length);
    }
    expect(owners.size).toBe(1);
  });

  it('joins single bytes', () => {
    const held = new HeldBytes();
    for (let i = 0; i < 10_000; i++) held.add(Buffer.of(i & 0xff));
    let pieces = 0;
    for (; held.bytes > 0; pieces++) held.drop(held.first(64 * 1024).length);
    expect(pieces).toBeLessThanOrEqual(5);
  });
});
