import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fuzz } from '../../fuzz/link-fuzzer.ts';
import { runInput } from '../../fuzz/link-target.ts';

const corpus = new URL('../../fuzz/corpus/link/', import.meta.url);
const inputs = readdirSync(corpus).map((name) => [name, readFileSync(new URL(name, corpus))] as const);

describe('the link keeps its promises', () => {
  it('to every session and every found fault of the corpus', async () => {
    expect(inputs.length).toBeGreaterThan(50);
    const behaviours = new Set<string>();
    for (const [name, input] of inputs) {
      const trail = await runInput(input).catch((cause) => {
        throw new Error(`test/fuzz/corpus/link/${name}`, { cause });
      });
      for (const step of trail) behaviours.add(`${trail[0]} ${step}`);
    }
    // The corpus goes deep: an input that a change of the frames made worthless would end at its first fault.
    expect(behaviours.size).toBeGreaterThan(150);
  });

  it('to ten seconds of changed ones', async () => {
    const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
    const report = await fuzz({ seed, milliseconds: 10_000, corpus: inputs.map(([, input]) => input) });
    if (report.fault !== null) {
      const input = report.fault.input.toString('base64');
      throw new Error(`seed ${seed}, input (base64) ${input}`, { cause: report.fault.error });
    }
    expect(report.executions).toBeGreaterThan(200);
  }, 60_000);
});
