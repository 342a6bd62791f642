import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { adviceFor } from '../../../src/cli/failure-advice.ts';
import { verdictOf } from '../../../src/cli/verdict.ts';
import { formatWaterfall } from '../../../src/cli/waterfall.ts';
import type { RecentRequest } from '../../../src/model/recent-request.ts';
import { type FailureCode, failures } from '../../../src/proxy/failure.ts';
import { weft } from './captured-terminal.ts';
import { fakeControlPlane } from './fake-control-plane.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';

function recent(changes: Partial<RecentRequest> = {}): RecentRequest {
  return {
    traceId,
    spanId: '00f067aa0ba902b7',
    time: '2026-01-02T03:04:05.006Z',
    direction: 'outbound',
    source: 'web.default',
    destination: 'cart.default',
    route: '',
    called: 'cart.default',
    revision: 7,
    endpoint: '127.0.0.1:9001',
    method: 'GET',
    path: '/items',
    status: 200,
    attempts: 1,
    answerBytes: 12,
    isLoopEstimate: false,
    totalMs: 10,
    partsMs: { decide: 1, wait: 7, network: 1.5, own: 0.5 },
    far: { totalMs: 7, partsMs: { wait: 6.5, own: 0.5 } },
    timeoutsMs: { request: 2_000, perTry: 0, idle: 60_000 },
    ...changes,
  };
}

const answerWith = (...requests: RecentRequest[]) => ({
  status: 200,
  body: { recorded: requests.length, keptOneIn: 1, requests, loopsMissing: 0 },
});
/** Where somebody listened just now. */
async function closedAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return `127.0.0.1:${port}`;
}
const adminOf = (url: string) => ['--admin', url.slice('http://'.length)];

describe('what is wrong with a command line or its sidecar', () => {
  it.each([
    [['why', 'x'], /32 hexadecimal digits/],
    [['trace', traceId.toUpperCase()], /32 hexadecimal digits/],
    [['latency'], /service/],
    [['tap', '--limit', '0'], /1 to 1000000/],
    [['tap', '--slower-than', 'long'], /duration/],
    [['why', traceId, '--admin', '15000'], /HOST:PORT/],
  ])('%j is told with code 2', async (args, reason) => {
    const { code, err } = await weft(args);
    expect([code, err]).toEqual([2, expect.stringMatching(reason)]);
  });

  it('is told where nobody answers, somebody else does, or the sidecar says no', async () => {
    const gone = { status: 404, body: { error: 'not-found', message: 'No request is kept here.' } };
    const { url: none } = await fakeControlPlane(() => gone);
    expect(await weft(['why', traceId, ...adminOf(none)])).toMatchObject({ code: 1, err: 'No request is kept here.' });
    const { url: other } = await fakeControlPlane(() => ({ status: 200, body: '<html>' }));
    expect((await weft(['trace', traceId, ...adminOf(other)])).err).toMatch(/is --admin right/);
    const { code, err } = await weft(['latency', 'cart', '--admin', await closedAddress()]);
    expect([code, err]).toEqual([1, expect.stringMatching(/ECONNREFUSED.*--admin HOST:PORT/)]);
  });
});

describe('weft why', () => {
  it('says the cause, the attempts, the limits and what to change', async () => {
    const failed = recent({ status: 504, failure: 'request-timeout', detail: 'The answer was late.', attempts: 2 });
    const dry = { failure: null, detail: '', location: '', decision: null, stale: null };
    const { url, asked } = await fakeControlPlane((each) =>
      each.url.startsWith('/decision') ? { status: 200, body: dry } : answerWith(failed),
    );
    const { code, out } = await weft(['why', `00-${traceId}-00f067aa0ba902b7-01`, ...adminOf(url)]);
    // Of its decision nothing was written down, so it is asked once more.
    const again = '/decision?method=GET&host=cart.default&path=%2Fitems';
    expect([code, asked.map((each) => each.url)]).toEqual([0, [`/requests/${traceId}`, again]]);
    expect(out.split('\n').slice(0, 4)).toEqual([
      'It failed after 10.0 ms with 504 request-timeout: The request took longer than its timeout (The answer was late).',
      '  attempts  2 of at most 3, the last at 127.0.0.1:9001',
      '  limits    timeouts.request 2000 ms, timeouts.backendRequest none, timeouts.idle 60000 ms',
      `  change    ${adviceFor('request-timeout')}`,
    ]);
  });

  it('tells the far sidecar, the app and a slow part from one another', () => {
    const far = verdictOf(recent({ status: 503, farFailure: 'no-endpoint' }));
    expect(far.cause).toContain('The sidecar of cart.default at 127.0.0.1:9001 answered 503 no-endpoint');
    expect(far.change).toContain(`weft why ${traceId}`);
    expect(verdictOf(recent({ status: 500 })).cause).toContain('The app of cart.default');
    expect(verdictOf(recent()).cause).toBe(
      'It did not fail: 127.0.0.1:9001 answered 200 after 10.0 ms, of which 7.00 ms were wait.',
    );
  });

  it('has an advice for every failure, and a word for one that it does not know', () => {
    for (const code of Object.keys(failures) as FailureCode[]) {
      const { cause, change } = verdictOf(recent({ failure: code, status: failures[code].status, attempts: 0 }));
      expect(cause).toContain(code);
      expect(change.length, code).toBeGreaterThan(10);
    }
    expect(verdictOf(recent({ failure: 'constructor' })).cause).toContain('a newer sidecar');
  });
});

describe('weft trace', () => {
  it('draws the parts where they lie, the far hop within the wait, and nothing that steers a terminal', async () => {
    const { url } = await fakeControlPlane(() => answerWith(recent({ path: '/a\u001b[2J', isLoopEstimate: true })));
    const { out } = await weft(['trace', traceId, ...adminOf(url)]);
    expect(out).not.toContain('\u001b');
    const drawn = out.split('\n').map((line) => /^ {2}( *[a-z ~]+?) +([# ]*#)? +([0-9.]+) ms$/.exec(line)?.slice(1));
    const bars = drawn.filter((each) => each !== undefined).map(([name, , ms]) => `${name!.trim()} ${ms}`);
    expect(bars).toEqual([
      'decide 1.00',
      'wait 7.00',
      'far wait 6.50',
      'far own 0.50',
      'network 1.50',
      'own 0.50',
      'total 10.0',
    ]);
    const barOf = (name: string) => out.split('\n').find((line) => line.trim().startsWith(name))!;
    expect(barOf('wait').indexOf('#')).toBe(barOf('far wait').indexOf('#'));
    expect(barOf('network').indexOf('#')).toBeGreaterThan(barOf('wait').lastIndexOf('#'));
  });

  it('draws a request that took no time at all', () => {
    expect(formatWaterfall(recent({ totalMs: 0, partsMs: {}, far: null }))).toContain('total');
  });
});

describe('weft latency', () => {
  it('shows each percentile with the far hop below it, and says that there is none', async () => {
    const at = [50, 95, 99].map((percentile) => ({
      ...{ percentile, requests: 3, loopEstimates: percentile === 99 ? 1 : 0 },
      ...{ totalMs: percentile, partsMs: { wait: percentile - 1, own: 1 } },
      far: percentile === 50 ? { totalMs: 40, partsMs: { wait: 40 }, requests: 2 } : null,
    }));
    const hop = { direction: 'outbound', source: 'web.default', destination: 'cart.default', requests: 150, at };
    const { url, asked } = await fakeControlPlane(({ url: path }) => ({
      status: 200,
      body: { hops: path.includes('cart') ? [hop] : [], loopsMissing: 1 },
    }));
    const { out } = await weft(['latency', 'cart', ...adminOf(url)]);
    expect(out.split('\n').map((line) => line.trim().split(/ {2,}/).join('|'))).toEqual([
      'outbound|web.default -> cart.default|(150 requests kept)',
      'WAIT|OWN|TOTAL|OF',
      'p50|49.0|1.00|50.0|3',
      'far|40.0|-|40.0|2',
      'p95|94.0|1.00|95.0|3',
      'p99|98.0|1.00|99.0|3 ~',
      "(1 of the sidecar's event loops did not answer in time: theirs is missing)",
    ]);
    expect(asked[0]!.url).toBe('/latency?service=cart');
    expect((await weft(['latency', 'pay', ...adminOf(url)])).err).toMatch(/no request from or to pay/);
  });
});

describe('weft tap', () => {
  it('shows what is new, each once, bounded by its rate, and ends after its limit', async () => {
    const requests = Array.from({ length: 9 }, (_, i) => recent({ spanId: `${i}`.repeat(16), totalMs: i }));
    let asks = 0;
    const newestFirst = (count: number) => requests.slice(0, count).reverse();
    const { url, asked } = await fakeControlPlane(() => answerWith(...newestFirst([2, 4, 4, 9][Math.min(asks++, 3)]!)));
    const flags = [
      '--limit',
      '4',
      '--every',
      '20ms',
      '--rate',
      '100',
      '--service',
      'cart',
      '--status',
      '5xx',
      '--failed',
    ];
    const { code, out, err } = await weft(['tap', ...flags, ...adminOf(url), '-o', 'json']);
    expect(code).toBe(0);
    expect(out.split('\n').map((line) => (JSON.parse(line) as RecentRequest).spanId[0])).toEqual(['2', '3', '4', '5']);
    expect(err).toBe('');
    expect(asked[0]!.url).toBe('/requests?limit=256&service=cart&status=5xx&failed=1');
    let looks = 0;
    const { url: busy } = await fakeControlPlane(() => answerWith(...newestFirst([1, 5, 9][Math.min(looks++, 2)]!)));
    const slow = await weft(['tap', '--limit', '2', '--every', '20ms', '--rate', '1', ...adminOf(busy)]);
    expect([slow.out.split('\n').length, slow.err]).toEqual([2, '... 3 more: beyond --rate 1']);
  });

  it('says that it waits where nothing has the name that it was given', async () => {
    let asks = 0;
    const { url } = await fakeControlPlane(() => answerWith(...(asks++ === 0 ? [] : [recent({})])));
    const { err } = await weft(['tap', '--route', 'nope', '--limit', '1', '--every', '20ms', ...adminOf(url)]);
    expect(err).toMatch(/none of the last requests here is like that/);
  });

  it('says once, and again where it becomes worse, that a busy loop keeps a share', async () => {
    const shares = [1, 2, 1, 2, 4, 1];
    let asks = 0;
    const { url } = await fakeControlPlane(() => {
      const share = shares[Math.min(asks++, shares.length - 1)]!;
      const requests = asks < shares.length ? [] : [recent({})];
      return { status: 200, body: { recorded: 9, keptOneIn: share, requests, loopsMissing: 0 } };
    });
    const { err } = await weft(['tap', '--limit', '1', '--every', '20ms', ...adminOf(url)]);
    expect(err.split('\n')).toEqual([
      expect.stringContaining('one request in 2 is kept'),
      expect.stringContaining('one request in 4 is kept'),
    ]);
  });
});
