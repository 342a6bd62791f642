/** Columns for people: left-aligned words, right-aligned numbers, no lines, no colours (so that it can be cut and grepped). */
import Table from 'cli-table3';

export type Cell = string | number;

const noLines = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Columns whose cells are all numbers (or `-`) are aligned right. */
export function formatTable(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const isNumeric = (column: number) =>
    rows.length > 0 && rows.every((row) => /^(-|[0-9.]+( ?(%|ms|s))?)$/.test(String(row[column])));
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (isNumeric(column) ? 'right' : 'left')),
    chars: noLines,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const row of rows) table.push(row.map(String));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** `42s`, `3m`, `5h`, `2d`: the largest whole unit. */
export function formatAge(ageMs: number): string {
  const seconds = Math.max(0, Math.floor(ageMs / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Three significant digits are what a histogram can say. */
export const formatMs = (ms: number): string => (ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2));

/** `1 sidecar`, `3 sidecars`. */
export const countOf = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
