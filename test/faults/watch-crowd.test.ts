/** Ten thousand who watch at once: as many as there may be stay and hear everything, the others are told to come back, and memory has a bound. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/model/limits.ts';
import { Bench, residentMiB, until } from '../e2e/harness.ts';
import { IdentityMesh } from '../e2e/identity-mesh.ts';
import { WatchCrowd } from '../fixtures/watch-crowd.ts';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const manifest = (note: string) =>
  `apiVersion: weft.mesh/v1\nkind: Service\nmetadata: { name: cart, annotations: { note: "${note}" } }\nspec: {}\n`;

describe('a crowd of watchers', () => {
  it('of ten thousand is served as far as there is room, told so beyond it, and holds up nobody', async () => {
    const mesh = await IdentityMesh.start(bench);
    const pid = mesh.control.process.pid!;
    const before = residentMiB(pid);
    const crowd = await WatchCrowd.open(mesh.control.ready.api, 10_000);
    bench.onClose(() => crowd.close());
    const during = residentMiB(pid);
    expect(crowd.answers).toEqual({ 200: limits.watchersMax, 503: 10_000 - limits.watchersMax });
    for (const refusal of crowd.refusals) {
      expect(refusal).toMatch(/\r\nretry-after: 1\r\n/);
      expect(refusal).toContain('"code":"too-many-watchers"');
    }
    await mesh.apply(manifest('first'));
    await until('all who stayed have heard of it', () => crowd.countOf('"note":"first"') === limits.watchersMax);
    crowd.close();
    await until('there is room again', async () => {
      const again = await WatchCrowd.open(mesh.control.ready.api, 1);
      const isServed = again.answers['200'] === 1;
      again.close();
      return isServed;
    });
    console.log(JSON.stringify({ residentMiB: { before, during, after: residentMiB(pid) } }));
    expect(during).toBeLessThan(before + 150);
  });

  it('that reads nothing is cut, and costs no more than it may', async () => {
    const mesh = await IdentityMesh.start(bench);
    const pid = mesh.control.process.pid!;
    const before = residentMiB(pid);
    // Enough for one revision to be more than all may have waiting; the kernel holds some MB for each besides.
    const crowd = await WatchCrowd.open(mesh.control.ready.api, 200);
    bench.onClose(() => crowd.close());
    crowd.stopReading();
    let most = before;
    for (let round = 0; round < 20; round++) {
      await mesh.apply(manifest(`${round}`.padEnd(900_000, 'x')));
      most = Math.max(most, residentMiB(pid));
    }
    const reader = await WatchCrowd.open(mesh.control.ready.api, 1);
    bench.onClose(() => reader.close());
    console.log(JSON.stringify({ residentMiB: { before, most, after: residentMiB(pid) }, answers: reader.answers }));
    // What may wait for them all, what one revision adds to it before they are cut, and the garbage of both.
    expect(most).toBeLessThan(before + 3 * (limits.watchUnsentBytesMax / 1024 / 1024));
  });
});
