/**
 * Whose the names of sidecars are, from the moment that one greets until its lease has ended, and how much their leases hold. A token proves a
 * Service and not a name: whoever knew another's name could take its lease and its endpoint with a token of any Service, and may come under as many
 * names as it likes. A Service may have thousands of replicas, so what is bounded is not their number.
 */
import { limits } from '../model/limits.ts';
import type { HelloFault } from './hello-check.ts';

/** Of a lease, what says whose it is. */
export interface ClaimedName {
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
}

interface Claim {
  readonly owner: string;
  readonly chars: number;
}

export class LeaseClaims {
  readonly #claims = new Map<string, Claim>();
  readonly #charsByOwner = new Map<string, number>();
  #chars = 0;

  /**
   * Null: the name is this Service's now, and there is room for a lease of so many characters. A sidecar of the same Service may take a name over: it
   * may be the same one, back again. A lease that does not grow always has room.
   */
  claim(name: ClaimedName, chars: number): HelloFault | null {
    const owner = ownerOf(name);
    const before = this.#claims.get(name.sidecar);
    if (before !== undefined && before.owner !== owner)
      return { code: 'wrong-identity', message: 'a sidecar of another Service has this name' };
    const growth = chars - (before?.chars ?? 0);
    const fault = growth > 0 ? this.#faultOf(owner, chars, growth) : null;
    if (fault === null) this.put(name, chars);
    return fault;
  }

  /** The store says so. */
  put(name: ClaimedName, chars: number): void {
    this.release(name.sidecar);
    const owner = ownerOf(name);
    this.#claims.set(name.sidecar, { owner, chars });
    this.#add(owner, chars);
  }

  /** Its lease has ended, or never began. */
  release(sidecar: string): void {
    const claim = this.#claims.get(sidecar);
    if (claim === undefined) return;
    this.#claims.delete(sidecar);
    this.#add(claim.owner, -claim.chars);
  }

  #faultOf(owner: string, chars: number, growth: number): HelloFault | null {
    const { leaseCharsMax, leaseCharsPerServiceMax, leaseCharsTotalMax } = limits;
    if (chars > leaseCharsMax) return tooLarge('those of one sidecar', leaseCharsMax);
    if ((this.#charsByOwner.get(owner) ?? 0) + growth > leaseCharsPerServiceMax)
      return tooLarge(`those of all sidecars of ${owner} together`, leaseCharsPerServiceMax);
    if (this.#chars + growth > leaseCharsTotalMax)
      return tooLarge('those of all sidecars together', leaseCharsTotalMax);
    return null;
  }

  #add(owner: string, chars: number): void {
    this.#chars += chars;
    const sum = (this.#charsByOwner.get(owner) ?? 0) + chars;
    if (sum === 0) this.#charsByOwner.delete(owner);
    else this.#charsByOwner.set(owner, sum);
  }
}

const tooLarge = (what: string, charsMax: number): HelloFault => ({
  code: 'lease-too-large',
  message: `a lease keeps hosts and registration: ${what} have at most ${charsMax} characters; subscribe fewer hosts`,
});
const ownerOf = ({ service, namespace }: ClaimedName): string => `${service}.${namespace}`;
