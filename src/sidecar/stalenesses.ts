/**
 * When the configuration in force may not have been the newest: no control plane answered, or the last change was refused. Noted by the cold half
 * as it happens, so that it can be said of a request by the time at which that ended, and no request carries anything for it.
 */
import type { Staleness } from '../model/decision.ts';
import { limits } from '../model/limits.ts';

type Cause = 'unconnected' | 'refused';

interface Span {
  readonly cause: Cause;
  readonly fromMs: number;
  /** Infinity: it lasts. */
  untilMs: number;
  reason: string;
}

export class Stalenesses {
  /** Oldest first. */
  private readonly spans: Span[] = [];

  /** `wallMs`: ms since the epoch. */
  constructor(private readonly wallMs: () => number) {}

  /** From now on; or for another reason than before. */
  begin(cause: Cause, said: string): void {
    const reason = said.slice(0, limits.recentDetailCharsMax);
    const lasting = this.lasting(cause);
    if (lasting !== undefined) {
      lasting.reason = reason;
      return;
    }
    this.spans.push({ cause, fromMs: this.wallMs(), untilMs: Number.POSITIVE_INFINITY, reason });
    if (this.spans.length > limits.stalenessesMax) this.spans.shift();
  }

  end(cause: Cause): void {
    const lasting = this.lasting(cause);
    if (lasting !== undefined) lasting.untilMs = this.wallMs();
  }

  private lasting(cause: Cause): Span | undefined {
    return this.spans.findLast((span) => span.cause === cause && span.untilMs === Number.POSITIVE_INFINITY);
  }

  /** Null: as far as is known it was the newest. */
  at(atMs: number): Staleness | null {
    const span = this.spans.findLast(({ fromMs, untilMs }) => fromMs <= atMs && atMs <= untilMs);
    return span === undefined ? null : { since: new Date(span.fromMs).toISOString(), reason: span.reason };
  }
}
