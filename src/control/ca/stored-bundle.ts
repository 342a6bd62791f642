/** The trust bundle as the store has it: read without asking, changed by compare-and-swap, so that several replicas can share one. */
import { randomUUID } from 'node:crypto';
import { type TrustBundle, trustBundleKey } from '../../model/identity.ts';
import { limits } from '../../model/limits.ts';
import type { Store, StoreClock } from '../store/store.ts';
import { AuthorityError } from './authority-error.ts';
import { type BundleEdit, emptyBundle } from './bundle-edits.ts';

const triesMax = 5;

export class StoredBundle {
  readonly #store: Store;
  readonly #clock: StoreClock;
  readonly #trustDomain: string;
  #parsed: { readonly revision: number; readonly bundle: TrustBundle };

  /** Throws AuthorityError `other-trust-domain`: a mesh cannot change its own. */
  constructor(store: Store, clock: StoreClock, trustDomain: string) {
    this.#store = store;
    this.#clock = clock;
    this.#trustDomain = trustDomain;
    this.#parsed = { revision: 0, bundle: emptyBundle(trustDomain) };
    const { trustDomain: stored } = this.current;
    if (stored !== trustDomain)
      throw new AuthorityError(
        'other-trust-domain',
        `The store holds a mesh of the trust domain ${stored}, not ${trustDomain}: start with --trust-domain ${stored}, or with another --store.`,
      );
  }

  /** Without roots before the first control plane has added its own. */
  get current(): TrustBundle {
    const stored = this.#store.get(trustBundleKey);
    if (stored === null) return emptyBundle(this.#trustDomain);
    if (stored.revision !== this.#parsed.revision)
      this.#parsed = { revision: stored.revision, bundle: JSON.parse(stored.value) as TrustBundle };
    return this.#parsed.bundle;
  }

  has(sha256: string): boolean {
    return this.current.roots.some((root) => root.sha256 === sha256);
  }

  /**
   * Changes it and answers the revision that has the outcome, also when there was nothing to change.
   * With `leader` nothing is written unless this control plane leads at that moment. Rejects with AuthorityError `too-many-roots`,
   * `not-leading` or `unavailable`, and with what the store rejects with.
   */
  async change(edit: BundleEdit, message: string, by: 'anybody' | 'leader' = 'anybody'): Promise<number> {
    for (let tries = 1; tries <= triesMax; tries++) {
      const before = this.current;
      const expected = this.#store.get(trustBundleKey)?.revision ?? 0;
      const after = edit(before);
      if (after === before) return expected;
      if (after.roots.length > limits.trustRootsMax) throw tooManyRoots(before);
      const result = await this.#store.commit({
        expect: new Map([[trustBundleKey, expected]]),
        changes: new Map([[trustBundleKey, JSON.stringify(after)]]),
        who: 'certificate-authority',
        message,
        requestId: randomUUID(),
        atMs: this.#clock.nowMs(),
        ...(by === 'leader' ? { onlyAsLeader: true } : {}),
      });
      if (result.tag === 'committed') return result.revision;
      if (result.tag === 'not-leading') throw new AuthorityError('not-leading', 'Another control plane leads by now.');
    }
    throw new AuthorityError('unavailable', 'The trust bundle was changed by others all the time: say it again.');
  }

  /** Calls back after each change, also one by another replica. Returns the end of that. */
  onChange(listener: () => void): () => void {
    return this.#store.subscribe((event) => {
      if (event.tag === 'revision' && event.revision.changes.some(({ key }) => key === trustBundleKey)) listener();
    });
  }
}

function tooManyRoots({ roots }: TrustBundle): AuthorityError {
  const leaving = roots.flatMap(({ retiresAt }) => retiresAt ?? []).sort();
  const next = leaving[0] === undefined ? 'none of them is leaving' : `the next one leaves at ${leaving[0]}`;
  return new AuthorityError(
    'too-many-roots',
    `The mesh believes ${roots.length} roots already, ${limits.trustRootsMax} at most; ${next}.`,
  );
}
