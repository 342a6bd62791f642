/**
 * How the body of a streamed answer is given to uWS, in the two ways that this core has, and in
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
  /** The first bytes, inside the cork in which the head was written, whose buffer has `roomBytes` left. Like `write` otherwise. */
  begin(chunk: Uint8Array, roomBytes: number): boolean;
  /** Outside of any cork of ours. The chunk is given or copied. False: wait until the connection is writable. */
  write(chunk: Uint8Array): boolean;
  /** Sends what was kept, as far as the connection takes it. True when there is room again. */
  drain(): boolean;
  /** Ends the message; called when there is room. `isClosing`: the response stays unfinished for uWS. */
  end(isClosing: boolean): void;
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

  begin(chunk: Uint8Array): boolean {
    return this.write(chunk);
  }

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
    let isTaken = false;
    let isFinished = false;
    res.cork(() => {
      [isTaken, isFinished] = res.tryEnd(chunk, total);
    });
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
 * uWS's cork buffer, which is as large in every build. What does not fit into it is written behind it, and when this core cannot send
 * all of the buffer it drops the rest and says that it kept it: so a chunk and its framing must always fit.
 */
export const corkBytes = 16 * 1024;
const framingBytes = 32;
const pieceBytes = corkBytes - framingBytes;

/**
 * The last chunk as `writeHeader` writes it, the only call that does not frame: it puts `: ` between its arguments and CRLF behind
 * them. The colon becomes part of a quoted chunk extension, which recipients ignore (RFC 9112 section 7.1.1).
 */
const lastChunk = ['\r\n0;weft=":', '"\r\n'] as const;

/** The length is not known: `write`, which frames chunks. It cannot send a head before the first byte of the body. */
export class ChunkedBody implements UwsBody {
  isReturned = false;
  private kept: Uint8Array[] = [];

  /** While `core.isCoreReading`, all that was written shares the core's cork, and a cork of ours does nothing: further pieces are kept. */
  constructor(
    private readonly res: HttpResponse,
    private readonly core: { readonly isCoreReading: boolean },
  ) {}

  begin(chunk: Uint8Array, roomBytes: number): boolean {
    const fitting = Math.min(chunk.byteLength, Math.max(1, roomBytes - framingBytes));
    this.res.write(chunk.subarray(0, fitting));
    if (fitting < chunk.byteLength) this.kept.push(copyFrom(chunk, fitting));
    return this.kept.length === 0;
  }

  write(chunk: Uint8Array): boolean {
    if (this.kept.length > 0 || this.core.isCoreReading) {
      this.kept.push(copyFrom(chunk, 0));
      return false;
    }
    // A piece that fits is always taken; what the kernel did not take of it is uWS's backlog, and only the next piece is told so.
    for (let at = 0; at < chunk.byteLength; at += pieceBytes) {
      let hasRoom = false;
      this.res.cork(() => {
        hasRoom = this.res.write(chunk.subarray(at, at + pieceBytes));
      });
      if (hasRoom) continue;
      if (at + pieceBytes < chunk.byteLength) this.kept.push(copyFrom(chunk, at + pieceBytes));
      return false;
    }
    return true;
  }

  drain(): boolean {
    if (this.core.isCoreReading) return false;
    const { kept } = this;
    this.kept = [];
    let hasRoom = true;
    for (const chunk of kept) hasRoom = this.write(chunk);
    return hasRoom;
  }

  end(isClosing: boolean): void {
    if (isClosing) {
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
