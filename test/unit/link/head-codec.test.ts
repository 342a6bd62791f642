import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { fieldNames } from '../../../src/proxy/field-names.ts';
import { headerList } from '../../../src/proxy/headers.ts';
import { frameShapes, frameType, joinedBytesMax } from '../../../src/proxy/link/frames.ts';
import { methodNames, payloadBytesMax } from '../../../src/proxy/link/head-codec.ts';
import { timingBytes } from '../../../src/proxy/link/timing-codec.ts';
import type { HopTiming } from '../../../src/telemetry/ledger.ts';
import { newPartsMs, partIndex, parts } from '../../../src/telemetry/recorder.ts';
import { decodeEnd, decodeHead, decodeOpen, encodeEnd, encodeHead, encodeOpen, varint } from './payload-text.ts';

const latin1 = (maxLength: number) =>
  fc.string({ unit: fc.nat(255).map((code) => String.fromCharCode(code)), maxLength });
const anyCase = fc
  .constantFrom(...fieldNames.slice(1))
  .chain((name) =>
    fc
      .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
      .map((uppers) =>
        [...name].map((char, i) => (uppers[i] === true ? char.toUpperCase() : char.toLowerCase())).join(''),
      ),
  );
const fieldName = fc.oneof(fc.constantFrom(...fieldNames.slice(1)), anyCase, latin1(40));
const headers = fc
  .array(fc.tuple(fieldName, latin1(300)), { maxLength: limits.headerFieldsMax })
  .map((fields) => fields.flat());
const method = fc.oneof(fc.constantFrom(...methodNames.slice(1)), latin1(20));
const length = fc.oneof(fc.integer({ min: -1, max: 300 }), fc.maxSafeNat());
/** What a hop can have taken: no part is longer than the total, and `own` is what the others leave of it. */
const timing: fc.Arbitrary<HopTiming | null> = fc.option(
  fc
    .tuple(
      fc.oneof(fc.nat(100), fc.nat(65_535), fc.nat(5_000_000), fc.nat(10 ** 11)),
      fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })), {
        minLength: parts.length,
        maxLength: parts.length,
      }),
    )
    .map(([micros, shares]) => {
      const partsUs = shares.map((share) => Math.round(micros * share));
      const othersUs = partsUs.reduce((sum, us, part) => (part === partIndex.own ? sum : sum + us), 0);
      partsUs[partIndex.own] = Math.max(0, micros - othersUs);
      return {
        totalMs: micros / 1000,
        partsMs: Object.assign(
          newPartsMs(),
          partsUs.map((us) => us / 1000),
        ),
      };
    }),
);

/** Exact up to 65.535 ms; beyond it no time is off by more than this share of the total, which is half a unit, and `own` by as much as all others together. */
const offMax = 1 / 65_535;

function expectTiming(read: HopTiming | null, hop: HopTiming | null): void {
  if (hop === null || read === null) {
    expect(read).toBe(hop);
    return;
  }
  const times = ({ totalMs, partsMs }: HopTiming) => [totalMs, ...Array.from(partsMs)];
  if (hop.totalMs <= 65.535) expect(times(read)).toEqual(times(hop));
  else
    times(read).forEach((ms, i) => {
      const isOwn = i === 1 + partIndex.own;
      expect(Math.abs(ms - times(hop)[i]!) / hop.totalMs).toBeLessThan(isOwn ? parts.length * offMax : offMax);
    });
}

describe('what is no payload', () => {
  const all = [
    ['OPEN', decodeOpen],
    ['HEAD', decodeHead],
    ['END', decodeEnd],
  ] as const;

  it.each(all)('is null and never throws: %s of random bytes', (_name, decode) => {
    fc.assert(
      fc.property(latin1(2_000), (payload) => {
        const read = decode(payload);
        if (read === null) return;
        const fields = 'trailers' in read ? read.trailers : read.headers;
        expect(fields.length / 2).toBeLessThanOrEqual(limits.linkFieldsMax);
        expect(fields.length).toBeLessThanOrEqual(payload.length);
      }),
      { numRuns: 3_000 },
    );
  });

  it('is null when it ends too early or too late: OPEN', () => {
    fc.assert(
      fc.property(method, latin1(60), headers, length, fc.nat(), (name, target, fields, bodyBytes, cut) => {
        const payload = encodeOpen(name, target, fields, bodyBytes);
        expect(decodeOpen(payload.slice(0, cut % payload.length))).toBeNull();
        expect(decodeOpen(`${payload}\0`)).toBeNull();
      }),
    );
  });

  it('is null when it ends too early or too late: HEAD and END', () => {
    fc.assert(
      fc.property(headers, length, timing, fc.nat(), (fields, bodyBytes, hop, cut) => {
        const head = encodeHead({ status: 200, reason: 'OK', headers: fields, bodyBytes, hasBody: true }, hop);
        expect(decodeHead(head.slice(0, cut % head.length))).toBeNull();
        expect(decodeHead(`${head}x`)).toBeNull();
        const end = encodeEnd(['Checksum', 'x', ...fields.slice(2)], hop);
        expect(decodeEnd(end.slice(0, 1 + (cut % (end.length - 1))))).toBeNull();
        expect(decodeEnd(`${end}x`)).toBeNull();
      }),
    );
  });

  it.each<readonly [string, string]>([
    ['nothing', ''],
    ['another kind of stream', `\x01\x01\x01${varint(1)}/\0`],
    ['an unknown flag', `\0\x10\x01${varint(1)}/\0`],
    ['a length and an end at once', `\0\x03\x05\x01${varint(1)}/\0`],
    ['a length of nothing', `\0\x02\0\x01${varint(1)}/\0`],
    ['a method that has no number', `\0\x01\x63${varint(1)}/\0`],
    ['a target longer than the payload', `\0\x01\x01${varint(90_000)}/\0`],
    ['a name that has no number', `\0\x01\x01${varint(1)}/\x01\xffx`],
    ['more fields than there are', `\0\x01\x01${varint(1)}/\x02\x01\x01x`],
    [
      'more fields than there can be',
      `\0\x01\x01${varint(1)}/${varint(limits.linkFieldsMax + 1)}${'\x01\0'.repeat(limits.linkFieldsMax + 1)}`,
    ],
    ['a length beyond 2^53', `\0\x02${'\xff'.repeat(7)}\x7f\x01${varint(1)}/\0`],
    ['a number without an end', `\0\x02${'\xff'.repeat(40)}`],
  ])('is null: OPEN with %s', (_what, payload) => {
    expect(decodeOpen(payload)).toBeNull();
  });

  it.each<readonly [string, string]>([
    ['nothing', ''],
    ['an unknown flag', `\x01${varint(200)}\0\0`],
    ['bytes behind the fields that no flag announces', `\x04${varint(200)}\0\0x`],
    ['no byte where a flag announces some', `\x14${varint(200)}\0\0`],
    ['more bytes than may lie behind a head', `\x14${varint(200)}\0\0${'x'.repeat(joinedBytesMax + 1)}`],
    ['an interim status', `\0${varint(100)}\0\0`],
    ['a status of four digits', `\0${varint(1000)}\0\0`],
    ['a part of time that has no name', `\x08${varint(200)}\0${varint(1 << parts.length)}\x01\x01\0`],
  ])('is null: HEAD with %s', (_what, payload) => {
    expect(decodeHead(payload)).toBeNull();
  });

  it('is null: END with the flags of HEAD', () => {
    expect(decodeEnd('\x04\0')).toBeNull();
  });

  it('never makes room for fields that are only announced', () => {
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 10_000; i++) expect(decodeOpen(`\0\x01\x01\x01/${varint(2 ** 40)}`)).toBeNull();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * 1024 * 1024);
  });
});

describe('what goes in comes out', () => {
  it('OPEN', () => {
    fc.assert(
      fc.property(method, latin1(300), headers, length, (name, target, fields, bodyBytes) => {
        expect(decodeOpen(encodeOpen(name, target, fields, bodyBytes))).toEqual({
          method: name,
          target,
          headers: fields,
          bodyBytes,
          endsStream: bodyBytes === 0,
        });
      }),
    );
  });

  it('HEAD, its times as exactly as docs/link.md says', () => {
    const status = fc.integer({ min: 200, max: 999 });
    fc.assert(
      fc.property(
        status,
        latin1(60),
        headers,
        length,
        fc.boolean(),
        timing,
        (code, reason, fields, bodyBytes, hasBody, hop) => {
          const said = { status: code, reason, headers: fields, bodyBytes, hasBody };
          const { far: told, ...head } = decodeHead(encodeHead(said, hop))!;
          expect(head).toEqual({ ...said, data: null, endsStream: false });
          expectTiming(told, hop);
        },
      ),
    );
  });

  it('END, which is empty when it has nothing to say', () => {
    expect(encodeEnd([], null)).toBe('');
    fc.assert(
      fc.property(headers, timing, (trailers, hop) => {
        const end = decodeEnd(encodeEnd(trailers, hop))!;
        expect(end.trailers).toEqual(trailers);
        expectTiming(end.timing, hop);
      }),
    );
  });

  it('times that are none are none, and absurd ones are cut to three days', () => {
    const partsMs = Object.assign(newPartsMs(), [-1, Number.NaN, 0.0004, Number.POSITIVE_INFINITY]);
    const read = decodeEnd(encodeEnd([], { partsMs, totalMs: 1e300 }))!.timing!;
    const longest = (65_535 * 2 ** 22) / 1_000;
    expect([...Array.from(read.partsMs).slice(0, 4), read.totalMs]).toEqual([0, 0, 0, longest, longest]);
    const none = decodeEnd(encodeEnd([], { partsMs, totalMs: Number.NaN }))!.timing!;
    expect([...Array.from(none.partsMs).slice(0, 4), none.totalMs]).toEqual([0, 0, 0, 0, 0]);
  });

  it('a timing of an unknown scale is none', () => {
    const payload = encodeEnd([], { partsMs: newPartsMs(), totalMs: 1 });
    expect(payload).toHaveLength(1 + timingBytes + 1);
    const withScale = (scale: number) => `${payload[0]!}${String.fromCharCode(scale)}${payload.slice(2)}`;
    expect(decodeEnd(withScale(22))?.timing?.totalMs).toBe(1 << 22);
    expect([decodeEnd(withScale(23)), decodeEnd(withScale(255))]).toEqual([null, null]);
  });

  it('a payload of the largest head that listeners let in fits into its frame, with what sidecars add', () => {
    const fields: string[] = [];
    const count = limits.headerFieldsMax + limits.linkAddedFieldsMax;
    expect(count).toBeLessThanOrEqual(limits.linkFieldsMax);
    const valueChars = Math.floor((limits.headBytesMax + limits.linkAddedBytesMax) / count) - 4;
    for (let i = 0; i < count; i++) fields.push('x', 'v'.repeat(valueChars - 1));
    const target = '/'.repeat(limits.targetBytesMax);
    const bytesMax = payloadBytesMax('PROPPATCH'.length + target.length, headerList(fields));
    expect(encodeOpen('PROPPATCH', target, fields, -1).length).toBeLessThanOrEqual(bytesMax);
    expect(bytesMax).toBeLessThan(frameShapes[frameType.open]!.max);
  });
});
