/**
 * How the body of a streamed answer is given to uWS, in the two ways that this core has. All of it runs inside `res.cork`, and in
 * constant memory: what neither the kernel nor uWS's one backlog takes is kept here, is at most what was given in one call, and
 * makes `write` return false.
 *
 * Closing the connection after a streamed answer is not offered by this core. A closing body therefore leaves the response unfinished
 * for uWS after its last byte: uWS cuts a connection on which another request arrives while a response is unfinished, and the
 * listener closes it once everything is sent.
 */
import type { HttpResponse } from 'uWebSockets.js';

export interface UwsBody {
  /** True once uWS has taken the response back: it must not be touched any more. */
  readonly isReturned: boolean;
  /** Begins with the head's last fields. The chunk is given or copied. False: wait until the connection is writable. */
  write(chunk: Uint8Array): boolean;
  /** Sends what was kept, as far as the connection takes it. True when there is room again. */
  drain(): boolean;
  /** Ends the message; called when there is room. */
  end(): void;
  /** After the end of a closing body: whether everything is known to have left this process. */
  isSent(): boolean;
}

const noBytes = new Uint8Array(0);

/** The length is known: `tryEnd`, which takes only what the kernel takes. */
export class FixedLengthBody implements UwsBody {
  isReturned = false;
  private isStarted = false;
  private givenBytes = 0;
  private kept: Uint8Array[] = [];

  /** `totalBytes` > 0. */
  constructor(
    private readonly res: HttpResponse,
    private readonly totalBytes: number,
    private readonly isClosing: boolean,
  ) {}

  write(chunk: Uint8Array): boolean {
    if (this.kept.length > 0) {
      this.kept.push(copyFrom(chunk, 0));
      return false;
    }
    if (this.isClosing && !this.isStarted && chunk.byteLength === this.totalBytes) {
      // The first call says the true length; were it the whole body, uWS would finish the response.
      this.give(chunk.subarray(0, -1));
      return this.write(chunk.subarray(-1));
    }
    return this.give(chunk);
  }

  drain(): boolean {
    const { kept } = this;
    this.kept = [];
    if (kept.length === 0) return this.give(noBytes);
    let hasRoom = true;
    for (const chunk of kept) hasRoom = this.write(chunk);
    return hasRoom;
  }

  /** The last byte ended it. */
  end(): void {}

  isSent(): boolean {
    return this.give(noBytes);
  }

  private give(chunk: Uint8Array): boolean {
    const { res } = this;
    // A total beyond the true one, which was said by the first call, is never reached: the response stays unfinished.
    const total = this.isClosing && this.isStarted ? this.totalBytes + 1 : this.totalBytes;
    this.isStarted = true;
    const [isTaken, isFinished] = res.tryEnd(chunk, total);
    if (isFinished) {
      this.isReturned = true;
      return true;
    }
    if (isTaken) {
      this.givenBytes += chunk.byteLength;
      return true;
    }
    const offset = res.getWriteOffset();
    const taken = offset - this.givenBytes;
    this.givenBytes = offset;
    if (taken < chunk.byteLength) this.kept.push(copyFrom(chunk, taken));
    return false;
  }
}

/**
 * Given first after a short write: `write` adds what the kernel does not take to uWS's backlog, and only the result of another one
 * tells whether the backlog is gone. So a stalled reader costs this much more for every time that its connection was writable.
 */
const probeBytes = 256;

/**
 * The last chunk as `writeHeader` writes it, the only call that does not frame: it puts `: ` between its arguments and CRLF behind
 * them. The colon becomes part of a quoted chunk extension, which recipients ignore (RFC 9112 section 7.1.1).
 */
const lastChunk = ['\r\n0;weft=":', '"\r\n'] as const;

/** The length is not known: `write`, which frames chunks. It cannot send a head before the first byte of the body. */
export class ChunkedBody implements UwsBody {
  isReturned = false;
  private mayHaveBacklog = false;
  private kept: Uint8Array[] = [];

  constructor(
    private readonly res: HttpResponse,
    private readonly isClosing: boolean,
  ) {}

  write(chunk: Uint8Array): boolean {
    if (this.kept.length > 0) {
      this.kept.push(copyFrom(chunk, 0));
      return false;
    }
    if (chunk.byteLength === 0) return !this.mayHaveBacklog;
    if (!this.mayHaveBacklog || chunk.byteLength <= probeBytes) {
      this.mayHaveBacklog = !this.res.write(chunk);
      return !this.mayHaveBacklog;
    }
    this.mayHaveBacklog = !this.res.write(chunk.subarray(0, probeBytes));
    if (!this.mayHaveBacklog) return this.write(chunk.subarray(probeBytes));
    this.kept.push(copyFrom(chunk, probeBytes));
    return false;
  }

  /** With nothing kept, leaving the cork sends the backlog, and the next write probes whether it sent all of it. */
  drain(): boolean {
    const { kept } = this;
    this.kept = [];
    let hasRoom = true;
    for (const chunk of kept) hasRoom = this.write(chunk);
    return hasRoom;
  }

  end(): void {
    if (this.isClosing) {
      this.res.writeHeader(lastChunk[0], lastChunk[1]);
      return;
    }
    this.isReturned = true;
    this.res.end();
  }

  /** Not known: the client closes, or the listener does after a while. */
  isSent(): boolean {
    return false;
  }
}

function copyFrom(chunk: Uint8Array, from: number): Uint8Array {
  return Uint8Array.prototype.slice.call(chunk, from);
}
