/**
 * A hop's timing as 23 bytes of a HEAD or END: the scale, the total, and each part in the ledger's order, two bytes each, in units of
 * 2^scale microseconds. So all is exact to the microsecond up to 65 ms, and to 1/65,536 of the total beyond.
 *
 * Fixed places make it cheap at both ends: it is written byte by byte into the frame, and a caller reads the total only, unless somebody asks for the parts.
 */
import type { HopTiming } from '../../telemetry/ledger.ts';
import { newPartsMs, type PartsMs, parts } from '../../telemetry/recorder.ts';

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
  view.setUint8(at, scale);
  view.setUint16(at + totalAt, wordOf(totalMs * perMs));
  view.setInt32(at + partsAt, (wordOf(partsMs[0]! * perMs) << 16) | wordOf(partsMs[1]! * perMs));
  view.setInt32(at + partsAt + 4, (wordOf(partsMs[2]! * perMs) << 16) | wordOf(partsMs[3]! * perMs));
  view.setInt32(at + partsAt + 8, (wordOf(partsMs[4]! * perMs) << 16) | wordOf(partsMs[5]! * perMs));
  view.setInt32(at + partsAt + 12, (wordOf(partsMs[6]! * perMs) << 16) | wordOf(partsMs[7]! * perMs));
  view.setInt32(at + partsAt + 16, (wordOf(partsMs[8]! * perMs) << 16) | wordOf(partsMs[9]! * perMs));
}

/** What is no time, NaN too, is 0. */
const wordOf = (units: number): number => (units > 0 ? Math.min(wordMax, units + 0.5) | 0 : 0);

/** Reads `timingBytes`. Null: there is none of this version. */
export function decodeTiming(view: DataView, at: number): HopTiming | null {
  return view.getUint8(at) > scaleMax ? null : new ToldTiming(view, at);
}

/** Keeps the parts as they came, two in a number: most are asked for their total only. */
class ToldTiming implements HopTiming {
  readonly totalMs: number;
  private readonly total: number;
  private readonly scale: number;
  private readonly loopDecide: number;
  private readonly queueConnect: number;
  private readonly tlsSend: number;
  private readonly waitTransfer: number;
  private readonly ownNetwork: number;

  constructor(view: DataView, at: number) {
    this.scale = 1 << view.getUint8(at);
    this.total = view.getUint16(at + totalAt);
    this.totalMs = (this.total * this.scale) / 1000;
    this.loopDecide = view.getInt32(at + partsAt);
    this.queueConnect = view.getInt32(at + partsAt + 4);
    this.tlsSend = view.getInt32(at + partsAt + 8);
    this.waitTransfer = view.getInt32(at + partsAt + 12);
    this.ownNetwork = view.getInt32(at + partsAt + 16);
  }

  get partsMs(): PartsMs {
    const partsMs = newPartsMs();
    [this.loopDecide, this.queueConnect, this.tlsSend, this.waitTransfer, this.ownNetwork].forEach((two, index) => {
      partsMs[2 * index] = this.msOf(two >>> 16);
      partsMs[2 * index + 1] = this.msOf(two & wordMax);
    });
    return partsMs;
  }

  /** No part is longer than the whole, whoever says so. */
  private msOf(units: number): number {
    return (Math.min(this.total, units) * this.scale) / 1000;
  }
}
