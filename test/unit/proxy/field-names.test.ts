import { describe, expect, it } from 'vitest';
import { isToken } from '../../../src/proxy/char-classes.ts';
import { fieldNames, fieldNumber, lineStart } from '../../../src/proxy/field-names.ts';

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
