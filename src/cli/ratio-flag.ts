/** A flag that is a share of all: `0.05`, or `5%`. */
import { InvalidArgumentError } from 'commander';

export function parseRatio(text: string): number {
  const [, digits = '', percent = ''] = /^([0-9]{1,3}(?:\.[0-9]{1,9})?)(%?)$/.exec(text) ?? [];
  const ratio = digits === '' ? Number.NaN : Number(digits) / (percent === '' ? 1 : 100);
  if (!(ratio >= 0 && ratio <= 1))
    throw new InvalidArgumentError('Expected a share of 0 to 1, or a percentage: 0.05 or 5%.');
  return ratio;
}
