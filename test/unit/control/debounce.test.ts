import { describe, expect, it } from 'vitest';
import { Debounce } from '../../../src/control/debounce.ts';
import { LeaseWriter } from '../../../src/control/lease-writer.ts';
import { limits } from '../../../src/model/limits.ts';
import { ManualClock, MemoryStore } from './memory-store.ts';

function open() {
  const clock = new ManualClock();
  const startMs = clock.nowMs();
  const flushes: number[] = [];
  const debounce = new Debounce(clock, () => flushes.push(clock.nowMs() - startMs));
  return { clock, debounce, flushes };
}

describe('debounce', () => {
  it('lets the first change through at once, and the next once nothing follows', () => {
    const { clock, debounce, flushes } = open();
    debounce.trigger();
    clock.advance(10);
    debounce.trigger();
    clock.advance(40);
    debounce.trigger();
    clock.advance(1_000);
    debounce.trigger();
    expect(flushes).toEqual([0, 100, 1_050]);
  });

  it('holds a change that never stops for 500 ms at most', () => {
    const { clock, debounce, flushes } = open();
    for (let ms = 0; ms < 1_200; ms += 10) {
      debounce.trigger();
      clock.advance(10);
    }
    expect(flushes).toEqual([0, 510, 1_010]);
  });

  it('is not held up by a clock that was set back', () => {
    const { clock, debounce, flushes } = open();
    debounce.trigger();
    debounce.trigger();
    clock.advance(-3_600_000);
    debounce.trigger();
    clock.advance(3_600_000 + limits.debounceMs);
    expect(flushes).toHaveLength(2);
  });

  it('does nothing any more once it is closed', () => {
    const { clock, debounce, flushes } = open();
    debounce.trigger();
    debounce.trigger();
    debounce.close();
    clock.advance(1_000);
    expect(flushes).toEqual([0]);
  });
});

describe('lease writer', () => {
  const valuesOf = (store: MemoryStore) => [...store.leases()].map(({ value }) => value);

  it('writes one at a time for each sidecar, and of those that wait only the newest', async () => {
    const store = new MemoryStore(new ManualClock());
    const writer = new LeaseWriter(store);
    await Promise.all(['1', '2', '3', '4'].map((value) => writer.write('a', value)));
    expect(valuesOf(store)).toEqual(['4']);
    expect(store.leaseWrites).toBe(2);
    await Promise.all([writer.write('a', '5'), writer.write('a', null), writer.write('b', '1')]);
    expect(valuesOf(store)).toEqual(['1']);
  });

  it('says a failure to who asked, and goes on with what waits', async () => {
    const store = new MemoryStore(new ManualClock());
    const writer = new LeaseWriter(store);
    store.leaseFault = new Error('full');
    const first = writer.write('a', '1');
    const second = writer.write('a', '2');
    await expect(first).rejects.toThrow('full');
    store.leaseFault = null;
    await second.catch(() => {});
    await writer.write('a', '3');
    expect(valuesOf(store)).toEqual(['3']);
  });
});
