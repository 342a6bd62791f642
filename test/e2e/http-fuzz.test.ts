/** The short form; `test/faults/http-fuzz.test.ts` sends 100,000. */
import { afterAll, expect, it } from 'vitest';
import { Bench } from './harness.ts';
import { fuzzSidecars } from './wire/http-fuzz.ts';

const bench = new Bench();
afterAll(() => bench.close());

it('random and mutated messages: nothing malformed passes, nothing hangs, nothing is left open', async () => {
  const { faults, requests, answers } = await fuzzSidecars(bench, { messages: 10_000, seed: 1 });
  expect(faults).toEqual([]);
  expect(requests).toBeGreaterThan(150);
  expect(answers).toBeGreaterThan(500);
});
