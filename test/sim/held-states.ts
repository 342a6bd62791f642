/**
 * What simulated sidecars hold. Thousands hold the same, so a state is an object that they share, and a ChangeSet that all of them get is decoded
 * once: who gets the same bytes in the same state comes to the same state. The bytes are compared each time.
 */
import { decodeChangeSet } from '../../src/wire/control-frame.ts';
import { decodeChange } from '../../src/wire/resource-codec.ts';

export interface HeldState {
  readonly revision: number;
  /** By key, as a Hello says it. */
  readonly versions: ReadonlyMap<string, string>;
  readonly hosts: ReadonlyMap<string, string>;
  /** The newest ways on from here. */
  readonly next: Step[];
}

export interface Step {
  readonly bytes: Buffer;
  readonly state: HeldState;
  /** Objects in the ChangeSet. */
  readonly objects: number;
}

/** Scopes that share a state (the empty one, above all) go different ways. */
const stepsKeptMax = 256;

export const emptyState = (): HeldState => ({ revision: 0, versions: new Map(), hosts: new Map(), next: [] });

/**
 * @throws WireError for what is no ChangeSet.
 * @throws Error for one that cannot follow: an older revision, or an object gone that is not held.
 */
export function stepFrom(state: HeldState, changeSet: Uint8Array): Step {
  for (let i = state.next.length - 1; i >= 0; i--) {
    const known = state.next[i]!;
    if (known.bytes.length === changeSet.length && known.bytes.equals(changeSet)) return known;
  }
  const bytes = Buffer.from(changeSet);
  const { revision, changes, hosts } = decodeChangeSet(bytes);
  if (revision < state.revision) throw new Error(`revision ${revision} came after ${state.revision}`);
  const versions = new Map(state.versions);
  for (const change of changes) {
    const { key, version, object } = decodeChange(change);
    if (object !== null) versions.set(key, version);
    else if (!versions.delete(key)) throw new Error(`${key} is removed, which is not held`);
  }
  const step = {
    bytes,
    objects: changes.length,
    state: { revision, versions, hosts: new Map([...state.hosts, ...hosts]), next: [] },
  };
  state.next.push(step);
  if (state.next.length > stepsKeptMax) state.next.shift();
  return step;
}

/** As a sidecar that starts a new connection knows it: the answers for its hosts are given anew. */
export function withoutHosts(state: HeldState, known: WeakMap<HeldState, HeldState>): HeldState {
  let without = known.get(state);
  if (without === undefined) {
    without = { ...state, hosts: new Map(), next: [] };
    known.set(state, without);
  }
  return without;
}
