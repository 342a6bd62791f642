import { describe, expect, it } from 'vitest';
import { compileUnit } from '../../../src/decisions/compile/compile-unit.ts';
import { packUnits, unpackUnits } from '../../../src/decisions/packed-units.ts';
import { inSlices } from '../../../src/decisions/slices.ts';
import { finish } from '../../../src/model/steps.ts';
import { actionOf, backendOf, endpointsOf, matchOf, unitOf } from '../../fixtures/service-unit.ts';

/** Loop turns that pass until the promise is settled. */
async function turnsUntil(settled: Promise<unknown>): Promise<number> {
  let turns = 0;
  let isOver = false;
  const turn = () => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  await settled.catch(() => {});
  isOver = true;
  return turns;
}

describe('slices', () => {
  it('leave the loop to others in between, whatever the steps take', async () => {
    function* steps(): Generator<void, string, void> {
      for (let i = 0; i < 20; i++) {
        const endsAtMs = performance.now() + 1;
        while (performance.now() < endsAtMs);
        yield;
      }
      return 'done';
    }
    const working = inSlices(steps());
    expect(await turnsUntil(working)).toBeGreaterThan(10);
    expect(await working).toBe('done');
  });

  it('do small things at once', async () => {
    function* steps(): Generator<void, number, void> {
      yield;
      return 1;
    }
    let isLater = false;
    setImmediate(() => {
      isLater = true;
    });
    expect(await inSlices(steps())).toBe(1);
    expect(isLater).toBe(false);
  });

  it('reject with what a step throws', async () => {
    // biome-ignore lint/correctness/useYield: it fails before it could.
    function* steps(): Generator<void, void, void> {
      throw new Error('no');
    }
    await expect(inSlices(steps())).rejects.toThrow('no');
  });
});

describe('packed units', () => {
  const large = unitOf({
    name: 'large.default',
    endpoints: endpointsOf(...new Array<number>(300).fill(1)),
    matches: Array.from({ length: 1_000 }, (_, action) => matchOf('exact', `/ä-${action}`, { action })),
    actions: Array.from({ length: 1_000 }, (_, i) => actionOf(`route "${i}"`, [backendOf('large.default')])),
  });

  it('are the units again, whatever their sizes', () => {
    const none = unitOf({ name: 'none.default', endpoints: [] });
    for (const units of [[], [none], [none, large, unitOf()]])
      expect(unpackUnits(finish(packUnits(units)))).toEqual(units);
  });

  it('compile to the same tables', () => {
    const [unpacked] = unpackUnits(finish(packUnits([large])));
    const bytes = (buffer: SharedArrayBuffer) => Buffer.from(buffer).toString('base64');
    expect(bytes(compileUnit(unpacked!).buffer)).toBe(bytes(compileUnit(large).buffer));
  });
});
