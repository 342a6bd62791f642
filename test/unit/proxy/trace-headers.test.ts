/** The trace context of a request on its way through, in the order of the W3C's own test suite (https://github.com/w3c/trace-context/tree/main/test). */
import { describe, expect, it } from 'vitest';
import { thresholdOf } from '../../../src/telemetry/sampling.ts';
import { FakeClient, FakeEndpoint, fakeHead, fakeMesh } from './proxy-fakes.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parent = `00-${traceId}-00f067aa0ba902b7-01`;

/** What the endpoint gets: the one traceparent, and every tracestate. */
function sentOn(headers: string[], source = '', ratio = 0) {
  const endpoint = new FakeEndpoint('a:1', 0);
  const { proxy } = fakeMesh([endpoint], undefined, { traceThreshold: thresholdOf(ratio) });
  proxy.accept(fakeHead({ headers, source }), new FakeClient());
  const fields = endpoint.last.headers;
  const valuesOf = (name: string) => fields.filter((_, i) => i % 2 === 1 && fields[i - 1]!.toLowerCase() === name);
  const [traceparent = '', ...more] = valuesOf('traceparent');
  expect(more).toEqual([]);
  expect(traceparent).toMatch(/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[0-3]$/);
  return { traceparent, states: valuesOf('tracestate'), isContinued: traceparent.includes(traceId) };
}

describe('traceparent', () => {
  it.each<[what: string, headers: string[], isContinued: boolean]>([
    ['missing', [], false],
    ['alone', ['traceparent', parent], true],
    ['twice', ['traceparent', parent, 'traceparent', parent], false],
    ['twice, one of them invalid', ['traceparent', parent, 'Traceparent', 'x'], false],
    ['twice, far apart', ['Traceparent', parent, 'x', '1', 'TRACEPARENT', parent.replace('4bf', '5bf')], false],
    ['with a dash in its name', ['trace-parent', parent], false],
    ['with a dot in its name', ['trace.parent', parent], false],
    ['with an underscore in its name', ['trace_parent', parent], false],
    ['TraceParent', ['TraceParent', parent], true],
    ['TRACEPARENT', ['TRACEPARENT', parent], true],
    ['of a later version', ['traceparent', `cc${parent.slice(2)}-what-the-future-will-be-like`], true],
    ['of version ff', ['traceparent', `ff${parent.slice(2)}`], false],
    ['empty', ['traceparent', ''], false],
  ])('%s', (_what, headers, isContinued) => {
    expect(sentOn(headers).isContinued).toBe(isContinued);
  });

  it('of a sidecar is the one that it has written', () => {
    const sent = sentOn(['traceparent', parent], 'web.default');
    expect(sent.traceparent).toMatch(new RegExp(`^00-${traceId}-(?!00f067aa0ba902b7)[0-9a-f]{16}-01$`));
  });

  it.each([
    [[], 0, '00'],
    [[], 1, '01'],
    [['traceparent', 'garbage'], 1, '01'],
    [['traceparent', parent], 0, '01'],
    [['traceparent', parent.replace(/01$/, '00')], 1, '00'],
    [['traceparent', parent.replace(/01$/, 'ff')], 0, '03'],
  ])('%j is sampled as its parent is, and one that begins here by its share of %s: %s', (headers, ratio, flags) => {
    expect(sentOn(headers, '', ratio).traceparent.slice(-2)).toBe(flags);
  });
});

describe('tracestate', () => {
  it.each<[what: string, headers: string[], states: string[]]>([
    ['with its traceparent is passed as it is', ['traceparent', parent, 'TraceState', 'foo=1,bar=2'], ['foo=1,bar=2']],
    [
      'in several fields stays in them, in order',
      ['tracestate', 'foo=1', 'traceparent', parent, 'tracestate', 'bar=2 , rojo=3', 'tracestate', 'x@y=\t4'],
      ['foo=1', 'bar=2 , rojo=3', 'x@y=\t4'],
    ],
    ['that is empty is taken and not sent on', ['traceparent', parent, 'tracestate', '', 'tracestate', 'a=1'], ['a=1']],
    // Section 4.1: whoever changes nothing of it may leave judging to those that do.
    ['that is malformed is passed too', ['traceparent', parent, 'tracestate', 'foo@=1,=2'], ['foo@=1,=2']],
    ['without traceparent goes', ['tracestate', 'foo=1'], []],
    ['of an invalid traceparent goes', ['tracestate', 'foo=1', 'traceparent', `${parent}.`], []],
    ['of two traceparents goes', ['traceparent', parent, 'traceparent', parent, 'tracestate', 'foo=1'], []],
    ['of another name is another field', ['traceparent', parent, 'trace-state', 'foo=1'], []],
  ])('%s', (_what, headers, states) => {
    expect(sentOn(headers).states).toEqual(states);
  });
});
