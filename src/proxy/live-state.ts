/**
 * What changes with every request, by slot, in one SharedArrayBuffer that all loops share and that outlives every swap of
 * configuration: active requests, Peak EWMA of latency, tickets. slot-table.ts says whose a slot is.
 */
import { performance } from 'node:perf_hooks';
import { limits } from '../model/limits.ts';
import type { AttemptOutcome, LiveState } from './tables.ts';

/** What an endpoint that never answered is taken for (Linkerd, Finagle): slower than a good one, so that it is tried with care. */
const initialLatencyMs = 30;
/** A failure or a 429 or 503 is often quick; counted by its latency it would attract load. */
const penaltyMs = 5_000;

const slots = limits.liveSlotsMax;
const bytesPerSlot = 3 * 8 + 3 * 4;

export class SharedLiveState implements LiveState {
  /** Hand this to the other loops. Untouched pages cost no memory. */
  readonly buffer: SharedArrayBuffer;

  private readonly nowMs: () => number;
  private readonly ewmaMs: Float64Array;
  private readonly ewmaAtMs: Float64Array;
  private readonly decayMs: Float64Array;
  private readonly active: Int32Array;
  private readonly groups: Int32Array;
  private readonly tickets: Uint32Array;

  /**
   * `nowMs` must be one clock for all loops: `monotonicMs`, not `performance.now`, whose zero differs by thread. `buffer`: of the first, for the others.
   * `isShared`: several loops count in it. One alone does so without `Atomics`, whose four or five calls for a request are 1 % of its instructions.
   */
  constructor(
    nowMs: () => number,
    private readonly isShared: boolean,
    buffer: SharedArrayBuffer = new SharedArrayBuffer(slots * bytesPerSlot),
  ) {
    this.nowMs = nowMs;
    this.buffer = buffer;
    this.ewmaMs = new Float64Array(buffer, 0, slots);
    this.ewmaAtMs = new Float64Array(buffer, slots * 8, slots);
    this.decayMs = new Float64Array(buffer, slots * 16, slots);
    this.active = new Int32Array(buffer, slots * 24, slots);
    this.groups = new Int32Array(buffer, slots * 28, slots);
    this.tickets = new Uint32Array(buffer, slots * 32, slots);
  }

  /** An attempt begins: it counts for its endpoint and, as a sum, for its Service. */
  begin(slot: number): void {
    this.count(slot, 1);
    this.count(this.groups[slot]!, 1);
  }

  end(slot: number, latencyMs: number, outcome: AttemptOutcome): void {
    this.count(slot, -1);
    this.count(this.groups[slot]!, -1);
    if (this.decayMs[slot] !== 0 && outcome !== 'abandoned')
      this.observe(slot, outcome === 'ok' ? latencyMs : Math.max(latencyMs, penaltyMs));
  }

  private count(slot: number, change: number): void {
    if (this.isShared) Atomics.add(this.active, slot, change);
    else this.active[slot]! += change;
  }

  activeRequests(slot: number): number {
    return Atomics.load(this.active, slot);
  }

  /** The next number of a schedule, from 0 to 2^32 - 1: no two loops get the same one. */
  takeTicket(slot: number): number {
    return this.isShared ? Atomics.add(this.tickets, slot, 1) : this.tickets[slot]!++;
  }

  /** What `takeTicket` would answer now; takes none. */
  nextTicket(slot: number): number {
    return Atomics.load(this.tickets, slot);
  }

  /** The estimate of a slot's latency now: it fades as long as nothing is heard, so that a slow endpoint is tried again. */
  latencyEstimateMs(slot: number): number {
    const sinceMs = this.nowMs() - this.ewmaAtMs[slot]!;
    return this.ewmaMs[slot]! * Math.exp(-Math.max(0, sinceMs) / this.decayMs[slot]!);
  }

  /** A slot gets its first owner, or a new one. `group` is the slot that sums up its Service. */
  reset(slot: number, group: number, firstTicket: number): void {
    Atomics.store(this.active, slot, 0);
    Atomics.store(this.tickets, slot, firstTicket);
    this.groups[slot] = group;
    this.decayMs[slot] = 0;
  }

  /** `decayMs` is 0 where no latency is to be estimated. */
  setDecay(slot: number, decayMs: number): void {
    if (decayMs !== 0 && this.decayMs[slot] === 0) {
      this.ewmaMs[slot] = initialLatencyMs;
      this.ewmaAtMs[slot] = this.nowMs();
    }
    this.decayMs[slot] = decayMs;
  }

  /**
   * Peak EWMA (Finagle): a slower answer counts at once and whole, a faster one by how long ago the last was. Loops may race here; one
   * lost observation changes nothing that the next does not repair.
   */
  private observe(slot: number, latencyMs: number): void {
    const nowMs = this.nowMs();
    const sinceMs = Math.max(0, nowMs - this.ewmaAtMs[slot]!);
    const weight = Math.exp(-sinceMs / this.decayMs[slot]!);
    const before = this.ewmaMs[slot]!;
    this.ewmaMs[slot] = latencyMs > before ? latencyMs : before * weight + latencyMs * (1 - weight);
    this.ewmaAtMs[slot] = nowMs;
  }
}

/** `performance.now` counts from the start of its own thread; this is the way from there to the machine's monotonic clock. */
const threadStartMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Milliseconds of the machine's monotonic clock: the same in every thread. */
export function monotonicMs(): number {
  return threadStartMs + performance.now();
}
