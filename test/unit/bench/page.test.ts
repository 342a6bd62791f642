import { describe, expect, it } from 'vitest';
import { chartOf } from '../../bench/chart.mjs';
import { pageOf } from '../../bench/page.mjs';
import { tableOf } from '../../bench/report.mjs';
import { systemCallsOf } from '../../bench/system-calls.mjs';
import { targetRows } from '../../bench/targets.mjs';
import { runDocument } from './run-document.ts';

const sample = () => {
  const document = runDocument({
    'one-hop/busy-64/get-100': [
      { name: 'relay', cpuUs: [10, 11] },
      { name: 'nginx', cpuUs: [20, 20] },
      { name: 'weft', cpuUs: [22, 24] },
      { name: 'http-proxy', voidBecause: 'status 502 <under load>' },
    ],
    'two-hops/rate-3000/get-64k': [
      { name: 'nginx', voidBecause: 'gone' },
      { name: 'weft', cpuUs: [44, 48] },
    ],
  });
  return { ...document, targets: targetRows(document) };
};

describe('the page', () => {
  const page = pageOf(sample());

  it('names date, form, machine and what was measured, and that the run was interrupted', () => {
    expect(page).toContain('**Date** 2026-11-26, full form: 3 rounds of 2 s; it was interrupted after 2 scenarios');
    expect(page).toContain('**Machine** A CPU, 2 cores, 8 GiB, Linux 6.1');
    expect(page).toContain('**Versions** Weft abc1234, Node 20.20.2, nginx/1.22.1');
  });

  it('has a row for each scenario, absolute for the baseline, void where answers were wrong', () => {
    expect(page).toContain('| 64 busy, GET 100 B | 0.53 (0.50-0.55) | 20.0 (20.0-20.0) µs | 1.15 (1.10-1.20) | void |');
    expect(page).toContain('| 3,000 a second, GET 64 KiB | void | 46.0 (44.0-48.0) µs |');
    expect(page).toContain('| 64 busy, GET 100 B | 2.30 (1.15 (1.10-1.20)) |');
  });

  it('has every target and no section without scenarios', () => {
    expect(page.match(/\| (does not hold|not measured|measured by|nothing|holds|void:)[^|]* \|$/gm)).toHaveLength(
      sample().targets.length,
    );
    expect(page).not.toContain('Two hops, mutual TLS');
  });

  it('is whole without any scenario', () => {
    const empty = runDocument({});
    expect(pageOf({ ...empty, targets: targetRows(empty) })).not.toContain('undefined');
  });
});

describe('the chart', () => {
  const chart = chartOf(sample());

  it('is well-formed, with everything that a reader sees escaped', () => {
    const open: string[] = [];
    for (const [, closing, name, rest] of chart.matchAll(/<(\/?)(\w+)((?:[^>"]|"[^"]*")*)>/g)) {
      if (closing === '/') expect(open.pop()).toBe(name);
      else if (!rest!.endsWith('/')) open.push(name!);
    }
    expect(open).toEqual([]);
    expect(chart).not.toMatch(/NaN|undefined|null/);
  });

  it('has a point with its range for each contestant that has a ratio, and leaves out scenarios without a baseline', () => {
    expect(chart).toContain('<title>Weft, 64 busy, GET 100 B: 1.15 (1.10 to 1.20)</title>');
    expect(chart).toContain('<title>smallest relay, 64 busy, GET 100 B: 0.53 (0.50 to 0.55)</title>');
    expect(chart).not.toContain('http-proxy');
    expect(chart).not.toContain('GET 64 KiB');
  });

  it('keeps what lies beyond its edges at the edge', () => {
    const far = (cpuUs: number) =>
      chartOf(
        runDocument({
          'one-hop/busy-1/get-100': [
            { name: 'nginx', cpuUs: [10] },
            { name: 'weft', cpuUs: [cpuUs] },
          ],
        }),
      );
    expect(far(1_000)).toContain('<circle cx="830"');
    expect(far(0.1)).toContain('<circle cx="220"');
  });
});

describe('the printed table', () => {
  it('says why a row is void, that proxies waited, and that a rate was not kept', () => {
    const round = { ...{ cpuUs: 20, userUs: 5, systemUs: 15, hopUs: [20], hopMib: [50], perSecond: 100 } };
    const idle = { ...round, p50Ms: 1, p99Ms: 2, coreShare: 0.5, loadShare: 0.9, othersShare: 0.1 };
    const entries = [
      { name: 'weft', title: 'weft', voidBecause: null },
      { name: 'nginx', title: 'nginx', voidBecause: 'status 502' },
    ];
    const against = [{ title: 'CPU vs nginx', baseline: 'nginx', measure: 'cpuUs' }];
    const table: string = tableOf(entries, { weft: [idle], nginx: [] }, { against, rate: 0 });
    expect(table).toContain('void: nginx: status 502');
    expect(table).toContain('note: weft: the proxies had 0.50 of their core, because they waited for load');
    expect(table).not.toContain('CPU vs nginx');
    expect(tableOf(entries, { weft: [idle], nginx: [] }, { against, rate: 100 })).not.toContain('note:');
    expect(tableOf(entries, { weft: [idle], nginx: [] }, { against, rate: 104 })).toContain('did not keep the rate');
  });
});

describe('counts of system calls', () => {
  it('are read with and without errors, without the sums', () => {
    const text = `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 73.33    0.144944           9     15200           sendto
 24.05    0.047540           3     15300        12 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.192484           6     30500        12 total
`;
    expect(systemCallsOf(text)).toEqual([
      { name: 'recvfrom', calls: 15_300 },
      { name: 'sendto', calls: 15_200 },
    ]);
    expect(systemCallsOf('')).toEqual([]);
  });
});
