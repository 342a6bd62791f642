import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { failures } from '../../../src/proxy/failure.ts';

const page = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');

describe('docs/failures.md', () => {
  it('has a row for every failure there is, and none that is not', () => {
    const rows = page('failures.md')
      .split('\n')
      .filter((line) => line.startsWith('| `'));
    const expected = Object.values(failures).map(
      ({ code, status, source, isSafeToRetry, message }) =>
        `| \`${code}\` | ${status} | ${source} | ${isSafeToRetry ? 'yes' : ''} | ${message} |`,
    );
    expect(rows).toEqual(expected);
  });
});
