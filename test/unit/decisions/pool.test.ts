import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DecisionPool } from '../../../src/decisions/pool.ts';
import { limits } from '../../../src/model/limits.ts';
import type { LoopService } from '../../../src/proxy/tables.ts';
import { buildDecisionWorker } from '../../fixtures/decision-worker.ts';
import { actionOf, endpointsOf, matchOf, requestOf, Sidecar, sidecarOf, unitOf } from '../../fixtures/service-unit.ts';

let worker: Awaited<ReturnType<typeof buildDecisionWorker>>;
let pool: DecisionPool;
const errors: unknown[] = [];

beforeAll(async () => {
  worker = await buildDecisionWorker();
  pool = new DecisionPool({ workerFile: worker.file, onError: (error) => errors.push(error) });
});
afterAll(async () => {
  await pool.close();
  worker.remove();
});

const match = (service: LoopService, path: string, of = pool): Promise<Uint8Array | null> =>
  new Promise((resolve) => of.matchPatterns(service, requestOf(path), resolve));

const withPattern = (...patterns: string[]) => ({
  matches: patterns.map((pattern) => matchOf('pattern', pattern)),
  actions: [actionOf('default/cart/0')],
});

describe('compile', () => {
  it('rejects with the fault of the unit', async () => {
    await expect(pool.compile([unitOf(withPattern('('))])).rejects.toThrow(/default\/cart\/0: '\(' is not a regular/);
  });

  it('gives units that work, in order, in memory shared with the worker', async () => {
    const names = Array.from({ length: 300 }, (_, i) => `s${i}.default`);
    const compiled = await pool.compile(
      names.map((name) => unitOf({ name, endpoints: endpointsOf(1, 1, 1, 1, 1, 1, 1, 1) })),
    );
    expect(compiled.map(({ name }) => name)).toEqual(names);
    expect(compiled[0]!.buffer).toBeInstanceOf(SharedArrayBuffer);
    const sidecar = new Sidecar();
    sidecar.apply(...compiled);
    expect(sidecar.service('s7.default').endpoints).toHaveLength(8);
  });

  it('of a Maglev and a large ring does not hold the loop', async () => {
    let longestMs = 0;
    let lastMs = performance.now();
    const watch = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - lastMs);
      lastMs = performance.now();
    }, 1);
    const endpoints = endpointsOf(...new Array<number>(500).fill(1));
    const compiled = await pool.compile([
      unitOf({ name: 'm.default', endpoints, balancer: { policy: 'Maglev' } }),
      unitOf({ name: 'r.default', endpoints, balancer: { policy: 'RingHash' } }),
    ]);
    clearInterval(watch);
    expect(compiled).toHaveLength(2);
    // The target is 5 ms; the rest is for a machine that is busy with other tests.
    expect(longestMs).toBeLessThan(50);
  });
});

describe('patterns', () => {
  it('must match the whole subject', async () => {
    const service = sidecarOf(withPattern('/a+', '/a|/b', '/.*')).service();
    const sources = service.routes!.patterns.map(({ source }) => source);
    const verdictsOf = async (path: string) => {
      const verdicts = await match(service, path);
      return Object.fromEntries(sources.map((source, i) => [source, verdicts![i]]));
    };
    expect(await verdictsOf('/aaa')).toEqual({ '/a+': 1, '/a|/b': 0, '/.*': 1 });
    expect(await verdictsOf('/b')).toEqual({ '/a+': 0, '/a|/b': 1, '/.*': 1 });
    expect(await verdictsOf('/ab')).toEqual({ '/a+': 0, '/a|/b': 0, '/.*': 1 });
  });

  it('that are catastrophic are cut off; the loop stays live and the others get their answers', async () => {
    const bad = sidecarOf(withPattern('/(a+)+')).service();
    const good = sidecarOf(withPattern('/g[0-9]+')).service();
    await match(good, '/warm');
    const hostile = `/${'a'.repeat(64)}!`;
    let turns = 0;
    const watch = setInterval(() => turns++, 5);
    const startedAtMs = performance.now();
    const answers = await Promise.all([match(good, '/g1'), match(bad, hostile), match(good, '/g2'), match(good, '/x')]);
    const tookMs = performance.now() - startedAtMs;
    clearInterval(watch);
    expect(answers.map((verdicts) => verdicts && [...verdicts])).toEqual([[1], null, [1], [0]]);
    expect(tookMs).toBeLessThan(limits.regexWaitMs);
    expect(turns).toBeGreaterThan(5);

    // Twice more, and the pattern fails without a worker.
    expect(await match(bad, hostile)).toBeNull();
    expect(await match(bad, hostile)).toBeNull();
    const { batches } = pool.patternStats;
    expect(await match(bad, '/a')).toBeNull();
    expect(pool.patternStats).toMatchObject({ cutOffs: limits.regexCutOffsMax, batches });
    expect(errors).toEqual([]);
  });
});

describe('failure and end', () => {
  it('refuses requests when there is no worker, and reports why', async () => {
    const reported: unknown[] = [];
    const broken = new DecisionPool({
      workerFile: new URL('./none.js', worker.file),
      onError: (error) => reported.push(error),
    });
    expect(await match(sidecarOf(withPattern('/a')).service(), '/a', broken)).toBeNull();
    expect(reported.length).toBeGreaterThan(0);
    await expect(broken.compile([unitOf()])).rejects.toThrow();
    await broken.close();
  });

  it('lets the process end: after close, and without it', async () => {
    const source = `
      import { Piscina } from 'piscina';
      const pool = new Piscina({ filename: ${JSON.stringify(worker.file.pathname)}, minThreads: 0, maxThreads: 1, idleTimeout: 20000 });
      const noUnits = new SharedArrayBuffer(2);
      Buffer.from(noUnits).write('[]');
      await pool.run(noUnits, { name: 'compile' });
      if (process.argv[1] === 'close') await pool.destroy();
      console.log('done');`;
    for (const how of ['close', 'leave']) {
      const output = execFileSync(process.execPath, ['--input-type=module', '-e', source, how], {
        cwd: new URL('.', worker.file),
        timeout: 10_000,
        encoding: 'utf8',
      });
      expect(output).toBe('done\n');
    }
  });
});
