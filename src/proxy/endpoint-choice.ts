/** Which endpoint an attempt goes to: the balancer's choice, and what endpoints say of themselves. */
import { limits } from '../model/limits.ts';
import type { Exchange } from './exchange.ts';
import type { LoopEndpoint, LoopService } from './tables.ts';

/** The balancer's choice, unless that endpoint says of itself that another is better and there is one. */
export function pickEndpoint(destination: LoopService, exchange: Exchange): LoopEndpoint | null {
  let endpoint = destination.pick(exchange);
  for (let passed = 0; endpoint?.upstream?.isAvoided === true && passed < limits.endpointsPassedOverMax; passed++) {
    if (exchange.tried.includes(endpoint.slot)) break;
    exchange.noteTried(endpoint.slot);
    endpoint = destination.pick(exchange);
  }
  return endpoint;
}

export function hasUntried({ destination, tried }: Exchange): boolean {
  return destination?.endpoints.some(({ slot }) => !tried.includes(slot)) === true;
}
