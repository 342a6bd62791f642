/** A request that is described and not sent is decided like one that is, and leaves no trace. */
import { describe, expect, it } from 'vitest';
import type { DescribedRequest } from '../../../src/model/decision.ts';
import { defaultListenerLimits } from '../../../src/model/listener-limits.ts';
import type { ServiceUnit } from '../../../src/model/snapshot.ts';
import { type DryRunParts, runDry } from '../../../src/proxy/dry-run.ts';
import { route } from '../../../src/proxy/router.ts';
import type { SlowDecisions } from '../../../src/proxy/tables.ts';
import { actionOf, backendOf, endpointsOf, matchOf, requestOf, Sidecar, unitOf } from '../../fixtures/service-unit.ts';

const asked = (changes: Partial<DescribedRequest> = {}): DescribedRequest => ({
  method: 'GET',
  host: 'cart',
  path: '/items?page=2',
  headers: [],
  ...changes,
});

const noPatterns: SlowDecisions = {
  matchPatterns: () => {
    throw new Error('no pattern was to be asked');
  },
};

function meshOf(units: readonly ServiceUnit[], changes: Partial<DryRunParts> = {}) {
  const sidecar = new Sidecar();
  sidecar.apply(...units);
  const parts: DryRunParts = {
    configuration: { current: sidecar.current },
    slowDecisions: noPatterns,
    limits: defaultListenerLimits.outbound,
    paths: 'normalise',
    ...changes,
  };
  return { sidecar, run: (changed: Partial<DescribedRequest> = {}) => runDry(asked(changed), parts) };
}

const ruled = (action = actionOf('default/cart/0', [backendOf('cart.default')]), rest: Partial<ServiceUnit> = {}) =>
  unitOf({ matches: [matchOf('prefix', '/items', { method: 'GET' })], actions: [action], ...rest });

describe('a request that would fail', () => {
  it.each<readonly [string, readonly ServiceUnit[], Partial<DescribedRequest>, string, RegExp]>([
    ['a host of nobody', [ruled()], { host: 'pay' }, 'unknown-service', /^pay$/],
    ['a path of no rule', [ruled()], { path: '/x' }, 'no-route', /^GET \/x of cart\.default$/],
    [
      'another method',
      [ruled()],
      { method: 'PUT' },
      'no-route',
      /^PUT \/items of cart\.default: rules take it with GET only$/,
    ],
    [
      'weight 0',
      [ruled(actionOf('default/cart/0', [backendOf('cart.default', 0)]))],
      {},
      'no-backend',
      /^default\/cart\/0: cart\.default has weight 0$/,
    ],
    ['no backendRef', [ruled(actionOf('default/cart/0'))], {}, 'no-backend', /has no backendRef$/],
    [
      'a backend that is not there',
      [ruled(actionOf('default/cart/0', [{ ...backendOf('x'), unit: null }]))],
      {},
      'backend-not-found',
      /^x$/,
    ],
    [
      'no endpoint',
      [unitOf({ endpoints: [] })],
      {},
      'no-endpoint',
      /^cart\.default: none is written, and none registered$/,
    ],
    [
      'endpoints of weight 0',
      [unitOf({ endpoints: endpointsOf(0, 0) })],
      {},
      'no-endpoint',
      /its 2 endpoints have weight 0$/,
    ],
    [
      'more than the Service takes',
      [
        unitOf({
          limits: {
            requestBodyBytes: 0,
            requestHeadBytes: 0,
            requestHeadFields: 0,
            targetBytes: 5,
            responseHeadBytes: 0,
          },
        }),
      ],
      {},
      'target-too-long',
      /5 bytes \(spec\.limits\.targetBytes of the Service cart\.default\)/,
    ],
    ['a head that is refused', [ruled()], { host: 'a/b' }, 'bad-request', /^Host is not a host/],
    ['fields that are refused', [ruled()], { headers: [['a b', '']] }, 'bad-request', /not a token/],
  ])('for %s is told why', async (_what, units, changes, failure, detail) => {
    const { run } = meshOf(units);
    const dry = await run(changes);
    expect([dry.failure, dry.detail]).toEqual([failure, expect.stringMatching(detail)]);
  });

  it('for want of a configuration, and for a pattern that cannot be evaluated', async () => {
    const { run } = meshOf([], { configuration: { current: null } });
    expect(await run()).toMatchObject({ failure: 'no-configuration', decision: { revision: 0, service: '' } });
    const unit = unitOf({ matches: [matchOf('pattern', '/i.*')], actions: [actionOf('default/cart/0')] });
    const failing = meshOf([unit], { slowDecisions: { matchPatterns: (_service, _request, done) => done(null) } });
    expect(await failing.run()).toMatchObject({ failure: 'pattern-failed', detail: 'cart.default' });
  });

  it('after its last endpoint has left is told which that was', async () => {
    const { sidecar } = meshOf([unitOf({ endpoints: endpointsOf(1) })]);
    sidecar.apply(unitOf({ endpoints: [] }));
    sidecar.apply(unitOf({ endpoints: [], port: 81 }));
    const dry = await runDry(asked(), {
      configuration: { current: sidecar.current },
      slowDecisions: noPatterns,
      limits: defaultListenerLimits.outbound,
      paths: 'normalise',
    });
    expect(dry).toMatchObject({ failure: 'no-endpoint', detail: 'cart.default: its last one, 10.0.0.0:80, has left' });
  });
});

describe('a request that would be sent', () => {
  it('is told its rule, its split, and its endpoints with what speaks for them; and takes no ticket', async () => {
    const action = actionOf('default/cart/0', [backendOf('cart.default', 3), backendOf('next.default', 1)]);
    const next = unitOf({ name: 'next.default', service: 'next', hosts: ['next'], endpoints: endpointsOf(1) });
    const { sidecar, run } = meshOf([ruled(action), next]);
    const dry = await run();
    expect(dry).toMatchObject({
      failure: null,
      location: '',
      decision: {
        revision: 1,
        service: 'cart.default',
        route: 'default/cart/0',
        trials: [{ rule: 'default/cart/0', asks: 'GET path /items or below', why: '' }],
        backends: [
          { ref: 'cart.default', weight: 3 },
          { ref: 'next.default', weight: 1 },
        ],
        tries: [],
      },
    });
    // Whatever the tickets stand at: again and again the same, and the real split does what was foretold.
    expect(await run()).toEqual(dry);
    const decided = route(sidecar.service(), requestOf('/items'), null);
    if (decided.tag !== 'action') throw new Error('a rule matches');
    for (let i = 0; i < 8; i++) {
      const { destination } = (await run()).decision!;
      expect(decided.action.pickBackend()!.unit).toBe(destination);
    }
  });

  it('over patterns is decided with their verdicts', async () => {
    const unit = unitOf({
      matches: [matchOf('pattern', '/x.*'), matchOf('prefix', '/', { action: 1 })],
      actions: [actionOf('default/cart/0'), actionOf('default/cart/1', [backendOf('cart.default')])],
    });
    const { run } = meshOf([unit], { slowDecisions: { matchPatterns: (_s, _r, done) => done(Uint8Array.of(0)) } });
    const { failure, decision } = await run();
    expect([failure, decision!.route, decision!.trials[0]!.why]).toEqual([
      null,
      'default/cart/1',
      'the path is not like that',
    ]);
  });

  it('and would be redirected is told to where', async () => {
    const redirect = {
      scheme: 'https' as const,
      hostname: 'shop.example',
      port: null,
      path: null,
      status: 301 as const,
    };
    const { run } = meshOf([ruled({ ...actionOf('default/cart/0'), redirect })]);
    expect(await run()).toMatchObject({ failure: null, location: 'https://shop.example/items?page=2' });
  });
});
