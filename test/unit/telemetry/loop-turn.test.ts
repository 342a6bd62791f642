import { afterEach, describe, expect, it, vi } from 'vitest';
import { atTurnEnd, watchTurnEnds } from '../../../src/telemetry/loop-turn.ts';

const nextTurn = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

let stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops) stop();
  stops = [];
});
const watch = (seen: () => void) => void stops.push(watchTurnEnds(seen));

describe('the end of a turn', () => {
  it.each([false, true])(
    'runs what is due in the order of asking, once, behind this turn (watched: %s)',
    async (isWatched) => {
      const ran: string[] = [];
      if (isWatched) watch(() => {});
      atTurnEnd(() => ran.push('first'));
      atTurnEnd(() => ran.push('second'));
      process.nextTick(() => ran.push('tick'));
      await nextTurn();
      expect(ran).toEqual(['tick', 'first', 'second']);
      await nextTurn();
      expect(ran).toHaveLength(3);
    },
  );

  it('has what is asked for meanwhile in the next turn', async () => {
    const ran: string[] = [];
    atTurnEnd(() => {
      ran.push('outer');
      atTurnEnd(() => ran.push('inner'));
      process.nextTick(() => ran.push('between'));
    });
    await nextTurn();
    await nextTurn();
    expect(ran).toEqual(['outer', 'between', 'inner']);
  });

  it('is seen behind what was due, in turns with nothing due too, until it is watched no more', async () => {
    const ran: string[] = [];
    const seen = vi.fn(() => void ran.push('seen'));
    watch(seen);
    atTurnEnd(() => ran.push('due'));
    await nextTurn();
    expect(ran.slice(0, 2)).toEqual(['due', 'seen']);
    const before = seen.mock.calls.length;
    await nextTurn();
    expect(seen.mock.calls.length).toBeGreaterThan(before);
    const stop = stops.pop()!;
    const other = vi.fn();
    watch(other);
    stop();
    // Once more is nobody else's end.
    stop();
    await nextTurn();
    expect(other).toHaveBeenCalled();
    stops.pop()!();
    await nextTurn();
    const ended = seen.mock.calls.length;
    await nextTurn();
    expect(seen).toHaveBeenCalledTimes(ended);
  });

  it('lets the loop sleep, and wakes no process: a timer takes few turns', async () => {
    const seen = vi.fn();
    watch(seen);
    await new Promise((resolve) => setTimeout(resolve, 100));
    // A loop that cannot sleep takes tens of thousands.
    expect(seen.mock.calls.length).toBeLessThan(500);
  });

  it('keeps the rest for the next turn when one throws', async () => {
    const ran: string[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const caught = new Promise((resolve) => process.once('uncaughtException', resolve));
    try {
      atTurnEnd(() => {
        throw new Error('thrown');
      });
      atTurnEnd(() => ran.push('rest'));
      expect(await caught).toMatchObject({ message: 'thrown' });
      await nextTurn();
      expect(ran).toEqual(['rest']);
    } finally {
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });
});
