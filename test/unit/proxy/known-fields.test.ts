import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldId, fieldNumber } from '../../../src/proxy/field-names.ts';
import { type Field, fieldOf } from '../../../src/proxy/headers.ts';
import { findField, knownOrNew, noteField } from '../../../src/proxy/known-fields.ts';

const copy = (text: string) => Buffer.from(text, 'latin1').toString('latin1');

/** Twice, as two messages would. */
function say(name: string, value: string): Field | null {
  for (let i = 0; i < 2; i++) if (findField(name, value) === null) noteField(fieldOf(name, value));
  return findField(name, value);
}

describe('a field that came before', () => {
  it.each([
    ['Accept', 'application/json'],
    ['accept', '*'],
    ['Date', 'Sat, 28 Nov 2026 03:18:23 GMT'],
    ['X-Tenant', 'tenant-4711'],
    ['User-Agent', 'a\tb "c" ~'],
  ])('is known, with its line: %s', (name, value) => {
    noteField(fieldOf(name, `${value.slice(0, -1)}?`));
    expect(findField(name, value)).toBeNull();
    noteField(fieldOf(name, value));
    expect(findField(name, value)).toBeNull();
    noteField(fieldOf(name, value));
    const known = findField(copy(name), copy(value))!;
    const number = fieldNumber(name);
    expect(known).toEqual({
      name,
      number,
      id: fieldId(number, name),
      value,
      line: `\r\n${name}: ${value}`,
      isPlain: true,
      place: expect.any(Number),
    });
  });

  it.each([
    ['Authorization', 'Bearer 0123'],
    ['cookie', 'session=1'],
    ['X-Api-Key', '0123'],
    ['X-Auth', 'me'],
    ['X-Session', 'x'],
    ['X-CSRF-Token', 'x'],
    ['X-XSRF', 'x'],
    ['X-Password', 'x'],
    ['X-Credential', 'x'],
    ['X-JWT', 'x'],
    ['x-otp', '123456'],
    ['X-PIN', '1234'],
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

  it('is one and the same for all, until another takes its place', () => {
    const known = say('X-Tenant', 'tenant-4711')!;
    expect(knownOrNew('X-Tenant', copy('tenant-4711'))).toBe(known);
    noteField(fieldOf('X-Tenant', 'tenant-4711'));
    expect(findField('X-Tenant', 'tenant-4711')).toBe(known);
    const other = say('X-Tenant', 'tenant-4712')!;
    expect([other.place, findField('X-Tenant', 'tenant-4711')]).toEqual([known.place, null]);
    expect(knownOrNew('X-Tenant', 'tenant-4711')).toEqual(fieldOf('X-Tenant', 'tenant-4711'));
  });
});
