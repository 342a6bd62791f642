/** Numbers of bytes as people write them: `65536`, `64KiB`, `10MiB`, `1GiB`. */
import { limits } from './limits.ts';

const unitBytes = { KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** For schemas: the same as `parseBytes` takes. */
export const byteSizePattern = '^[0-9]{1,16}(KiB|MiB|GiB)?$';
const form = /^([0-9]{1,16})(KiB|MiB|GiB)?$/;

/** Bytes. Throws RangeError for anything that is not a number of bytes; what a schema let through is one. */
export function parseBytes(text: string): number {
  const [, digits, unit] = form.exec(text) ?? [];
  if (digits === undefined) throw new RangeError(`not a number of bytes: ${text}`);
  return Number(digits) * (unit === undefined ? 1 : unitBytes[unit as keyof typeof unitBytes]);
}

/** Fields that hold a number, or a number of bytes in either form, as numbers. */
export function inBytes<Field extends string>(
  fields: Readonly<Partial<Record<Field, number | string>>>,
): Partial<Record<Field, number>> {
  const numbers: Partial<Record<Field, number>> = {};
  for (const [field, value] of Object.entries(fields) as [Field, number | string][])
    numbers[field] = typeof value === 'string' ? parseBytes(value) : value;
  return numbers;
}

/** What the limits of a Service may be: smallest and largest number of bytes. */
export const byteLimitRanges = {
  requestBodyBytes: [1, Number.MAX_SAFE_INTEGER],
  requestHeadBytes: [256, limits.headBytesMax],
  targetBytes: [1, limits.targetBytesMax],
  responseHeadBytes: [256, limits.headBytesMax],
} as const;
