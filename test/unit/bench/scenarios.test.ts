import { describe, expect, it } from 'vitest';
import { readOptions } from '../../bench/bench-options.mjs';
import { durationLine, Progress, plannedSeconds } from '../../bench/plan.mjs';
import { scenarios, selectScenarios } from '../../bench/scenarios.mjs';
import { vitalSecondsOf } from '../../bench/vitals.mjs';

type Scenario = (typeof scenarios)[number];
const idsOf = (patterns: string[], isShort = false): string[] =>
  selectScenarios(patterns, { isShort }).map(({ id }: Scenario) => id);

describe('scenarios', () => {
  it('are chosen by patterns, of which each must fit one', () => {
    for (const pattern of ['three-hops', '*/busy-65', 'one-hop/busy-64/get-100/more', ''])
      expect(() => idsOf([pattern])).toThrow(`There is no scenario ${pattern}:`);
    expect(idsOf(['two-hops/busy-8'])).toEqual([
      ...['two-hops/busy-8/get-100', 'two-hops/busy-8/get-64k', 'two-hops/busy-8/get-1m'],
      ...['two-hops/busy-8/post-1k', 'two-hops/busy-8/post-16k'],
    ]);
    expect(idsOf(['*/rate-10000/get-100'])).toHaveLength(3);
  });

  it('are one each when patterns overlap, in the order of the whole', () => {
    expect(idsOf(['two-hops-tls/busy-1/get-100', '*/busy-1/get-100'])).toEqual([
      ...['one-hop/busy-1/get-100', 'two-hops/busy-1/get-100', 'two-hops-tls/busy-1/get-100'],
    ]);
  });

  it('measure a variant of a topology where it shows', () => {
    expect(idsOf(['two-hops-unix'])).toEqual([...['two-hops-unix/busy-64/get-100', 'two-hops-unix/rate-3000/get-100']]);
  });

  it('ask for no rate that would fill a core with copying', () => {
    expect(idsOf([]).filter((id) => /rate.*get-1m|rate-10000\/get-64k/.test(id))).toEqual([]);
    expect(idsOf([])).toContain('two-hops/rate-3000/get-64k');
  });
});

describe('options', () => {
  it('choose what the rows of targets need, with everybody and with starts', () => {
    const { chosen } = readOptions(['--targets'])!;
    expect(chosen).toMatchObject({ form: 'targets', rounds: 5, vitalStarts: 10 });
    expect(chosen.scenarios).toEqual(
      expect.arrayContaining(['two-hops-tls/busy-8/get-100', 'one-hop-pipelining/busy-64/get-100']),
    );
    expect(chosen.scenarios.length).toBeLessThan(20);
    expect(chosen.names).toEqual(readOptions([])!.chosen.names);
    expect(() => readOptions(['--targets', '--short'])).toThrow('--targets says which scenarios');
  });

  it('are refused with the reason', () => {
    const cases = [
      [['--rounds', '0'], '--rounds wants whole numbers from 1 to 1000, not 0.'],
      [['--rounds', '3,4'], '--rounds wants one number, not 3,4.'],
      [['--seconds', '2.5'], '--seconds wants whole numbers'],
      [['--only', 'nginx,envoy'], 'There is no contestant envoy, only relay, nginx'],
      [['--cores', '1'], '--cores wants two numbers'],
      [['--others-max', '0'], '--others-max wants a share'],
      [['--fast'], "Unknown option '--fast'"],
    ] as const;
    for (const [words, message] of cases) expect(() => readOptions([...words])).toThrow(message);
  });

  it('name the form of a run: only one with everything is full', () => {
    const formOf = (...words: string[]) => readOptions(words)!.chosen.form;
    expect([formOf(), formOf('--short'), formOf('--short', '--only', 'weft'), formOf('--scenario', 'one-hop')]).toEqual(
      [...['full', 'short', 'partial', 'partial']],
    );
  });
});

describe('the plan', () => {
  const secondsOf = (...words: string[]): number => {
    const { chosen } = readOptions(words)!;
    const picked = scenarios.filter(({ id }: Scenario) => chosen.scenarios.includes(id));
    return plannedSeconds(picked, chosen).reduce(
      (sum: number, one: number) => sum + one,
      vitalSecondsOf(chosen.vitalStarts),
    );
  };

  it('has the short form in two minutes and the full one in about two hours', () => {
    expect(secondsOf('--short')).toBeLessThan(120);
    expect(secondsOf()).toBeLessThan(7_500);
  });

  it('tells what is left at the pace so far', () => {
    let nowMs = 0;
    const progress = new Progress([10, 20, 30], () => nowMs);
    expect(progress.secondsLeft).toBe(60);
    nowMs = 15_000;
    progress.step();
    expect(progress.secondsLeft).toBe(75);
  });

  it('says it in words', () => {
    expect([89, 90, 3_600, 7_020].map(durationLine)).toEqual(['89 s', '2 min', '60 min', '1 h 57 min']);
  });
});
