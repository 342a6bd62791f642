import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { defaultListenerLimits, limitNames } from '../../../src/model/listener-limits.ts';
import { ServiceLimits } from '../../../src/model/resource-schemas.ts';
import { failures } from '../../../src/proxy/failure.ts';

const page = readFileSync(new URL('../../../docs/limits.md', import.meta.url), 'utf8');
const rowsOf = (heading: string): string[][] =>
  page
    .split(`## ${heading}\n`)[1]!
    .split('\n## ')[0]!
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );

/** `90s` and `24h`, as the page writes them. */
const durationOf = (ms: number): string =>
  ms % 3600_000 === 0 ? `${ms / 3600_000}h` : ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;

describe('docs/limits.md', () => {
  it('has every limit of a listener with its default, its range and its listeners', () => {
    const expected = Object.entries(limitNames).map(([name, { field, unit, min, max, listeners }]) => {
      const show = (value: number) =>
        value === Number.POSITIVE_INFINITY ? 'none' : unit === 'duration' ? durationOf(value) : String(value);
      const [outbound, link] = [defaultListenerLimits.outbound[field], defaultListenerLimits.link[field]];
      const fallback = outbound === link ? show(outbound) : `${show(outbound)} (link: ${show(link)})`;
      return [`\`${name}\``, fallback, `${show(min)} to ${show(max)}`, listeners.join(', ')];
    });
    expect(rowsOf('Of a listener').map((cells) => cells.slice(0, 4))).toEqual(expected);
  });

  it('has every limit of a Service with its range', () => {
    const expected = Object.entries(ServiceLimits.properties).map(([name, schema]) => {
      type Range = { readonly minimum: number; readonly maximum: number };
      const { anyOf, ...own } = schema as unknown as Range & { readonly anyOf?: readonly Range[] };
      const { minimum, maximum } = anyOf?.at(-1) ?? own;
      return [`\`${name}\``, `${minimum} to ${maximum}`];
    });
    expect(rowsOf('Of a Service').map((cells) => cells.slice(0, 2))).toEqual(expected);
  });

  it('names statuses that go with their codes', () => {
    for (const cells of [...rowsOf('Of a listener'), ...rowsOf('Of a Service')]) {
      const [beyond, code] = cells.slice(-2) as [string, string];
      const failure = Object.values(failures).find((each) => `\`${each.code}\`` === code);
      if (/^\d{3}$/.test(beyond)) expect(failure?.status, code).toBe(Number(beyond));
      else expect(failure?.code === undefined || [499, 503].includes(failure.status), code).toBe(true);
    }
  });
});
