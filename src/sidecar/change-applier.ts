/** Brings ChangeSets into force, whole or not at all, and knows what is in force. */
import { inSlices } from '../decisions/slices.ts';
import { limits } from '../model/limits.ts';
import type { Steps } from '../model/steps.ts';
import { decodeChangeSet } from '../wire/control-frame.ts';
import { decodeChangeSteps, type ObjectChange } from '../wire/resource-codec.ts';
import type { Clock } from './clock.ts';
import { HeldObjects } from './held-objects.ts';

export interface ChangeApplierOptions {
  readonly clock: Clock;
  /** Brings all the objects into force by one swap, in the order of the calls; rejects when it cannot, and changes nothing then. */
  readonly apply: (objects: HeldObjects) => Promise<void>;
  /** Something came into force after it was refused for taking too long: the control plane believes otherwise. */
  readonly onLate: () => void;
}

export type ApplyOutcome =
  /** `hosts`: those that were answered by it. */
  | { readonly tag: 'applied'; readonly hosts: ReadonlyMap<string, string> }
  | { readonly tag: 'refused'; readonly reason: string };

export class ChangeApplier {
  readonly #options: ChangeApplierOptions;
  #held: HeldObjects | null = null;
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: ChangeApplierOptions) {
    this.#options = options;
  }

  /** What is in force; null before the first. */
  get held(): HeldObjects | null {
    return this.#held;
  }

  /** Resolves when nothing is being applied, at most `limits.applyMs` from now: only then is `held` what a Hello may say. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** What was in force when this sidecar ended. Rejects when it cannot be used any more. */
  async restore(held: HeldObjects): Promise<void> {
    await this.#options.apply(held);
    this.#held = held;
  }

  /** Never rejects. */
  take(changeSet: Uint8Array): Promise<ApplyOutcome> {
    const outcome = this.#take(changeSet).catch(
      (error: unknown): ApplyOutcome => ({ tag: 'refused', reason: messageOf(error) }),
    );
    this.#running = outcome;
    return outcome;
  }

  /** These hosts are subscribed no more. */
  forget(hosts: readonly string[]): void {
    if (hosts.length > 0) this.#held = this.#held?.forget(hosts) ?? null;
  }

  async #take(bytes: Uint8Array): Promise<ApplyOutcome> {
    const { revision, changes: encoded, hosts } = decodeChangeSet(bytes);
    const changes = await inSlices(decodeAll(encoded));
    const next = (this.#held ?? HeldObjects.none).with({ revision, changes, hosts });
    // An empty one only moves the revision, unless it is the first: then there is a configuration from now on, if an empty one.
    if (changes.length > 0 || this.#held === null) await this.#applyInTime(next);
    // Subscriptions that ended meanwhile were forgotten in what was held, and must not come back.
    const before = this.#held;
    this.#held = next.forget([...next.hosts.keys()].filter((host) => !hosts.has(host) && !before?.hosts.has(host)));
    return { tag: 'applied', hosts };
  }

  async #applyInTime(next: HeldObjects): Promise<void> {
    const { clock, apply, onLate } = this.#options;
    let isLate = false;
    let cancelTimer = () => {};
    const deadline = new Promise<never>((_, reject) => {
      cancelTimer = clock.after(limits.applyMs, () => {
        isLate = true;
        reject(new Error(`it was not in force after ${limits.applyMs} ms`));
      });
    });
    const applied = apply(next).then(() => {
      if (!isLate) return;
      this.#held = next;
      onLate();
    });
    try {
      await Promise.race([applied, deadline]);
    } finally {
      cancelTimer();
    }
  }
}

function* decodeAll(encoded: readonly Uint8Array[]): Steps<readonly ObjectChange[]> {
  const changes: ObjectChange[] = [];
  for (const bytes of encoded) {
    changes.push(yield* decodeChangeSteps(bytes));
    yield;
  }
  return changes;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
