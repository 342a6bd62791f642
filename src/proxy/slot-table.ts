/**
 * Who owns which slot of the live state. One per sidecar, on the loop that applies configuration: it writes the slots into each compiled
 * unit before any loop opens it. An endpoint and a split keep their slot over versions; one that left keeps it for a quarantine, because
 * requests that began under an older version may still count on it.
 */
import { limits } from '../model/limits.ts';
import { finish, type Steps } from '../model/steps.ts';
import { type CompiledUnit, endpointNamesOf, factsOf, int32Of, sections, splitNamesOf } from './compiled-unit.ts';
import type { SharedLiveState } from './live-state.ts';

interface HeldUnit {
  readonly compiled: CompiledUnit;
  /** By an endpoint's address, `split NAME` or `service`, of which none looks like another. */
  readonly slots: ReadonlyMap<string, number>;
}

/** Given without a chance to interrupt: some ten microseconds. */
const slotsPerStep = 64;
/** Shared by whatever finds no slot when all are taken: balancing on load gets blunt there, nothing else. */
const overflowSlot = 0;

export interface SlotTableOptions {
  readonly live: SharedLiveState;
  /** `Math.random`: where a new schedule starts, so that the sidecars of a mesh do not all begin at the first endpoint. */
  readonly random: () => number;
  readonly nowMs: () => number;
}

export class SlotTable {
  /** How many owners had to share the overflow slot. */
  overflows = 0;

  private readonly live: SharedLiveState;
  private readonly random: () => number;
  private readonly nowMs: () => number;
  private held = new Map<string, HeldUnit>();
  /** By `UNIT KEY`, oldest first: they leave in this order. */
  private readonly quarantined = new Map<string, { readonly slot: number; readonly leftAtMs: number }>();
  private readonly free: number[] = [];
  private nextFresh = overflowSlot + 1;

  constructor({ live, random, nowMs }: SlotTableOptions) {
    this.live = live;
    this.random = random;
    this.nowMs = nowMs;
  }

  /** Makes these units the ones in force: new ones get their slots, what is not among them leaves. */
  assign(units: Iterable<CompiledUnit>): void {
    finish(this.assignSteps(units));
  }

  /** The same a step at a time. One call must be driven to its end before the next; requests may come and go meanwhile. */
  *assignSteps(units: Iterable<CompiledUnit>): Steps<void> {
    const nowMs = this.nowMs();
    this.endQuarantines(nowMs);
    const held = new Map<string, HeldUnit>();
    for (const unit of units) {
      const before = this.held.get(unit.name);
      if (before?.compiled === unit) held.set(unit.name, before);
      else held.set(unit.name, { compiled: unit, slots: yield* this.assignUnit(unit, before?.slots) });
    }
    for (const [name, { slots }] of this.held) {
      const kept = held.get(name)?.slots;
      if (kept === slots) continue;
      for (const [key, slot] of slots) {
        if (slot !== overflowSlot && kept?.get(key) !== slot)
          this.quarantined.set(`${name} ${key}`, { slot, leftAtMs: nowMs });
      }
      yield;
    }
    this.held = held;
  }

  private *assignUnit(
    unit: CompiledUnit,
    before: ReadonlyMap<string, number> | undefined,
  ): Steps<ReadonlyMap<string, number>> {
    const { balancer } = factsOf(unit);
    const decayMs = balancer.policy === 'PeakEwma' ? balancer.decayMs : 0;
    const section = int32Of(unit, sections.slots);
    const slots = new Map<string, number>();
    const group = this.slotFor(unit.name, 'service', before, overflowSlot);
    slots.set('service', group);
    section[0] = 1;
    section[1] = group;
    let at = 2;
    for (const address of endpointNamesOf(unit).addresses) {
      const slot = this.slotFor(unit.name, address, before, group);
      this.live.setDecay(slot, decayMs);
      slots.set(address, slot);
      section[at++] = slot;
      if (at % slotsPerStep === 0) yield;
    }
    for (const split of splitNamesOf(unit)) {
      const key = `split ${split}`;
      const slot = this.slotFor(unit.name, key, before, overflowSlot);
      slots.set(key, slot);
      section[at++] = slot;
      if (at % slotsPerStep === 0) yield;
    }
    return slots;
  }

  private slotFor(unit: string, key: string, before: ReadonlyMap<string, number> | undefined, group: number): number {
    const kept = before?.get(key);
    if (kept !== undefined && kept !== overflowSlot) return kept;
    const fullKey = `${unit} ${key}`;
    const returned = this.quarantined.get(fullKey);
    if (returned !== undefined) {
      this.quarantined.delete(fullKey);
      return returned.slot;
    }
    const slot = this.free.pop() ?? (this.nextFresh < limits.liveSlotsMax ? this.nextFresh++ : overflowSlot);
    if (slot === overflowSlot) this.overflows++;
    else this.live.reset(slot, group, Math.floor(this.random() * 2 ** 31));
    return slot;
  }

  private endQuarantines(nowMs: number): void {
    for (const [key, { slot, leftAtMs }] of this.quarantined) {
      if (nowMs - leftAtMs < limits.slotQuarantineMs) return;
      if (this.live.activeRequests(slot) !== 0) continue;
      this.quarantined.delete(key);
      this.free.push(slot);
    }
  }
}
