/** Round robin, plain and weighted: a ticket shared by all loops walks a fixed order, so the shares are exact over all of them. */
import type { SharedLiveState } from '../live-state.ts';
import type { LoopEndpoint, PickFacts } from '../tables.ts';
import { type Balancer, type Candidates, preferUntried } from './balancer.ts';

export class RoundRobin implements Balancer {
  private readonly endpoints: readonly LoopEndpoint[];
  private readonly live: SharedLiveState;
  private readonly slot: number;

  /** `slot` holds the Service's ticket. */
  constructor({ endpoints }: Candidates, live: SharedLiveState, slot: number) {
    this.endpoints = endpoints;
    this.live = live;
    this.slot = slot;
  }

  pick({ tried }: PickFacts): LoopEndpoint {
    const position = this.live.takeTicket(this.slot) % this.endpoints.length;
    return this.endpoints[preferUntried(this.endpoints, position, tried)]!;
  }

  scoreAt(): null {
    return null;
  }

  nextFor({ tried }: PickFacts): number {
    return preferUntried(this.endpoints, this.live.nextTicket(this.slot) % this.endpoints.length, tried);
  }
}

export class WeightedRoundRobin implements Balancer {
  private readonly endpoints: readonly LoopEndpoint[];
  private readonly schedule: Uint16Array;
  private readonly live: SharedLiveState;
  private readonly slot: number;

  /** `schedule` is compiled smooth (decisions/compile/schedule.ts): 5/1/1 never gives five in a row. */
  constructor({ endpoints }: Candidates, schedule: Uint16Array, live: SharedLiveState, slot: number) {
    this.endpoints = endpoints;
    this.schedule = schedule;
    this.live = live;
    this.slot = slot;
  }

  pick({ tried }: PickFacts): LoopEndpoint {
    const position = this.schedule[this.live.takeTicket(this.slot) % this.schedule.length]!;
    return this.endpoints[preferUntried(this.endpoints, position, tried)]!;
  }

  scoreAt(): null {
    return null;
  }

  nextFor({ tried }: PickFacts): number {
    const position = this.schedule[this.live.nextTicket(this.slot) % this.schedule.length]!;
    return preferUntried(this.endpoints, position, tried);
  }
}
