/**
 * Bytes of a stream that wait, in order: for credit, or for a reader. Small pieces are joined, so that a peer or an app that sends single
 * bytes costs no more memory than its bytes are. The bound is its owner's.
 */

/** A piece smaller than this gets a block of this size, in which the next ones find room. */
const blockBytesMin = 2 * 1024;
/**
 * Blocks of the size of the largest frame are used again by all streams of a loop: made anew each time, their memory, which is outside the heap, sets off the
 * garbage collector (64 answers of 64 KiB at once: 76 instead of 83 µs for each, both sidecars). So many are kept, 4 MiB: with 1 MiB nothing is gained.
 */
const largeBlockBytes = 64 * 1024;
const freeBlocksMax = 64;
const freeBlocks: Buffer[] = [];

export class HeldBytes {
  bytes = 0;
  /** Null: nothing is held, as in most streams from start to end. */
  private blocks: Buffer[] | null = null;
  /** Bytes of the first block that were dropped, and bytes of the last block that are filled; all others are full. */
  private dropped = 0;
  private filled = 0;

  /** `reusesBlocks`: what `first` showed is not looked at after `drop` and `clear`, so that its memory may be another stream's. */
  constructor(private readonly reusesBlocks = false) {}

  /** Copies. */
  add(piece: Uint8Array): void {
    this.blocks ??= [];
    const { blocks } = this;
    const last = blocks[blocks.length - 1];
    let from = 0;
    if (last !== undefined && this.filled < last.length) {
      from = Math.min(piece.length, last.length - this.filled);
      last.set(from === piece.length ? piece : piece.subarray(0, from), this.filled);
      this.filled += from;
    }
    this.bytes += piece.length;
    if (from === piece.length) return;
    for (let at = from; at < piece.length; at += this.filled) {
      const block = this.blockFor(piece.length - at);
      this.filled = Math.min(piece.length - at, block.length);
      block.set(piece.subarray(at, at + this.filled));
      blocks.push(block);
    }
  }

  /** The first bytes that lie in one piece, at most `bytesMax`; empty when there are none. Valid until `drop`. */
  first(bytesMax: number): Buffer {
    const { blocks } = this;
    const block = blocks === null ? undefined : blocks[0];
    if (blocks === null || block === undefined) return noBytes;
    const end = blocks.length === 1 ? this.filled : block.length;
    return block.subarray(this.dropped, Math.min(end, this.dropped + bytesMax));
  }

  /** Forgets bytes that `first` showed. */
  drop(bytes: number): void {
    const { blocks } = this;
    if (bytes === 0 || blocks === null) return;
    this.bytes -= bytes;
    this.dropped += bytes;
    const end = blocks.length === 1 ? this.filled : blocks[0]!.length;
    if (this.dropped < end) return;
    this.giveBack(blocks.shift()!);
    this.dropped = 0;
    if (blocks.length === 0) this.filled = 0;
  }

  clear(): void {
    this.bytes = 0;
    if (this.blocks !== null) for (const block of this.blocks) this.giveBack(block);
    this.blocks = null;
    this.dropped = 0;
    this.filled = 0;
  }

  /** Who sends little at a time does not get a large one for it. */
  private blockFor(bytes: number): Buffer {
    if (!this.reusesBlocks || bytes <= largeBlockBytes / 2)
      return Buffer.allocUnsafeSlow(Math.max(bytes, blockBytesMin));
    return freeBlocks.pop() ?? Buffer.allocUnsafeSlow(largeBlockBytes);
  }

  private giveBack(block: Buffer): void {
    if (this.reusesBlocks && block.length === largeBlockBytes && freeBlocks.length < freeBlocksMax)
      freeBlocks.push(block);
  }
}

const noBytes = Buffer.alloc(0);
