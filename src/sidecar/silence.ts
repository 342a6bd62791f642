/** How a sidecar finds out that its control plane is gone without a word: it looks now and then whether anything was heard. */
import { limits } from '../model/limits.ts';

/** Two looks in the time after which a lease must be renewed. */
export const silenceLookMs = limits.leaseRenewMs / 2;
/** A control plane that was not heard of in so many of them is gone. */
const silentLooksMax = 4;
/**
 * It is asked at the second silent look, and at each further one: where all is well that is once for each renewal. Asked at each look, pings were
 * the larger part of what idle sidecars cost a control plane.
 */
const askedAfterLooks = 2;

export class Silence {
  #looks = 0;

  heard(): void {
    this.#looks = 0;
  }

  /** To be called each `silenceLookMs`. `ask`: something that is answered must be sent. `gone`: there is nobody to wait for. */
  look(): 'wait' | 'ask' | 'gone' {
    if (++this.#looks > silentLooksMax) return 'gone';
    return this.#looks >= askedAfterLooks ? 'ask' : 'wait';
  }
}
