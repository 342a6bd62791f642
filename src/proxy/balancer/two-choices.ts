/**
 * Least request and Peak EWMA: two endpoints are drawn by weight and the one with the lower load is taken ("The power of two choices
 * in randomized load balancing", Mitzenmacher 2001): nearly as even as looking at all of them, and callers do not herd.
 *
 * Load is active requests per weight, and the first drawn wins between equals. So an idle Service is shared by weight, as a busy one
 * is. With equal weights this is weight/(active + 1); with unequal ones that formula, on even draws, never picks the lighter of
 * two idle endpoints.
 */
import type { SharedLiveState } from '../live-state.ts';
import type { LoopEndpoint, PickFacts } from '../tables.ts';
import { type Balancer, type Candidates, drawByWeight, nextUntried, none, preferUntried } from './balancer.ts';

abstract class TwoChoices implements Balancer {
  protected readonly live: SharedLiveState;
  private readonly endpoints: readonly LoopEndpoint[];
  private readonly weights: Float64Array;
  private readonly cumulative: Float64Array;
  private readonly random: () => number;

  constructor(candidates: Candidates, cumulative: Float64Array, live: SharedLiveState, random: () => number) {
    this.endpoints = candidates.endpoints;
    this.weights = candidates.weights;
    this.cumulative = cumulative;
    this.live = live;
    this.random = random;
  }

  protected abstract load(slot: number, weight: number): number;

  pick({ tried }: PickFacts): LoopEndpoint {
    const { endpoints, weights } = this;
    const first = preferUntried(endpoints, this.draw(), tried);
    const second = nextUntried(endpoints, this.draw(), tried, first);
    if (second === none) return endpoints[first]!;
    const a = endpoints[first]!;
    const b = endpoints[second]!;
    return this.load(b.slot, weights[second]!) < this.load(a.slot, weights[first]!) ? b : a;
  }

  scoreAt(position: number): number {
    return this.load(this.endpoints[position]!.slot, this.weights[position]!);
  }

  nextFor(): number {
    return this.endpoints.length === 1 ? 0 : none;
  }

  private draw(): number {
    return drawByWeight(this.cumulative, this.random());
  }
}

export class LeastRequest extends TwoChoices {
  protected load(slot: number, weight: number): number {
    return this.live.activeRequests(slot) / weight;
  }
}

export class PeakEwma extends TwoChoices {
  protected load(slot: number, weight: number): number {
    return this.live.latencyEstimateMs(slot) * (1 + this.live.activeRequests(slot) / weight);
  }
}
