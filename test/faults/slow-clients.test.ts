/** A thousand clients that hang, again and again, beside healthy ones at a modest rate. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench } from '../e2e/harness.ts';
import {
  compareWindows,
  expectCutAsStated,
  heldBy,
  medianOf,
  SlowClients,
  slowCounts,
  startSlowRoom,
  untilAllCut,
  untilNobodyHangs,
} from '../e2e/slow-clients.ts';

/** How many times the p99 without them. */
const p99Max = 1.2;

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

describe('a thousand slow clients', () => {
  it.each(['inbound', 'outbound'] as const)(
    'on the %s listener hardly move the p99 of others, and are cut',
    async (listener) => {
      const room = await startSlowRoom(bench);
      const { sidecar } = room;
      const slow = new SlowClients(bench);
      const windows = await compareWindows(room, slow, listener, {
        rounds: 11,
        roundsMax: 30,
        windowMs: 5_000,
        perSecond: 200,
      });
      const [alone, beside] = [medianOf(windows.alone), medianOf(windows.beside)];
      const heldBefore = await heldBy(room);
      await slow.open(sidecar.ready[listener], 'cart', slowCounts);
      const cutOff = await untilAllCut(room, slow);
      await slow.close();
      await untilNobodyHangs(room, listener);
      const heldAfter = await heldBy(room);
      console.log(
        JSON.stringify({ listener, medianMs: { alone, beside }, ...windows, ...cutOff, heldBefore, heldAfter }),
      );

      await expectCutAsStated(cutOff, sidecar, listener);
      expect(
        windows.alone.length,
        'pairs of windows in which the machine was not busy with something else',
      ).toBeGreaterThan(4);
      expect(beside).toBeLessThan(alone * p99Max);
      expect(windows.residentMiB).toBeLessThan(windows.startMiB + 200);
      expect(heldAfter).toBeLessThan(heldBefore + 30);
    },
  );
});
