import { describe, expect, it } from 'vitest';
import { meshLatencyOf } from '../../../src/control/mesh-latency.ts';
import { StatWindow } from '../../../src/control/stat-window.ts';
import { limits } from '../../../src/model/limits.ts';
import type { LatencyQuestion, SeriesDelta } from '../../../src/model/report.ts';
import { startReporter } from '../../../src/sidecar/reporter.ts';
import { type Part, partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { SeriesRecorder } from '../../../src/telemetry/series.ts';
import { decodeSidecarFrame, encodeSidecarFrame } from '../../../src/wire/sidecar-frame.ts';
import { ManualClock } from './memory-store.ts';

/** Event loops of sidecars that report over the wire, all to one window. */
class Mesh {
  readonly clock = new ManualClock();
  readonly window = new StatWindow(() => this.clock.nowMs());
  readonly #loops = new Map<string, { readonly recorder: SeriesRecorder; readonly report: () => void }>();

  loop(name: string): SeriesRecorder {
    const known = this.#loops.get(name);
    if (known !== undefined) return known.recorder;
    const recorder = new SeriesRecorder();
    const { report } = startReporter({
      tables: () => [recorder.table()],
      send: (series) => this.#receive(encodeSidecarFrame({ tag: 'report', parts, series })),
      nowMs: () => this.clock.nowMs(),
      every: () => () => {},
    });
    this.#loops.set(name, { recorder, report });
    return recorder;
  }

  report(): void {
    for (const { report } of this.#loops.values()) report();
  }

  ask(question: Partial<LatencyQuestion> & { readonly service: string }) {
    return meshLatencyOf(this.window, { route: null, isByRoute: false, depth: limits.latencyDepthMax, ...question });
  }

  #receive(bytes: Uint8Array): boolean {
    const frame = decodeSidecarFrame(bytes);
    if (frame.tag !== 'report') throw new Error('a report stays a report');
    this.window.add(frame.series, frame.parts);
    return true;
  }
}

interface Planted {
  readonly direction?: SeriesDelta['direction'];
  readonly route?: string;
  readonly status?: number;
  readonly partsMs: Readonly<Partial<Record<Part, number>>>;
}

function record(recorder: SeriesRecorder, source: string, destination: string, request: Planted): void {
  const partsMs = new Float64Array(parts.length);
  for (const [part, ms] of Object.entries(request.partsMs)) partsMs[partIndex[part as Part]] = ms;
  const totalMs = partsMs.reduce((sum, ms) => sum + ms, 0);
  const { direction = 'outbound', route = '', status = 200 } = request;
  recorder.series(direction, source, { name: destination }, { route }, status).record(totalMs, partsMs, false);
}

const hopsOf = ({ hops }: ReturnType<Mesh['ask']>) =>
  hops.map(({ depth, direction, source, destination }) => `${depth} ${direction} ${source} > ${destination}`);

describe('latency over the mesh', () => {
  it('is the same from many loops, sidecars, reports and slices as from one', () => {
    const [many, one] = [new Mesh(), new Mesh()];
    for (let i = 0; i < 400; i++) {
      const partsMs = { wait: 0.1 * 1.02 ** i, own: 0.01 * (i % 7), ...(i % 50 === 0 ? { connect: 500 } : {}) };
      const request = { partsMs, status: [200, 404, 503][i % 3]! };
      record(many.loop(`loop ${i % 5}`), 'web.default', 'cart.default', request);
      record(one.loop('one'), 'web.default', 'cart.default', request);
      if (i % 40 === 39) many.report();
      if (i % 100 === 99) many.clock.advance(5_000);
    }
    many.report();
    one.clock.advance(20_000);
    one.report();
    const [seen, expected] = [many.ask({ service: 'cart' }).hops[0]!, one.ask({ service: 'cart' }).hops[0]!];
    expect(seen.requests).toBe(400);
    expect(seen.at.map(({ requests, percentileMs }) => [requests, percentileMs])).toEqual(
      expected.at.map(({ requests, percentileMs }) => [requests, percentileMs]),
    );
    // Each loop rounds its own sums to microseconds: half of one at most, of each of five loops.
    for (const [index, at] of seen.at.entries()) {
      expect(Math.abs(at.totalMs - expected.at[index]!.totalMs)).toBeLessThan(0.03);
      expect(Object.values(at.partsMs).reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(at.totalMs, 2);
    }
    expect(seen.at[2]!.partsMs.connect).toBeGreaterThan(100);
    expect(seen.at[0]!.partsMs.connect).toBeUndefined();
  });

  it('follows the calls: those to the service, its own, and those behind them, each hop once, in a circle too', () => {
    const mesh = new Mesh();
    const call = (source: string, destination: string) => {
      for (const direction of ['outbound', 'inbound'] as const)
        record(mesh.loop(source), source, destination, { direction, partsMs: { wait: 1 } });
    };
    call('shop.default', 'web.default');
    call('web.default', 'cart.default');
    call('cart.default', 'stock.default');
    call('stock.default', 'web.default');
    call('other.default', 'elsewhere.default');
    // Who is called by nobody that is known must not join everybody who is called by somebody unknown.
    call('cart.default', 'unknown');
    call('unknown', 'elsewhere.default');
    mesh.report();
    const both = (hop: string) => [hop.replace(' ', ' outbound '), hop.replace(' ', ' inbound ')];
    expect(hopsOf(mesh.ask({ service: 'web' }))).toEqual([
      '0 outbound shop.default > web.default',
      '0 outbound stock.default > web.default',
      '0 inbound shop.default > web.default',
      '0 inbound stock.default > web.default',
      ...both('1 web.default > cart.default'),
      ...both('2 cart.default > stock.default'),
      ...both('2 cart.default > unknown'),
    ]);
    expect(hopsOf(mesh.ask({ service: 'web.default', depth: 1 }))).toHaveLength(6);
    expect(hopsOf(mesh.ask({ service: 'cart', depth: 0 }))).toEqual(both('0 web.default > cart.default'));
    expect(mesh.ask({ service: 'we' }).hops).toEqual([]);
  });

  it('takes routes together, apart, or one of them', () => {
    const mesh = new Mesh();
    for (const [route, wait] of [
      ['default/cart/0', 1],
      ['default/cart/1', 50],
    ] as const)
      record(mesh.loop('web'), 'web.default', 'cart.default', { route, partsMs: { wait } });
    mesh.report();
    const shown = (question: Partial<LatencyQuestion>) =>
      mesh
        .ask({ service: 'cart', ...question })
        .hops.map(({ route, requests, at }) => [route, requests, at[2]!.totalMs]);
    expect(shown({})).toEqual([[null, 2, 50]]);
    expect(shown({ isByRoute: true })).toEqual([
      ['default/cart/0', 1, 1],
      ['default/cart/1', 1, 50],
    ]);
    expect(shown({ route: 'default/cart/0' })).toEqual([['default/cart/0', 1, 1]]);
  });

  it('has an answer of bounded length, and says what is left out', () => {
    const mesh = new Mesh();
    for (let i = 0; i < limits.latencyHopsMax + 20; i++)
      record(mesh.loop('web'), 'web.default', `s${i}.default`, { partsMs: { wait: 1 } });
    for (let i = 0; i < 4; i++) mesh.report();
    const { hops, hopsLeftOut } = mesh.ask({ service: 'web' });
    expect([hops.length, hopsLeftOut]).toEqual([limits.latencyHopsMax, 20]);
  });
});
