import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fieldId, fieldIds, fieldNames, fieldNumber, lowerNames } from '../../../src/proxy/field-names.ts';
import {
  cutTo,
  dropFields,
  Field,
  fieldOf,
  fieldValue,
  headerList,
  joinedFieldValue,
  joinedHeaderValue,
  lineOf,
  newField,
  textsOf,
} from '../../../src/proxy/headers.ts';
import { keepField } from '../../../src/proxy/known-fields.ts';

const text = fc.string({ unit: fc.nat(0x1ff).map((code) => String.fromCharCode(code)), maxLength: 12 });
const name = fc.oneof(
  fc.constantFrom(...fieldNames, ...lowerNames, 'X-A', 'x-a', 'content\rlength'),
  fc.constantFrom('Cookie', 'cookie', 'COOKIE', 'Date', 'dATE'),
  text,
);
/** Fields as pairs. */
const anyFields = fc.array(fc.tuple(name, text), { maxLength: 12 });

describe('a list of fields', () => {
  it('is the same as names and values in turn, there and back', () => {
    fc.assert(
      fc.property(anyFields, (fields) => {
        const texts = fields.flat();
        const headers = headerList(texts);
        expect(headers.length).toBe(fields.length);
        expect(textsOf(headers)).toEqual(texts);
        expect(textsOf(headerList(textsOf(headers)))).toEqual(texts);
      }),
    );
    expect(headerList([])).toEqual([]);
    expect(textsOf([])).toEqual([]);
  });

  it('has of each field its number and its id, and nothing else', () => {
    fc.assert(
      fc.property(anyFields, (fields) => {
        const expected = fields.map(([of, value]) => {
          const number = fieldNumber(of);
          return new Field(of, value, number, fieldId(number, of), false, -1, '');
        });
        expect(headerList(fields.flat())).toStrictEqual(expected);
        expect(fields.map(([of, value]) => fieldOf(of, value))).toStrictEqual(expected);
        expect(fields.map(([of, value]) => newField(fieldNumber(of), of, value, false))).toStrictEqual(expected);
      }),
    );
  });

  it('loses the fields that are dropped, in place, and no other; each is asked for once and in order', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.tuple(name, text), fc.boolean()), { maxLength: 12 }), (fields) => {
        const headers = headerList(fields.flatMap(([field]) => field));
        const before = [...headers];
        const asked: Field[] = [];
        dropFields(headers, (field) => {
          asked.push(field);
          return fields[asked.length - 1]![1];
        });
        expect(asked).toEqual(before);
        const kept = before.filter((_, i) => !fields[i]![1]);
        expect(headers.length).toBe(kept.length);
        for (const [i, field] of kept.entries()) expect(headers[i]).toBe(field);
      }),
    );
  });

  it('is cut to a length, and never made longer', () => {
    const headers = headerList(['A', '1', 'B', '2', 'C', '3']);
    cutTo(headers, 4);
    expect(textsOf(headers)).toEqual(['A', '1', 'B', '2', 'C', '3']);
    cutTo(headers, 1);
    expect(textsOf(headers)).toEqual(['A', '1']);
    cutTo(headers, 0);
    expect(headers).toEqual([]);
  });
});

describe('the value of a field', () => {
  const headers = headerList(['X-A', '1', 'Cookie', 'a=1', 'x-a', '', 'COOKIE', 'b=2', 'X-a', '3', 'Date', '']);

  it('is the first of its name, in any case', () => {
    expect(fieldValue(headers, fieldIds.cookie)).toBe('a=1');
    expect(fieldValue(headers, fieldIds.date)).toBe('');
    expect(fieldValue(headers, fieldIds.host)).toBeUndefined();
    expect(fieldValue([], fieldIds.host)).toBeUndefined();
  });

  it('is all of them with commas, where they are joined', () => {
    expect(joinedFieldValue(headers, fieldIds.cookie)).toBe('a=1,b=2');
    expect(joinedFieldValue(headers, fieldIds.date)).toBe('');
    expect(joinedFieldValue(headers, fieldIds.host)).toBeUndefined();
    expect(joinedHeaderValue(headers, 'x-a')).toBe('1,,3');
    expect(joinedHeaderValue(headers, 'cookie')).toBe('a=1,b=2');
    expect(joinedHeaderValue(headers, 'date')).toBe('');
    expect(joinedHeaderValue(headers, 'x-b')).toBeUndefined();
    expect(joinedHeaderValue(headers, 'x')).toBeUndefined();
  });

  it('is what a search by letters finds, whatever the fields are', () => {
    const token = fc.constantFrom('Cookie', 'cookie', 'COOKIE', 'Cookie2', 'Date', 'dATE', 'TE', 'X-A', 'x-a');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(token, fc.constantFrom('', 'a', 'b,c')), { maxLength: 12 }),
        token,
        (fields, asked) => {
          const lower = asked.toLowerCase();
          const list = headerList(fields.flat());
          const values = fields.filter(([of]) => of.toLowerCase() === lower).map(([, value]) => value);
          const joined = values.length === 0 ? undefined : values.join(',');
          expect(joinedHeaderValue(list, lower)).toBe(joined);
          const id = lowerNames.indexOf(lower);
          if (id === -1) return;
          expect(fieldValue(list, id)).toBe(values[0]);
          expect(joinedFieldValue(list, id)).toBe(joined);
        },
      ),
    );
  });
});

describe('the line of a field', () => {
  it('ends the line before and has no end of its own', () => {
    fc.assert(
      fc.property(name, text, (of, value) => {
        expect(lineOf(fieldOf(of, value))).toBe(`\r\n${of}: ${value}`);
      }),
    );
  });

  it('is the same where the field is known', () => {
    for (const of of ['Accept', 'accept', 'ACCEPT', 'X-Tenant']) {
      const known = keepField(fieldNumber(of), of, 'a b')!;
      expect([known.place >= 0, lineOf(known)]).toEqual([true, lineOf(fieldOf(of, 'a b'))]);
    }
  });
});
