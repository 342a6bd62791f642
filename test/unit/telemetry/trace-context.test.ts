import { describe, expect, it } from 'vitest';
import { thresholdOf } from '../../../src/telemetry/sampling.ts';
import { continueTrace, RandomIds, sampledFlag } from '../../../src/telemetry/trace-context.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';
const valid = `00-${traceId}-${parentId}-01`;

/** Deterministic, and never the id of the examples. */
function sequence(): (words: Uint32Array) => void {
  let turn = 0;
  return (words) => {
    for (let at = 0; at < words.length; at++) words[at] = ((turn++ * 37 + 11) % 256) << 24;
  };
}

const malformed: readonly [why: string, value: string][] = [
  ['empty', ''],
  ['one space', ' '],
  ['a space before', ` ${valid}`],
  ['a space after', `${valid} `],
  ['a tab after', `${valid}\t`],
  ['a line feed after', `${valid}\n`],
  ['one character short', valid.slice(0, -1)],
  ['one character long', `${valid}0`],
  ['version 00 with more', `${valid}-00`],
  ['version 00 with a dash', `${valid}-`],
  ['version ff', `ff-${traceId}-${parentId}-01`],
  ['version ff with more', `ff-${traceId}-${parentId}-01-x`],
  ['version in upper case', `0A-${traceId}-${parentId}-01`],
  ['version not hexadecimal', `0g-${traceId}-${parentId}-01`],
  ['version of one digit', `0-${traceId}-${parentId}-011`],
  ['version of three digits', `000-${traceId}-${parentId}-1`],
  ['no version', `-${traceId}-${parentId}-01-00`],
  ['trace id zero', `00-${'0'.repeat(32)}-${parentId}-01`],
  ['trace id in upper case', `00-${traceId.toUpperCase()}-${parentId}-01`],
  ['trace id not hexadecimal', `00-${traceId.slice(0, 31)}g-${parentId}-01`],
  ['trace id with a dot', `00-.${traceId.slice(1)}-${parentId}-01`],
  ['trace id short', `00-${traceId.slice(1)}-${parentId}-01`],
  ['trace id short, padded elsewhere', `00-${traceId.slice(1)}-0${parentId}-01`],
  ['trace id long', `00-0${traceId}-${parentId}-1`],
  ['parent id zero', `00-${traceId}-${'0'.repeat(16)}-01`],
  ['parent id in upper case', `00-${traceId}-${parentId.toUpperCase()}-01`],
  ['parent id not hexadecimal', `00-${traceId}-${parentId.slice(0, 15)}z-01`],
  ['parent id short', `00-${traceId}-${parentId.slice(1)}-010`],
  ['flags in upper case', `00-${traceId}-${parentId}-0A`],
  ['flags not hexadecimal', `00-${traceId}-${parentId}-0x`],
  ['flags with a sign', `00-${traceId}-${parentId}-+1`],
  ['flags of one digit', `00-${traceId}-${parentId}-1`],
  ['underscores', valid.replaceAll('-', '_')],
  ['no dash after the version', `000${traceId}-${parentId}-01`],
  ['no dash after the trace id', `00-${traceId}0${parentId}-01`],
  ['no dash after the parent id', `00-${traceId}-${parentId}001`],
  ['two fields joined', `${valid},${valid}`],
  ['two fields of a later version joined', `cc-${traceId}-${parentId}-01-x,cc-${traceId}-${parentId}-01`],
  ['later version with a dot', `cc-${traceId}-${parentId}-01.what`],
  ['later version, short', `cc-${traceId}-${parentId}-0`],
  ['full-width digits', `00-${'\uff14'.repeat(32)}-${parentId}-01`],
  ['quotes', `"${valid}"`],
];

describe('continueTrace', () => {
  it.each(malformed)('begins a new trace: %s', (_why, value) => {
    const trace = continueTrace(value, new RandomIds(sequence()));
    expect(trace.isContinued).toBe(false);
    expect(trace.traceId).not.toBe(traceId);
    expect(trace.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  });

  it('begins one when there is none, with valid ids even of the worst random numbers', () => {
    for (const random of [() => 0, () => 1 - Number.EPSILON, Math.random]) {
      const ids = new RandomIds(random);
      const { traceparent, traceId: begun, spanId, chance } = continueTrace(undefined, ids);
      expect(traceparent).toBe(`00-${begun}-${spanId}-00`);
      expect(begun).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
      expect(spanId).toMatch(/^(?!0{16})[0-9a-f]{16}$/);
      // What each hop of a call keeps the others keep too.
      const { isContinued, chance: there } = continueTrace(traceparent, ids);
      expect([isContinued, there, chance]).toEqual([true, chance, Number.parseInt(begun.slice(-3), 16)]);
    }
  });

  // Those that are reserved are set to zero (section 3.2.2.5.2); `random` is one of level 2, and stays with its trace id.
  it.each([
    ['00', '00'],
    ['01', '01'],
    ['02', '02'],
    ['03', '03'],
    ['04', '00'],
    ['fc', '00'],
    ['fd', '01'],
    ['0a', '02'],
    ['ff', '03'],
  ])('keeps trace id and of flags %s those that mean something, and takes the parent id', (flags, kept) => {
    const trace = continueTrace(`00-${traceId}-${parentId}-${flags}`, new RandomIds(sequence()));
    expect(trace).toEqual({
      traceparent: `00-${traceId}-${trace.spanId}-${kept}`,
      traceId,
      spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
      parentId,
      isContinued: true,
      flags: Number(kept),
      chance: Number.parseInt(traceId.slice(-3), 16),
    });
    expect(trace.spanId).not.toBe(parentId);
  });

  it.each([
    [`01-${traceId}-${parentId}-01`, '01'],
    [`cc-${traceId}-${parentId}-00-what-the-future`, '00'],
    [`cc-${traceId}-${parentId}-01-`, '01'],
    [`fe-${traceId}-${parentId}-fd-x`, '01'],
    [`fe-${traceId}-${parentId}-fe-x`, '00'],
    [`fe-${traceId}-${parentId}-09`, '01'],
    [`fe-${traceId}-${parentId}-08`, '00'],
  ])('continues a later version as 00 with the sampled flag only: %s', (value, flags) => {
    const trace = continueTrace(value, new RandomIds(sequence()));
    expect(trace.traceparent).toBe(`00-${traceId}-${trace.spanId}-${flags}`);
  });

  it('samples the share of new traces that it is told, and what a parent has sampled or not as the parent has', () => {
    const ids = new RandomIds();
    const isSampled = (value: string | undefined, ratio: number) =>
      (continueTrace(value, ids, false, thresholdOf(ratio)).flags & sampledFlag) !== 0;
    const sampledOf = (value: string | undefined, ratio: number) =>
      Array.from({ length: 10_000 }, () => isSampled(value, ratio)).filter(Boolean).length;
    expect([sampledOf(undefined, 0), sampledOf('garbage', 1)]).toEqual([0, 10_000]);
    // Five standard deviations.
    expect(Math.abs(sampledOf(undefined, 0.25) - 2_500)).toBeLessThan(5 * Math.sqrt(10_000 * 0.25 * 0.75));
    expect([sampledOf(valid, 0), sampledOf(`00-${traceId}-${parentId}-00`, 1)]).toEqual([10_000, 0]);
  });

  it('takes what a sidecar sends, whatever its flags, by its length', () => {
    const continued = continueTrace(`00-${traceId}-${parentId}-01`, new RandomIds(sequence()), true);
    expect([continued.traceId, continued.parentId, continued.isContinued]).toEqual([traceId, parentId, true]);
    expect(continueTrace(valid.slice(1), new RandomIds(sequence()), true).isContinued).toBe(false);
  });

  it('does not repeat ids', () => {
    const ids = new RandomIds();
    const seen = new Set<string>();
    for (let i = 0; i < 10_000; i++) seen.add(continueTrace(valid, ids).spanId);
    expect(seen.size).toBe(10_000);
  });

  it('gives whole ids of traces and spans where what is ready ends between them', () => {
    const ids = new RandomIds();
    const [ofTraces, ofSpans] = [new Set<string>(), new Set<string>()];
    // Three halves at a time, of which no number is ready that three divides.
    for (let i = 0; i < 1_000; i++) {
      ofSpans.add(ids.next());
      ofTraces.add(ids.nextOfTrace());
    }
    expect([ofTraces.size, ofSpans.size]).toEqual([1_000, 1_000]);
    expect(Array.from(ofTraces).filter((id) => !/^[0-9a-f]{32}$/.test(id))).toEqual([]);
    expect(Array.from(ofSpans).filter((id) => !/^[0-9a-f]{16}$/.test(id))).toEqual([]);
  });
});
