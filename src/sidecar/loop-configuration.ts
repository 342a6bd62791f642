/** The configuration in force on one loop: the compiled units that every loop holds, opened on this one. */
import { inSlices } from '../decisions/slices.ts';
import type { UnitName } from '../model/snapshot.ts';
import type { CompiledUnit } from '../proxy/compiled-unit.ts';
import type { SharedLiveState } from '../proxy/live-state.ts';
import {
  type OpenOptions,
  type OpenResult,
  type OpenSnapshot,
  openSnapshot,
  openSteps,
} from '../proxy/open-snapshot.ts';
import type { ConfigurationInForce } from '../proxy/proxy.ts';
import type { CompiledChange } from './loop.ts';

export class LoopConfiguration implements ConfigurationInForce {
  current: OpenSnapshot | null = null;
  private compiled: ReadonlyMap<UnitName, CompiledUnit> = new Map();
  /** Opened ahead, and by which change. Changes come one after the other, so nothing is swapped in between. */
  private prepared: { readonly changed: CompiledChange['changed']; readonly opened: OpenResult } | null = null;

  constructor(
    private readonly live: SharedLiveState,
    /** `Math.random`. */
    private readonly random: () => number,
  ) {}

  /** Opens what the next `swap` is to bring, without holding the loop. Rejects with what is wrong with the units. */
  async prepare(change: CompiledChange): Promise<void> {
    this.prepared = { changed: change.changed, opened: await inSlices(openSteps(this.openOptions(change))) };
  }

  /** @throws what is wrong with the units; the version before stays in force then. */
  swap(change: CompiledChange): void {
    const { prepared } = this;
    this.prepared = null;
    const isPrepared = prepared !== null && prepared.changed === change.changed;
    const opened = isPrepared ? prepared.opened : openSnapshot(this.openOptions(change));
    this.compiled = this.after(change);
    this.current = opened.snapshot;
    for (const endpoint of opened.left) endpoint.upstream?.retire();
  }

  private openOptions(change: CompiledChange): OpenOptions {
    const { live, random, current: previous } = this;
    const compiled = this.after(change).values();
    return { revision: change.revision, compiled, previous, live, slots: null, random };
  }

  private after({ changed, left }: CompiledChange): Map<UnitName, CompiledUnit> {
    const compiled = new Map(this.compiled);
    for (const name of left) compiled.delete(name);
    for (const unit of changed) compiled.set(unit.name, unit);
    return compiled;
  }
}
