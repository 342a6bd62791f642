import { describe, expect, it } from 'vitest';
import { Busiest } from '../../../src/telemetry/busiest.ts';

describe('Busiest', () => {
  it('finds the names that are often there among very many that are not, and claims no more than it counted', () => {
    const busiest = new Busiest<number>(16);
    const often = [1, 2, 3];
    for (let turn = 0; turn < 10_000; turn++) {
      busiest.note(`rare ${turn}`, -1);
      for (const each of often) if (turn % each === 0) busiest.note(`often ${each}`, each);
    }
    const taken = busiest.take();
    expect(taken.slice(0, 3).map(({ value }) => value)).toEqual(often);
    for (const { value, count } of taken.slice(0, 3)) expect(count).toBeLessThanOrEqual(Math.ceil(10_000 / value));
    expect(taken.length).toBeLessThanOrEqual(16);
    expect(busiest.take()).toEqual([]);
  });

  it('does not name what was there once', () => {
    const busiest = new Busiest<string>(4);
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) busiest.note(name, name);
    expect(busiest.take()).toEqual([]);
  });
});
