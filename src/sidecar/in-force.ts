/**
 * The configuration in force in this sidecar. A new one is joined into units, its changed units are compiled and get their slots, and each
 * loop swaps it in by one assignment; whatever fails before that leaves the old one as it was.
 */
import { inSlices } from '../decisions/slices.ts';
import { snapshotSteps } from '../model/build-snapshot.ts';
import type { ConfigObject, ServiceUnit, Snapshot, UnitName } from '../model/snapshot.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { SlotTable } from '../proxy/slot-table.ts';
import type { CompiledChange } from './loop.ts';

export type CompileUnits = (units: readonly ServiceUnit[]) => Promise<readonly CompiledUnit[]>;

export interface InForceOptions {
  /** The sidecar's own: short names are looked up there. */
  readonly namespace: string;
  readonly compile: CompileUnits;
  readonly slots: SlotTable;
  /** Opens it on the own loop, without holding that: comes before `swap`. Rejects when it cannot be opened. */
  readonly prepare: (change: CompiledChange) => Promise<void>;
  /**
   * Brings it into force on all loops, and resolves when the last one has it. Throws when it cannot be opened, and nothing has changed then;
   * rejects when a loop is late, which will have it yet.
   */
  readonly swap: (change: CompiledChange, snapshot: Snapshot) => Promise<void>;
}

export class InForce {
  /** What is in force; null before the first. */
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
    const { namespace, compile, slots, prepare, swap } = this.options;
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
    const left = [...this.compiled.keys()].filter((name) => !compiled.has(name));

    await inSlices(slots.assignSteps(compiled.values()));
    const change = { revision, changed: fresh, left };
    await prepare(change);
    const swapped = swap(change, snapshot);
    this.compiled = compiled;
    this.snapshot = snapshot;
    await swapped;
  }
}
