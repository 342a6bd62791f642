import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepConfigScale, readElsewhere } from '../../bench/elsewhere.mjs';
import { targetRows } from '../../bench/targets.mjs';
import { keepRun } from '../../sim/sim-results.mjs';
import { runDocument } from './run-document.ts';

let directory: string;
const files = () => ({ config: join(directory, 'deeper', 'config.json'), sim: join(directory, 'sim.json') });
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-elsewhere-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const spread = (median: number) => ({ median, min: median / 2, max: median * 2 });
const runOf = (sidecars: number, p99Ms: number, cpuUs: number) => ({
  ...{ sidecars, startedAt: '2026-11-26T18:00:00.000Z', commit: 'abc1234' },
  parts: { changes: { p99Ms: spread(p99Ms), cpuUsPerSidecar: spread(cpuUs) } },
});
const rowsOf = () => {
  const rows = targetRows({ ...runDocument({}), elsewhere: readElsewhere(files()) });
  return (row: string) => rows.find((one: { row: string }) => one.row === row)!;
};

describe('what other commands have measured', () => {
  it('fills the rows of the targets, with the build and the day', () => {
    keepRun(runOf(10_000, 400, 30), files().sim);
    keepRun(runOf(1_000, 40, 50), files().sim);
    keepRun(runOf(10_000, 300, 20), files().sim);
    const rowOf = rowsOf();
    expect(rowOf('change to applied on 1,000 sidecars, p99')).toMatchObject({
      ...{ target: '<= 100 ms', reached: '40.0 (20.0-80.0) ms', verdict: 'holds (abc1234, 2026-11-26)' },
    });
    expect(rowOf('change to applied on 10,000 sidecars, p99').reached).toBe('300 (150-600) ms');
    expect(rowOf('control-plane CPU for a change on 10,000')).toMatchObject({
      ...{ reached: '20.0 (10.0-40.0) µs a sidecar', verdict: 'holds (abc1234, 2026-11-26)' },
    });
  });

  it('is kept part by part, and judged', () => {
    const when = { commit: 'abc1234', at: '2026-11-25T18:00:00.000Z' };
    const lookUps = ['exact', 'prefix', 'host'].map((kind, i) => ({ kind, ratio: [1.4, 1.8, 9][i] }));
    keepConfigScale({ 'look-ups': lookUps }, when, files().config);
    const memory = [69, 69, 103].map((residentMib) => ({ residentMib }));
    keepConfigScale({ memory, tables: [] }, { ...when, commit: 'def5678' }, files().config);
    const rowOf = rowsOf();
    expect(rowOf('route look-up with 10,000 routes against 10')).toMatchObject({
      ...{ reached: '1.60 (1.40-1.80)', verdict: 'does not hold (abc1234, 2026-11-25)' },
    });
    expect(rowOf('memory with 1,000 services of which it calls 5, against none')).toMatchObject({
      ...{ reached: '1.00 (1.00-1.00)', verdict: 'holds (def5678, 2026-11-25)' },
    });
  });

  it('is nothing where there are no files, or others', () => {
    expect(readElsewhere(files())).toEqual({});
    writeFileSync(files().sim, '{"format":"another"}');
    expect(readElsewhere(files())).toEqual({});
    writeFileSync(files().sim, 'not JSON');
    expect(readElsewhere(files())).toEqual({});
    expect(rowsOf()('change to applied on 1,000 sidecars, p99').verdict).toBe('measured by `npm run sim -- --targets`');
  });
});
