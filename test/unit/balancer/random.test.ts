import { describe, expect, it } from 'vitest';
import { countBy, endpointsOf, sidecarOf } from '../../fixtures/service-unit.ts';

describe('Random', () => {
  it('follows the weights within chi-square at 99.9 %', () => {
    const weights = [1, 2, 3, 0, 4];
    const sidecar = sidecarOf({ endpoints: endpointsOf(...weights), balancer: { policy: 'Random' } }, 42);
    const picks = 20_000;
    const counts = countBy(picks, () => sidecar.pick().address);
    let chiSquare = 0;
    sidecar.service().endpoints.forEach(({ address }, i) => {
      const expected = (picks * weights[i]!) / 10;
      if (expected === 0) expect(counts.has(address)).toBe(false);
      else chiSquare += ((counts.get(address) ?? 0) - expected) ** 2 / expected;
    });
    // 3 degrees of freedom.
    expect(chiSquare).toBeLessThan(16.27);
  });
});
