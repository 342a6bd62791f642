/** A run's document as the benchmark writes it, made by its own functions from few figures. */
import { newDocument, resultOf } from '../../bench/results.mjs';
import { scenarios } from '../../bench/scenarios.mjs';

export interface Contestant {
  readonly name: string;
  /** CPU microseconds of each round; everything else follows from it. */
  readonly cpuUs?: readonly number[];
  readonly voidBecause?: string;
}

const roundOf = (cpuUs: number) => ({
  ...{ requests: 1_000, perSecond: 1e6 / cpuUs, p50Ms: cpuUs / 10, p99Ms: cpuUs / 5, p999Ms: cpuUs, cpuUs },
  ...{ userUs: cpuUs / 4, systemUs: cpuUs - cpuUs / 4, hopUs: [cpuUs / 2, cpuUs / 2], hopMib: [70, 80] },
  ...{ coreShare: 0.99, loadShare: 0.7, othersShare: 0.01 },
});

export function scenarioResult(id: string, contestants: readonly Contestant[]) {
  const figures = Object.fromEntries(contestants.map(({ name, cpuUs }) => [name, (cpuUs ?? []).map(roundOf)]));
  const entries = contestants.map(({ name, voidBecause }) => ({
    ...{ name, title: `title of ${name}`, voidBecause: voidBecause ?? null },
  }));
  const scenario = scenarios.find((one) => one.id === id);
  return resultOf(scenario, entries, { figures, again: 0 });
}

export function runDocument(results: Readonly<Record<string, readonly Contestant[]>>) {
  const document = newDocument({
    ...{ form: 'full', commit: 'abc1234', startedAt: '2026-11-26T10:00:00.000Z' },
    machine: { model: 'A CPU', cores: 2, memoryGib: 8, kernel: '6.1', versions: ['Node 20.20.2', 'nginx/1.22.1'] },
    options: { rounds: 3, seconds: 2 },
  });
  return { ...document, scenarios: Object.entries(results).map(([id, found]) => scenarioResult(id, found)) };
}
