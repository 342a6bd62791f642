/**
 * The access log, off unless asked for: one line of JSON per finished request, or per failed and slow one and a share of the others. Lines of a
 * loop turn leave in one write that the event loop does not wait for; while the reader is slow they wait in a bounded buffer, and what does not
 * fit is dropped, counted and said.
 */
import { write } from 'node:fs';
import { limits } from '../model/limits.ts';
import type { FarTiming } from './ledger.ts';
import { type RedactPath, withoutPath } from './path-redaction.ts';
import { type Direction, type PartsMs, parts } from './recorder.ts';
import { isSampled, thresholdOf } from './sampling.ts';

/** A header field, as far as a log needs it. */
interface NamedValue {
  readonly name: string;
  readonly value: string;
}

/** What is logged of one request. No query string is, and no header that is not named in the policy: both carry secrets. */
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
  /** It, or the far sidecar's, in words; empty when it went well. */
  readonly reason: string;
  /** What of this request it was, as its client was told; empty: nothing more is to be said. */
  readonly detail: string;
  /** The failure that the far sidecar gave as its answer; empty where it gave none. */
  readonly farFailure: string;
  readonly answerBytes: number;
  readonly traceId: string;
  readonly spanId: string;
  /** Of the request as it came, in order. */
  readonly headers: readonly NamedValue[];
  readonly totalMs: number;
  /** By `partIndex`. */
  readonly partsMs: PartsMs;
  /** The far sidecar's own hop, to its end; null where there is none, or it does not say. */
  readonly far: FarTiming | null;
}

/** Which requests have a line, and what is in it. */
export interface AccessLogPolicy {
  /** Of all requests, 0 to 1, chosen by trace id; failed and slow ones are logged whatever it is. */
  readonly sampleRatio: number;
  /** From how many ms on a request is slow; 0: none is. */
  readonly slowMs: number;
  /** Of each event loop; 0: as many as its reader takes. */
  readonly linesPerSecondMax: number;
  /** Names of request header fields that are logged, in lower case. */
  readonly headers: readonly string[];
}

export const everyRequest: AccessLogPolicy = { sampleRatio: 1, slowMs: 0, linesPerSecondMax: 0, headers: [] };

/** A failure of the table, here or at the far sidecar, or an answer of 5xx. */
export const isFailed = ({ failure, farFailure, status }: AccessEntry): boolean =>
  failure !== '' || farFailure !== '' || status >= 500;

/** Writes bytes somewhere and calls back once, with an error or null. Never called again before it has. */
export type AccessLogWriter = (bytes: Buffer, done: (error: Error | null) => void) => void;

export interface AccessLogOptions {
  readonly write: AccessLogWriter;
  /** Default `limits.accessLogBufferBytesMax`. */
  readonly bufferBytesMax?: number;
  /** Called once per loop turn with lines: `setImmediate`. */
  readonly atEndOfTurn: (flush: () => void) => void;
  /** Default `everyRequest`. */
  readonly policy?: AccessLogPolicy;
  /** Default: paths are logged as they are. */
  readonly redactPath?: RedactPath;
}

export class AccessLog {
  /** Lines lost: the buffer was full, or the write failed. */
  dropped = 0;
  /** Requests that had no line because of `linesPerSecondMax`. */
  leftOut = 0;

  private readonly policy: AccessLogPolicy;
  private readonly threshold: number;
  private second = 0;
  private linesInSecond = 0;
  private leftOutSaid = 0;
  private lines: string[] = [];
  private lineChars = 0;
  private writingLines = 0;
  private writingChars = 0;
  private isFlushArmed = false;
  private droppedSaid = 0;
  /** Of those that are being said. */
  private saying = 0;
  private readonly bufferBytesMax: number;

  constructor(private readonly options: AccessLogOptions) {
    this.bufferBytesMax = options.bufferBytesMax ?? limits.accessLogBufferBytesMax;
    this.policy = options.policy ?? everyRequest;
    this.threshold = thresholdOf(this.policy.sampleRatio);
  }

  /** Whatever was logged has been written, or was dropped. */
  get isIdle(): boolean {
    return this.lines.length === 0 && this.writingLines === 0;
  }

  /** Paths are not to be logged as they came: a path that nobody has judged is not to be logged at all then. */
  get isRedacted(): boolean {
    return (this.options.redactPath ?? null) !== null;
  }

  log(entry: AccessEntry): void {
    const { slowMs } = this.policy;
    const isOfShare = isSampled(entry.traceId, this.threshold);
    if (!isOfShare && !isFailed(entry) && !(slowMs > 0 && entry.totalMs >= slowMs)) return;
    if (!this.hasRoomInSecond(entry.atMs)) {
      this.leftOut++;
      return;
    }
    const leftOut = this.leftOut - this.leftOutSaid;
    this.leftOutSaid = this.leftOut;
    this.put(formatEntry(entry, this.options.redactPath ?? null, this.policy, isOfShare, leftOut));
  }

  private hasRoomInSecond(atMs: number): boolean {
    const { linesPerSecondMax } = this.policy;
    if (linesPerSecondMax === 0) return true;
    const second = Math.floor(atMs / 1000);
    if (second !== this.second) {
      this.second = second;
      this.linesInSecond = 0;
    }
    return this.linesInSecond++ < linesPerSecondMax;
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
    this.writingLines = this.lines.length;
    this.saying = this.dropped - this.droppedSaid;
    if (this.saying > 0) this.lines.push(`${JSON.stringify({ accessLogLinesDropped: this.saying })}\n`);
    this.droppedSaid = this.dropped;
    this.writingChars = this.lineChars;
    const bytes = Buffer.from(this.lines.join(''));
    this.lines = [];
    this.lineChars = 0;
    this.options.write(bytes, (error) => this.written(error));
  }

  private written(error: Error | null): void {
    if (error !== null) {
      this.dropped += this.writingLines;
      this.droppedSaid -= this.saying;
    }
    this.writingLines = 0;
    this.writingChars = 0;
    if (this.lines.length > 0) this.armFlush();
  }
}

/** When a full pipe is tried again, ms. */
const againMs = 20;

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
    // A pipe is not blocking here, and its reader slow. What is logged meanwhile waits, within the log's bound.
    if (error?.code === 'EAGAIN') setTimeout(() => writeRest(fd, bytes, from, done), againMs).unref();
    else if (error !== null) done(error);
    else if (from + written < bytes.byteLength) writeRest(fd, bytes, from + written, done);
    else done(null);
  });
}

function formatEntry(
  entry: AccessEntry,
  redactPath: RedactPath,
  { sampleRatio, headers }: AccessLogPolicy,
  isOfShare: boolean,
  leftOut: number,
): string {
  const { failure, reason, farFailure, far } = entry;
  const path = redactPath === null ? entry.path : redactPath(entry.path);
  const detail = path === entry.path ? entry.detail : withoutPath(entry.detail, entry.path, path);
  return `${JSON.stringify({
    time: new Date(entry.atMs).toISOString(),
    // One by one: who logs may hand over more than is to be said.
    direction: entry.direction,
    method: entry.method,
    host: entry.host,
    path,
    source: entry.source,
    sourceAddress: entry.sourceAddress,
    destination: entry.destination,
    route: entry.route,
    endpoint: entry.endpoint,
    attempts: entry.attempts,
    status: entry.status,
    answerBytes: entry.answerBytes,
    traceId: entry.traceId,
    spanId: entry.spanId,
    // Absent rather than empty, so that `select(.failure)` finds the failed ones.
    failure: failure === '' ? undefined : failure,
    farFailure: farFailure === '' ? undefined : farFailure.slice(0, limits.farFailureCharsMax),
    reason: reason === '' ? undefined : reason,
    detail: detail === '' ? undefined : detail,
    headers: headers.length === 0 ? undefined : namedHeaders(entry.headers, headers),
    totalMs: roundMs(entry.totalMs),
    partsMs: namedParts(entry.partsMs),
    far: far === null ? undefined : { totalMs: roundMs(far.totalMs), partsMs: namedParts(far.partsMs) },
    // For how many requests the line stands; absent where it was logged for what it is.
    sampleRatio: isOfShare && sampleRatio < 1 ? sampleRatio : undefined,
    linesLeftOut: leftOut || undefined,
  })}\n`;
}

/** Of fields that came more than once all values. */
function namedHeaders(headers: readonly NamedValue[], wanted: readonly string[]): Record<string, string> {
  const named: Record<string, string> = {};
  for (const field of headers) {
    const name = field.name.toLowerCase();
    if (!wanted.includes(name)) continue;
    const value = named[name] === undefined ? field.value : `${named[name]}, ${field.value}`;
    named[name] = value.slice(0, limits.loggedHeaderCharsMax);
  }
  return named;
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
