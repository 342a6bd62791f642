/**
 * The access log, off unless asked for: one line of JSON per finished request. Lines of a loop turn leave in one write that the event
 * loop does not wait for; while the reader is slow they wait in a bounded buffer, and what does not fit is dropped, counted and said.
 */
import { write } from 'node:fs';
import { limits } from '../model/limits.ts';
import type { FarTiming } from './ledger.ts';
import { type Direction, type PartsMs, parts } from './recorder.ts';

/** What is logged of one request. No header and no query string is: both carry secrets. */
export interface AccessEntry {
  /** Wall clock, ms since the epoch, when the request was finished. */
  readonly atMs: number;
  readonly direction: Direction;
  readonly method: string;
  readonly host: string;
  /** Without query. */
  readonly path: string;
  /** The calling Service, `web.default`; `unknown` where it cannot be proved. */
  readonly source: string;
  /** `unknown` where the peer has none, as at a unix socket. */
  readonly sourceAddress: string;
  readonly destination: string;
  readonly route: string;
  /** Address of the last endpoint tried; empty when there was none. */
  readonly endpoint: string;
  readonly attempts: number;
  readonly status: number;
  /** Failure code, empty when it went well. */
  readonly failure: string;
  /** What of this request it was, as its client was told; empty: nothing more is to be said. */
  readonly detail: string;
  /** The failure that the far sidecar gave as its answer; empty where it gave none. */
  readonly farFailure: string;
  readonly answerBytes: number;
  readonly traceId: string;
  readonly totalMs: number;
  /** By `partIndex`. */
  readonly partsMs: PartsMs;
  /** The far sidecar's own hop, to its end; null where there is none, or it does not say. */
  readonly far: FarTiming | null;
}

/** Writes bytes somewhere and calls back once, with an error or null. Never called again before it has. */
export type AccessLogWriter = (bytes: Buffer, done: (error: Error | null) => void) => void;

export interface AccessLogOptions {
  readonly write: AccessLogWriter;
  /** Default `limits.accessLogBufferBytesMax`. */
  readonly bufferBytesMax?: number;
  /** Called once per loop turn with lines: `setImmediate`. */
  readonly atEndOfTurn: (flush: () => void) => void;
}

export class AccessLog {
  /** Lines lost: the buffer was full, or the write failed. */
  dropped = 0;

  private lines: string[] = [];
  private lineChars = 0;
  private writingLines = 0;
  private writingChars = 0;
  private isFlushArmed = false;
  private droppedSaid = 0;
  private readonly bufferBytesMax: number;

  constructor(private readonly options: AccessLogOptions) {
    this.bufferBytesMax = options.bufferBytesMax ?? limits.accessLogBufferBytesMax;
  }

  /** Whatever was logged has been written, or was dropped. */
  get isIdle(): boolean {
    return this.lines.length === 0 && this.writingLines === 0;
  }

  log(entry: AccessEntry): void {
    this.put(formatEntry(entry));
  }

  /** A line that is not of a request: whoever writes it bounds how many there are. */
  write(fields: object): void {
    this.put(`${JSON.stringify(fields)}\n`);
  }

  private put(line: string): void {
    // Characters are counted as bytes: hosts and paths are ASCII but for rare names, and this only bounds memory.
    if (this.lineChars + this.writingChars + line.length > this.bufferBytesMax) {
      this.dropped++;
      return;
    }
    this.lines.push(line);
    this.lineChars += line.length;
    this.armFlush();
  }

  private armFlush(): void {
    if (this.isFlushArmed || this.writingLines > 0) return;
    this.isFlushArmed = true;
    this.options.atEndOfTurn(() => this.flush());
  }

  private flush(): void {
    this.isFlushArmed = false;
    if (this.dropped > this.droppedSaid) {
      this.lines.push(`${JSON.stringify({ accessLogLinesDropped: this.dropped - this.droppedSaid })}\n`);
      this.droppedSaid = this.dropped;
    }
    this.writingLines = this.lines.length;
    this.writingChars = this.lineChars;
    const bytes = Buffer.from(this.lines.join(''));
    this.lines = [];
    this.lineChars = 0;
    this.options.write(bytes, (error) => this.written(error));
  }

  private written(error: Error | null): void {
    if (error !== null) this.dropped += this.writingLines;
    this.writingLines = 0;
    this.writingChars = 0;
    if (this.lines.length > 0) this.armFlush();
  }
}

/** Writes to a file descriptor on Node's file threads, so that a slow reader does not hold up the event loop. */
export function fileDescriptorWriter(fd: number): AccessLogWriter {
  return (bytes, done) => writeRest(fd, bytes, 0, done);
}

/** For several logs that write to one place: one batch after the other. Each log waits with one batch at a time, which bounds it. */
export function writeInTurn(write: AccessLogWriter): AccessLogWriter {
  const waiting: { readonly bytes: Buffer; readonly done: (error: Error | null) => void }[] = [];
  let isWriting = false;
  const writeNext = () => {
    const next = waiting.shift();
    isWriting = next !== undefined;
    if (next === undefined) return;
    write(next.bytes, (error) => {
      next.done(error);
      writeNext();
    });
  };
  return (bytes, done) => {
    waiting.push({ bytes, done });
    if (!isWriting) writeNext();
  };
}

function writeRest(fd: number, bytes: Buffer, from: number, done: (error: Error | null) => void): void {
  write(fd, bytes, from, bytes.byteLength - from, null, (error, written) => {
    if (error !== null) done(error);
    else if (from + written < bytes.byteLength) writeRest(fd, bytes, from + written, done);
    else done(null);
  });
}

function formatEntry(entry: AccessEntry): string {
  const { failure, detail, farFailure, far } = entry;
  return `${JSON.stringify({
    time: new Date(entry.atMs).toISOString(),
    // One by one: who logs may hand over more than is to be said.
    direction: entry.direction,
    method: entry.method,
    host: entry.host,
    path: entry.path,
    source: entry.source,
    sourceAddress: entry.sourceAddress,
    destination: entry.destination,
    route: entry.route,
    endpoint: entry.endpoint,
    attempts: entry.attempts,
    status: entry.status,
    answerBytes: entry.answerBytes,
    traceId: entry.traceId,
    // Absent rather than empty, so that `select(.failure)` finds the failed ones.
    failure: failure === '' ? undefined : failure,
    detail: detail === '' ? undefined : detail,
    farFailure: farFailure === '' ? undefined : farFailure.slice(0, limits.farFailureCharsMax),
    totalMs: roundMs(entry.totalMs),
    partsMs: namedParts(entry.partsMs),
    far: far === null ? undefined : { totalMs: roundMs(far.totalMs), partsMs: namedParts(far.partsMs) },
  })}\n`;
}

function namedParts(partsMs: PartsMs): Record<string, number> {
  const named: Record<string, number> = {};
  parts.forEach((part, index) => {
    const ms = roundMs(partsMs[index]!);
    if (ms > 0) named[part] = ms;
  });
  return named;
}

function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
