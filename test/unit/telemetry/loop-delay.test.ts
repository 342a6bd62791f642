import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setImmediate as nextCheck } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { LoopDelay, watchLoop } from '../../../src/telemetry/loop-delay.ts';

/** A loop whose time passes by hand. */
function makeLoop() {
  const time = { nowMs: 1_000, idleMs: 500 };
  const loop = new LoopDelay({ nowMs: () => time.nowMs, idleMs: () => time.idleMs });
  return {
    loop,
    work: (ms: number) => {
      time.nowMs += ms;
    },
    sleep: (ms: number) => {
      time.nowMs += ms;
      time.idleMs += ms;
    },
    wait: () => loop.currentLoopWaitMs(time.nowMs),
  };
}

describe('LoopDelay', () => {
  it('answers no negative time, should a clock go back', () => {
    const { loop, wait } = makeLoop();
    expect(wait()).toBe(0);
    expect(loop.currentLoopWaitMs(0)).toBe(0);
  });

  it('bounds what came during a long turn by that turn, as an estimate', () => {
    const { loop, work, sleep, wait } = makeLoop();
    loop.turnEnded();
    sleep(100);
    work(20);
    loop.turnEnded();
    work(0.1);
    expect(wait()).toBeCloseTo(20.1);
    expect(loop.isEstimate).toBe(true);
    work(0.5);
    expect(wait()).toBeCloseTo(20.6);
  });

  it('bounds what came during long work between two turns: timers, check callbacks', () => {
    const { loop, work, wait } = makeLoop();
    loop.turnEnded();
    work(20);
    expect(wait()).toBeCloseTo(20);
    expect(loop.isEstimate).toBe(true);
  });

  it('holds no long turn against what came after a sleep', () => {
    const { loop, work, sleep, wait } = makeLoop();
    work(20);
    loop.turnEnded();
    sleep(0.01);
    expect(wait()).toBe(0);
    expect(loop.isEstimate).toBe(false);
  });

  it('bounds what came with other work after a sleep by that work, as an estimate', () => {
    const { loop, work, sleep, wait } = makeLoop();
    work(20);
    loop.turnEnded();
    sleep(50);
    work(5);
    expect(wait()).toBeCloseTo(5);
    expect(loop.isEstimate).toBe(true);
    loop.turnEnded();
    sleep(50);
    work(0.9);
    expect(wait()).toBe(0);
    expect(loop.isEstimate).toBe(false);
  });

  it('holds short turns against nobody', () => {
    const { loop, work, wait } = makeLoop();
    loop.turnEnded();
    work(0.5);
    loop.turnEnded();
    work(0.4);
    expect(wait()).toBe(0);
    expect(loop.isEstimate).toBe(false);
  });

  it('measures what a request waited behind others of its turn', () => {
    const { loop, work, sleep, wait } = makeLoop();
    loop.turnEnded();
    sleep(5);
    expect(wait()).toBe(0);
    work(3);
    expect(wait()).toBeCloseTo(3);
    expect(loop.isEstimate).toBe(false);
    loop.turnEnded();
    sleep(1);
    expect(wait()).toBe(0);
  });

  it('reads the longest turn of the last two windows, and the share of time without sleep', () => {
    const { loop, work, sleep } = makeLoop();
    work(30);
    sleep(70);
    loop.turnEnded();
    expect(loop.read()).toEqual({ longestTurnMs: 30, utilization: expect.closeTo(0.3) });
    sleep(10_000);
    loop.turnEnded();
    expect(loop.read().longestTurnMs).toBe(30);
    sleep(10_000);
    expect(loop.read().longestTurnMs).toBe(30);
    sleep(10_000);
    loop.turnEnded();
    expect(loop.read()).toEqual({ longestTurnMs: 0, utilization: expect.closeTo(0) });
  });
});

describe('watchLoop', () => {
  it('sees a blocked turn, does not keep the loop from sleeping, and stops', async () => {
    const { loop, stop } = watchLoop();
    let turns = 0;
    const counted = loop.turnEnded.bind(loop);
    loop.turnEnded = () => {
      turns++;
      counted();
    };
    await nextCheck();
    const untilMs = performance.now() + 20;
    while (performance.now() < untilMs);
    await nextCheck();
    expect(loop.read().longestTurnMs).toBeGreaterThanOrEqual(19);
    // The test runner has bursts of turns of its own, so the quietest of several waits counts: were the hook to keep the loop
    // spinning, each would have thousands.
    let fewestTurns = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 8; i++) {
      turns = 0;
      await new Promise((resolve) => setTimeout(resolve, 20));
      fewestTurns = Math.min(fewestTurns, turns);
    }
    expect(fewestTurns).toBeLessThan(20);
    stop();
    turns = 0;
    await nextCheck();
    await nextCheck();
    expect(turns).toBe(0);
  });

  it('sees what bytes waited that came as the loop was blocked, and nothing of a wait for bytes', async () => {
    const { loop, stop } = watchLoop();
    const waits: { waitMs: number; isEstimate: boolean }[] = [];
    const server = createServer((socket) => {
      socket.on('data', () => {
        const waitMs = loop.currentLoopWaitMs(performance.now());
        waits.push({ waitMs, isEstimate: loop.isEstimate });
        socket.write('x');
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(client, 'connect');
    const callAfterSleepAndBlock = async (sleepMs: number, blockMs: number) => {
      await new Promise((resolve) => setTimeout(resolve, sleepMs));
      client.write('x');
      const untilMs = performance.now() + blockMs;
      while (performance.now() < untilMs);
      await once(client, 'data');
    };
    await callAfterSleepAndBlock(0, 0);
    waits.length = 0;
    await callAfterSleepAndBlock(30, 20);
    expect(waits).toEqual([{ waitMs: expect.any(Number), isEstimate: true }]);
    expect(waits[0]!.waitMs).toBeGreaterThanOrEqual(19);
    await callAfterSleepAndBlock(30, 0);
    // Not the 30 ms, nor the 20 ms of long ago; a busy machine may add some of its own.
    expect(waits[1]!.waitMs).toBeLessThan(15);
    client.destroy();
    server.close();
    stop();
  });
});
