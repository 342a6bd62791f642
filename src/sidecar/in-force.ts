/**
 * The configuration in force in this sidecar. A new one is joined into units, its changed units are compiled, and one assignment
 * swaps it in; whatever fails before that leaves the old one as it was.
 */
import { inSlices } from '../decisions/slices.ts';
import { snapshotSteps } from '../model/build-snapshot.ts';
import type { ConfigObject, ServiceUnit, Snapshot, UnitName } from '../model/snapshot.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { SharedLiveState } from '../proxy/live-state.ts';
import { type OpenSnapshot, openSteps } from '../proxy/open-snapshot.ts';
import type { ConfigurationInForce } from '../proxy/proxy.ts';
import type { SlotTable } from '../proxy/slot-table.ts';

export type CompileUnits = (units: readonly ServiceUnit[]) => Promise<readonly CompiledUnit[]>;

export interface InForceOptions {
  /** The sidecar's own: short names are looked up there. */
  readonly namespace: string;
  readonly compile: CompileUnits;
  readonly live: SharedLiveState;
  readonly slots: SlotTable;
  readonly random: () => number;
  /** Called after each swap, on the loop that serves requests. */
  readonly onSwap: (snapshot: Snapshot) => void;
}

export class InForce implements ConfigurationInForce {
  current: OpenSnapshot | null = null;
  /** What `current` was compiled from. */
  snapshot: Snapshot | null = null;
  private compiled: ReadonlyMap<UnitName, CompiledUnit> = new Map();
  private applying: Promise<void> = Promise.resolve();

  constructor(private readonly options: InForceOptions) {}

  /** One at a time, in the order of the calls. Rejects when the configuration cannot be compiled; the old one stays in force. */
  apply(objects: Iterable<ConfigObject>, revision: number): Promise<void> {
    const applied = this.applying.then(() => this.swapTo(objects, revision));
    this.applying = applied.catch(() => {});
    return applied;
  }

  private async swapTo(objects: Iterable<ConfigObject>, revision: number): Promise<void> {
    const { namespace, compile, live, slots, random, onSwap } = this.options;
    const before = this.snapshot;
    const snapshot = await inSlices(snapshotSteps({ objects, revision, namespace, previous: before }));
    const changed = [...snapshot.units.values()].filter((unit) => before?.units.get(unit.name) !== unit);
    const fresh = changed.length === 0 ? [] : await compile(changed);

    const compiled = new Map<UnitName, CompiledUnit>();
    for (const name of snapshot.units.keys()) {
      const kept = this.compiled.get(name);
      if (kept !== undefined) compiled.set(name, kept);
    }
    for (const unit of fresh) compiled.set(unit.name, unit);

    const { snapshot: opened, left } = await inSlices(
      openSteps({ revision, compiled: compiled.values(), previous: this.current, live, slots, random }),
    );
    this.compiled = compiled;
    this.snapshot = snapshot;
    this.current = opened;
    for (const endpoint of left) endpoint.upstream?.retire();
    onSwap(snapshot);
  }
}
