/**
 * A hop's timing as 23 bytes of a HEAD or END: the scale, the total, and each part in the ledger's order, two bytes each, in units of
 * 2^scale microseconds. So all is exact to the microsecond up to 65 ms, and to 1/65,536 of the total beyond.
 *
 * Fixed places make it cheap at both ends: it is written byte by byte into the frame, and a caller reads the total only, unless somebody asks for the parts.
 */
import type { HopTiming } from '../../telemetry/ledger.ts';
import { newPartsMs, type PartsMs, partIndex, parts } from '../../telemetry/recorder.ts';
import { readLatin1 } from './latin1.ts';

export const timingChars = 3 + 2 * parts.length;
const totalAt = 1;
const partsAt = 3;
const wordMax = 0xffff;
/** Beyond it, 75 hours, times are cut. */
const scaleMax = 22;

/** Its length is `timingChars`; there is room for it at `at`. Written out: a loop over the parts takes 680 instructions instead of 430. */
export function writeTiming(bytes: Uint8Array, at: number, { partsMs, totalMs }: HopTiming): void {
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
  bytes[at] = scale;
  bytes[at + 1] = total >> 8;
  bytes[at + 2] = total;
  bytes[at + 3] = loop >> 8;
  bytes[at + 4] = loop;
  bytes[at + 5] = decide >> 8;
  bytes[at + 6] = decide;
  bytes[at + 7] = queue >> 8;
  bytes[at + 8] = queue;
  bytes[at + 9] = connect >> 8;
  bytes[at + 10] = connect;
  bytes[at + 11] = tls >> 8;
  bytes[at + 12] = tls;
  bytes[at + 13] = send >> 8;
  bytes[at + 14] = send;
  bytes[at + 15] = wait >> 8;
  bytes[at + 16] = wait;
  bytes[at + 17] = transfer >> 8;
  bytes[at + 18] = transfer;
  bytes[at + 19] = own >> 8;
  bytes[at + 20] = own;
  bytes[at + 21] = network >> 8;
  bytes[at + 22] = network;
}

/** What is no time, NaN too, is 0. */
const wordOf = (units: number): number => (units > 0 ? Math.min(wordMax, units + 0.5) | 0 : 0);

const scratch = Buffer.alloc(timingChars);

/** The same as text, for what is seldom sent. */
export function encodeTiming(timing: HopTiming): string {
  writeTiming(scratch, 0, timing);
  return readLatin1(scratch, 0, timingChars);
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
