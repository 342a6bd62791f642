/**
 * A hop's timing as 23 bytes of a HEAD or END: the scale, the total, and each part in the ledger's order, two bytes each, in units of
 * 2^scale microseconds. So all is exact to the microsecond up to 65 ms, and to 1/65,536 of the total beyond. `own` is not said: it is what the others leave.
 *
 * Fixed places make it cheap at both ends: it is written into the frame, and a caller reads the total only, unless somebody asks for the parts.
 */
import type { HopTiming } from '../../telemetry/ledger.ts';
import { newPartsMs, type PartsMs, partIndex, parts } from '../../telemetry/recorder.ts';

export const timingBytes = 3 + 2 * parts.length;
const totalAt = 1;
const partsAt = 3;
const wordMax = 0xffff;
/** Beyond it, 75 hours, times are cut. */
const scaleMax = 22;

/** Its length is `timingBytes`; there is room for it at `at`. Written out, two parts at a time: a loop over the parts takes twice as many instructions. */
export function writeTiming(view: DataView, at: number, { partsMs, totalMs }: HopTiming): void {
  let scale = 0;
  let perMs = 1000;
  while (totalMs * perMs > wordMax && scale < scaleMax) {
    scale++;
    perMs /= 2;
  }
  // With one octet too many, which the first pair writes over.
  view.setInt32(at, (scale << 24) | (wordOf(totalMs * perMs) << 8));
  view.setInt32(at + partsAt, (wordOf(partsMs[0]! * perMs) << 16) | wordOf(partsMs[1]! * perMs));
  view.setInt32(at + partsAt + 4, (wordOf(partsMs[2]! * perMs) << 16) | wordOf(partsMs[3]! * perMs));
  view.setInt32(at + partsAt + 8, (wordOf(partsMs[4]! * perMs) << 16) | wordOf(partsMs[5]! * perMs));
  view.setInt32(at + partsAt + 12, (wordOf(partsMs[6]! * perMs) << 16) | wordOf(partsMs[7]! * perMs));
  view.setInt32(at + partsAt + 16, wordOf(partsMs[partIndex.network]! * perMs));
}

/** What is no time, NaN too, is 0. */
function wordOf(units: number): number {
  if (!(units > 0)) return 0;
  return units < wordMax ? (units + 0.5) | 0 : wordMax;
}

/** Reads `timingBytes`. Null: there is none of this version. */
export function decodeTiming(view: DataView, at: number): HopTiming | null {
  const exponent = view.getUint8(at);
  if (exponent > scaleMax) return null;
  const scale = 1 << exponent;
  const total = view.getUint16(at + totalAt);
  return new ToldTiming((total * scale) / 1000, scale, total, [
    view.getInt32(at + partsAt),
    view.getInt32(at + partsAt + 4),
    view.getInt32(at + partsAt + 8),
    view.getInt32(at + partsAt + 12),
    view.getInt32(at + partsAt + 16),
  ]);
}

/**
 * Keeps the parts as they came, two in a number: most are asked for their total only. Its constructor is so short that it is always compiled into who calls it:
 * with nine fields it was a call, of 380 instructions (ADR 30).
 */
class ToldTiming implements HopTiming {
  constructor(
    readonly totalMs: number,
    private readonly scale: number,
    private readonly total: number,
    private readonly pairs: readonly number[],
  ) {}

  get partsMs(): PartsMs {
    const partsMs = newPartsMs();
    const said = this.pairs.flatMap((pair) => [pair >>> 16, pair & wordMax]);
    const own = said.reduce((left, units, part) => (part === partIndex.own ? left : left - units), this.total);
    said.with(partIndex.own, Math.max(0, own)).forEach((units, part) => {
      // No part is longer than the whole, whoever says so.
      partsMs[part] = (Math.min(this.total, units) * this.scale) / 1000;
    });
    return partsMs;
  }
}
