/** 100,000 random and mutated messages, or `WEFT_FUZZ_MESSAGES` of them, from `WEFT_FUZZ_SEED`. */
import { afterAll, expect, it } from 'vitest';
import { Bench } from '../e2e/harness.ts';
import { fuzzSidecars } from '../e2e/wire/http-fuzz.ts';

const messages = Number(process.env.WEFT_FUZZ_MESSAGES ?? 100_000);
const seed = Number(process.env.WEFT_FUZZ_SEED ?? Date.now() % 2 ** 32);
/** Of three sidecars together, in the second half: measured in 240,000 messages, none. */
const growthMiBMax = 24;

const bench = new Bench();
afterAll(() => bench.close());

it('random and mutated messages: nothing malformed passes, nothing hangs, nothing is left open, no memory is left behind', async () => {
  let told = 0;
  const onProgress = (done: number, residentMiB: () => readonly number[]) => {
    if (done - told < messages / 20) return;
    told = done;
    console.log(`seed ${seed}: ${done} of ${messages} messages, sidecars of ${residentMiB().join(', ')} MiB`);
  };
  const report = await fuzzSidecars(bench, { messages, seed, onProgress });
  console.log(JSON.stringify({ seed, ...report }));
  expect(report.faults).toEqual([]);
  expect(report.residentAfter - report.residentBefore).toBeLessThan(growthMiBMax);
});
