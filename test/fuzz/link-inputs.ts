/** Inputs for the fuzzer: sessions as peers hold them, and what becomes of one by changing it. All from one seed. */
import { frameHeaderBytes, frameType, headFlags, joinedBytesMax } from '../../src/proxy/link/frames.ts';
import { encodeEnd, encodeHead, encodeOpen, varint } from '../unit/link/payload-text.ts';
import { inputHeadBytes, targets } from './link-target.ts';

const inputBytesMax = 512 * 1024;

/** 0 to 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export class Inputs {
  constructor(private readonly random: () => number) {}

  private below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  private oneOf<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)]!;
  }

  /** A session that mostly keeps the rules. */
  session(): Buffer {
    const target = this.below(targets.length);
    const isCaller = targets[target] !== 'caller';
    const frames = [frame(frameType.settings, 0, Buffer.from('WEFT\x01\x01'))];
    let opened = 0;
    for (let count = 1 + this.below(14); count > 0; count--) {
      const stream = isCaller ? 1 + this.below(opened + 1) : 1 + this.below(6);
      if (isCaller && this.random() < 0.4) frames.push(this.open(++opened));
      else if (!isCaller && this.random() < 0.4) frames.push(this.head(stream));
      else frames.push(this.anyFrame(stream));
    }
    return Buffer.concat([Buffer.of(target, this.below(256), this.below(256)), ...frames]);
  }

  private open(stream: number): Buffer {
    const method = this.oneOf(['GET', 'POST', 'HEAD', 'PROPFIND', 'TRACE', 'x']);
    const headers = this.oneOf([
      ['Host', 'cart'],
      ['host', 'cart', 'X-A', 'b', 'accept', '*/*'],
      ['Host', 'cart', 'Content-Length', '5'],
      ['Host', 'cart', 'X', 'a\r\nb'],
      [],
    ]);
    const open = encodeOpen(method, this.oneOf(['/', '/a?b', '*', '']), headers, this.length());
    if (this.random() < 0.7) return frame(frameType.open, stream, latin1(open));
    // Without a body, so that nothing is missing where the fields are other ones.
    const start = encodeOpen(method, '/', [], 0).slice(0, -1);
    return frame(frameType.open, stream, latin1(start + this.placedFields()));
  }

  private head(stream: number): Buffer {
    const headers = this.oneOf([[], ['Server', 'x'], ['content-length', '3'], ['Set-Cookie', 'a', 'set-cookie', 'b']]);
    const timing = this.random() < 0.5 ? null : { partsMs: [1, 0, 2.5, 0, 0, 0, 0, 0, 0, 3], totalMs: 7 };
    const status = this.oneOf([200, 204, 304, 413, 999, 100]);
    const bodyBytes = this.length();
    if (this.random() < 0.2)
      return frame(frameType.head, stream, latin1(`\0${varint(200)}\x02OK${this.placedFields()}`));
    const head = latin1(encodeHead({ status, reason: 'OK', headers, bodyBytes, hasBody: this.random() < 0.8 }, timing));
    const joined = this.random() < 0.3 ? Buffer.alloc(this.oneOf([0, 1, 5, 5, joinedBytesMax, 3_000]), 'd') : null;
    if (joined !== null) head[0]! |= headFlags.hasData;
    if (this.random() < 0.3) head[0]! |= headFlags.endsStream;
    return frame(frameType.head, stream, joined === null ? head : Buffer.concat([head, joined]));
  }

  /** Some for the first time, some again, be it before they were said, some that may not be. */
  private placedFields(): string {
    const count = this.below(4);
    let fields = varint(count);
    for (let i = 0; i < count; i++) {
      const place = String.fromCharCode(this.below(3));
      const [name, value] = this.oneOf([
        ['Host', 'cart'],
        ['X-A', 'b'],
        ['Cookie', 'a=b'],
        ['X B', 'c'],
      ]) as [string, string];
      const inFull = `\0${varint(name.length)}${name}${varint(value.length)}${value}`;
      fields += this.random() < 0.5 ? `\x80${place}` : `\x84${place}${inFull}`;
    }
    return fields;
  }

  private length(): number {
    return this.oneOf([0, -1, 5, 5, 20_000, 300_000]);
  }

  private anyFrame(stream: number): Buffer {
    switch (this.below(10)) {
      case 0:
      case 1:
      case 2:
        return frame(frameType.data, stream, Buffer.alloc(this.oneOf([1, 5, 5, 1_000, 16 * 1024, 64 * 1024]), 'd'));
      case 3:
      case 4:
        return frame(frameType.end, stream, latin1(encodeEnd(this.random() < 0.7 ? [] : ['A', 'b'], null)));
      case 5:
        return frame(frameType.reset, stream, Buffer.of(this.below(5)));
      case 6:
      case 7:
        return frame(
          frameType.credit,
          this.random() < 0.5 ? 0 : stream,
          number32(this.oneOf([1, 1_000, 65_536, 300_000, 0x7fffffff])),
        );
      case 8:
        return frame(this.oneOf([frameType.ping, frameType.pong]), 0, Buffer.alloc(8));
      default:
        return frame(
          frameType.goaway,
          0,
          Buffer.concat([number32(this.oneOf([0, 2, 0xffffffff])), Buffer.of(this.below(5))]),
        );
    }
  }

  /** One to four changes, of bytes or of whole frames; `other` lends some. */
  changed(input: Buffer, other: Buffer): Buffer {
    let bytes: Buffer = Buffer.from(input);
    for (let count = 1 + this.below(4); count > 0; count--) bytes = this.changedOnce(bytes, other);
    return bytes.subarray(0, inputBytesMax);
  }

  private changedOnce(bytes: Buffer, other: Buffer): Buffer {
    if (bytes.length <= inputHeadBytes) return this.session();
    const at = this.below(bytes.length);
    const frames = framesOf(bytes);
    const pick = this.below(frames.length);
    switch (this.below(12)) {
      case 0:
        bytes[at] = bytes[at]! ^ (1 << this.below(8));
        return bytes;
      case 1:
        bytes[at] = this.oneOf([0, 1, 0x7f, 0x80, 0xff, 4, this.below(256)]);
        return bytes;
      case 2:
        return Buffer.concat([bytes.subarray(0, at), Buffer.of(this.below(256)), bytes.subarray(at)]);
      case 3:
        return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + this.below(8))]);
      case 4:
        return bytes.subarray(0, inputHeadBytes + this.below(bytes.length - inputHeadBytes + 1));
      case 5:
        return joined(bytes, [...frames.slice(0, pick), ...frames.slice(pick + 1)]);
      case 6: {
        const lent = framesOf(other);
        return joined(bytes, [...frames.slice(0, pick), ...lent.slice(this.below(lent.length)), ...frames.slice(pick)]);
      }
      case 7: {
        const repeated = Array.from({ length: this.oneOf([1, 2, 5, 17, 40]) }, () => frames[pick]!);
        return joined(bytes, [...frames.slice(0, pick), ...repeated, ...frames.slice(pick)]);
      }
      case 8: {
        const found = Buffer.from(frames[pick]!);
        if (found.length >= frameHeaderBytes) found.writeUInt32BE(this.oneOf([0, 1, 2, 3, 7, 0xffffffff]), 4);
        return joined(bytes, [...frames.slice(0, pick), found, ...frames.slice(pick + 1)]);
      }
      case 9: {
        const added =
          this.random() < 0.5
            ? this.anyFrame(1 + this.below(6))
            : this.random() < 0.5
              ? this.open(1 + this.below(9))
              : this.head(1 + this.below(6));
        return joined(bytes, [...frames.slice(0, pick), added, ...frames.slice(pick)]);
      }
      case 10: {
        const swapped = [...frames];
        const with_ = this.below(frames.length);
        [swapped[pick], swapped[with_]] = [frames[with_]!, frames[pick]!];
        return joined(bytes, swapped);
      }
      default:
        bytes[this.below(inputHeadBytes)] = this.below(256);
        return bytes;
    }
  }
}

function joined(input: Buffer, frames: readonly Buffer[]): Buffer {
  return Buffer.concat([input.subarray(0, inputHeadBytes), ...frames]);
}

/** At least one; the last may be a piece of a frame. */
function framesOf(input: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let at = inputHeadBytes;
  while (at + frameHeaderBytes <= input.length) {
    const end = at + frameHeaderBytes + input.readUIntBE(at, 3);
    found.push(input.subarray(at, end));
    at = end;
  }
  if (at < input.length || found.length === 0) found.push(input.subarray(Math.min(at, input.length)));
  return found;
}

export function frame(type: number, stream: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header.writeUInt32BE(stream, 4);
  return Buffer.concat([header, payload]);
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
