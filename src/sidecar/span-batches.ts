/**
 * Encodes the spans that wait on one event loop, when some hundred do or after a second, for as long as the loop can be held at a time; and hands
 * them over, one batch at a time. While nobody takes a batch the spans wait in their queue.
 */
import { limits } from '../model/limits.ts';
import { parts } from '../telemetry/recorder.ts';
import type { SpanQueue } from '../telemetry/span-queue.ts';
import { SpanEncoder } from '../wire/otlp-span.ts';
import type { SpanBatch, TakeSpans } from './span-exporter.ts';

export interface SpanBatchesOptions {
  readonly queue: SpanQueue;
  readonly take: TakeSpans;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  /** In a later turn of the loop: `setImmediate`. */
  readonly later: (run: () => void) => void;
}

/** Of those encoded between two looks at the clock. */
const spansAtOnce = 16;
/** How often it is looked whether many wait. */
export const spansLookMs = 100;

export class SpanBatches {
  private readonly encoder = new SpanEncoder(parts);
  private chunks: Uint8Array[] = [];
  private spans = 0;
  private isBusy = false;
  private lastAtMs: number;
  private whenIdle: () => void = () => {};
  private isEnding = false;

  constructor(private readonly options: SpanBatchesOptions) {
    this.lastAtMs = options.nowMs();
  }

  /** Called every `spansLookMs`. */
  look(): void {
    const { queue, nowMs } = this.options;
    if (this.isBusy || queue.length === 0) return;
    if (queue.length < limits.spansEncodedAt && nowMs() - this.lastAtMs < limits.spansEncodedAfterMs) return;
    this.begin();
  }

  private begin(): void {
    this.isBusy = true;
    this.lastAtMs = this.options.nowMs();
    this.encodeSlice();
  }

  private encodeSlice(): void {
    const { queue, nowMs, later } = this.options;
    const endsAtMs = nowMs() + limits.spansSliceMs;
    while (this.spans < limits.spansPerRequestMax && queue.length > 0) {
      if (nowMs() >= endsAtMs) {
        later(() => this.encodeSlice());
        return;
      }
      this.encodeSome();
    }
    this.handOver();
  }

  private encodeSome(): void {
    for (let i = 0; i < spansAtOnce && this.spans < limits.spansPerRequestMax; i++) {
      const span = this.options.queue.shift();
      if (span === null) break;
      this.encoder.add(span);
      this.spans++;
    }
    this.chunks.push(this.encoder.finish());
  }

  private handOver(): void {
    const batch: SpanBatch = { bytes: Buffer.concat(this.chunks), spans: this.spans };
    this.chunks = [];
    this.spans = 0;
    this.options.take(batch, () => this.taken());
  }

  private taken(): void {
    const { queue, later } = this.options;
    if (queue.length >= limits.spansEncodedAt || (this.isEnding && queue.length > 0)) {
      later(() => this.begin());
      return;
    }
    this.isBusy = false;
    if (queue.length === 0) this.whenIdle();
  }

  /** Resolves when all that wait have been taken, or after `waitMs`. */
  async flush(waitMs: number): Promise<void> {
    this.isEnding = true;
    if (!this.isBusy && this.options.queue.length === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.whenIdle = () => {
        clearTimeout(timer);
        resolve();
      };
      if (!this.isBusy) this.begin();
    });
  }
}
