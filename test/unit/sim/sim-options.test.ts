import { describe, expect, it } from 'vitest';
import { optionsOf, parts, usage } from '../../sim/sim-options.mjs';

const options = (values: Readonly<Record<string, string | boolean>>) => optionsOf({ 'node-flags': '', ...values });

describe('the flags of the simulator', () => {
  it('are 10,000 sidecars and every part when nothing is said', () => {
    expect(options({})).toMatchObject({
      sizes: [10_000],
      parts,
      mesh: { changes: 20, services: 100, slowSidecars: 100 },
    });
    expect(options({ short: true })).toMatchObject({ sizes: [1_000], parts, mesh: { changes: 5, services: 10 } });
  });

  it('measure the sizes that have a target', () => {
    expect(options({ targets: true })).toMatchObject({ sizes: [1_000, 10_000], parts: ['join', 'changes'] });
  });

  it('let everybody join before any other part', () => {
    expect(options({ only: 'slow,idle' }).parts).toEqual(['join', 'idle', 'slow']);
  });

  it.each([
    [{ sidecars: 'many' }, '--sidecars wants whole numbers from 1 to 19000, not many'],
    [{ changes: '1,2' }, '--changes wants one number'],
    [{ only: 'everything' }, 'not everything'],
    [{ targets: true, sidecars: '5' }, '--targets says itself'],
    [{ sidecars: '50' }, '--services 100 is more than there are sidecars'],
  ])('that are wrong say so: %o', (values, message) => {
    expect(() => options(values)).toThrow(message);
  });

  it('are all explained', () => {
    for (const flag of ['--sidecars', '--changes', '--only', '--targets', '--short', '--json', '--node-flags'])
      expect(usage).toContain(flag);
  });
});
