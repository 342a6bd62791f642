import { Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { bucketIndex } from '../../../src/telemetry/histogram.ts';
import { LoopDelay } from '../../../src/telemetry/loop-delay.ts';
import { parts } from '../../../src/telemetry/recorder.ts';
import { rowLayout, SeriesRecorder } from '../../../src/telemetry/series.ts';
import { continueTrace, RandomIds } from '../../../src/telemetry/trace-context.ts';

// Ratios of two things measured in turn in one run, with wide margins: what breaks them is an algorithm, not a busy machine.

/** ns a call: the best of several rounds, so that one interruption does not count. */
function costNs(run: (turn: number) => void, calls = 50_000): number {
  let bestNs = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 8; round++) {
    const startNs = process.hrtime.bigint();
    for (let turn = 0; turn < calls; turn++) run(turn);
    bestNs = Math.min(bestNs, Number(process.hrtime.bigint() - startNs) / calls);
  }
  return bestNs;
}

const times = Float64Array.from({ length: 1024 }, (_, i) => 0.02 * 1.01 ** ((i * 769) % 1024));
const timeMs = (turn: number) => times[turn & 1023]!;

const histogram = new Histogram({
  name: 'reference',
  help: 'What prom-client costs.',
  labelNames: ['direction', 'source', 'destination', 'route', 'status_class'],
  registers: [new Registry()],
});
const labels = { direction: 'outbound', source: 's', destination: 'd', route: 'r', status_class: '2xx' };
const promClientNs = costNs((turn) => histogram.observe(labels, timeMs(turn) / 1000), 10_000);

describe('cost', () => {
  it('counts an observation at a twentieth of what prom-client asks, or less', () => {
    const cells = new Float64Array(new SharedArrayBuffer(rowLayout.cells * 8));
    const ourNs = costNs((turn) => {
      cells[bucketIndex(timeMs(turn))]! += 1;
    });
    expect(promClientNs / ourNs, `${ourNs} against ${promClientNs} ns`).toBeGreaterThan(20);
  });

  it('records a request with all its parts, found by its labels, in less than one observation of prom-client', () => {
    const recorder = new SeriesRecorder();
    const partsMs = new Float64Array(parts.length);
    const routes = ['default/cart/0', 'default/cart/1', 'default/shop/0'];
    const ourNs = costNs((turn) => {
      for (let part = 0; part < parts.length; part++) partsMs[part] = timeMs(turn + part);
      const route = routes[turn % 3]!;
      recorder.series('outbound', 'shop.default', 'cart.default', route, 200).record(timeMs(turn), partsMs, false);
    });
    expect(promClientNs / ourNs, `${ourNs} against ${promClientNs} ns`).toBeGreaterThan(1);
  });

  it('continues a trace for less than one observation of prom-client', () => {
    let random = 0.5;
    const next = () => {
      random = (random * 16807.3) % 1;
      return random;
    };
    const ids = new RandomIds(next);
    const ourNs = costNs(() => continueTrace('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', ids));
    expect(promClientNs / ourNs, `${ourNs} against ${promClientNs} ns`).toBeGreaterThan(1);
  });

  it('knows the wait for the loop at a tenth of an observation of prom-client, or less', () => {
    const loop = new LoopDelay({ nowMs: () => 0, idleMs: () => 0 });
    const ourNs = costNs((turn) => loop.currentLoopWaitMs(turn));
    expect(promClientNs / ourNs, `${ourNs} against ${promClientNs} ns`).toBeGreaterThan(10);
  });
});
