/**
 * Consistent hashing: RingHash and Maglev look one hash up in their table; where its endpoint is tried or above the load bound, the
 * walk goes on through the table, so that the keys of one endpoint spread over all others ("Consistent Hashing with Bounded Loads",
 * Mirrokni et al. 2016).
 */
import type { HashSource } from '../../model/snapshot.ts';
import { hashKeyOf, noKey } from '../hash-key.ts';
import type { SharedLiveState } from '../live-state.ts';
import type { LoopEndpoint, PickFacts } from '../tables.ts';
import { type Balancer, type Candidates, isTried, nextUntried, none } from './balancer.ts';

/** Table entries looked at before the search goes on endpoint by endpoint: a walk over a table of millions would stall the loop. */
const walkMax = 1_024;

const noneTried: readonly number[] = [];

export interface ConsistentOptions {
  readonly candidates: Candidates;
  readonly hashOn: readonly HashSource[];
  /** 0: no bound. */
  readonly boundedLoadPercent: number;
  readonly live: SharedLiveState;
  /** The slot that sums up the Service's active requests. */
  readonly slot: number;
  readonly random: () => number;
}

abstract class Consistent implements Balancer {
  private readonly endpoints: readonly LoopEndpoint[];
  private readonly weights: Float64Array;
  private readonly hashOn: readonly HashSource[];
  private readonly loadFactor: number;
  private readonly live: SharedLiveState;
  private readonly slot: number;
  private readonly random: () => number;
  /** Positions of endpoints, in the table's order. */
  private readonly owners: Uint16Array;

  constructor(owners: Uint16Array, options: ConsistentOptions) {
    this.owners = owners;
    this.endpoints = options.candidates.endpoints;
    this.weights = options.candidates.weights;
    this.hashOn = options.hashOn;
    this.loadFactor = options.boundedLoadPercent / 100;
    this.live = options.live;
    this.slot = options.slot;
    this.random = options.random;
  }

  /** Index into `owners` for a hash from 0 to 2^32 - 1. */
  protected abstract lookUp(hash: number): number;

  pick(facts: PickFacts): LoopEndpoint {
    const key = hashKeyOf(this.hashOn, facts.request);
    const start = this.lookUp(key === noKey ? Math.floor(this.random() * 2 ** 32) : key);
    const { endpoints, owners } = this;
    const home = owners[start]!;
    const { tried } = facts;
    if (tried.length === 0 && this.loadFactor === 0) return endpoints[home]!;

    const avoided = tried.length > 0 && nextUntried(endpoints, home, tried) === none ? noneTried : tried;
    const capacity = this.capacity();
    const steps = Math.min(walkMax, owners.length);
    for (let i = 0, at = start; i < steps; i++, at = at + 1 === owners.length ? 0 : at + 1) {
      if (this.isFree(owners[at]!, avoided, capacity)) return endpoints[owners[at]!]!;
    }
    for (let i = 0, at = home; i < endpoints.length; i++, at = at + 1 === endpoints.length ? 0 : at + 1) {
      if (this.isFree(at, avoided, capacity)) return endpoints[at]!;
    }
    // All that are left are above the bound: what was not tried matters more.
    const untried = nextUntried(endpoints, home, avoided);
    return endpoints[untried === none ? home : untried]!;
  }

  scoreAt(): null {
    return null;
  }

  /** With a key, `pick` takes nothing. */
  nextFor(facts: PickFacts): number {
    const { endpoints } = this;
    if (endpoints.length > 1 && hashKeyOf(this.hashOn, facts.request) === noKey) return none;
    return endpoints.indexOf(this.pick(facts));
  }

  /** Active requests that an endpoint of average weight may have, this one included. */
  private capacity(): number {
    if (this.loadFactor === 0) return Number.POSITIVE_INFINITY;
    return (this.loadFactor * (this.live.activeRequests(this.slot) + 1)) / this.endpoints.length;
  }

  private isFree(position: number, tried: readonly number[], capacity: number): boolean {
    const endpoint = this.endpoints[position]!;
    if (isTried(endpoint, tried)) return false;
    return this.live.activeRequests(endpoint.slot) < Math.ceil(capacity * this.weights[position]!);
  }
}

export class RingHash extends Consistent {
  private readonly positions: Uint32Array;

  /** `positions` ascend; `owners` is parallel to them. */
  constructor(positions: Uint32Array, owners: Uint16Array, options: ConsistentOptions) {
    super(owners, options);
    this.positions = positions;
  }

  /** The first point at or behind the hash, going round. */
  protected lookUp(hash: number): number {
    const { positions } = this;
    let low = 0;
    let high = positions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (positions[middle]! < hash) low = middle + 1;
      else high = middle;
    }
    return low === positions.length ? 0 : low;
  }
}

export class Maglev extends Consistent {
  private readonly size: number;

  constructor(owners: Uint16Array, options: ConsistentOptions) {
    super(owners, options);
    this.size = owners.length;
  }

  protected lookUp(hash: number): number {
    return hash % this.size;
  }
}
