/**
 * One request on its way through the pool: waiting, on a connection, or over. It holds the bytes of the request that were not
 * given to a socket yet, so that they leave together at the end of the turn and survive a connection that turns out to be dead.
 */
import { limits } from '../../model/limits.ts';
import { type Failure, failures } from '../failure.ts';
import type { Http1Connection } from './http1-connection.ts';
import type { UpstreamHandler, UpstreamRequest, UpstreamStream } from './upstream.ts';

/** What a stream needs of its pool. */
export interface StreamOwner {
  /** Writes the stream's outbox at the end of this turn. */
  writeSoon(stream: Http1Stream): void;
  /** Reports the failure at the end of this turn: never inside a call of the handler's owner. */
  failSoon(stream: Http1Stream, failure: Failure): void;
  leaveQueue(stream: Http1Stream): void;
}

/** A chunk up to this size joins the text of the head: copied once into a string and written with it, in one call. */
const joinedBytesMax = 4096;

export class Http1Stream implements UpstreamStream {
  readonly handler: UpstreamHandler;
  readonly isHeadRequest: boolean;
  readonly openedAtMs: number;
  /** `failing`: over for its connection, and its handler hears of it at the end of the turn. */
  phase: 'queued' | 'active' | 'failing' | 'over' = 'queued';
  connection: Http1Connection | null = null;
  failure: Failure | null = null;
  /** Every octet of the request is in the outbox or beyond. */
  isRequestComplete: boolean;
  isReadingPaused = false;
  /** The handler was told to stop and waits for `onWritable`. */
  isBlocked = false;
  /** A place in the pool's list of streams to write at the end of the turn. */
  isWriteDue = false;
  nextInQueue: Http1Stream | null = null;
  previousInQueue: Http1Stream | null = null;
  /** The outbox: text first (latin1), then chunks. */
  outText: string;
  outChunks: Buffer[] | null = null;
  outBytes: number;
  private readonly owner: StreamOwner;
  private readonly isChunked: boolean;
  private bodyBytesLeft: number;
  private isEnded = false;

  /** `head` is the serialised head of `request`, framing included. */
  constructor(
    owner: StreamOwner,
    request: UpstreamRequest,
    head: string,
    handler: UpstreamHandler,
    openedAtMs: number,
  ) {
    this.owner = owner;
    this.handler = handler;
    this.isHeadRequest = request.method === 'HEAD';
    this.openedAtMs = openedAtMs;
    this.outText = head;
    this.outBytes = head.length;
    this.isChunked = request.bodyBytes < 0;
    this.bodyBytesLeft = this.isChunked ? 0 : request.bodyBytes;
    this.isRequestComplete = request.bodyBytes === 0;
  }

  write(chunk: Uint8Array): boolean {
    if (this.phase === 'failing' || this.phase === 'over' || chunk.length === 0) return true;
    if (this.isEnded || (!this.isChunked && chunk.length > this.bodyBytesLeft)) {
      // Octets beyond the length said would be read as the next request: none of them is written.
      this.owner.failSoon(this, failures['internal-error']);
      return true;
    }
    if (this.isChunked) {
      this.put(`${chunk.length.toString(16)}\r\n`);
      this.putChunk(chunk);
      this.put('\r\n');
    } else {
      this.putChunk(chunk);
      this.bodyBytesLeft -= chunk.length;
      this.isRequestComplete = this.bodyBytesLeft === 0;
    }
    this.writeSoon();
    const unsentBytes = this.outBytes + (this.connection === null ? 0 : this.connection.unsentBytes);
    this.isBlocked = unsentBytes > limits.streamBufferBytesMax;
    return !this.isBlocked;
  }

  end(): void {
    if (this.phase === 'failing' || this.phase === 'over' || this.isEnded) return;
    this.isEnded = true;
    if (this.isChunked) {
      this.put('0\r\n\r\n');
      this.isRequestComplete = true;
      this.writeSoon();
    } else if (this.bodyBytesLeft > 0) {
      this.owner.failSoon(this, failures['internal-error']);
    }
  }

  destroy(): void {
    const { phase, connection } = this;
    this.phase = 'over';
    if (phase === 'queued') this.owner.leaveQueue(this);
    else if (phase === 'active') connection!.dispose();
    this.clearOutbox();
  }

  /** At most the read that is being delivered, and one more, still arrive. */
  pauseReading(): void {
    if (this.isReadingPaused) return;
    this.isReadingPaused = true;
    if (this.phase === 'active') this.connection!.pauseReading();
  }

  resumeReading(): void {
    if (!this.isReadingPaused) return;
    this.isReadingPaused = false;
    if (this.phase === 'active') this.connection!.resumeReading();
  }

  clearOutbox(): void {
    this.outText = '';
    this.outChunks = null;
    this.outBytes = 0;
  }

  /** There is room again: says so to a handler that waits for it. */
  unblock(): void {
    if (!this.isBlocked || this.phase !== 'active') return;
    this.isBlocked = false;
    this.handler.onWritable();
  }

  private writeSoon(): void {
    // A queued stream is written when it gets its connection.
    if (this.phase === 'active') this.owner.writeSoon(this);
  }

  private put(text: string): void {
    this.outBytes += text.length;
    if (this.outChunks === null) this.outText += text;
    else this.outChunks.push(Buffer.from(text, 'latin1'));
  }

  /** Copies: the memory of `chunk` is the listener's, and may hold something else as soon as this call returns. */
  private putChunk(chunk: Uint8Array): void {
    this.outBytes += chunk.length;
    if (this.outChunks === null && chunk.length <= joinedBytesMax && this.outText.length <= joinedBytesMax) {
      this.outText += latin1(chunk);
      return;
    }
    this.outChunks ??= [];
    this.outChunks.push(Buffer.from(chunk));
  }
}

function latin1(chunk: Uint8Array): string {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
}
