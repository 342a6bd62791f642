import { describe, expect, it } from 'vitest';
import { counter, DurationCounts, histogram, LabelledCounts } from '../../../src/telemetry/metric-families.ts';
import { renderFamilies } from '../../../src/telemetry/render.ts';

describe('durations in a few buckets', () => {
  it('are counted up to and with their bounds, beyond the last one too, and never below 0', async () => {
    const counts = new DurationCounts([1, 2.5, 10]);
    for (const ms of [0.5, 1, 1.1, 2.5, 9, 10, 11, 1e9, -5]) counts.observe(ms);
    const metric = histogram('h', 'Help.');
    counts.addTo(metric, { operation: 'commit' });
    expect((await renderFamilies([metric])).split('\n')).toEqual([
      '# HELP h Help.',
      '# TYPE h histogram',
      'h_bucket{operation="commit",le="0.001"} 3',
      'h_bucket{operation="commit",le="0.0025"} 5',
      'h_bucket{operation="commit",le="0.01"} 7',
      'h_bucket{operation="commit",le="+Inf"} 9',
      `h_sum{operation="commit"} ${(0.5 + 1 + 1.1 + 2.5 + 9 + 10 + 11 + 1e9) / 1000}`,
      'h_count{operation="commit"} 9',
      '',
    ]);
  });

  it('have bounds that ascend', () => {
    expect(() => new DurationCounts([1, 1])).toThrow(/ascend/);
  });
});

describe('counts by labels', () => {
  it('are bounded: beyond it all is one other series, and nothing is lost', async () => {
    const counts = new LabelledCounts(['port', 'code'], 2);
    counts.count({ port: 'api', code: 'a' }, 0);
    for (const code of ['a', 'b', 'c', 'd', 'a']) counts.count({ port: 'api', code });
    const metric = counter('c_total', 'Help.');
    counts.addTo(metric);
    const lines = (await renderFamilies([metric])).split('\n').filter((line) => line.startsWith('c_total'));
    expect(lines).toEqual([
      'c_total{port="api",code="a"} 2',
      'c_total{port="api",code="b"} 1',
      'c_total{port="other",code="other"} 2',
    ]);
  });
});

describe('renderFamilies', () => {
  it('takes a list and nothing else', async () => {
    await expect(renderFamilies({ name: 'x' })).rejects.toThrow(/list of families/);
    expect(await renderFamilies([])).toBe('\n');
  });
});
