/**
 * Reads frames out of a stream of bytes, however it is cut. DATA is handed on as it arrives, piece by piece; every other frame when it is
 * whole. Holds at most one frame, of at most the length that its type allows. Pure: bytes in, calls out.
 */
import { frameHeaderBytes, frameShapes, frameType, type LinkFault } from './frames.ts';

/** Who hears of the frames. An answer other than null is a fault and ends the reading. */
export interface FrameReceiver {
  /** A piece of a DATA frame; valid only during the call. */
  onData(stream: number, piece: Buffer): LinkFault | null;
  /** The payload lies in `bytes` from `start` to `end`; valid only during the call. */
  onFrame(type: number, stream: number, bytes: Buffer, start: number, end: number): LinkFault | null;
}

export class FrameParser {
  private readonly receiver: FrameReceiver;
  /** The beginning of a frame that has not arrived whole. */
  private partial: Buffer = emptyBytes;
  private partialBytes = 0;
  /** Bytes of the DATA frame under way that are still to come, and its stream. */
  private dataLeft = 0;
  private dataStream = 0;
  private fault: LinkFault | null = null;

  constructor(receiver: FrameReceiver) {
    this.receiver = receiver;
  }

  /** Bytes that are held until more arrives: for tests of its bound. */
  get heldBytes(): number {
    return this.partial.length;
  }

  /** Takes the first `length` bytes. Null, or the fault at which reading ended for good. */
  feed(bytes: Buffer, length: number = bytes.length): LinkFault | null {
    let at = 0;
    while (at < length && this.fault === null) {
      if (this.dataLeft > 0) at = this.passData(bytes, at, length);
      else if (this.partialBytes > 0) at = this.completePartial(bytes, at, length);
      else at = this.readFrame(bytes, at, length);
    }
    return this.fault;
  }

  private passData(bytes: Buffer, at: number, length: number): number {
    const end = Math.min(length, at + this.dataLeft);
    this.dataLeft -= end - at;
    this.fault = this.receiver.onData(this.dataStream, bytes.subarray(at, end));
    return end;
  }

  /** A frame of which nothing was read before. */
  private readFrame(bytes: Buffer, at: number, length: number): number {
    if (length - at < frameHeaderBytes) return this.hold(bytes, at, length, frameHeaderBytes);
    const payloadBytes = payloadLength(bytes, at);
    this.fault = checkHeader(bytes, at, payloadBytes);
    if (this.fault !== null) return length;
    const type = bytes[at + 3]!;
    const stream = bytes.readUInt32BE(at + 4);
    const start = at + frameHeaderBytes;
    if (type === frameType.data) {
      this.dataLeft = payloadBytes;
      this.dataStream = stream;
      return start;
    }
    const end = start + payloadBytes;
    if (end > length) return this.hold(bytes, at, length, frameHeaderBytes + payloadBytes);
    this.fault = this.receiver.onFrame(type, stream, bytes, start, end);
    return end;
  }

  private hold(bytes: Buffer, at: number, length: number, frameBytes: number): number {
    this.partial = Buffer.allocUnsafe(frameBytes);
    this.partialBytes = bytes.copy(this.partial, 0, at, length);
    return length;
  }

  /** Adds to what is held until it is as long as wanted: first the header, which says how much more, then the payload. */
  private completePartial(bytes: Buffer, at: number, length: number): number {
    const taken = bytes.copy(this.partial, this.partialBytes, at, length);
    this.partialBytes += taken;
    if (this.partialBytes < this.partial.length) return at + taken;
    const { partial } = this;
    if (partial.length > frameHeaderBytes) {
      this.forgetPartial();
      this.readFrame(partial, 0, partial.length);
      return at + taken;
    }
    const payloadBytes = payloadLength(partial, 0);
    this.fault = checkHeader(partial, 0, payloadBytes);
    if (this.fault !== null) return length;
    if (payloadBytes === 0 || partial[3] === frameType.data) {
      this.forgetPartial();
      this.readFrame(partial, 0, partial.length);
      return at + taken;
    }
    this.partial = Buffer.allocUnsafe(frameHeaderBytes + payloadBytes);
    partial.copy(this.partial);
    return at + taken;
  }

  private forgetPartial(): void {
    this.partial = emptyBytes;
    this.partialBytes = 0;
  }
}

const emptyBytes = Buffer.alloc(0);

function payloadLength(bytes: Buffer, at: number): number {
  return (bytes[at]! << 16) | (bytes[at + 1]! << 8) | bytes[at + 2]!;
}

function checkHeader(bytes: Buffer, at: number, payloadBytes: number): LinkFault | null {
  const type = bytes[at + 3]!;
  const shape = frameShapes[type];
  if (shape === undefined) return `there is no frame of type ${type}`;
  if (payloadBytes < shape.min || payloadBytes > shape.max)
    return `a frame of type ${type} has ${shape.min} to ${shape.max} bytes, not ${payloadBytes}`;
  const isLink = (bytes[at + 4]! | bytes[at + 5]! | bytes[at + 6]! | bytes[at + 7]!) === 0;
  if (shape.on === (isLink ? 'stream' : 'link'))
    return `a frame of type ${type} is ${isLink ? 'none of the link itself' : 'none of a stream'}`;
  return null;
}
