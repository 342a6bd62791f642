/**
 * The octets of one request that are still to be given to a socket. The head and a small body are one string, written in one
 * call; larger bodies are copied into blocks that all streams of a loop share and reuse. (Fresh buffers are garbage whose weight V8
 * feels late: 256 MB sent in 64 KiB chunks to a slow endpoint held 33 to 38 MB with them, 0.1 MB with blocks kept.)
 */
import type net from 'node:net';

/** A chunk up to this size joins the string. */
const joinedBytesMax = 4096;
const blockBytes = 32 * 1024;
/** 2 MB: more than this comes from, and goes back to, the heap. */
const freeBlocksMax = 64;
const freeBlocks: Buffer[] = [];

export class Http1Outbox {
  /** Octets to be written. */
  bytes: number;
  /** The last batch was not taken at once: its blocks are in use until the socket is empty. */
  isBatchPending = false;
  /** First what is in the string (latin1), then the blocks. */
  private text: string;
  private blocks: Buffer[] | null = null;
  /** Octets used of the last block; the others are full. */
  private lastBlockBytes = 0;
  private pendingBlocks: Buffer[] | null = null;

  /** `head` is latin1. */
  constructor(head: string) {
    this.text = head;
    this.bytes = head.length;
  }

  /** All of it, where it is a text: a request without a body. Whoever writes it says so with `clear`. */
  get wholeText(): string {
    return this.text;
  }

  putText(text: string): void {
    if (this.blocks === null) {
      this.text += text;
      this.bytes += text.length;
    } else {
      this.putOctets(Buffer.from(text, 'latin1'));
    }
  }

  /** Copies: the memory of `chunk` is the listener's, and may hold something else as soon as this call returns. */
  putChunk(chunk: Uint8Array): void {
    if (this.blocks === null && chunk.length <= joinedBytesMax && this.text.length <= joinedBytesMax) {
      this.putText(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1'));
    } else {
      this.putOctets(chunk);
    }
  }

  private putOctets(octets: Uint8Array): void {
    this.blocks ??= [];
    this.bytes += octets.length;
    let at = 0;
    while (at < octets.length) {
      if (this.blocks.length === 0 || this.lastBlockBytes === blockBytes) {
        this.blocks.push(freeBlocks.pop() ?? Buffer.allocUnsafeSlow(blockBytes));
        this.lastBlockBytes = 0;
      }
      const block = this.blocks[this.blocks.length - 1]!;
      const size = Math.min(octets.length - at, blockBytes - this.lastBlockBytes);
      block.set(size === octets.length ? octets : octets.subarray(at, at + size), this.lastBlockBytes);
      this.lastBlockBytes += size;
      at += size;
    }
  }

  /**
   * Writes all of it in one call to the kernel. False: refused at once, so that nothing of it left, and the outbox is as it was. When
   * `isBatchPending` is true afterwards, `onWritten` (called anyway, if given) must see `settle` called once the socket is empty.
   */
  writeTo(socket: net.Socket, onWritten: (() => void) | undefined): boolean {
    const { text, blocks } = this;
    if (blocks === null) {
      socket.write(text, 'latin1', onWritten);
    } else {
      socket.cork();
      if (text !== '') socket.write(text, 'latin1');
      const last = blocks.length - 1;
      for (let i = 0; i < last; i++) socket.write(blocks[i]!);
      socket.write(blocks[last]!.subarray(0, this.lastBlockBytes), onWritten);
      socket.uncork();
    }
    if (socket.errored !== null) return false;
    this.isBatchPending = socket.writableLength > 0;
    if (this.isBatchPending) this.pendingBlocks = blocks;
    else if (blocks !== null) recycle(blocks);
    this.text = '';
    this.blocks = null;
    this.bytes = 0;
    return true;
  }

  /** The socket has taken the pending batch. */
  settle(): void {
    this.isBatchPending = false;
    if (this.pendingBlocks !== null) recycle(this.pendingBlocks);
    this.pendingBlocks = null;
  }

  /** Forgets what was not written. Blocks that a socket may still read from are left to the garbage collector. */
  clear(): void {
    if (this.blocks !== null) recycle(this.blocks);
    this.text = '';
    this.blocks = null;
    this.pendingBlocks = null;
    this.bytes = 0;
  }
}

function recycle(blocks: readonly Buffer[]): void {
  for (const block of blocks) {
    if (freeBlocks.length < freeBlocksMax) freeBlocks.push(block);
  }
}
