/**
 * The frames of one turn of the loop, written to the socket together at its end: measured, flushing sooner costs more at every load
 * (docs/performance.md). Frames lie in blocks that all links of a loop share and reuse.
 */
import type { Socket } from 'node:net';
import type { HopTiming } from '../../telemetry/ledger.ts';
import { writeLatin1 } from '../latin1.ts';
import type { AnswerHead } from '../request.ts';
import { FieldTable } from './field-table.ts';
import { dataBytesMax, type FrameType, frameHeaderBytes, frameType, headFlags, joinedBytesMax } from './frames.ts';
import { type OpenRequest, writeHead, writeOpen } from './head-codec.ts';

/** Two DATA frames of the largest size, and some others. */
export const blockBytes = 136 * 1024;
/** Turns whose frames the socket may have before it has taken them; then they are gathered. */
const inFlightMax = 4;
/** 4.4 MB: more than this comes from, and goes back to, the heap. */
const freeBlocksMax = 32;
const freeBlocks: Buffer[] = [];

export class FrameOutput {
  /** Bytes of this turn that are not written yet. */
  pendingBytes = 0;
  private readonly socket: Socket;
  /** Fields of the heads that were written. */
  private readonly said = new FieldTable();
  private blocks: Buffer[] = [];
  /** Bytes used of each block but the last one, whose are `used`. */
  private filled: number[] = [];
  private used = 0;
  /** Where the last frame begins in the last block, and its stream, if it is a HEAD or a DATA and nothing was written behind it; the others are -1. */
  private headAt = -1;
  private dataAt = -1;
  private lastStream = 0;
  /** Blocks that the socket may still read from, oldest first. */
  private readonly inFlight: Buffer[][] = [];
  private readonly onWrittenBound: () => void;

  /** `onWritten` is called whenever the socket has taken a turn's frames. */
  constructor(socket: Socket, onWritten: () => void) {
    this.socket = socket;
    this.onWrittenBound = () => {
      const blocks = this.inFlight.shift();
      if (blocks !== undefined) recycle(blocks);
      onWritten();
    };
  }

  /** Bytes of earlier turns that the kernel has not taken. */
  get untakenBytes(): number {
    return this.socket.writableLength;
  }

  /** The same with those of this turn. */
  get unsentBytes(): number {
    return this.pendingBytes + this.untakenBytes;
  }

  /** OPEN, whose payload has at most `bytesMax` bytes. */
  putOpen(stream: number, request: OpenRequest, bytesMax: number): void {
    const block = this.reserve(frameHeaderBytes + bytesMax);
    this.headAt = -1;
    this.dataAt = -1;
    const end = writeOpen(block, this.used + frameHeaderBytes, request, this.said);
    this.endFrame(block, frameType.open, stream, end);
  }

  /** HEAD, whose payload has at most `bytesMax` bytes, with the times of this hop if there are any. */
  putHead(stream: number, head: AnswerHead, timing: HopTiming | null, bytesMax: number): void {
    const block = this.reserve(frameHeaderBytes + bytesMax);
    this.headAt = this.used;
    this.dataAt = -1;
    this.lastStream = stream;
    const end = writeHead(block, this.used + frameHeaderBytes, head, timing, this.said);
    this.endFrame(block, frameType.head, stream, end);
  }

  /** The payload is written, up to `end`. */
  private endFrame(block: Buffer, type: FrameType, stream: number, end: number): void {
    const start = this.used;
    writeHeader(block, start, type, stream, end - start - frameHeaderBytes);
    this.used = end;
    this.pendingBytes += end - start;
  }

  /** Another frame whose payload is text of characters up to U+00FF. */
  put(type: FrameType, stream: number, payload: string): void {
    const { length } = payload;
    const block = this.reserve(frameHeaderBytes + length);
    this.headAt = -1;
    this.dataAt = -1;
    const at = writeHeader(block, this.used, type, stream, length);
    writeLatin1(block, payload, at);
    this.used = at + length;
    this.pendingBytes += frameHeaderBytes + length;
  }

  /**
   * Puts the first bytes of an answer's body into the frame of its head, when that was the frame before and has room: one frame to write, find
   * and read instead of two. False: it does not, and nothing was written.
   */
  joinBody(stream: number, chunk: Uint8Array): boolean {
    const { headAt, used, blocks } = this;
    const { length } = chunk;
    const block = blocks[blocks.length - 1];
    if (headAt < 0 || this.lastStream !== stream || length === 0 || length > joinedBytesMax) return false;
    if (block!.length - used < length) return false;
    const flagsAt = headAt + frameHeaderBytes;
    if ((block![flagsAt]! & headFlags.hasData) !== 0) return false;
    block!.set(chunk, used);
    block![flagsAt]! |= headFlags.hasData;
    this.used = used + length;
    writeHeader(block!, headAt, frameType.head, stream, this.used - flagsAt);
    this.pendingBytes += length;
    return true;
  }

  /** Says in the frame of its head that the stream ends with it, when that was the frame before. False: it was not. */
  joinEnd(stream: number): boolean {
    const { headAt, blocks } = this;
    if (headAt < 0 || this.lastStream !== stream) return false;
    blocks[blocks.length - 1]![headAt + frameHeaderBytes]! |= headFlags.endsStream;
    this.headAt = -1;
    return true;
  }

  /**
   * DATA; at most `dataBytesMax`. Copies. What still fits into the frame before, of the same stream, goes there: an app's head and its 64 KiB are read in
   * two pieces, the second as small as the head, and each frame is a write to the client.
   */
  putData(stream: number, chunk: Uint8Array): void {
    if (this.joinData(stream, chunk)) return;
    const { length } = chunk;
    const block = this.reserve(frameHeaderBytes + length);
    this.headAt = -1;
    this.dataAt = this.used;
    this.lastStream = stream;
    const at = writeHeader(block, this.used, frameType.data, stream, length);
    block.set(chunk, at);
    this.used = at + length;
    this.pendingBytes += frameHeaderBytes + length;
  }

  private joinData(stream: number, chunk: Uint8Array): boolean {
    const { dataAt, used, blocks } = this;
    if (dataAt < 0 || this.lastStream !== stream) return false;
    const block = blocks[blocks.length - 1]!;
    const bytes = used - dataAt - frameHeaderBytes + chunk.length;
    if (bytes > dataBytesMax || block.length - used < chunk.length) return false;
    block.set(chunk, used);
    writeHeader(block, dataAt, frameType.data, stream, bytes);
    this.used = used + chunk.length;
    this.pendingBytes += chunk.length;
    return true;
  }

  /** CREDIT, or another frame whose payload is one number of 32 bits. */
  putNumber(type: FrameType, stream: number, value: number): void {
    const block = this.reserve(frameHeaderBytes + 4);
    this.headAt = -1;
    this.dataAt = -1;
    const at = writeHeader(block, this.used, type, stream, 4);
    this.used = block.writeUInt32BE(value, at);
    this.pendingBytes += frameHeaderBytes + 4;
  }

  /**
   * Writes what there is, in one call to the kernel; less than a block only while the socket keeps up, unless it is the last. A peer that
   * asks much and reads nothing would else be given a block for each few bytes.
   */
  flush(isLast = false): void {
    const { blocks, socket, filled } = this;
    if (blocks.length === 0) return;
    if (!isLast && blocks.length === 1 && this.inFlight.length >= inFlightMax) return;
    const last = blocks.length - 1;
    this.blocks = [];
    this.headAt = -1;
    this.dataAt = -1;
    this.pendingBytes = 0;
    this.inFlight.push(blocks);
    if (last === 0) {
      socket.write(blocks[0]!.subarray(0, this.used), this.onWrittenBound);
    } else {
      this.filled = [];
      socket.cork();
      for (let i = 0; i < last; i++) socket.write(blocks[i]!.subarray(0, filled[i]!));
      socket.write(blocks[last]!.subarray(0, this.used), this.onWrittenBound);
      socket.uncork();
    }
    this.used = 0;
  }

  /** Room for `bytes` in one piece at `used` of the answer. */
  private reserve(bytes: number): Buffer {
    const { blocks } = this;
    // Asking an empty list for its last element is a call.
    const last = blocks.length === 0 ? undefined : blocks[blocks.length - 1];
    if (last !== undefined) {
      if (last.length - this.used >= bytes) return last;
      this.filled.push(this.used);
    }
    const block =
      bytes > blockBytes ? Buffer.allocUnsafeSlow(bytes) : (freeBlocks.pop() ?? Buffer.allocUnsafeSlow(blockBytes));
    blocks.push(block);
    this.used = 0;
    return block;
  }
}

function writeHeader(block: Buffer, at: number, type: FrameType, stream: number, payloadBytes: number): number {
  block[at] = payloadBytes >> 16;
  block[at + 1] = payloadBytes >> 8;
  block[at + 2] = payloadBytes;
  block[at + 3] = type;
  block[at + 4] = stream >>> 24;
  block[at + 5] = stream >> 16;
  block[at + 6] = stream >> 8;
  block[at + 7] = stream;
  return at + frameHeaderBytes;
}

function recycle(blocks: readonly Buffer[]): void {
  for (const block of blocks) {
    if (block.length === blockBytes && freeBlocks.length < freeBlocksMax) freeBlocks.push(block);
  }
}
