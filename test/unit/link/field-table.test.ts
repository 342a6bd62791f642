import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../src/model/limits.ts';
import { type Field, fieldOf, textsOf } from '../../../src/proxy/headers.ts';
import { findField, knownOrNew, noteField, places } from '../../../src/proxy/known-fields.ts';
import { FieldTable, placeMark } from '../../../src/proxy/link/field-table.ts';
import { decodeEnd, decodeHead, decodeOpen, encodeOpen, varint } from './payload-text.ts';

/** Said so often that it is known. */
function known(name: string, value: string): Field {
  for (let i = 0; i < 2; i++) noteField(fieldOf(name, value));
  return findField(name, value)!;
}

const inFull = (name: string, value: string) => `\0${varint(name.length)}${name}${varint(value.length)}${value}`;
const marked = (mark: number, place: number) => String.fromCharCode((mark | place) >> 8, place & 0xff);
const openOf = (count: number, fields: string) => `\0\x01\x01${varint(1)}/${varint(count)}${fields}`;

describe('a field that comes again on a link', () => {
  it('takes two bytes, and is one and the same at the far end', () => {
    const { place } = known('X-Tenant', 'tenant-4711');
    const [said, heard] = [new FieldTable(), new FieldTable()];
    const headers = ['X-Tenant', 'tenant-4711', 'Cookie', 'a=b'];
    const first = encodeOpen('GET', '/', headers, 0, said);
    const again = encodeOpen('GET', '/', headers, 0, said);
    expect(first).toContain(marked(placeMark.first, place) + inFull('X-Tenant', 'tenant-4711'));
    expect(again).toBe(
      first.replace(marked(placeMark.first, place) + inFull('X-Tenant', 'tenant-4711'), marked(placeMark.again, place)),
    );
    expect([first, again].map((payload) => decodeOpen(payload, heard)?.headers)).toEqual([headers, headers]);
    // The next link knows nothing of it.
    expect(decodeOpen(again)).toBeNull();
    expect(encodeOpen('GET', '/', headers, 0)).toBe(first);
  });

  it('is said anew once another was at its place', () => {
    const [said, heard] = [new FieldTable(), new FieldTable()];
    for (const value of ['tenant-1', 'tenant-2', 'tenant-1', 'tenant-1', 'tenant-2']) {
      known('X-Tenant', value);
      const payload = encodeOpen('GET', '/', ['X-Tenant', value], 0, said);
      expect(decodeOpen(payload, heard)?.headers).toEqual(['X-Tenant', value]);
    }
  });

  it('is what was said, whatever comes in between: any heads, any fields, in one order at both ends', () => {
    const name = fc.constantFrom('Accept', 'accept', 'Cookie', 'X-A', 'x-a', 'Via', 'A', 'authorization');
    const value = fc.oneof(
      fc.constantFrom('', 'a', 'b', 'ab', 'ba', 'abcd', 'caf\xe9', 'a\r\nb'),
      fc.string({ maxLength: 140 }),
    );
    const latin1 = (text: string) => Buffer.from(text, 'latin1').toString('latin1');
    fc.assert(
      fc.property(fc.array(fc.array(fc.tuple(name, value), { maxLength: 6 }), { maxLength: 20 }), (heads) => {
        const [said, heard] = [new FieldTable(), new FieldTable()];
        for (const fields of heads) {
          for (const [aName, aValue] of fields) noteField(fieldOf(aName, latin1(aValue)));
          const headers = fields.flatMap(([aName, aValue]) => [aName, latin1(aValue)]);
          expect(decodeOpen(encodeOpen('GET', '/', headers, 0, said), heard)?.headers).toEqual(headers);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('a peer that says what it may not', () => {
  const heard = new FieldTable();
  it.each<readonly [string, string]>([
    ['again what it never said', openOf(1, marked(placeMark.again, 3))],
    ['a mark that has no meaning', openOf(1, `${marked(placeMark.end, 3)}${inFull('A', 'b')}`)],
    ['the highest mark', openOf(1, `\xff\xff${inFull('A', 'b')}`)],
    ['a mark without its second byte', openOf(1, '\x80')],
    ['a first time without a field', openOf(1, marked(placeMark.first, 3))],
    ['a first time in a first time', openOf(1, marked(placeMark.first, 3).repeat(2) + inFull('A', 'b'))],
    ['a credential for the first time', openOf(1, marked(placeMark.first, 3) + inFull('Cookie', 'a=b'))],
    ['what is another each time', openOf(1, marked(placeMark.first, 3) + inFull('traceparent', 'x'))],
    ['nothing for the first time', openOf(1, marked(placeMark.first, 3) + inFull('A', ''))],
    ['a name that is no token', openOf(1, marked(placeMark.first, 3) + inFull('A B', 'c'))],
    ['the end of a line', openOf(1, marked(placeMark.first, 3) + inFull('A', 'b\r\nC: d'))],
    ['what is not ASCII', openOf(1, marked(placeMark.first, 3) + inFull('A', 'caf\xe9'))],
    ['what is longer than may be known', openOf(1, marked(placeMark.first, 3) + inFull('A', 'x'.repeat(126)))],
  ])('is not understood: %s', (_what, payload) => {
    expect(decodeOpen(payload, heard)).toBeNull();
    // Nothing of it was kept.
    expect(decodeOpen(openOf(1, marked(placeMark.again, 3)), heard)).toBeNull();
  });

  it('is understood at each place, and keeps no more than one field there', () => {
    const table = new FieldTable();
    for (let place = 0; place < places; place++) {
      const payload = openOf(1, marked(placeMark.first, place) + inFull('X-Place', `at ${place}`));
      expect(decodeOpen(payload, table)?.headers).toEqual(['X-Place', `at ${place}`]);
    }
    for (let place = 0; place < places; place++)
      expect(decodeOpen(openOf(1, marked(placeMark.again, place)), table)?.headers).toEqual(['X-Place', `at ${place}`]);
  });

  it('gets no more fields out of a small frame than a frame may have', () => {
    const table = new FieldTable();
    decodeOpen(openOf(1, marked(placeMark.first, 1) + inFull('A', 'b')), table);
    const all = (count: number) => openOf(count, marked(placeMark.again, 1).repeat(count));
    expect(decodeOpen(all(limits.linkFieldsMax), table)?.headers).toHaveLength(2 * limits.linkFieldsMax);
    expect(decodeOpen(all(limits.linkFieldsMax + 1), table)).toBeNull();
  });

  it('has no places in trailers', () => {
    const table = new FieldTable();
    expect(
      decodeHead(`\0${varint(200)}\0\x01${marked(placeMark.first, 1)}${inFull('A', 'b')}`, table)?.headers,
    ).toEqual(['A', 'b']);
    expect(decodeEnd(`\0\x01${marked(placeMark.again, 1)}`)).toBeNull();
    expect(decodeEnd(`\0\x01${marked(placeMark.first, 1)}${inFull('A', 'b')}`)).toBeNull();
  });

  it('gives everybody the field that is known already', () => {
    const field = known('X-Shared', 'value');
    const table = new FieldTable();
    decodeOpen(openOf(1, marked(placeMark.first, 7) + inFull('X-Shared', 'value')), table);
    expect(table.find(placeMark.again | 7)).toBe(field);
    expect(textsOf([knownOrNew('X-Shared', 'value')])).toEqual(['X-Shared', 'value']);
  });
});
