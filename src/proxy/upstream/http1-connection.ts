/**
 * One connection to an endpoint: a socket, the parser of its answers, and at most one stream at a time. All connections of a
 * loop read into one buffer, so a read allocates nothing; what the handler is given is a view of it.
 */
import net from 'node:net';
import { isSocketPath, type LocalAddress } from '../../model/host-port.ts';
import { type Failure, type FailureCode, failures } from '../failure.ts';
import { AnswerParser } from './http1-codec.ts';
import type { Http1Stream } from './http1-stream.ts';

/** What a connection reports to its pool. Each connection ends with exactly one of `onConnectFailed` and `onGone`. */
export interface ConnectionOwner {
  onConnected(connection: Http1Connection): void;
  onConnectFailed(connection: Http1Connection, failure: Failure): void;
  /** Its answer is complete, and it can take another request. */
  onReleased(connection: Http1Connection): void;
  onGone(connection: Http1Connection): void;
}

const readBytesMax = 64 * 1024;
/** Shared by all connections: libuv fills it and the callback empties it before anything else runs on this loop. */
export const readBuffer = Buffer.allocUnsafeSlow(readBytesMax);

/**
 * Outlives a failed write by a turn of the loop, in which what the endpoint sent before it closed is read. An endpoint may refuse a large
 * upload and close with most of it unread; the kernel then resets the connection, and the next write would take the answer away.
 */
class EndpointSocket extends net.Socket {
  private isWriteFailed = false;

  override destroy(error?: NodeJS.ErrnoException): this {
    if (error?.syscall !== 'write') return super.destroy(error);
    if (this.isWriteFailed) return this;
    this.isWriteFailed = true;
    // The first of the two may run before the loop has polled.
    setImmediate(() => setImmediate(() => super.destroy(error)));
    return this;
  }
}

/**
 * libuv tells of a reset that comes with the last bytes as if it were the end: it takes a hang-up behind a short read for one. The kernel
 * has forgotten the peer of such a connection. Nobody may ask for the address before, because Node would remember it.
 */
function wasReset(socket: net.Socket): boolean {
  return socket.remoteAddress === undefined;
}

/** A socket file that is not there yet is an app that does not listen yet. */
function connectFailureOf(systemCode: string | undefined): FailureCode {
  return systemCode === 'ECONNREFUSED' || systemCode === 'ENOENT' ? 'connect-refused' : 'connect-failed';
}

export class Http1Connection {
  /** `performance.now()` of the start of the connect. */
  readonly startedAtMs: number;
  connectMs = 0;
  /** Since when it is idle, by the coarse timer. */
  idleSinceMs = 0;
  /** It was idle for longer than the turn in which it was made: the endpoint may have closed it by now. */
  isKept = false;
  protected phase: 'connecting' | 'idle' | 'active' | 'gone' = 'connecting';
  /** The one whose answer is read. */
  protected stream: Http1Stream | null = null;
  protected readonly parser = new AnswerParser();
  protected readonly socket: net.Socket;
  protected readonly now: () => number;
  private isReading = true;
  private readonly owner: ConnectionOwner;
  protected readonly writtenBound = () => this.written();

  constructor(owner: ConnectionOwner, to: LocalAddress, now: () => number, startedAtMs: number) {
    this.owner = owner;
    this.now = now;
    this.startedAtMs = startedAtMs;
    const onread = { buffer: readBuffer, callback: (bytes: number) => this.read(bytes) };
    const isLocal = isSocketPath(to);
    const options: net.NetConnectOpts = isLocal
      ? { path: to.path, onread }
      : { host: to.host, port: to.port, noDelay: true, onread };
    this.socket = new EndpointSocket(options).connect(options);
    this.socket.on('connect', () => this.connected());
    // What was written to a unix socket is there to be read whatever comes behind it, so its end is always a clean one.
    this.socket.on('end', () => this.lost(isLocal || !wasReset(this.socket), 'connect-failed'));
    this.socket.on('close', () => this.lost(false, 'connect-failed'));
    this.socket.on('error', (error: NodeJS.ErrnoException) => this.lost(false, connectFailureOf(error.code)));
  }

  /** Octets that were written and that the kernel has not taken. */
  get unsentBytes(): number {
    return this.socket.writableLength;
  }

  /**
   * Writes the stream's outbox and makes the connection the stream's. False when the connection was found dead and not one
   * octet was taken: the stream, its outbox untouched, may have another one, whatever its method.
   */
  assign(stream: Http1Stream, nowMs: number): boolean {
    if (!this.socket.writable || !stream.outbox.writeTo(this.socket, stream.hasBody ? this.writtenBound : undefined)) {
      this.dispose();
      return false;
    }
    stream.phase = 'active';
    stream.connection = this;
    this.phase = 'active';
    this.stream = stream;
    this.parser.begin(stream.handler, stream.isHeadRequest);
    if (stream.isReadingPaused) this.pauseReading(stream);
    this.reportAssigned(stream, nowMs);
    stream.unblock();
    return true;
  }

  protected reportAssigned(stream: Http1Stream, nowMs: number): void {
    const waitedMs = Math.max(0, nowMs - stream.openedAtMs);
    // A connect that began before the stream was opened is the stream's wait only from there on.
    const connectMs = this.isKept ? 0 : Math.min(this.connectMs, waitedMs);
    stream.handler.onAssigned(waitedMs - connectMs, connectMs, this.isKept, nowMs, 0);
  }

  /** Writes what its stream put into the outbox. One batch at a time: blocks of the last one may still be in use. */
  flush(stream: Http1Stream): void {
    const { outbox } = stream;
    if (outbox.isBatchPending || outbox.bytes === 0) return;
    // A refusal is reported by the socket's error event.
    outbox.writeTo(this.socket, this.writtenBound);
    stream.unblock();
  }

  /** Its stream was destroyed: what is still to come of the answer is nobody's. */
  abandon(_stream: Http1Stream): void {
    this.dispose();
  }

  /** Closes it now. Nothing is reported to the stream. */
  dispose(): void {
    if (this.phase === 'gone') return;
    this.phase = 'gone';
    this.stream = null;
    this.parser.stop();
    this.socket.destroy();
    this.owner.onGone(this);
  }

  /** Ends a connect that has not come about. */
  giveUp(failure: Failure): void {
    this.phase = 'gone';
    this.socket.destroy();
    this.owner.onConnectFailed(this, failure);
  }

  pauseReading(_stream: Http1Stream): void {
    this.isReading = false;
    this.socket.pause();
  }

  resumeReading(_stream: Http1Stream): void {
    this.readOn();
  }

  protected readOn(): void {
    if (this.isReading) return;
    this.isReading = true;
    // `resume()` would start again only in the next tick, and would do so even after a pause in between; with `onread` this starts at once.
    this.socket.read(0);
  }

  /** The socket has taken what was written, or has failed. */
  private written(): void {
    const { stream } = this;
    if (stream === null || !stream.outbox.isBatchPending || this.unsentBytes > 0) return;
    stream.outbox.settle();
    this.flush(stream);
    stream.unblock();
  }

  private connected(): void {
    if (this.phase !== 'connecting') return;
    this.phase = 'idle';
    this.connectMs = this.now() - this.startedAtMs;
    this.owner.onConnected(this);
  }

  /** `bytes` octets are at the start of the shared buffer. True: go on (a pause has stopped the socket itself). */
  protected read(bytes: number): true {
    if (this.stream === null) {
      // Nobody asked. Whatever it is, it must not become the answer to the next request.
      this.dispose();
      return true;
    }
    switch (this.parser.feed(readBuffer, bytes)) {
      case 'more':
        break;
      case 'complete':
        this.finish(this.parser.keepsConnection);
        break;
      case 'surplus':
      case 'followed':
        this.finish(false);
        break;
      case 'failed':
        this.fail(failures[this.parser.failureCode]);
    }
    return true;
  }

  /** The answer is complete. The connection is kept only when the request is, too, and both sides are at a clean start. */
  protected finish(mayKeep: boolean): void {
    const stream = this.stream!;
    const { trailers } = this.parser;
    this.stream = null;
    stream.phase = 'over';
    if (mayKeep && stream.isRequestComplete && stream.outbox.bytes === 0 && this.unsentBytes === 0) {
      this.phase = 'idle';
      this.readOn();
      this.owner.onReleased(this);
    } else {
      this.dispose();
    }
    stream.outbox.clear();
    stream.handler.onEnd(trailers, null);
  }

  protected fail(failure: Failure): void {
    const stream = this.stream!;
    this.dispose();
    stream.phase = 'over';
    stream.outbox.clear();
    stream.handler.onFailure(failure, this.isKept);
  }

  /** The socket ended: `isClean` by a FIN (RFC 9112 section 8: nothing else ends an answer without a length), otherwise by an error. What that means depends on how far the answer was. */
  private lost(isClean: boolean, connectFailure: FailureCode): void {
    switch (this.phase) {
      case 'connecting':
        this.giveUp(failures[connectFailure]);
        return;
      case 'idle':
        this.dispose();
        return;
      case 'active':
        if (isClean && this.parser.endsAtClose) this.finish(false);
        else if (this.parser.isHeadDone) this.fail(failures['answer-cut']);
        else if (this.parser.hasBegun || !this.isKept) this.fail(failures['upstream-reset']);
        else this.fail(failures['stale-connection']);
        return;
      case 'gone':
        return;
      default:
        this.phase satisfies never;
    }
  }
}
