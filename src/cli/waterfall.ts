/** One request as a waterfall for a terminal: its parts below each other, and within them those of the far hop. */
import type { RecentRequest } from '../model/recent-request.ts';
import { type Part, parts } from '../telemetry/recorder.ts';
import { formatMs } from './table.ts';

const barChars = 48;
/** `own` lies between all others, and is drawn behind them; the network's share before and after the far side is not known. */
const drawnOrder: readonly Part[] = [
  ...parts.filter((part) => part !== 'own' && part !== 'transfer' && part !== 'network'),
];

export function formatWaterfall(request: RecentRequest): string {
  const { totalMs, far, partsMs, isLoopEstimate } = request;
  const lines = [describeRequest(request)];
  let atMs = 0;
  const add = (name: string, ms: number, indent = '', mark = '') => {
    if (ms <= 0) return;
    lines.push(line(`${indent}${name}${mark}`, bar(atMs, ms, totalMs), ms));
    atMs += ms;
  };
  for (const part of drawnOrder) {
    const ms = partsMs[part] ?? 0;
    const startMs = atMs;
    add(part, ms, '', part === 'loop' && isLoopEstimate ? ' ~' : '');
    if (part !== 'wait') continue;
    const endMs = atMs;
    atMs = startMs;
    if (far !== null)
      for (const each of [...drawnOrder, 'network', 'own'] as const) add(each, far.partsMs[each] ?? 0, '  far ');
    atMs = endMs;
  }
  for (const part of ['network', 'transfer', 'own'] as const) add(part, partsMs[part] ?? 0);
  lines.push(line('total', '', totalMs));
  return lines.join('\n');
}

export function describeRequest(request: RecentRequest): string {
  const { time, direction, source, destination, method, path, status, failure, farFailure } = request;
  const failed = failure ?? (farFailure === undefined ? undefined : `far: ${farFailure}`);
  const endpoint = request.endpoint === '' ? '' : ` at ${request.endpoint}`;
  return [
    `${direction}  ${source || '-'} -> ${destination || '-'}${endpoint}  ${method} ${printable(path)}  ${status}${failed === undefined ? '' : ` ${failed}`}`,
    `${time}  trace ${request.traceId || '-'}  span ${request.spanId || '-'}  ${request.attempts} attempt${request.attempts === 1 ? '' : 's'}${request.route === '' ? '' : `  route ${request.route}`}`,
  ].join('\n');
}

/** A path is the client's word: nothing of it may steer a terminal. */
export const printable = (text: string): string =>
  Array.from(text, (char) => (/[\x20-\x7e]/.test(char) ? char : '?')).join('');

const line = (name: string, drawn: string, ms: number): string =>
  `  ${name.padEnd(14)} ${drawn.padEnd(barChars)} ${formatMs(ms).padStart(7)} ms`;

function bar(atMs: number, ms: number, totalMs: number): string {
  const scale = totalMs > 0 ? barChars / totalMs : 0;
  const from = Math.min(barChars - 1, Math.floor(atMs * scale));
  const chars = Math.max(1, Math.min(barChars - from, Math.round(ms * scale)));
  return ' '.repeat(from) + '#'.repeat(chars);
}
