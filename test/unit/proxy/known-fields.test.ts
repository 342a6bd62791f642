import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldNumber } from '../../../src/proxy/field-names.ts';
import { findField, findFieldAt, type KnownField, noteField } from '../../../src/proxy/known-fields.ts';
import { varint } from '../../../src/proxy/link/head-codec.ts';

const copy = (text: string) => Buffer.from(text, 'latin1').toString('latin1');

/** Twice, as two messages would. */
function say(name: string, value: string): KnownField | null {
  for (let i = 0; i < 2; i++) if (findField(name, value) === null) noteField(fieldNumber(name), name, value);
  return findField(name, value);
}

function findOnLink(field: string, name: string, value: string): KnownField | null {
  const bytes = Buffer.from(`xyz${field}xyz`, 'latin1');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return findFieldAt(view, 3, 3 + field.length, name.length, name.charCodeAt(0), value.length);
}

describe('a field that came before', () => {
  it.each([
    ['Accept', 'application/json'],
    ['accept', '*'],
    ['Date', 'Sat, 28 Nov 2026 03:18:23 GMT'],
    ['X-Tenant', 'tenant-4711'],
    ['User-Agent', 'a\tb "c" ~'],
  ])('is known, with its line and its octets: %s', (name, value) => {
    noteField(fieldNumber(name), name, `${value.slice(0, -1)}?`);
    expect(findField(name, value)).toBeNull();
    noteField(fieldNumber(name), name, value);
    expect(findField(name, value)).toBeNull();
    noteField(fieldNumber(name), name, value);
    const known = findField(copy(name), copy(value))!;
    const number = fieldNumber(name);
    const nameOnLink = number === 0 ? `\0${varint(name.length)}${name}` : varint(number);
    expect(known).toEqual({
      name,
      number,
      value,
      line: `\r\n${name}: ${value}`,
      onLink: nameOnLink + varint(value.length) + value,
    });
    expect(findOnLink(known.onLink, name, value)).toBe(known);
  });

  it.each([
    ['Authorization', 'Bearer 0123'],
    ['cookie', 'session=1'],
    ['X-Api-Key', '0123'],
    ['X-Auth', 'me'],
    ['X-Session', 'x'],
    ['X-CSRF-Token', 'x'],
    ['traceparent', '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01'],
    ['X-Request-Id', 'a'],
    ['Accept', ''],
    ['Accept', 'x'.repeat(127)],
    ['Accept', 'caf\xe9'],
    ['Accept', 'a\r\nHost: b'],
    ['Accept', 'a\0'],
    ['Accept', '\u0141'],
    ['Not a token', 'x'],
    ['X-\u0141', 'x'],
    ['', 'x'],
    ['x'.repeat(130), 'x'],
  ])('is not kept: %j %j', (name, value) => {
    expect(say(name, value)).toBeNull();
  });

  it('is never taken for another, however much came before', () => {
    const name = fc.constantFrom('Accept', 'accept', 'Cookie', 'Origin', 'X-A', 'x-a', 'X-B', 'Via', 'A', '');
    const value = fc.oneof(
      fc.constantFrom('', 'a', 'b', 'ab', 'abcd', 'abce', 'bbcd', 'abcdefgh', 'abcdefgi'),
      fc.string({ maxLength: 140 }),
      fc.string({ unit: fc.nat(0x1ff).map((code) => String.fromCharCode(code)), maxLength: 6 }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 40 }), (said) => {
        for (const [aName, aValue] of said) {
          const known = say(aName, aValue);
          if (known === null) continue;
          expect([known.name, known.value]).toEqual([aName, aValue]);
          expect(known.line).toBe(`\r\n${aName}: ${aValue}`);
          expect(known.value).toMatch(/^[\t\x20-\x7e]+$/);
        }
        for (const [aName, aValue] of said) {
          const known = findField(aName, aValue);
          if (known !== null) expect([known.name, known.value]).toEqual([aName, aValue]);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it('is not found in octets that differ in one, or go on', () => {
    const { onLink } = say('X-Tenant', 'tenant-4711')!;
    for (let at = 0; at < onLink.length; at++)
      for (const other of ['\xff', String.fromCharCode(onLink.charCodeAt(at) ^ 1)])
        expect(findOnLink(onLink.slice(0, at) + other + onLink.slice(at + 1), 'X-Tenant', 'tenant-4711')).toBeNull();
    expect(findOnLink(`${onLink}x`, 'X-Tenant', 'tenant-4711')).toBeNull();
    expect(findOnLink(onLink.slice(0, -1), 'X-Tenant', 'tenant-4711')).toBeNull();
  });
});
