/**
 * Bytes of a stream that wait, in order: for credit, or for a reader. Small pieces are joined, so that a peer or an app that sends single
 * bytes costs no more memory than its bytes are. The bound is its owner's.
 */

/** A piece smaller than this gets a block of this size, in which the next ones find room. */
const blockBytesMin = 2 * 1024;

export class HeldBytes {
  bytes = 0;
  /** Null: nothing is held, as in most streams from start to end. */
  private blocks: Buffer[] | null = null;
  /** Bytes of the first block that were dropped, and bytes of the last block that are filled; all others are full. */
  private dropped = 0;
  private filled = 0;

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
    const left = piece.length - from;
    const block = Buffer.allocUnsafeSlow(Math.max(left, blockBytesMin));
    block.set(from === 0 ? piece : piece.subarray(from));
    blocks.push(block);
    this.filled = left;
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
    blocks.shift();
    this.dropped = 0;
    if (blocks.length === 0) this.filled = 0;
  }

  clear(): void {
    this.bytes = 0;
    this.blocks = null;
    this.dropped = 0;
    this.filled = 0;
  }
}

const noBytes = Buffer.alloc(0);
