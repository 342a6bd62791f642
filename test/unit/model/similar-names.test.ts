import { describe, expect, it } from 'vitest';
import { nearest, slipOf } from '../../../src/model/similar-names.ts';

describe('a name that may be a slip', () => {
  const known = ['cart', 'web', 'db', 'payments', 'shard-1'];

  it.each([
    ['crat', 'cart'],
    ['carts', 'cart'],
    ['payment', 'payments'],
    ['paymnets', 'payments'],
    ['wbe', null],
    ['we', 'web'],
    ['ui', null],
    ['cart', null],
    ['cart-next', null],
    ['shard-2', null],
    ['shard-17', null],
    ['shrad-1', 'shard-1'],
    ['a', null],
  ])('%s: %s', (name, meant) => {
    expect(slipOf(name, known)).toBe(meant);
  });

  it('is the nearest one that is near, in any case of letters', () => {
    expect(nearest('PORT', ['part', 'port', 'spot'])).toBe('port');
    expect(nearest('nothing', ['port'])).toBeNull();
  });
});
