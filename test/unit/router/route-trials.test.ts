/** What people are told of rules is what the router does with them. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import type { UnitMatch } from '../../../src/model/snapshot.ts';
import { route } from '../../../src/proxy/router.ts';
import type { RouteLookup } from '../../../src/proxy/tables.ts';
import { actionOf, matchOf, requestOf, sidecarOf } from '../../fixtures/service-unit.ts';

const serviceOf = (matches: readonly UnitMatch[]) =>
  sidecarOf({
    matches: matches.map((match, action) => ({ ...match, action })),
    actions: matches.map((_, i) => actionOf(`${i}`)),
  }).service();

const routesOf = (matches: readonly UnitMatch[]): RouteLookup => serviceOf(matches).routes!;
const told = (matches: readonly UnitMatch[], target: string, rest = {}, verdicts: Uint8Array | null = null) =>
  routesOf(matches)
    .trials(requestOf(target, rest), verdicts)
    .trials.map(({ rule, asks, why }) => [rule, asks, why]);

describe('the trials of a request', () => {
  it('stand in the order of the router, each with why it did not match, and end with the one that did', () => {
    const matches = [
      matchOf('exact', '/a/b', { method: 'GET' }),
      matchOf('pattern', '/a/[0-9]+'),
      matchOf('prefix', '/a/b', { headers: [{ name: 'tenant', exact: 'blue' }], method: 'POST' }),
      matchOf('prefix', '/a', { query: [{ name: 'q', exact: '1' }] }),
      matchOf('prefix', '/'),
      matchOf('prefix', '/other'),
    ];
    const request = { method: 'POST', headers: ['Tenant', 'secret'] };
    expect(told(matches, '/a/b?q=2', request, Uint8Array.of(0))).toEqual([
      ['0', 'GET path /a/b', 'the method is POST'],
      ['1', 'path like /a/[0-9]+', 'the path is not like that'],
      ['2', 'POST path /a/b or below, header tenant = blue', 'header tenant is another'],
      ['3', 'path /a or below, query q = 1', 'query q is another'],
      ['4', 'any path', ''],
      ['5', 'path /other or below', 'its path is another one'],
    ]);
  });

  it('say that a field is absent, that patterns were not asked, and what an exact path or a prefix is', () => {
    const matches = [
      matchOf('exact', '/x'),
      matchOf('pattern', '/.*'),
      matchOf('prefix', '/', { headers: [{ name: 'tenant', exact: 'blue' }] }),
    ];
    expect(told(matches, '/y')).toEqual([
      ['1', 'path like /.*', 'its regular expressions were not asked'],
      ['2', 'any path, header tenant = blue', 'header tenant is absent'],
      ['0', 'path /x', 'its path is another one'],
    ]);
  });

  it('are bounded, count what is left out, and always have the one that was chosen', () => {
    const many = Array.from({ length: 500 }, (_, i) =>
      matchOf('prefix', '/', { headers: [{ name: 'n', exact: `${i}` }] }),
    );
    const { trials, leftOut } = routesOf(many).trials(requestOf('/', { headers: ['n', '400'] }), null);
    expect([trials.length, leftOut]).toEqual([limits.decisionRulesMax, 500 - limits.decisionRulesMax]);
    expect(trials.at(-1)).toMatchObject({ rule: '400', why: '' });
    const elsewhere = Array.from({ length: 500 }, (_, i) => matchOf('prefix', `/${i}`));
    expect(routesOf(elsewhere).trials(requestOf('/x'), null).leftOut).toBe(500 - limits.decisionRulesMax);
  });

  it('agree with the router on every request', () => {
    const segment = fc.constantFrom('a', 'b', 'c');
    const path = fc.array(segment, { maxLength: 3 }).map((segments) => `/${segments.join('/')}`);
    const test = fc.record({ name: fc.constantFrom('h', 'k'), exact: fc.constantFrom('1', '2') });
    const match = fc
      .record({
        kind: fc.constantFrom('exact' as const, 'prefix' as const),
        value: path,
        method: fc.constantFrom(null, 'GET', 'POST'),
        headers: fc.array(test, { maxLength: 2 }),
        query: fc.array(test, { maxLength: 1 }),
      })
      .map(({ kind, value, ...rest }) => matchOf(kind, value, rest));
    const request = fc.record({
      path,
      method: fc.constantFrom('GET', 'POST'),
      headers: fc.constantFrom<string[]>([], ['h', '1'], ['h', '2', 'k', '1']),
      query: fc.constantFrom('', '?h=1', '?k=2'),
    });
    fc.assert(
      fc.property(
        fc.array(match, { minLength: 1, maxLength: 12 }),
        request,
        (matches, { path: target, query, ...rest }) => {
          const service = serviceOf(matches);
          const asked = requestOf(target + query, rest);
          const decision = route(service, asked, null);
          const rule = decision.tag === 'action' ? decision.action.route : null;
          const { trials, leftOut } = service.routes!.trials(asked, null);
          const matching = trials.filter(({ why }) => why === '');
          expect(matching.map((trial) => trial.rule)).toEqual(rule === null ? [] : [rule]);
          expect(trials.length + leftOut).toBeLessThanOrEqual(matches.length);
          // Nothing that stands before it may be the reason why a later one was asked.
          if (rule === null) expect(trials).toHaveLength(Math.min(matches.length, limits.decisionRulesMax));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('the methods of rules that a request matches but for its own', () => {
  it('are those that the router would take', () => {
    const matches = [
      matchOf('prefix', '/items', { method: 'GET' }),
      matchOf('prefix', '/items', { method: 'HEAD', headers: [{ name: 'x', exact: '1' }] }),
      matchOf('prefix', '/orders', { method: 'POST' }),
    ];
    const routes = routesOf(matches);
    expect(routes.otherMethods(requestOf('/items', { method: 'DELETE' }), null)).toEqual(['GET']);
    expect(routes.otherMethods(requestOf('/items', { method: 'DELETE', headers: ['x', '1'] }), null)).toEqual([
      'GET',
      'HEAD',
    ]);
    expect(routes.otherMethods(requestOf('/x', { method: 'DELETE' }), null)).toEqual([]);
  });
});
