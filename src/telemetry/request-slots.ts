/**
 * Room for finished requests in columns: numbers and short texts in typed arrays, the rest as references to strings that live anyway. A
 * request is written without anything being allocated.
 *
 * What a client sent is copied, byte for byte and cut, never referred to: a piece of a string keeps the whole of it, and a head may be 64 KiB.
 * A slot is `numbersPerSlot` doubles, `bytesPerSlot` bytes and nine references: 656 bytes.
 */
import { limits } from '../model/limits.ts';
import type { RecentHop, RecentRequest } from '../model/recent-request.ts';
import type { TimedFailedTry } from '../model/span.ts';
import type { AccessEntry } from './access-log.ts';
import { times } from './breakdown.ts';
import { type PartsMs, parts } from './recorder.ts';

/** What is kept of a request beyond what is logged of it. */
export interface FinishedRequest extends AccessEntry {
  /** When it ended, on the monotonic clock of its event loop, ms. */
  readonly endedAtMs: number;
  /** As trace-context.ts has them. */
  readonly parentId: string;
  readonly traceFlags: number;
  /** In their order; a list that nobody changes any more. */
  readonly failedTries: readonly TimedFailedTry[];
  /** `loop` is an upper bound. */
  readonly isLoopEstimate: boolean;
  /** In force for it; 0: none. */
  readonly requestTimeoutMs: number;
  readonly perTryTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** The Service that was called; empty: none claims the host. */
  readonly called: string;
  /** Of the configuration that decided; 0: none did. */
  readonly revision: number;
}

/** Where things are among the numbers of a slot. From `isLoopEstimate` on they lie as in `times` of breakdown.ts; the far total is -1 where there is none. */
export const cell = {
  sequence: 0,
  atMs: 1,
  status: 2,
  attempts: 3,
  answerBytes: 4,
  requestTimeoutMs: 5,
  perTryTimeoutMs: 6,
  idleTimeoutMs: 7,
  pathChars: 8,
  isInbound: 9,
  revision: 10,
  isLoopEstimate: 11,
  totalMs: 12,
  parts: 13,
  farTotalMs: 13 + parts.length,
  farParts: 14 + parts.length,
} as const;
const numbersPerSlot = cell.farParts + parts.length;
const { recentPathCharsMax } = limits;
const traceIdAt = recentPathCharsMax;
const spanIdAt = traceIdAt + 32;
const bytesPerSlot = spanIdAt + 16;

export class RequestSlots {
  readonly numbers: Float64Array;
  readonly source: string[];
  readonly destination: string[];
  readonly route: string[];
  private readonly called: string[];
  private readonly bytes: Buffer;
  private readonly method: string[];
  private readonly endpoint: string[];
  private readonly failure: string[];
  private readonly detail: string[];
  private readonly farFailure: string[];

  constructor(count: number) {
    this.numbers = new Float64Array(count * numbersPerSlot);
    this.bytes = Buffer.from(new ArrayBuffer(count * bytesPerSlot));
    const texts = () => new Array<string>(count).fill('');
    this.source = texts();
    this.destination = texts();
    this.route = texts();
    this.called = texts();
    this.method = texts();
    this.endpoint = texts();
    this.failure = texts();
    this.detail = texts();
    this.farFailure = texts();
  }

  at(slot: number, cellOf: number): number {
    return this.numbers[slot * numbersPerSlot + cellOf]!;
  }

  isFailed(slot: number): boolean {
    return this.failure[slot] !== '' || this.farFailure[slot] !== '' || this.at(slot, cell.status) >= 500;
  }

  /** `sequence` from 1. */
  write(slot: number, sequence: number, request: FinishedRequest): void {
    const { numbers, bytes } = this;
    const { path, far, partsMs } = request;
    const at = slot * numbersPerSlot;
    numbers[at + cell.sequence] = sequence;
    numbers[at + cell.atMs] = request.atMs;
    numbers[at + cell.status] = request.status;
    numbers[at + cell.attempts] = request.attempts;
    numbers[at + cell.answerBytes] = request.answerBytes;
    numbers[at + cell.requestTimeoutMs] = request.requestTimeoutMs;
    numbers[at + cell.perTryTimeoutMs] = request.perTryTimeoutMs;
    numbers[at + cell.idleTimeoutMs] = request.idleTimeoutMs;
    numbers[at + cell.pathChars] = path.length;
    numbers[at + cell.isInbound] = request.direction === 'inbound' ? 1 : 0;
    numbers[at + cell.revision] = request.revision;
    numbers[at + cell.isLoopEstimate] = request.isLoopEstimate ? 1 : 0;
    numbers[at + cell.totalMs] = request.totalMs;
    copyParts(numbers, at + cell.parts, partsMs);
    numbers[at + cell.farTotalMs] = far === null ? -1 : far.totalMs;
    if (far !== null) copyParts(numbers, at + cell.farParts, far.partsMs);
    const bytesAt = slot * bytesPerSlot;
    copyText(bytes, bytesAt, path, recentPathCharsMax);
    copyText(bytes, bytesAt + traceIdAt, request.traceId, 32);
    copyText(bytes, bytesAt + spanIdAt, request.spanId, 16);
    this.method[slot] = request.method;
    this.source[slot] = request.source;
    this.destination[slot] = request.destination;
    this.route[slot] = request.route;
    this.called[slot] = request.called;
    this.endpoint[slot] = request.endpoint;
    this.failure[slot] = request.failure;
    this.detail[slot] = ownCopy(request.detail, limits.recentDetailCharsMax);
    this.farFailure[slot] = ownCopy(request.farFailure, limits.farFailureCharsMax);
  }

  hasId(slot: number, id: string): boolean {
    const at = slot * bytesPerSlot;
    if (id.length === 32) return this.bytes.toString('latin1', at + traceIdAt, at + traceIdAt + 32) === id;
    return this.bytes.toString('latin1', at + spanIdAt, at + spanIdAt + 16) === id;
  }

  /** As breakdown.ts has them. */
  timesOf(slot: number): Float64Array {
    const at = slot * numbersPerSlot + cell.isLoopEstimate;
    return this.numbers.slice(at, at + times.count);
  }

  read(slot: number): RecentRequest {
    const at = slot * bytesPerSlot;
    const pathChars = Math.min(this.at(slot, cell.pathChars), recentPathCharsMax);
    const failure = this.failure[slot]!;
    const detail = this.detail[slot]!;
    const farFailure = this.farFailure[slot]!;
    return {
      traceId: this.bytes.toString('latin1', at + traceIdAt, at + traceIdAt + 32),
      spanId: this.bytes.toString('latin1', at + spanIdAt, at + spanIdAt + 16),
      time: new Date(this.at(slot, cell.atMs)).toISOString(),
      direction: this.at(slot, cell.isInbound) === 1 ? 'inbound' : 'outbound',
      source: this.source[slot]!,
      destination: this.destination[slot]!,
      route: this.route[slot]!,
      called: this.called[slot]!,
      revision: this.at(slot, cell.revision),
      endpoint: this.endpoint[slot]!,
      method: this.method[slot]!,
      path: this.bytes.toString('latin1', at, at + pathChars),
      status: this.at(slot, cell.status),
      ...(failure === '' ? {} : { failure }),
      ...(detail === '' ? {} : { detail }),
      ...(farFailure === '' ? {} : { farFailure }),
      attempts: this.at(slot, cell.attempts),
      answerBytes: this.at(slot, cell.answerBytes),
      isLoopEstimate: this.at(slot, cell.isLoopEstimate) === 1,
      ...this.hop(slot, cell.totalMs),
      far: this.at(slot, cell.farTotalMs) < 0 ? null : this.hop(slot, cell.farTotalMs),
      timeoutsMs: {
        request: this.at(slot, cell.requestTimeoutMs),
        perTry: this.at(slot, cell.perTryTimeoutMs),
        idle: this.at(slot, cell.idleTimeoutMs),
      },
    };
  }

  private hop(slot: number, totalCell: number): RecentHop {
    const partsMs: Record<string, number> = {};
    for (let part = 0; part < parts.length; part++) {
      const ms = microsecondsOf(this.at(slot, totalCell + 1 + part));
      if (ms > 0) partsMs[parts[part]!] = ms;
    }
    return { totalMs: microsecondsOf(this.at(slot, totalCell)), partsMs };
  }
}

export function copyParts(numbers: Float64Array, at: number, partsMs: PartsMs): void {
  for (let part = 0; part < parts.length; part++) numbers[at + part] = partsMs[part]!;
}

/** Paths are short: a loop is cheaper than a call out of JavaScript, and neither allocates. An id that is missing begins with a zero, and so matches none. Answers how many were copied. */
export function copyText(bytes: Buffer, at: number, text: string, charsMax: number): number {
  const length = Math.min(text.length, charsMax);
  for (let i = 0; i < length; i++) bytes[at + i] = text.charCodeAt(i);
  if (length === 0) bytes[at] = 0;
  return length;
}

/** A piece of a string keeps the whole of it, and a head may be 64 KiB. Only failures have such texts. */
export const ownCopy = (text: string, charsMax: number): string =>
  text === '' ? '' : Buffer.from(text.slice(0, charsMax)).toString();

const microsecondsOf = (ms: number): number => Math.round(ms * 1000) / 1000;
