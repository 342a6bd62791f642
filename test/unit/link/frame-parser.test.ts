import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameParser } from '../../../src/proxy/link/frame-parser.ts';
import { frameHeaderBytes, frameShapes, frameType } from '../../../src/proxy/link/frames.ts';
import { frame, frames } from './link-room.ts';

const heldBytesMax = frameHeaderBytes + Math.max(...frameShapes.map(({ max }) => max));

/** What was read, DATA put together again. */
class Reading {
  readonly seen: { type: number; stream: number; payload: string }[] = [];
  private openData = 0;
  readonly parser = new FrameParser({
    onData: (stream, piece) => {
      const last = this.seen.at(-1);
      const text = piece.toString('latin1');
      if (this.openData > 0) last!.payload += text;
      else this.seen.push({ type: frameType.data, stream, payload: text });
      this.openData += piece.length;
      return null;
    },
    onFrame: (type, stream, bytes, start, end) => {
      this.openData = 0;
      this.seen.push({ type, stream, payload: bytes.toString('latin1', start, end) });
      return null;
    },
  });
  feed(bytes: Buffer): string | null {
    return this.parser.feed(bytes);
  }
}

const types = Object.values(frameType);
/** DATA is followed by another frame, so that two of them are told apart. */
const anyFrame = fc.constantFrom(...types).chain((type) => {
  const { min, max, on } = frameShapes[type]!;
  const stream = on === 'link' ? fc.constant(0) : fc.integer({ min: on === 'stream' ? 1 : 0, max: 0xffff_ffff });
  const payload = fc.uint8Array({ minLength: min, maxLength: Math.min(max, 300) });
  return fc
    .tuple(stream, payload)
    .map(([id, bytes]) => ({ type, stream: id, payload: Buffer.from(bytes).toString('latin1') }));
});

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const pieces: Buffer[] = [];
  let from = 0;
  for (const place of [...sorted, bytes.length]) {
    pieces.push(Buffer.from(bytes.subarray(from, place)));
    from = place;
  }
  return pieces;
}

describe('FrameParser refuses', () => {
  it.each<readonly [string, Buffer, RegExp]>([
    ['a type that there is none of', frame(10, 1), /no frame of type 10/],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /no frame of type|bytes, not/],
    ['DATA of nothing', frame(frameType.data, 1), /1 to 65536 bytes, not 0/],
    ['DATA above its limit', frame(frameType.data, 1, Buffer.alloc(65_537)), /not 65537/],
    ['OPEN above its limit', frame(frameType.open, 1, Buffer.alloc(96 * 1024 + 1)), /not 98305/],
    ['OPEN of the link', frame(frameType.open, 0, 'xxxx'), /none of the link itself/],
    ['PING of a stream', frame(frameType.ping, 1, Buffer.alloc(8)), /none of a stream/],
    ['a short PING', frame(frameType.ping, 0, Buffer.alloc(7)), /8 to 8 bytes, not 7/],
    ['a long CREDIT', frame(frameType.credit, 0, Buffer.alloc(5)), /4 to 4 bytes, not 5/],
  ])('%s, and reads nothing after it, however it is cut', (_what, bytes, why) => {
    for (const size of [1, 3, 8, bytes.length + 100]) {
      const reading = new Reading();
      const all = Buffer.concat([frames.end(7), bytes, frames.end(9)]);
      let fault: string | null = null;
      for (let at = 0; at < all.length; at += size) fault = reading.feed(Buffer.from(all.subarray(at, at + size)));
      expect(fault).toMatch(why);
      expect(reading.seen.map(({ stream }) => stream)).toEqual([7]);
    }
  });

  it('what its receiver refuses', () => {
    const parser = new FrameParser({ onData: () => 'no data', onFrame: () => null });
    expect(parser.feed(Buffer.concat([frames.end(1), frames.data(1, 3)]))).toBe('no data');
    expect(parser.feed(frames.end(1))).toBe('no data');
  });

  it('nothing by throwing, and holds no more than one frame, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const reading = new Reading();
        for (const chunk of chunks) {
          reading.feed(Buffer.from(chunk));
          expect(reading.parser.heldBytes).toBeLessThanOrEqual(heldBytesMax);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('frames with a byte changed without holding more than one frame', () => {
    const place = fc.nat();
    fc.assert(
      fc.property(
        fc.array(anyFrame, { minLength: 1, maxLength: 8 }),
        place,
        fc.nat(255),
        fc.array(place, { maxLength: 6 }),
        (list, at, value, places) => {
          const bytes = Buffer.concat(list.map(({ type, stream, payload }) => frame(type, stream, payload)));
          bytes[at % bytes.length] = value;
          const reading = new Reading();
          for (const piece of cut(bytes, places)) {
            reading.feed(piece);
            expect(reading.parser.heldBytes).toBeLessThanOrEqual(heldBytesMax);
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe('FrameParser', () => {
  it('reads the same frames however the bytes are cut', () => {
    const separator = { type: frameType.credit, stream: 0, payload: '\0\0\0\x01' };
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 40 }), (list, places) => {
        const sent = list.flatMap((one) => [one, separator]);
        const bytes = Buffer.concat(sent.map(({ type, stream, payload }) => frame(type, stream, payload)));
        const reading = new Reading();
        for (const piece of cut(bytes, places)) expect(reading.feed(piece)).toBeNull();
        expect(reading.seen).toEqual(sent);
        expect(reading.parser.heldBytes).toBe(0);
      }),
      { numRuns: 1_000 },
    );
  });

  it('reads them byte by byte', () => {
    const bytes = Buffer.concat([
      frames.settings,
      frames.open(1, 5),
      frames.data(1, Buffer.from('hello')),
      frames.end(1),
      frames.ping(),
    ]);
    const reading = new Reading();
    for (const byte of bytes) expect(reading.feed(Buffer.of(byte))).toBeNull();
    expect(reading.seen.map(({ type, payload }) => (type === frameType.data ? payload : type))).toEqual([
      0,
      1,
      'hello',
      4,
      7,
    ]);
  });

  it('holds the largest head it allows, and gives it back', () => {
    const { max } = frameShapes[frameType.open]!;
    const bytes = frame(frameType.open, 1, Buffer.alloc(max, 'x'));
    const reading = new Reading();
    reading.feed(Buffer.from(bytes.subarray(0, 20)));
    expect(reading.parser.heldBytes).toBe(heldBytesMax);
    reading.feed(Buffer.from(bytes.subarray(20)));
    expect(reading.parser.heldBytes).toBe(0);
    expect(reading.seen[0]!.payload).toHaveLength(max);
  });

  it('takes the first bytes only when told how many there are', () => {
    const reading = new Reading();
    expect(
      reading.parser.feed(Buffer.concat([frames.end(1), Buffer.from('rubbish from before')]), frames.end(1).length),
    ).toBeNull();
    expect(reading.seen).toHaveLength(1);
  });
});
