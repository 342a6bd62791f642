/**
 * Sends spans to a collector by OTLP over HTTP: those of all event loops, some hundred in a request, one request at a time. While the collector
 * takes none they wait here, up to so many bytes, then on their loops, and then they are dropped and counted: traffic never waits for it.
 * https://opentelemetry.io/docs/specs/otlp/#otlphttp
 */
import { limits } from '../model/limits.ts';
import { type SpanDropReason, type SpanDrops, spanDropReasons } from '../model/span.ts';
import type { LimitedLog } from '../telemetry/limited-log.ts';
import { partialSuccessOf, refusalMessageOf, type SpanResource, traceRequestOf } from '../wire/otlp-request.ts';
import type { Clock } from './clock.ts';
import type { PostOutcome, PostTraces } from './otlp-client.ts';

/** Encoded spans of one event loop. */
export interface SpanBatch {
  readonly bytes: Uint8Array;
  /** So many are in it. */
  readonly spans: number;
}

/** Takes a batch and calls back once, when there may be another; never within the call. */
export type TakeSpans = (batch: SpanBatch, taken: () => void) => void;

export interface SpanExporterOptions {
  readonly resource: SpanResource;
  /** For the log. */
  readonly url: string;
  readonly post: PostTraces;
  readonly clock: Clock;
  /** `Math.random` */
  readonly random: () => number;
  readonly log: LimitedLog;
}

/** By OTLP these may be tried again; every other answer but 2xx may not. */
const retryableStatuses: ReadonlySet<number> = new Set([429, 502, 503, 504]);

interface Offered {
  readonly batch: SpanBatch;
  readonly taken: () => void;
}

export class SpanExporter {
  exported = 0;
  readonly #options: SpanExporterOptions;
  readonly #dropped = Object.fromEntries(spanDropReasons.map((reason) => [reason, 0])) as Record<
    SpanDropReason,
    number
  >;
  readonly #backlog: SpanBatch[] = [];
  #backlogBytes = 0;
  /** At most one of each loop. */
  readonly #offered: Offered[] = [];
  #isSending = false;
  #isClosing = false;
  #failures = 0;
  /** Ends the pause before a next try. */
  #wake: () => void = () => {};
  #whenIdle: () => void = () => {};

  constructor(options: SpanExporterOptions) {
    this.#options = options;
  }

  get dropped(): SpanDrops {
    return this.#dropped;
  }

  readonly take: TakeSpans = (batch, taken) => {
    this.#offered.push({ batch, taken });
    queueMicrotask(() => this.#fill());
  };

  #fill(): void {
    while (this.#offered.length > 0 && this.#backlogBytes < limits.spansBacklogBytesMax) {
      const { batch, taken } = this.#offered.shift()!;
      this.#backlog.push(batch);
      this.#backlogBytes += batch.bytes.byteLength;
      taken();
    }
    if (!this.#isSending) void this.#send();
  }

  /** One request after the other while there is something to send. */
  async #send(): Promise<void> {
    this.#isSending = true;
    for (let request = this.#nextRequest(); request !== null; request = this.#nextRequest()) {
      // What waits on the loops comes up behind it.
      this.#fill();
      await this.#deliver(request);
    }
    this.#isSending = false;
    this.#whenIdle();
  }

  #nextRequest(): readonly SpanBatch[] | null {
    const batches: SpanBatch[] = [];
    let spans = 0;
    while (this.#backlog.length > 0 && (spans === 0 || spans + this.#backlog[0]!.spans <= limits.spansPerRequestMax)) {
      const batch = this.#backlog.shift()!;
      this.#backlogBytes -= batch.bytes.byteLength;
      batches.push(batch);
      spans += batch.spans;
    }
    return batches.length === 0 ? null : batches;
  }

  /** Until they are taken or given up. */
  async #deliver(batches: readonly SpanBatch[]): Promise<void> {
    const spans = batches.reduce((sum, batch) => sum + batch.spans, 0);
    const body = traceRequestOf(
      this.#options.resource,
      batches.map(({ bytes }) => bytes),
    );
    for (let tries = 1; ; tries++) {
      const outcome = await this.#options.post(body);
      if (outcome.tag === 'answered' && !retryableStatuses.has(outcome.status)) {
        this.#failures = 0;
        this.#answered(spans, outcome.status, outcome.body);
        return;
      }
      this.#failures++;
      const reason = reasonOf(outcome);
      if (this.#isClosing || tries === limits.otlpTriesMax) {
        this.#drop(this.#isClosing ? 'ended' : 'unreachable', spans, reason);
        return;
      }
      await this.#pause(this.#pauseMs(outcome));
    }
  }

  #answered(spans: number, status: number, body: Uint8Array): void {
    if (status < 200 || status > 299) {
      this.#drop('refused', spans, `it answered ${status} ${refusalMessageOf(body)}`.trimEnd());
      return;
    }
    const partial = partialSuccessOf(body);
    const rejected = Math.min(spans, partial.rejectedSpans);
    this.exported += spans - rejected;
    if (rejected > 0) this.#drop('refused', rejected, `it rejected some: ${partial.message}`);
    else if (partial.message !== '')
      this.#options.log.warn({ url: this.#options.url, message: partial.message }, 'the collector of traces warns');
  }

  #drop(why: SpanDropReason, spans: number, reason: string): void {
    this.#dropped[why] += spans;
    const { log, url } = this.#options;
    log.warn(
      { url, spans, why, reason },
      'spans were not exported: look whether the collector runs and takes OTLP/HTTP',
    );
  }

  /** What the collector asks for, or a random time within a window that doubles with each failure in a row. */
  #pauseMs(outcome: PostOutcome): number {
    const { clock, random } = this.#options;
    const askedMs = outcome.tag === 'answered' ? retryAfterMs(outcome.retryAfter, clock.nowMs()) : -1;
    if (askedMs >= 0) return Math.min(askedMs, limits.otlpRetryAfterMsMax);
    const windowMs = Math.min(limits.otlpRetryFirstMs * 2 ** Math.min(this.#failures - 1, 16), limits.otlpRetryMsMax);
    return windowMs * (0.5 + random() / 2);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Resolves when what was taken is sent, or `limits.otlpCloseMs` later; what is left is dropped. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#wake();
    if (this.#isSending || this.#offered.length > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#options.clock.after(limits.otlpCloseMs, resolve);
        this.#whenIdle = () => {
          if (this.#offered.length > 0) return;
          cancel();
          resolve();
        };
      });
    }
    const left = [...this.#backlog.splice(0), ...this.#offered.splice(0).map(({ batch }) => batch)];
    const spans = left.reduce((sum, batch) => sum + batch.spans, 0);
    if (spans > 0) this.#drop('ended', spans, 'the sidecar ended');
  }
}

const reasonOf = (outcome: PostOutcome): string =>
  outcome.tag === 'failed'
    ? outcome.reason
    : `it answered ${outcome.status} ${refusalMessageOf(outcome.body)}`.trimEnd();

/** RFC 9110 section 10.2.3: seconds, or a date. -1: neither. */
function retryAfterMs(value: string, nowMs: number): number {
  if (/^[0-9]{1,9}$/.test(value)) return Number(value) * 1000;
  const atMs = value === '' ? Number.NaN : Date.parse(value);
  return Number.isNaN(atMs) ? -1 : Math.max(0, atMs - nowMs);
}
