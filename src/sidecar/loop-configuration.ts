/** The configuration in force on one loop: the compiled units that every loop holds, opened on this one. */
import type { UnitName } from '../model/snapshot.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { SharedLiveState } from '../proxy/live-state.ts';
import { type OpenSnapshot, openSnapshot } from '../proxy/open-snapshot.ts';
import type { ConfigurationInForce } from '../proxy/proxy.ts';
import type { CompiledChange } from './loop.ts';

export class LoopConfiguration implements ConfigurationInForce {
  current: OpenSnapshot | null = null;
  private compiled: ReadonlyMap<UnitName, CompiledUnit> = new Map();

  constructor(
    private readonly live: SharedLiveState,
    /** `Math.random`. */
    private readonly random: () => number,
  ) {}

  /** @throws what is wrong with the units; the version before stays in force then. */
  swap({ revision, changed, left }: CompiledChange): void {
    const compiled = new Map(this.compiled);
    for (const name of left) compiled.delete(name);
    for (const unit of changed) compiled.set(unit.name, unit);
    const { live, random, current: previous } = this;
    const opened = openSnapshot({ revision, compiled: compiled.values(), previous, live, slots: null, random });
    this.compiled = compiled;
    this.current = opened.snapshot;
    for (const endpoint of opened.left) endpoint.upstream?.retire();
  }
}
