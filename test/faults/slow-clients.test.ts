/** A thousand clients that hang, again and again, beside healthy ones at a modest rate. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Bench } from '../e2e/harness.ts';
import {
  compareWindows,
  expectCutAsStated,
  healthyWindow,
  heldBy,
  lowerQuartileOf,
  SlowClients,
  slowCounts,
  standStill,
  startSlowRoom,
  untilAllCut,
  untilNobodyHangs,
} from '../e2e/slow-clients.ts';

/** How many times the p99 without them. */
const p99Max = 1.2;
/** No multiple of it has the period of one of the sidecar's timers, so that requests do not meet the same of its turns again and again. */
const perSecond = 990;
const windowMs = 2_000;

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
        rounds: 15,
        roundsMax: 30,
        windowMs,
        perSecond,
      });
      const [alone, beside] = [lowerQuartileOf(windows.alone), lowerQuartileOf(windows.beside)];
      const heldBefore = await heldBy(room);
      await slow.open(sidecar.ready[listener], 'cart', slowCounts);
      const cutOff = await untilAllCut(room, slow);
      await slow.close();
      await untilNobodyHangs(room, listener);
      const heldAfter = await heldBy(room);
      console.log(
        JSON.stringify({ listener, lowerQuartileMs: { alone, beside }, ...windows, ...cutOff, heldBefore, heldAfter }),
      );

      await expectCutAsStated(cutOff, sidecar, listener);
      expect(
        windows.alone.length,
        'pairs of windows in which the machine was not busy with something else',
      ).toBeGreaterThan(9);
      expect(beside).toBeLessThan(alone * p99Max);
      expect(windows.residentMiB).toBeLessThan(windows.startMiB + 200);
      expect(heldAfter).toBeLessThan(heldBefore + 30);
    },
  );

  it('would be noticed if they moved it', async () => {
    const room = await startSlowRoom(bench);
    const address = room.sidecar.ready.outbound;
    const windows: Record<'alone' | 'beside', number[]> = { alone: [], beside: [] };
    await healthyWindow(address, perSecond, windowMs);
    for (let round = 0; round < 8; round++) {
      windows.alone.push((await healthyWindow(address, perSecond, windowMs)).p99Ms);
      const moveOn = standStill(room, 4, 100);
      windows.beside.push((await healthyWindow(address, perSecond, windowMs)).p99Ms);
      moveOn();
    }
    console.log(JSON.stringify({ planted: '4 ms, ten times a second', ...windows }));
    expect(lowerQuartileOf(windows.beside)).toBeGreaterThan(lowerQuartileOf(windows.alone) * p99Max);
  });
});
