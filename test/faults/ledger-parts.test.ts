/** 20 ms that are planted into one part of a call show in that part and in no other, by the median of many tries. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench } from '../e2e/harness.ts';
import { expectWhereItBelongs, plantings, startPlantedMesh, strictly } from '../e2e/planted-time.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

describe('20 ms', () => {
  it.each(plantings)('of $name are where they belong', async (planting) => {
    const more = await expectWhereItBelongs(await startPlantedMesh(bench), planting, strictly);
    console.log(JSON.stringify({ planted: planting.name, moreMs: more }));
    expect(more.web).toBeDefined();
  });
});
