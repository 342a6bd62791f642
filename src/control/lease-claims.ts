/**
 * Whose the names of sidecars are, from the moment that one greets until its lease has ended. A token proves a Service and not a name, so
 * whoever knew another's name could take its lease and its endpoint with a token of any Service.
 */
import type { HelloFault } from './hello-check.ts';

/** Of a lease, what says whose it is. */
export interface ClaimedName {
  readonly sidecar: string;
  readonly service: string;
  readonly namespace: string;
}

export class LeaseClaims {
  readonly #owners = new Map<string, string>();

  /** Null: the name is this Service's now. A sidecar of the same Service may take a name over: it may be the same one, back again. */
  claim(name: ClaimedName): HelloFault | null {
    const owner = this.#owners.get(name.sidecar);
    if (owner !== undefined && owner !== ownerOf(name))
      return { code: 'wrong-identity', message: 'a sidecar of another Service has this name' };
    this.put(name);
    return null;
  }

  /** The store says so. */
  put(name: ClaimedName): void {
    this.#owners.set(name.sidecar, ownerOf(name));
  }

  /** Its lease has ended, or never began. */
  release(sidecar: string): void {
    this.#owners.delete(sidecar);
  }
}

const ownerOf = ({ service, namespace }: ClaimedName): string => `${service}.${namespace}`;
