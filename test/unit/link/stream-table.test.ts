import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { LinkStream } from '../../../src/proxy/link/link-stream.ts';
import { StreamTable } from '../../../src/proxy/link/stream-table.ts';

const streamOf = (id: number) => ({ id }) as LinkStream;

describe('StreamTable', () => {
  it('knows nothing of what was not put in, and forgets what was not there', () => {
    const table = new StreamTable();
    table.remove(7);
    expect([table.size, table.get(7), table.all()]).toEqual([0, undefined, []]);
  });

  it('holds what a Map would, whatever numbers a peer chooses', () => {
    const step = fc.oneof(
      {
        weight: 3,
        arbitrary: fc.record({
          skip: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.constantFrom(64, 128, 4_096, 2 ** 20)),
        }),
      },
      { weight: 2, arbitrary: fc.record({ remove: fc.nat() }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const table = new StreamTable();
        const expected = new Map<number, LinkStream>();
        let last = 0;
        for (const one of steps) {
          if ('skip' in one) {
            last += one.skip;
            const stream = streamOf(last);
            table.add(stream, last);
            expected.set(last, stream);
          } else {
            const ids = [...expected.keys()];
            const id = ids[one.remove % Math.max(1, ids.length)] ?? one.remove;
            table.remove(id);
            expected.delete(id);
          }
          expect(table.size).toBe(expected.size);
        }
        expect(table.all()).toEqual([...expected.values()]);
        for (const [id, stream] of expected) expect(table.get(id)).toBe(stream);
        expect(table.get(last + 1)).toBeUndefined();
      }),
    );
  });

  it('is empty after a hundred thousand streams of which some stay long', () => {
    const table = new StreamTable();
    const open: number[] = [];
    for (let id = 1; id <= 100_000; id++) {
      table.add(streamOf(id), id);
      open.push(id);
      // Every thousandth stays until the end, so that places are taken.
      if (open.length > limits.linkStreamsMax / 2)
        table.remove(
          open.splice(
            open.findIndex((one) => one % 1_000 !== 0),
            1,
          )[0]!,
        );
    }
    expect(table.size).toBe(open.length);
    for (const id of open) table.remove(id);
    expect([table.size, table.all()]).toEqual([0, []]);
  });
});
