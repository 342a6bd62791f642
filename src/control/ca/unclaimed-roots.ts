/**
 * Where several control planes share a mesh, a root whose control plane does not come back stays believed, though nobody has its key any
 * more; and the bundle holds only so many. The leader lets go of a root that no living control plane has claimed for a day. One that
 * comes back after that joins again, as a new one does.
 */
import { limits } from '../../model/limits.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { ReplicaStatus } from '../fleet.ts';
import type { StoreClock } from '../store/store.ts';
import { reasonOf } from '../store/store-error.ts';
import { AuthorityError } from './authority-error.ts';
import { retiringRoots } from './bundle-edits.ts';
import type { StoredBundle } from './stored-bundle.ts';

const checkMs = 10 * 60_000;
/** Of all that it can have signed: another control plane's certificates may live longer than ours. */
const lifeMs = limits.certificateTtlMsMax + limits.certificateBackdateMs;

export interface UnclaimedRootsOptions {
  readonly bundle: StoredBundle;
  readonly clock: StoreClock;
  readonly logger: Logger;
  readonly replicas: () => readonly ReplicaStatus[];
}

export class UnclaimedRoots {
  readonly #options: UnclaimedRootsOptions;
  /** Since when each was seen without a control plane, by this one as the leader. */
  readonly #sinceMs = new Map<string, number>();
  #cancel: () => void = () => {};
  #isClosed = false;

  constructor(options: UnclaimedRootsOptions) {
    this.#options = options;
    this.#schedule();
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel();
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#cancel = this.#options.clock.after(checkMs, () => void this.#check().finally(() => this.#schedule()));
  }

  async #check(): Promise<void> {
    const { bundle, clock, logger, replicas } = this.#options;
    const living = replicas();
    const leads = living.some(({ isSelf, isLeader }) => isSelf && isLeader);
    // One that has not said yet which roots are its own may have any.
    if (!leads || living.some(({ roots }) => roots.length === 0)) {
      this.#sinceMs.clear();
      return;
    }
    const claimed = new Set(living.flatMap(({ roots }) => roots));
    const nowMs = clock.nowMs();
    const unclaimed = bundle.current.roots
      .filter(({ sha256, retiresAt }) => retiresAt === null && !claimed.has(sha256))
      .map(({ sha256 }) => sha256);
    for (const sha256 of [...this.#sinceMs.keys()]) if (!unclaimed.includes(sha256)) this.#sinceMs.delete(sha256);
    for (const sha256 of unclaimed) if (!this.#sinceMs.has(sha256)) this.#sinceMs.set(sha256, nowMs);
    const due = unclaimed.filter((sha256) => nowMs - this.#sinceMs.get(sha256)! >= limits.rootUnclaimedMs);
    if (due.length === 0) return;
    try {
      await bundle.change(
        retiringRoots(({ sha256 }) => due.includes(sha256), nowMs + lifeMs),
        'roots leave that no control plane has had for a day',
        // One that stood still for long believes in a leadership, and in an absence, that may be over.
        'leader',
      );
      logger.info({ roots: due }, 'roots leave that no control plane has had for a day');
    } catch (error) {
      const isDeposed = error instanceof AuthorityError && error.code === 'not-leading';
      if (isDeposed) this.#sinceMs.clear();
      else if (!this.#isClosed) logger.error({ error: reasonOf(error) }, 'a root could not leave the trust bundle');
    }
  }
}
