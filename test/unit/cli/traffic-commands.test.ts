import { describe, expect, it } from 'vitest';
import type { OpenScreen, Screen } from '../../../src/cli/screen.ts';
import type { MeshHop, MeshLatency, MeshStats, ReportScope, SeriesStats } from '../../../src/model/report.ts';
import { weft } from './captured-terminal.ts';
import { fakeControlPlane } from './fake-control-plane.ts';

const scope: ReportScope = {
  controlPlane: '127.0.0.1:7070',
  controlPlanes: 1,
  sidecars: 2,
  sidecarsElsewhere: 0,
  requestsWithoutDetail: 0,
};

const seriesOf = (changes: Partial<SeriesStats> = {}): SeriesStats => ({
  direction: 'outbound',
  source: 'web.default',
  destination: 'cart.default',
  route: 'default/cart/0',
  requests: 300,
  failures: 0,
  failed: 3,
  attempts: 330,
  attemptsFailed: 33,
  byStatus: { '2xx': 297, '5xx': 3 },
  p50Ms: 1,
  p95Ms: 2,
  p99Ms: 3,
  parts: { wait: 0.75, own: 0.25 },
  ...changes,
});
const statsOf = (...series: SeriesStats[]): MeshStats => ({ windowMs: 15_000, scope, series });

const hopOf = (changes: Partial<MeshHop> = {}): MeshHop => ({
  depth: 0,
  direction: 'outbound',
  source: 'web.default',
  destination: 'cart.default',
  route: null,
  requests: 150,
  at: [50, 95, 99].map((percentile) => ({
    ...{ percentile, requests: 3, loopEstimates: percentile === 99 ? 1 : 0 },
    ...{ totalMs: percentile, partsMs: { wait: percentile - 1, own: 1 }, far: null },
    ...{ percentileMs: percentile + 0.5, fromMs: percentile - 9, toMs: percentile === 99 ? null : percentile + 1 },
  })),
  ...changes,
});
const latencyOf = (...hops: MeshHop[]): MeshLatency => ({ windowMs: 58_300, scope, hops, hopsLeftOut: 0 });

const cellsOf = (text: string) => text.split('\n').map((line) => line.trim().split(/ {2,}/).join('|'));

describe('what cannot be asked', () => {
  it.each([
    [['latency', 'cart', '--depth', '17'], /0 to 16/],
    [['latency', 'cart', '--admin', '127.0.0.1:1', '--routes'], /for the control plane/],
    [['top', '--sort', 'x'], /rate, success/],
    [['top', '--every', '1ms'], /500ms to 60s/],
    [['top', '--window', '2m'], /5s to 60s/],
  ])('%j is told with code 2', async (args, reason) => {
    const { code, err } = await weft(args);
    expect([code, err]).toEqual([2, expect.stringMatching(reason)]);
  });
});

describe('weft latency', () => {
  it('asks the control plane, and shows the hops along the calls with the bounds of what it averaged', async () => {
    const below = hopOf({ depth: 1, direction: 'inbound', source: 'cart.default', destination: 'stock.default' });
    const { url, asked } = await fakeControlPlane(() => ({ status: 200, body: latencyOf(hopOf(), below) }));
    const { code, out, err } = await weft(['latency', 'cart', '--server', url]);
    expect([code, err, asked.map((each) => each.url)]).toEqual([0, '', ['/v1/latency?service=cart&depth=16']]);
    const rows = [
      'AT|WAIT|OWN|TOTAL|OF|BETWEEN',
      'p50|50.5|49.0|1.00|50.0|3|41.0 to 51.0',
      'p95|95.5|94.0|1.00|95.0|3|86.0 to 96.0',
      'p99|99.5|98.0|1.00|99.0|3 ~|90.0 to any',
    ];
    expect(cellsOf(out)).toEqual([
      'last 58 s',
      '',
      '== calls to cart ==',
      '',
      'outbound|web.default -> cart.default|(150 requests)',
      ...rows,
      '',
      '== calls that cart makes ==',
      '',
      'inbound|cart.default -> stock.default|(150 requests)',
      ...rows,
    ]);
  });

  it('asks for what it was told, and says what is not in the answer', async () => {
    const note = { ...scope, sidecarsElsewhere: 3, controlPlanes: 2, requestsWithoutDetail: 7 };
    const answer = { ...latencyOf(hopOf({ route: 'default/cart/1' })), scope: note, hopsLeftOut: 1 };
    const { url, asked } = await fakeControlPlane(() => ({ status: 200, body: answer }));
    const flags = ['--routes', '--route', 'default/cart/1', '--depth', '0', '--server', url];
    const { out } = await weft(['latency', 'cart', ...flags]);
    expect(asked[0]!.url).toBe('/v1/latency?service=cart&depth=0&route=default%2Fcart%2F1&byRoute=1');
    expect(out).toContain('web.default -> cart.default  route default/cart/1  (150 requests)');
    expect(out).toContain('(1 hop more');
    expect(out).toContain('note: 3 sidecars of the mesh report to other control planes than 127.0.0.1:7070');
    expect(out).toContain('note: 7 requests are counted, but not in percentiles');
    const json = await weft(['latency', 'cart', '-o', 'json', '--server', url]);
    expect(JSON.parse(json.out)).toEqual(answer);
  });

  it('says that there were no requests, or no such service', async () => {
    const { url } = await fakeControlPlane(({ url: path }) => ({
      status: 200,
      body: path.startsWith('/v1/latency') ? latencyOf() : { items: [], revision: 1 },
    }));
    const { code, err } = await weft(['latency', 'cart', '--server', url]);
    expect([code, err]).toEqual([1, 'no requests to or from cart in the last 58 s; the mesh has no services yet']);
  });

  it('names the routes that had requests where the one that was asked for had none', async () => {
    const routes = [hopOf({ route: 'default/cart/1' }), hopOf({ route: 'default/cart/0' }), hopOf({ route: '' })];
    const { url } = await fakeControlPlane(({ url: path }) => ({
      status: 200,
      body: path.includes('route=nope') ? latencyOf() : latencyOf(...routes),
    }));
    const { code, err } = await weft(['latency', 'cart', '--route', 'nope', '--server', url]);
    const used = '(none), default/cart/0, default/cart/1';
    expect([code, err]).toEqual([1, `no requests of route nope in the last 58 s, but of ${used}`]);
  });

  it('does not ask a sidecar instead of a control plane that was named', async () => {
    const { code, err } = await weft(['latency', 'cart', '--server', 'http://127.0.0.1:1']);
    expect([code, err]).toEqual([1, expect.stringMatching(/No control plane answers at http:\/\/127\.0\.0\.1:1/)]);
  });
});

describe('weft stat', () => {
  it('shows what callers got beside what the attempts gave, and nothing of attempts that an older control plane does not count', async () => {
    const { attempts, attemptsFailed, ...older } = seriesOf({ route: 'old' });
    const body = statsOf(
      seriesOf({ requests: 300, failed: 3, attempts: 330, attemptsFailed: 33 }),
      older as SeriesStats,
    );
    const { url } = await fakeControlPlane(() => ({ status: 200, body }));
    const lines = cellsOf((await weft(['stat', '--server', url])).out);
    expect(lines[1]).toBe('HOP|FROM|TO|ROUTE|SUCCESS|REQ/S|P50|P95|P99|ACTUAL|TRIES/S');
    expect(lines[2]).toMatch(/\|99\.00%\|20\.0\|.*\|90\.00%\|22\.0$/);
    expect(lines[3]).toMatch(/\|old\|99\.00%\|20\.0\|.*\|-\|-$/);
    expect([attempts, attemptsFailed]).toEqual([330, 33]);
  });
});

describe('weft top', () => {
  const busy = seriesOf({ requests: 300, route: 'busy', p99Ms: 3 });
  const slow = seriesOf({
    requests: 30,
    route: 'slow',
    p99Ms: 900,
    failed: 30,
    direction: 'inbound',
    parts: { queue: 9, own: 1 },
  });

  it('prints one frame without a terminal, and with --once', async () => {
    const { url, asked } = await fakeControlPlane(() => ({ status: 200, body: statsOf(slow, busy) }));
    const { code, out } = await weft(['top', 'cart', '--server', url]);
    expect([code, asked[0]!.url]).toEqual([0, '/v1/stats?service=cart&seconds=15']);
    expect(cellsOf(out)).toEqual([
      'last 15 s|2 hops|20.0 calls/s',
      'FROM|TO|ROUTE|HOP|SUCCESS|REQ/S|P50|P95|P99|MOSTLY',
      'web.default|cart.default|busy|outbound|99.00%|20.0|1.00ms|2.00ms|3.00ms|wait 75%',
      'web.default|cart.default|slow|inbound|0.00%|2.0|1.00ms|2.00ms|900ms|queue 90%',
    ]);
    const screen: Screen = {
      open: () => {
        throw new Error('--once takes no screen');
      },
    };
    const once = await weft(['top', '--once', '--sort', 'p99', '--window', '60s', '--server', url], '', false, screen);
    expect(cellsOf(once.out).map((line) => line.split('|')[2])).toEqual(['20.0 calls/s', 'ROUTE', 'slow', 'busy']);
    expect(asked[1]!.url).toBe('/v1/stats?seconds=60');
  });

  it('is JSON of one frame in the same order, and says when there is nothing', async () => {
    let body = statsOf(slow, busy);
    const { url } = await fakeControlPlane(() => ({ status: 200, body }));
    const { out } = await weft(['top', '-o', 'json', '--server', url]);
    expect(JSON.parse(out)).toEqual(statsOf(busy, slow));
    body = statsOf();
    expect((await weft(['top', '--server', url])).out).toBe('last 15 s  0 hops  0.0 calls/s: no requests');
  });

  it('draws again and again until q, sorts by keys, survives a control plane that fails, and leaves the terminal', async () => {
    let asks = 0;
    const { url } = await fakeControlPlane(() => {
      asks++;
      if (asks === 2) return { status: 503, body: { status: 503, title: 'not now', detail: 'The store is away.' } };
      return {
        status: 200,
        body: statsOf(
          slow,
          busy,
          ...Array.from({ length: 50 }, (_, i) => seriesOf({ requests: 1, failed: 0, route: `r${i}` })),
        ),
      };
    });
    const frames: (readonly string[])[] = [];
    let isClosed = false;
    const screen: Screen = {
      open: (onKey): OpenScreen => ({
        rows: 10,
        columns: 80,
        draw: (lines) => {
          frames.push(lines);
          if (frames.length === 1) queueMicrotask(() => onKey('xs'));
          const isBack = asks >= 3 && frames.at(-1)!.at(-1)!.includes('sorted by success');
          if (isBack) queueMicrotask(() => onKey('q'));
        },
        close: () => {
          isClosed = true;
        },
      }),
    };
    const { code, out, err } = await weft(['top', '--every', '500ms', '--server', url], '', false, screen);
    expect([code, out, err, isClosed]).toEqual([0, '', '', true]);
    expect(frames.every((lines) => lines.length <= 10)).toBe(true);
    expect(frames[0]!.at(-1)).toContain('sorted by rate');
    expect(frames[0]![2]).toContain('busy');
    expect(frames[1]!.at(-1)).toContain('sorted by success');
    expect(frames[1]![2]).toContain('slow');
    expect(frames.some((lines) => lines.at(-1) === 'The store is away.')).toBe(true);
    expect(asks).toBe(3);
  });
});
