import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isToken } from '../../../src/proxy/char-classes.ts';
import {
  fieldId,
  fieldIds,
  fieldNames,
  fieldNumber,
  isOfHop,
  lineStart,
  lowerNames,
} from '../../../src/proxy/field-names.ts';

/** What frames a message or is of one hop: whoever meets one of these has to look at it. */
const ofHop =
  'connection content-length expect http2-settings keep-alive proxy-connection te trailer transfer-encoding upgrade';
const numbered = fieldNames.slice(1);

describe('the names that have a number', () => {
  it('are tokens, which nobody looks at again', () => {
    expect(numbered.filter((name) => !isToken(name))).toEqual([]);
  });

  it('frame nothing and are not of one hop: answers take them without asking', () => {
    expect(numbered.filter((name) => ofHop.split(' ').includes(name.toLowerCase()))).toEqual([]);
  });

  it('are found by their number, also when they are another text, and no other is', () => {
    for (const [index, name] of numbered.entries()) {
      const copy = Buffer.from(`x${name}`).toString('latin1').slice(1);
      expect(fieldNumber(copy)).toBe(index + 1);
      for (const other of [`${name}x`, name.slice(1), `${name.slice(0, -1)}\r`, `${name.slice(0, -1)}\u0100`])
        expect(fieldNumber(other) === 0 || fieldNames[fieldNumber(other)] === other).toBe(true);
    }
    expect(fieldNumber('')).toBe(0);
  });

  it('begin a line as any other name does', () => {
    expect(numbered.map((name) => lineStart(fieldNumber(name), name))).toEqual(numbered.map((name) => `\r\n${name}: `));
    expect(lineStart(fieldNumber('X-Tenant'), 'X-Tenant')).toBe('\r\nX-Tenant: ');
  });
});

describe('the names that have an id', () => {
  const withId = lowerNames.slice(1);
  const idOf = (name: string) => fieldId(fieldNumber(name), name);
  const withIdInAnyCase = fc.mixedCase(fc.constantFrom(...withId));

  it('have it in lower case, in upper case, and as they are numbered', () => {
    for (const [index, name] of withId.entries())
      expect([idOf(name), idOf(name.toUpperCase())]).toEqual([index + 1, index + 1]);
    for (const name of numbered) expect(lowerNames[idOf(name)]).toBe(name.toLowerCase());
    expect(new Set(lowerNames).size).toBe(lowerNames.length);
  });

  it('have it in any case', () => {
    fc.assert(
      fc.property(withIdInAnyCase, (name) => {
        expect(lowerNames[idOf(name)]).toBe(name.toLowerCase());
      }),
      { numRuns: 2_000 },
    );
  });

  it('are all tokens that have one', () => {
    const character = fc.nat(0x1ff).map((code) => String.fromCharCode(code));
    const changed = fc
      .tuple(withIdInAnyCase, fc.nat(31), character, fc.nat(1))
      .map(([name, at, put, taken]) => name.slice(0, at) + put + name.slice(at + taken));
    const name = fc.oneof(changed, fc.string({ maxLength: 32 }), fc.string({ unit: character, maxLength: 80 }));
    fc.assert(
      fc.property(name, (any) => {
        if (isToken(any))
          expect(lowerNames[idOf(any)]).toBe(withId.includes(any.toLowerCase()) ? any.toLowerCase() : '');
        else expect(fieldNumber(any)).toBe(0);
      }),
      { numRuns: 5_000 },
    );
    for (const other of [
      '',
      'x-tenant',
      'content_length',
      'coo\u212aie',
      'coo\u016bie',
      'te\u0000',
      `te${'x'.repeat(64)}`,
    ])
      expect(idOf(other)).toBe(0);
  });

  it('have no number where a character that is no letter differs in the bit of case: somebody looks at them', () => {
    const others = [...fieldNames, ...lowerNames].flatMap((name) =>
      [...name.matchAll(/[^a-z]/gi)].map(
        ({ index }) =>
          name.slice(0, index) + String.fromCharCode(name.charCodeAt(index) ^ 0x20) + name.slice(index + 1),
      ),
    );
    expect(others).toContain('content\rlength');
    expect(others.filter((name) => isToken(name) || fieldNumber(name) !== 0)).toEqual([]);
  });

  it('are those that the code asks for, and those of one hop', () => {
    for (const [key, id] of Object.entries(fieldIds))
      expect(lowerNames[id]!.replace(/-./g, (dash) => dash[1]!.toUpperCase())).toBe(key);
    expect(lowerNames.filter((_, id) => isOfHop[id]).sort()).toEqual([
      ...['connection', 'content-length', 'http2-settings', 'keep-alive', 'proxy-connection', 'te'],
      ...['transfer-encoding', 'upgrade'],
    ]);
  });
});
