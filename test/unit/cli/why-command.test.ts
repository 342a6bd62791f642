import { describe, expect, it } from 'vitest';
import { dryVerdict, verdictOf } from '../../../src/cli/verdict.ts';
import type { Candidate, Decision, DryDecision, FailedTry, RefusedHeadRecord } from '../../../src/model/decision.ts';
import type { RecentRequest } from '../../../src/model/recent-request.ts';
import { weft } from './captured-terminal.ts';
import { fakeControlPlane } from './fake-control-plane.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const candidate = (address: string, changes: Partial<Candidate> = {}): Candidate => ({
  ...{ address, weight: 1, activeRequests: 0, score: null, isTried: false, isNext: false, trouble: '' },
  ...changes,
});
const decision = (changes: Partial<Decision> = {}): Decision => ({
  revision: 7,
  host: 'cart',
  service: 'cart.default',
  hasRoutes: true,
  trials: [{ rule: 'default/cart/0', asks: 'GET path /items', why: 'the method is PUT' }],
  trialsLeftOut: 0,
  route: '',
  backends: [],
  destination: '',
  policy: '',
  candidates: [],
  candidatesLeftOut: 0,
  timeoutsMs: null,
  limits: null,
  tries: [],
  ...changes,
});
const recent = (changes: Partial<RecentRequest> = {}): RecentRequest => ({
  ...{ traceId, spanId: '00f067aa0ba902b7', time: '2026-01-02T03:04:05.006Z', direction: 'outbound' },
  ...{ source: 'web.default', destination: 'cart.default', route: '', called: 'cart.default', revision: 7 },
  ...{ endpoint: 'b:1', method: 'GET', path: '/items', status: 503, failure: 'connect-refused', detail: 'b:1' },
  ...{ attempts: 3, answerBytes: 0, isLoopEstimate: false, totalMs: 10, partsMs: { own: 10 }, far: null },
  timeoutsMs: { request: 0, perTry: 0, idle: 60_000 },
  ...changes,
});
const stale = { since: '2026-01-02T03:00:00.000Z', reason: 'no control plane answers: ECONNREFUSED' };
const dry = (changes: Partial<DryDecision> = {}): DryDecision => ({
  ...{ failure: null, detail: '', location: '', decision: decision(), stale: null },
  ...changes,
});
const refused = (endpoint: string): FailedTry => ({ endpoint, failure: 'connect-refused', detail: '' });
const adminOf = (url: string) => ['--admin', url.slice('http://'.length)];

describe('the cause of a failure', () => {
  const withTries = (tries: readonly FailedTry[], candidates: readonly Candidate[], more = 0) =>
    verdictOf(
      recent({
        decision: decision({ tries, candidates, candidatesLeftOut: more, destination: 'cart.default' }),
      }),
    ).cause;

  it('says whether there was anywhere else to go', () => {
    const two = [candidate('a:1'), candidate('b:1')];
    expect(withTries([refused('a:1')], two)).toBe(
      'It failed after 10.0 ms with 503 connect-refused: The endpoint refused the connection (b:1; before it a:1 connect-refused; all 2 endpoints of cart.default were tried).',
    );
    expect(withTries([refused('a:1')], two, 3)).toContain('; 2 of 5 endpoints of cart.default were tried)');
    expect(withTries([refused('b:1')], [candidate('b:1'), candidate('a:1', { weight: 0 })])).toContain(
      '; it is the only endpoint of cart.default)',
    );
    expect(withTries([], two)).toMatch(/connection \(b:1\)\.$/);
  });

  it('doubts the configuration where a newer one might have helped, and nowhere else', () => {
    const doubted = verdictOf(recent({ stale }));
    expect(doubted.cause).toMatch(
      /\(b:1\)\. Its configuration may be out of date since 2026-01-02T03:00:00\.000Z: no control plane answers: ECONNREFUSED\.$/,
    );
    expect(doubted.change).toMatch(/^First let this sidecar reach its control plane/);
    const late = verdictOf(recent({ stale, failure: 'request-timeout', status: 504 }));
    expect(late.cause + late.change).not.toMatch(/out of date|First let/);
  });

  it('knows what to change where the decision tells more than the code', () => {
    const noRoute = recent({ failure: 'no-route', status: 404, decision: decision() });
    expect(verdictOf(noRoute).change).toMatch(/^Use a method that the rules take/);
    const other = decision({ trials: [{ rule: 'r', asks: 'path /x', why: 'its path is another one' }] });
    expect(verdictOf({ ...noRoute, decision: other }).change).toMatch(/^Add a rule that matches/);
    const light = decision({ candidates: [candidate('a:1', { weight: 0 })] });
    expect(verdictOf(recent({ failure: 'no-endpoint', decision: light })).change).toMatch(/weight above 0/);
  });

  it('of a request that went well at another attempt says what went before', () => {
    const { failure: _failure, ...well } = recent({
      status: 200,
      attempts: 2,
      decision: decision({ tries: [refused('a:1')] }),
    });
    expect(verdictOf(well).cause).toBe(
      'It did not fail: b:1 answered 200 after 10.0 ms, of which 10.0 ms were own; before it a:1 connect-refused.',
    );
  });

  it('lets nothing of a client steer a terminal', () => {
    expect(verdictOf(recent({ detail: 'GET /\u001b[2J' })).cause).not.toContain('\u001b');
    expect(dryVerdict(dry({ location: 'http://\u001b[2J' })).cause).not.toContain('\u001b');
  });
});

describe('weft why ID', () => {
  it('shows what was decided, each attempt, and what was written down of the endpoints', async () => {
    const failed = recent({
      stale,
      decision: decision({
        ...{ destination: 'cart.default', policy: 'LeastRequest', trialsLeftOut: 2, candidatesLeftOut: 1 },
        tries: [{ endpoint: 'a:1', failure: 'connect-refused', detail: 'no' }],
        candidates: [
          candidate('a:1', { isTried: true, score: 0.333333, trouble: 'it drains' }),
          candidate('b:1', { weight: 0 }),
        ],
      }),
    });
    const { url, asked } = await fakeControlPlane(() => ({
      status: 200,
      body: { recorded: 1, requests: [failed], loopsMissing: 0, refusals: [] },
    }));
    const { code, out } = await weft(['why', traceId, ...adminOf(url)]);
    // What was written down is not asked again.
    expect([code, asked.length]).toEqual([0, 1]);
    expect(out.split('\n').slice(1, -2)).toEqual([
      '  attempts  3 of at most 3, the last at b:1',
      '            1. a:1 connect-refused: no',
      '  limits    timeouts.request none, timeouts.backendRequest none, timeouts.idle 60000 ms',
      expect.stringContaining('  change    First let'),
      '  called    cart.default, as cart',
      '  version   revision 7',
      '  rules     - default/cart/0: GET path /items: no, the method is PUT',
      '            and 2 more, not shown',
      '  balancer  LeastRequest of cart.default',
      '  endpoints - a:1  weight 1, 0 requests at it, score 0.333, tried or passed over, it drains',
      '            - b:1  weight 0, 0 requests at it, never chosen',
      '            and 1 more, not shown',
    ]);
  });

  it('says of a refused head what was wrong, and who sent it', async () => {
    const refusal: RefusedHeadRecord = {
      ...{ requestId: traceId, time: '2026-01-02T03:04:05.006Z', direction: 'inbound', listener: 'link' },
      ...{ source: 'web.default', sourceAddress: '127.0.0.1', method: 'GET', host: '', path: '/a\u001b' },
      ...{ status: 431, failure: 'headers-too-large', detail: 'There are too many.' },
    };
    const { url } = await fakeControlPlane(() => ({
      status: 200,
      body: { recorded: 0, requests: [], loopsMissing: 0, refusals: [refusal] },
    }));
    const { out } = await weft(['why', traceId, ...adminOf(url)]);
    expect(out.split('\n')).toEqual([
      'It was refused with 431 headers-too-large before it became a request: The header fields are larger than the limit (There are too many).',
      expect.stringContaining('  change    Send fewer'),
      '  listener  link (inbound)',
      '  from      web.default at 127.0.0.1',
      '  asked     GET  -  /a?',
      `  2026-01-02T03:04:05.006Z  id ${traceId}`,
    ]);
  });
});

describe('weft why of a call that is not sent', () => {
  it('asks the sidecar with all that is described, and says what would become of it', async () => {
    const answer = dry({
      decision: decision({
        ...{ route: 'default/cart/0', destination: 'cart.default', policy: 'Random' },
        candidates: [candidate('a:1'), candidate('b:1')],
      }),
    });
    const { url, asked } = await fakeControlPlane(() => ({ status: 200, body: answer }));
    const described = ['--method', 'PUT', '--host', 'cart', '--path', '/a?b=c', '-H', 'x: y:z', '-H', 'k:'];
    const { code, out } = await weft(['why', ...described, ...adminOf(url)]);
    expect(code).toBe(0);
    expect(out.split('\n')[0]).toBe('It would go by rule default/cart/0 to cart.default, at one of its 2 endpoints.');
    expect(out).toMatch(/No request was sent\.$/);
    const query = new URL(asked[0]!.url, 'http://x').searchParams;
    expect([...query]).toEqual([
      ['method', 'PUT'],
      ['host', 'cart'],
      ['path', '/a?b=c'],
      ['header', 'x: y:z'],
      ['header', 'k: '],
    ]);
    const json = await weft(['why', '--host', 'cart', ...adminOf(url), '-o', 'json']);
    expect(JSON.parse(json.out)).toMatchObject({ failure: null, verdict: { change: '' } });
  });

  it('says where it would fail, that it would be redirected, and that the configuration may be old', () => {
    expect(dryVerdict(dry({ failure: 'no-route', detail: 'GET /x of cart.default' })).cause).toBe(
      'It would fail with 404 no-route: The Service has routes, and none of them matches this request (GET /x of cart.default).',
    );
    expect(dryVerdict(dry({ location: 'https://x/', decision: decision({ route: 'default/cart/0' }) })).cause).toBe(
      'It would be redirected to https://x/ by rule default/cart/0.',
    );
    expect(dryVerdict(dry({ stale })).cause).toContain('out of date since');
  });

  it.each([
    [['why'], /Name an id, or describe a call/],
    [['why', '--path', '/x'], /Name an id, or describe a call/],
    [['why', traceId, '--host', 'cart'], /not both/],
    [['why', '--host', 'cart', '--path', 'x'], /begins with \//],
    [['why', '--host', 'cart', '-H', 'x'], /name: value/],
  ])('%j is told with code 2', async (args, reason) => {
    const { code, err } = await weft(args);
    expect([code, err]).toEqual([2, expect.stringMatching(reason)]);
  });
});
