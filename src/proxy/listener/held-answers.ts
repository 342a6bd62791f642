/** Answer heads that wait until the end of the turn for their body, so that both leave in one write. */
export interface HeldAnswer {
  /** The turn is over and the rest of the answer has not come. Ignored by an answer that was written meanwhile. */
  flushHeld(): void;
}

export class HeldAnswers {
  /** Bounded by the requests under way. */
  private held: HeldAnswer[] = [];

  /** Also for a listener whose turn ends before the microtasks behind it. */
  readonly flush = (): void => {
    const { held } = this;
    if (held.length === 0) return;
    this.held = [];
    for (const answer of held) answer.flushHeld();
  };

  /** One microtask for all answers whose head came in this turn. */
  hold(answer: HeldAnswer): void {
    if (this.held.push(answer) === 1) queueMicrotask(this.flush);
  }
}
