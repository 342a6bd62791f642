import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readDocument, writeDocument } from '../../bench/results.mjs';
import { targetRows } from '../../bench/targets.mjs';
import { runDocument } from './run-document.ts';

interface Row {
  readonly row: string;
  readonly target: string;
  readonly reached: string;
  readonly verdict: string;
}

const rowOf = (document: object, row: string): Row => targetRows(document).find((one: Row) => one.row === row)!;
const tls = 'two-hops-tls/busy-64/get-100';
const tlsRow = 'two hops, mutual TLS, 64 busy: CPU against nginx';

describe('target rows', () => {
  it('say what was not measured, and which command measures it', () => {
    const rows: Row[] = targetRows(runDocument({}));
    expect(rows.length).toBeGreaterThan(20);
    expect(new Set(rows.map(({ verdict }) => verdict))).toEqual(
      new Set([
        ...['not measured', 'nothing measures it yet', 'measured by `npm run bench:config`'],
        'measured by `npm run sim -- --targets`',
      ]),
    );
  });

  it('name whose answers were wrong, and have no figure then', () => {
    const document = runDocument({
      [tls]: [
        { name: 'nginx', cpuUs: [40, 40] },
        { name: 'weft', voidBecause: '3 wrong answers' },
      ],
    });
    expect(rowOf(document, tlsRow)).toMatchObject({ reached: '-', verdict: 'void: title of weft: 3 wrong answers' });
    expect(rowOf(document, 'memory of a sidecar, mutual TLS, 64 busy').verdict).toBe('not measured');
  });

  it('compare round by round and judge the median', () => {
    const nginx = { name: 'nginx', cpuUs: [40, 80, 40] };
    const holds = runDocument({ [tls]: [nginx, { name: 'weft', cpuUs: [18, 32, 40] }] });
    expect(rowOf(holds, tlsRow)).toEqual({
      ...{ row: tlsRow, target: '<= 0.45', reached: '0.45 (0.40-1.00)', verdict: 'holds' },
    });
    const fails = runDocument({ [tls]: [nginx, { name: 'weft', cpuUs: [19, 40, 40] }] });
    expect(rowOf(fails, tlsRow)).toMatchObject({ reached: '0.50 (0.47-1.00)', verdict: 'does not hold' });
  });

  it('compare to the other proxies of Node, and take memory and start from the sidecars', () => {
    const document = {
      ...runDocument({
        'one-hop/busy-64/get-100': [
          { name: 'weft', cpuUs: [20, 22, 24] },
          { name: 'http-proxy', cpuUs: [100, 100, 100] },
          { name: 'fastify', cpuUs: [80, 80, 80] },
        ],
        [tls]: [{ name: 'weft', cpuUs: [20, 20, 20] }],
      }),
      vitals: { readyMs: { median: 190, min: 180, max: 250 }, idleMib: { median: 61, min: 59.5, max: 62 } },
    };
    const found = (row: string) => Object.values(rowOf(document, row)).slice(1).join(' | ');
    expect(found('one hop, 64 busy: CPU against http-proxy')).toBe('<= 0.25 | 0.22 (0.20-0.24) | holds');
    expect(found('one hop, 64 busy: CPU against @fastify/http-proxy')).toBe(
      '<= 0.25 | 0.28 (0.25-0.30) | does not hold',
    );
    expect(found('memory of a sidecar, mutual TLS, 64 busy')).toBe('<= 90 MiB | 80.0 (80.0-80.0) MiB | holds');
    expect(found('memory of an idle sidecar')).toBe('<= 60 MiB | 61.0 (59.5-62.0) MiB | does not hold');
    expect(found('ready from start, warm disk')).toBe('<= 300 ms | 190 (180-250) ms | holds');
  });
});

describe('the document of a run', () => {
  it('is refused when it is something else', () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-bench-test-'));
    const file = join(directory, 'other.json');
    writeFileSync(file, '{}');
    expect(() => readDocument(file)).toThrow('holds no results of this benchmark');
    rmSync(directory, { recursive: true });
  });

  it('comes back from its file as it was, with the targets, a line for each round', () => {
    const directory = mkdtempSync(join(tmpdir(), 'weft-bench-test-'));
    const file = join(directory, 'deeper', 'run.json');
    const document = runDocument({
      [tls]: [
        { name: 'nginx', cpuUs: [40.123_456, 41] },
        { name: 'weft', cpuUs: [20, 21] },
      ],
    });
    writeDocument(file, document);
    const read = readDocument(file);
    expect(read).toEqual({ ...document, targets: targetRows(document) });
    expect(read.scenarios[0].contestants[0].rounds[0].cpuUs).toBe(40.123);
    expect(readFileSync(file, 'utf8').match(/^\s*\{"requests":.*\},?$/gm)).toHaveLength(4);
    rmSync(directory, { recursive: true });
  });

  it('compares to the floor where there is no nginx', () => {
    const [scenario] = runDocument({
      [tls]: [
        { name: 'nginx', voidBecause: 'gone' },
        { name: 'relay', cpuUs: [10, 10] },
        { name: 'weft', cpuUs: [20, 30] },
      ],
    }).scenarios;
    expect(scenario!.baseline).toBe('relay');
    expect(scenario!.contestants[2]).toMatchObject({ againstBaseline: { cpuUs: { median: 2.5, min: 2, max: 3 } } });
  });
});
