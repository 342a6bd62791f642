/**
 * The hop ledger on the wire: how one hop's parts are said in `Server-Timing`, and how the hop before reads them.
 *
 * All times are milliseconds of one process's monotonic clock (`performance.now()`); two machines' clocks are never compared, only
 * lengths are. Each part, and the two readings it lies between:
 *
 *   loop      the request could be read -> the listener's callback for its head began (an estimate: loop-delay.ts)
 *   decide    callback began -> the rule is chosen (routing, patterns, discovery)
 *   queue     the rule is chosen -> a connection is assigned, without connecting; on a link that is open it is 0
 *   connect   connecting, TCP; 0 on a kept connection
 *   tls       the handshake after it; 0 without TLS
 *   send      the connection is assigned -> the request is written
 *   wait      the request is written -> the first byte of the answer
 *   transfer  the answer's head was handed on -> its last byte was
 *   own       what is left of the total: the proxy's own work
 *   network   between sidecars, the share of the caller's wait that the far side did not account for: `wait` is then the far
 *             side's total to its first byte. Where the far side is no sidecar, `wait` holds both.
 *
 * docs/ledger.md has the picture, and what becomes of retries, bodies and aborts. `totalMs` of a hop includes `loop`. In `Server-Timing` it ends when the answer's head leaves, so it and the parts lack `transfer`.
 */
import { newPartsMs, type PartsMs, partIndex, parts } from './recorder.ts';

/** What one hop took so far, as it tells the hop before. */
export interface HopTiming {
  /** By `partIndex`; parts that were not named are 0. */
  readonly partsMs: PartsMs;
  /** From head read to now, ms. */
  readonly totalMs: number;
}

/** What the far sidecar said of its hop: until its answer's head was written, or at the end. */
export type FarTiming = HopTiming;

/** Room for every part and the total with its longest number, of two hops. A longer value is not from a sidecar. */
const farBytesMax = 1024;
const farPrefix = 'up-';
const separator = ', ';
const durationKey = ';dur=';

/**
 * `wait;dur=3.2, own;dur=0.1, up-wait;dur=2.9, up-total;dur=3, total;dur=3.3`: own parts in the ledger's order, then the far hop's
 * with `up-` before their names, `total` last. Parts that are zero to the microsecond are left out.
 */
export function formatServerTiming(partsMs: PartsMs, totalMs: number, far: FarTiming | null): string {
  let value = formatParts('', partsMs);
  if (far !== null) {
    value += formatParts(farPrefix, far.partsMs);
    value += `${farPrefix}total${durationKey}${milliseconds(far.totalMs)}${separator}`;
  }
  return `${value}total${durationKey}${milliseconds(totalMs)}`;
}

/**
 * Reads what `formatServerTiming` of the far sidecar wrote. Null for everything else, so that the Server-Timing of an app is never
 * taken for it: names outside the ledger, a name twice, numbers that are not plain decimals, no `total` at the end. The far hop's own
 * `up-` entries are checked and left out: a hop tells of itself and of the next one.
 */
export function parseFarTiming(value: string): FarTiming | null {
  if (value.length > farBytesMax) return null;
  const partsMs = newPartsMs();
  let seen = 0;
  let at = 0;
  for (;;) {
    const nameEnd = value.indexOf(durationKey, at);
    if (nameEnd === -1) return null;
    const name = value.slice(at, nameEnd);
    const numberAt = nameEnd + durationKey.length;
    const found = value.indexOf(separator, numberAt);
    const numberEnd = found === -1 ? value.length : found;
    const ms = parseMilliseconds(value, numberAt, numberEnd);
    if (ms < 0) return null;
    if (name === 'total') return found === -1 ? { partsMs, totalMs: ms } : null;
    if (found === -1) return null;
    const entry = entryNumber(name);
    if (entry === -1 || (seen & (1 << entry)) !== 0) return null;
    seen |= 1 << entry;
    if (entry < parts.length) partsMs[entry] = ms;
    at = found + separator.length;
  }
}

/**
 * Splits the caller's wait, in place, once the far side's total is known. A far side that claims more than the caller waited (two
 * clocks of different rate, rounding) leaves no network time rather than a negative one. `waitedBeforeMs`: in earlier attempts.
 */
export function splitNetwork(partsMs: PartsMs, far: FarTiming, waitedBeforeMs = 0): void {
  const waitMs = partsMs[partIndex.wait]! - waitedBeforeMs;
  const farMs = Math.min(waitMs, far.totalMs);
  partsMs[partIndex.wait] = waitedBeforeMs + farMs;
  partsMs[partIndex.network]! += waitMs - farMs;
}

function formatParts(prefix: string, partsMs: PartsMs): string {
  let value = '';
  for (let i = 0; i < parts.length; i++) {
    const ms = partsMs[i]!;
    if (i === partIndex.transfer || !(ms >= 0.0005)) continue;
    value += `${prefix}${parts[i]!}${durationKey}${milliseconds(ms)}${separator}`;
  }
  return value;
}

/** At most three decimals, without an exponent. */
function milliseconds(ms: number): string {
  return ms > 0 ? String(Math.round(Math.min(ms, 1e9) * 1000) / 1000) : '0';
}

/** 0 to 9 for a part, 10 to 20 for one of the hop after (`up-total` last), -1 for anything else. */
function entryNumber(name: string): number {
  if (!name.startsWith(farPrefix)) return parts.indexOf(name as (typeof parts)[number]);
  const farName = name.slice(farPrefix.length);
  if (farName === 'total') return parts.length * 2;
  const part = parts.indexOf(farName as (typeof parts)[number]);
  return part === -1 ? -1 : parts.length + part;
}

/** `1`, `12.5`, `0.125`: up to ten digits, then up to three decimals. -1 for anything else. */
function parseMilliseconds(value: string, start: number, end: number): number {
  let whole = 0;
  let at = start;
  for (; at < end; at++) {
    const digit = value.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) break;
    whole = whole * 10 + digit;
  }
  if (at === start || at - start > 10) return -1;
  if (at === end) return whole;
  const point = at;
  if (value.charCodeAt(point) !== 46) return -1;
  let fraction = 0;
  let scale = 1;
  for (at++; at < end; at++) {
    const digit = value.charCodeAt(at) - 48;
    if (digit < 0 || digit > 9) return -1;
    fraction = fraction * 10 + digit;
    scale *= 10;
  }
  if (scale === 1 || scale > 1000) return -1;
  return (whole * scale + fraction) / scale;
}
