import { Histogram, Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { bucketIndex } from '../../../src/telemetry/histogram.ts';
import { LoopDelay } from '../../../src/telemetry/loop-delay.ts';
import { parts } from '../../../src/telemetry/recorder.ts';
import { rowLayout, SeriesRecorder } from '../../../src/telemetry/series.ts';
import { continueTrace, RandomIds } from '../../../src/telemetry/trace-context.ts';

// Ratios of two things, with wide margins: what breaks them is an algorithm, not a busy machine. The two take turns in slices that are
// shorter than what the kernel gives a process at a time, and the best slice of each counts: some run without an interruption on any
// machine, and both on a processor as fast, or as shared, as the other's.

const slices = 300;
const sliceCalls = 1000;

/** ns a call. */
function sliceNs(run: (turn: number) => void): number {
  const startNs = process.hrtime.bigint();
  for (let turn = 0; turn < sliceCalls; turn++) run(turn);
  return Number(process.hrtime.bigint() - startNs) / sliceCalls;
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
const observe = (turn: number) => histogram.observe(labels, timeMs(turn) / 1000);

/** How many times an observation of prom-client costs what `run` does. */
function expectTimesCheaper(run: (turn: number) => void) {
  let ourNs = Number.POSITIVE_INFINITY;
  let promClientNs = Number.POSITIVE_INFINITY;
  for (let slice = 0; slice < slices; slice++) {
    ourNs = Math.min(ourNs, sliceNs(run));
    promClientNs = Math.min(promClientNs, sliceNs(observe));
  }
  return expect(promClientNs / ourNs, `${ourNs} against ${promClientNs} ns`);
}

describe('cost', () => {
  it('counts an observation at a twentieth of what prom-client asks, or less', () => {
    const cells = new Float64Array(new SharedArrayBuffer(rowLayout.cells * 8));
    expectTimesCheaper((turn) => {
      cells[bucketIndex(timeMs(turn))]! += 1;
    }).toBeGreaterThan(20);
  });

  it('records a request with all its parts, found by its labels, in less than one observation of prom-client', () => {
    const recorder = new SeriesRecorder();
    const partsMs = new Float64Array(parts.length);
    const routes = ['default/cart/0', 'default/cart/1', 'default/shop/0'];
    expectTimesCheaper((turn) => {
      for (let part = 0; part < parts.length; part++) partsMs[part] = timeMs(turn + part);
      const route = routes[turn % 3]!;
      recorder
        .series('outbound', 'shop.default', { name: 'cart.default' }, { route }, 200)
        .record(timeMs(turn), partsMs, false);
    }).toBeGreaterThan(1);
  });

  it('continues a trace for less than one observation of prom-client', () => {
    const ids = new RandomIds();
    expectTimesCheaper(() =>
      continueTrace('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', ids),
    ).toBeGreaterThan(1);
  });

  it('knows the wait for the loop at a tenth of an observation of prom-client, or less', () => {
    const loop = new LoopDelay({ nowMs: () => 0, idleMs: () => 0 });
    expectTimesCheaper((turn) => loop.currentLoopWaitMs(turn)).toBeGreaterThan(10);
  });
});
