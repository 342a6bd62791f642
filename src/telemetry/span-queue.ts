/**
 * The hops of one event loop that are to be exported, until somebody has time to encode them. A request is copied into columns as it ends
 * (as the last requests are: request-slots.ts), without an object being made; memory is fixed, and what finds no room is dropped and counted.
 *
 * Chosen are the requests of sampled traces, and beyond these the failed and the slow ones, so many a second.
 */
import { limits } from '../model/limits.ts';
import type { FailedTry, Span, SpanChoice, SpanHop } from '../model/span.ts';
import { isFailed } from './access-log.ts';
import { type RedactPath, withoutPath } from './path-redaction.ts';
import { type PartsMs, parts } from './recorder.ts';
import type { RequestSink } from './request-ring.ts';
import { copyParts, copyText, type FinishedRequest, ownCopy } from './request-slots.ts';
import { sampledFlag } from './trace-context.ts';

const { spansWaitingMax, spansUnsampledPerSecondMax, recentPathCharsMax, hostCharsMax } = limits;
const windowMs = 1_000;

/** Where things are among the numbers of a slot; far total -1: there is none. */
const cell = {
  isInbound: 0,
  choice: 1,
  traceFlags: 2,
  endedAtMs: 3,
  wallOffsetMs: 4,
  status: 5,
  attempts: 6,
  answerBytes: 7,
  pathChars: 8,
  hostChars: 9,
  parentChars: 10,
  isLoopEstimate: 11,
  totalMs: 12,
  parts: 13,
  farTotalMs: 13 + parts.length,
  farParts: 14 + parts.length,
} as const;
const numbersPerSlot = cell.farParts + parts.length;
const hostAt = recentPathCharsMax;
const traceIdAt = hostAt + hostCharsMax;
const spanIdAt = traceIdAt + 32;
const parentIdAt = spanIdAt + 16;
const bytesPerSlot = parentIdAt + 16;

const choices: readonly SpanChoice[] = ['flag', 'failure', 'slow'];

/** What else is kept of a request: references to what lives anyway, or copies. */
interface Texts {
  method: string;
  source: string;
  sourceAddress: string;
  destination: string;
  route: string;
  endpoint: string;
  failure: string;
  farFailure: string;
  reason: string;
  detail: string;
  failedTries: readonly FailedTry[];
}
const noTexts: Texts = {
  ...{ method: '', source: '', sourceAddress: '', destination: '', route: '', endpoint: '' },
  ...{ failure: '', farFailure: '', reason: '', detail: '', failedTries: [] },
};

export interface SpanQueueOptions {
  /** A request that took this long is exported whether its trace is sampled or not; 0: none is for that. */
  readonly slowMs: number;
  readonly redactPath: RedactPath;
  /** Default `limits.spansWaitingMax`. */
  readonly capacity?: number;
}

export class SpanQueue implements RequestSink {
  /** So many wait. */
  length = 0;
  readonly dropped = { 'queue-full': 0, 'over-rate': 0 };

  private readonly capacity: number;
  private readonly numbers: Float64Array;
  private readonly bytes: Buffer;
  private readonly texts: Texts[];
  private first = 0;
  private windowEndsAtMs = Number.NEGATIVE_INFINITY;
  private unsampledInWindow = 0;
  private wallOffsetMs = Number.NaN;

  constructor(private readonly options: SpanQueueOptions) {
    this.capacity = options.capacity ?? spansWaitingMax;
    this.numbers = new Float64Array(this.capacity * numbersPerSlot);
    this.bytes = Buffer.from(new ArrayBuffer(this.capacity * bytesPerSlot));
    this.texts = Array.from({ length: this.capacity }, () => ({ ...noTexts }));
  }

  record(request: FinishedRequest): void {
    const choice = this.choiceOf(request);
    if (choice === -1) return;
    if (this.length === this.capacity) {
      this.dropped['queue-full']++;
      return;
    }
    const slot = (this.first + this.length++) % this.capacity;
    this.writeNumbers(slot, choice, request);
    this.writeTexts(slot, request);
  }

  /** Index into `choices`, or -1. */
  private choiceOf(request: FinishedRequest): number {
    if ((request.traceFlags & sampledFlag) !== 0) return 0;
    const { slowMs } = this.options;
    const choice = isFailed(request) ? 1 : slowMs > 0 && request.totalMs >= slowMs ? 2 : -1;
    if (choice === -1) return -1;
    if (request.endedAtMs >= this.windowEndsAtMs) {
      this.windowEndsAtMs = request.endedAtMs + windowMs;
      this.unsampledInWindow = 0;
    }
    if (this.unsampledInWindow < spansUnsampledPerSecondMax) {
      this.unsampledInWindow++;
      return choice;
    }
    this.dropped['over-rate']++;
    return -1;
  }

  private writeNumbers(slot: number, choice: number, request: FinishedRequest): void {
    const { numbers } = this;
    const { far } = request;
    const at = slot * numbersPerSlot;
    const wallOffsetMs = this.offsetFor(request);
    numbers[at + cell.isInbound] = request.direction === 'inbound' ? 1 : 0;
    numbers[at + cell.choice] = choice;
    numbers[at + cell.traceFlags] = request.traceFlags;
    numbers[at + cell.endedAtMs] = request.endedAtMs + wallOffsetMs;
    numbers[at + cell.wallOffsetMs] = wallOffsetMs;
    numbers[at + cell.status] = request.status;
    numbers[at + cell.attempts] = request.attempts;
    numbers[at + cell.answerBytes] = request.answerBytes;
    numbers[at + cell.isLoopEstimate] = request.isLoopEstimate ? 1 : 0;
    numbers[at + cell.totalMs] = request.totalMs;
    copyParts(numbers, at + cell.parts, request.partsMs);
    numbers[at + cell.farTotalMs] = far === null ? -1 : far.totalMs;
    if (far !== null) copyParts(numbers, at + cell.farParts, far.partsMs);
  }

  /**
   * What makes a reading of the monotonic clock one since the epoch. The wall clock is read in whole milliseconds, and set now and then: the offset
   * stays as it is while it agrees with it, so that spans of one loop stay in order to the microsecond.
   */
  private offsetFor({ atMs, endedAtMs }: FinishedRequest): number {
    const wallMs = endedAtMs + this.wallOffsetMs;
    // Not a number before the first one.
    if (!(wallMs >= atMs && wallMs < atMs + 1)) this.wallOffsetMs = (wallMs > atMs ? atMs + 0.999 : atMs) - endedAtMs;
    return this.wallOffsetMs;
  }

  private writeTexts(slot: number, request: FinishedRequest): void {
    const { bytes, numbers } = this;
    const { redactPath } = this.options;
    const path = redactPath === null ? request.path : redactPath(request.path);
    const at = slot * bytesPerSlot;
    const numbersAt = slot * numbersPerSlot;
    numbers[numbersAt + cell.pathChars] = copyText(bytes, at, path, recentPathCharsMax);
    numbers[numbersAt + cell.hostChars] = copyText(bytes, at + hostAt, request.host, hostCharsMax);
    copyText(bytes, at + traceIdAt, request.traceId, 32);
    copyText(bytes, at + spanIdAt, request.spanId, 16);
    numbers[numbersAt + cell.parentChars] = copyText(bytes, at + parentIdAt, request.parentId, 16);
    const texts = this.texts[slot]!;
    texts.method = request.method;
    texts.source = request.source;
    texts.sourceAddress = request.sourceAddress;
    texts.destination = request.destination;
    texts.route = request.route;
    texts.endpoint = request.endpoint;
    texts.failure = request.failure;
    texts.farFailure = ownCopy(request.farFailure, limits.farFailureCharsMax);
    texts.reason = request.reason;
    texts.detail = ownCopy(withoutPath(request.detail, request.path, path), limits.recentDetailCharsMax);
    texts.failedTries = request.failedTries;
  }

  /** The oldest one, which leaves; null: there is none. */
  shift(): Span | null {
    if (this.length === 0) return null;
    const slot = this.first;
    this.first = (slot + 1) % this.capacity;
    this.length--;
    const texts = this.texts[slot]!;
    const span = this.read(slot, texts);
    Object.assign(texts, noTexts);
    return span;
  }

  private read(slot: number, texts: Texts): Span {
    const { bytes } = this;
    const at = (cellOf: number): number => this.numbers[slot * numbersPerSlot + cellOf]!;
    const text = (from: number, chars: number): string =>
      bytes.toString('latin1', slot * bytesPerSlot + from, slot * bytesPerSlot + from + chars);
    return {
      ...texts,
      traceId: text(traceIdAt, 32),
      spanId: text(spanIdAt, 16),
      parentId: text(parentIdAt, at(cell.parentChars)),
      traceFlags: at(cell.traceFlags),
      chosenFor: choices[at(cell.choice)]!,
      direction: at(cell.isInbound) === 1 ? 'inbound' : 'outbound',
      endedAtMs: at(cell.endedAtMs),
      wallOffsetMs: at(cell.wallOffsetMs),
      host: text(hostAt, at(cell.hostChars)),
      path: text(0, at(cell.pathChars)),
      attempts: at(cell.attempts),
      status: at(cell.status),
      answerBytes: at(cell.answerBytes),
      hop: this.hop(slot, cell.totalMs),
      isLoopEstimate: at(cell.isLoopEstimate) === 1,
      far: at(cell.farTotalMs) < 0 ? null : this.hop(slot, cell.farTotalMs),
    };
  }

  private hop(slot: number, totalCell: number): SpanHop {
    const at = slot * numbersPerSlot + totalCell;
    const partsMs: PartsMs = this.numbers.slice(at + 1, at + 1 + parts.length);
    return { totalMs: this.numbers[at]!, partsMs };
  }
}
