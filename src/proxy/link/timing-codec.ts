/**
 * A hop's timing as 23 characters of a HEAD or END: the scale, the total, and each part in the ledger's order, two bytes each, in units of
 * 2^scale microseconds. So all is exact to the microsecond up to 65 ms, and to 1/65,536 of the total beyond.
 *
 * Fixed places make it cheap at both ends: 21 ns to write, where numbers of varying length took 87, and a caller reads the total only, unless somebody
 * asks for the parts.
 */
import type { HopTiming } from '../../telemetry/ledger.ts';
import { newPartsMs, type PartsMs, partIndex, parts } from '../../telemetry/recorder.ts';

export const timingChars = 3 + 2 * parts.length;
const totalAt = 1;
const partsAt = 3;
const wordMax = 0xffff;
/** Beyond it, 75 hours, times are cut. */
const scaleMax = 22;

/** What is no time, NaN too, is 0. */
const wordOf = (units: number): number => (units > 0 ? Math.min(wordMax, units + 0.5) | 0 : 0);

export function encodeTiming({ partsMs, totalMs }: HopTiming): string {
  let scale = 0;
  let perMs = 1000;
  while (totalMs * perMs > wordMax && scale < scaleMax) {
    scale++;
    perMs /= 2;
  }
  const total = wordOf(totalMs * perMs);
  const loop = wordOf(partsMs[partIndex.loop]! * perMs);
  const decide = wordOf(partsMs[partIndex.decide]! * perMs);
  const queue = wordOf(partsMs[partIndex.queue]! * perMs);
  const connect = wordOf(partsMs[partIndex.connect]! * perMs);
  const tls = wordOf(partsMs[partIndex.tls]! * perMs);
  const send = wordOf(partsMs[partIndex.send]! * perMs);
  const wait = wordOf(partsMs[partIndex.wait]! * perMs);
  const transfer = wordOf(partsMs[partIndex.transfer]! * perMs);
  const own = wordOf(partsMs[partIndex.own]! * perMs);
  const network = wordOf(partsMs[partIndex.network]! * perMs);
  // One call with all of them: joining characters, or spreading an array of them, takes twice to four times as long.
  return String.fromCharCode(
    scale,
    total >> 8,
    total & 255,
    loop >> 8,
    loop & 255,
    decide >> 8,
    decide & 255,
    queue >> 8,
    queue & 255,
    connect >> 8,
    connect & 255,
    tls >> 8,
    tls & 255,
    send >> 8,
    send & 255,
    wait >> 8,
    wait & 255,
    transfer >> 8,
    transfer & 255,
    own >> 8,
    own & 255,
    network >> 8,
    network & 255,
  );
}

/** Null: there is none of this version at this place of the payload. */
export function decodeTiming(payload: string, at: number): HopTiming | null {
  if (at + timingChars > payload.length || payload.charCodeAt(at) > scaleMax) return null;
  return new ToldTiming(payload, at);
}

/** Keeps the payload of the head until its request is over. */
class ToldTiming implements HopTiming {
  readonly totalMs: number;
  private readParts: PartsMs | null = null;

  constructor(
    private readonly payload: string,
    private readonly at: number,
  ) {
    this.totalMs = this.timeAt(totalAt);
  }

  get partsMs(): PartsMs {
    if (this.readParts === null) {
      this.readParts = newPartsMs();
      // No part is longer than the whole, whoever says so.
      for (let part = 0; part < parts.length; part++)
        this.readParts[part] = Math.min(this.totalMs, this.timeAt(partsAt + 2 * part));
    }
    return this.readParts;
  }

  private timeAt(place: number): number {
    const { payload, at } = this;
    const units = (payload.charCodeAt(at + place) << 8) | payload.charCodeAt(at + place + 1);
    return (units * (1 << payload.charCodeAt(at))) / 1000;
  }
}
