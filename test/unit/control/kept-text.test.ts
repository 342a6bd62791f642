import type { FastifyRequest } from 'fastify';
import { describe, expect, it } from 'vitest';
import { keptHeader, wantedByRollback, wantedByTransaction } from '../../../src/control/api/wanted-objects.ts';

const asSent = (text: string) => Buffer.from(text).toString('latin1');
const kept = (sent: string) =>
  keptHeader({ headers: { 'weft-actor': sent } } as unknown as FastifyRequest, 'weft-actor');

describe('what is kept with a revision', () => {
  it.each(['\u001b[2J', 'a\u0007', 'two\nlines', 'a\r', '\u007f', '\u009b31m', 'a\tb'])('is no %j', (text) => {
    const refusal = {
      code: 'bad-request',
      message: expect.stringMatching(/control characters; it has U\+00[0-9A-F]{2}\.$/),
    };
    expect(() => wantedByTransaction({ apply: [], message: text })).toThrow(expect.objectContaining(refusal));
    expect(() => wantedByRollback({ revision: 1, message: text })).toThrow(expect.objectContaining(refusal));
    expect(() => kept(asSent(text))).toThrow(expect.objectContaining(refusal));
  });

  it('is any other text', () => {
    expect(wantedByRollback({ revision: 1, message: 'größer, 中 und 🙂' }).message).toBe('größer, 中 und 🙂');
    expect(kept(asSent('Élodie 中'))).toBe('Élodie 中');
    expect(kept('Jos\u00e9')).toBe('Jos\u00e9');
  });
});
