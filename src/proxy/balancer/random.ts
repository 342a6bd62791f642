/** Random by weight. */
import type { LoopEndpoint, PickFacts } from '../tables.ts';
import { type Balancer, type Candidates, drawByWeight, none, preferUntried } from './balancer.ts';

export class WeightedRandom implements Balancer {
  private readonly endpoints: readonly LoopEndpoint[];
  private readonly cumulative: Float64Array;
  private readonly random: () => number;

  constructor({ endpoints }: Candidates, cumulative: Float64Array, random: () => number) {
    this.endpoints = endpoints;
    this.cumulative = cumulative;
    this.random = random;
  }

  pick({ tried }: PickFacts): LoopEndpoint {
    const position = drawByWeight(this.cumulative, this.random());
    return this.endpoints[preferUntried(this.endpoints, position, tried)]!;
  }

  scoreAt(): null {
    return null;
  }

  nextFor(): number {
    return this.endpoints.length === 1 ? 0 : none;
  }
}
