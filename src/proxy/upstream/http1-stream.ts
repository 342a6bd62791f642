/**
 * One request on its way through the pool: waiting, on a connection, or over. What it is to send waits in its outbox for the end of
 * the turn, so that it leaves together and survives a connection that turns out to be dead.
 */
import { limits } from '../../model/limits.ts';
import { type Failure, failures } from '../failure.ts';
import type { HeaderList } from '../headers.ts';
import { noTrailers } from '../trailers.ts';
import type { Http1Connection } from './http1-connection.ts';
import { Http1Outbox } from './http1-outbox.ts';
import type { UpstreamHandler, UpstreamRequest, UpstreamStream } from './upstream.ts';

/** What a stream needs of its pool. */
export interface StreamOwner {
  /** Writes the stream's outbox at the end of this turn. */
  writeSoon(stream: Http1Stream): void;
  /** Reports the failure at the end of this turn: never inside a call of the handler's owner. */
  failSoon(stream: Http1Stream, failure: Failure): void;
  leaveQueue(stream: Http1Stream): void;
}

export class Http1Stream implements UpstreamStream {
  readonly handler: UpstreamHandler;
  readonly isHeadRequest: boolean;
  readonly hasBody: boolean;
  readonly openedAtMs: number;
  /** A kept connection is not for it. */
  readonly needsFresh: boolean;
  /** `failing`: over for its connection, and its handler hears of it at the end of the turn. */
  phase: 'queued' | 'active' | 'failing' | 'over' = 'queued';
  connection: Http1Connection | null = null;
  failure: Failure | null = null;
  /** See UpstreamHandler. */
  failureDetail = '';
  /** Every octet of the request is in the outbox or beyond. */
  isRequestComplete: boolean;
  isReadingPaused = false;
  /** The handler was told to stop and waits for `onWritable`. */
  isBlocked = false;
  /** A place in the pool's list of streams to write at the end of the turn. */
  isWriteDue = false;
  /** It may wait on a connection for the answers to requests before it (http1-pipelined-pool.ts). */
  mayPipeline = false;
  nextInQueue: Http1Stream | null = null;
  previousInQueue: Http1Stream | null = null;
  readonly outbox: Http1Outbox;
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
    needsFresh: boolean,
  ) {
    this.owner = owner;
    this.handler = handler;
    this.isHeadRequest = request.method === 'HEAD';
    this.openedAtMs = openedAtMs;
    this.needsFresh = needsFresh;
    this.outbox = new Http1Outbox(head);
    this.hasBody = request.bodyBytes !== 0;
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
      this.outbox.putText(`${chunk.length.toString(16)}\r\n`);
      this.outbox.putChunk(chunk);
      this.outbox.putText('\r\n');
    } else {
      this.outbox.putChunk(chunk);
      this.bodyBytesLeft -= chunk.length;
      this.isRequestComplete = this.bodyBytesLeft === 0;
    }
    this.writeSoon();
    this.isBlocked = !this.hasRoom;
    return !this.isBlocked;
  }

  end(trailers: HeaderList = noTrailers): void {
    if (this.phase === 'failing' || this.phase === 'over' || this.isEnded) return;
    this.isEnded = true;
    if (this.isChunked) {
      let last = '0\r\n';
      for (const { name, value } of trailers) last += `${name}: ${value}\r\n`;
      this.outbox.putText(`${last}\r\n`);
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
    else if (phase === 'active') connection!.abandon(this);
    this.outbox.clear();
  }

  /** At most the read that is being delivered, and one more, still arrive. */
  pauseReading(): void {
    if (this.isReadingPaused) return;
    this.isReadingPaused = true;
    if (this.phase === 'active') this.connection!.pauseReading(this);
  }

  resumeReading(): void {
    if (!this.isReadingPaused) return;
    this.isReadingPaused = false;
    if (this.phase === 'active') this.connection!.resumeReading(this);
  }

  private get hasRoom(): boolean {
    const socketBytes = this.connection === null ? 0 : this.connection.unsentBytes;
    return this.outbox.bytes + socketBytes <= limits.streamBufferBytesMax;
  }

  /** When there is room again, says so to a handler that waits for it. */
  unblock(): void {
    if (!this.isBlocked || this.phase !== 'active' || !this.hasRoom) return;
    this.isBlocked = false;
    this.handler.onWritable();
  }

  private writeSoon(): void {
    // A queued stream is written when it gets its connection.
    if (this.phase === 'active') this.owner.writeSoon(this);
  }
}
