/** Minutes under load in which certificates and roots are replaced, and nobody notices. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench } from '../e2e/harness.ts';
import { RotationMesh } from '../e2e/rotation-mesh.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const ttl = '20s';

describe('under load in both directions', () => {
  it('certificates of 20 s are replaced for two minutes, and no request fails', async () => {
    const mesh = await RotationMesh.start(bench, ttl);
    await mesh.runFor(120_000);
    for (const { handovers, renewals } of await mesh.stop()) {
      expect(handovers).toBeGreaterThanOrEqual(4);
      // At half of their life, give or take a tenth.
      expect(renewals).toBeGreaterThanOrEqual(9);
    }
  });

  it('the root is replaced twice, the old ones leave the bundle, and no request fails', async () => {
    const mesh = await RotationMesh.start(bench, ttl);
    const names = async () => (await mesh.roots()).map(({ sha256 }) => sha256);
    const [first] = await names();
    await mesh.runFor(5_000);
    await mesh.rotateRoot();
    const [, second] = await names();
    await mesh.runFor(15_000);
    await mesh.rotateRoot();
    const during = await mesh.roots();
    const third = during.at(-1)!.sha256;
    expect(during.map(({ sha256, isSigning }) => [sha256, isSigning])).toEqual([
      [first, false],
      [second, false],
      [third, true],
    ]);
    // The life of a certificate, 60 s for clocks that disagree, and 30 s.
    const isAlone = async () => (await names()).length === 1;
    await mesh.runUntil('the old roots have left', isAlone, 150_000);
    // First: a request that failed ended the wait.
    for (const { handovers } of await mesh.stop()) expect(handovers).toBeGreaterThanOrEqual(4);
    expect(await names()).toEqual([third]);
  });
});
