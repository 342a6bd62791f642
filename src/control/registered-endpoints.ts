/** The endpoint sets: for each Service the endpoints that its sidecars registered, joined from their leases. */
import { createHash } from 'node:crypto';
import { limits } from '../model/limits.ts';
import type { EndpointSet, Registration, SidecarLease } from '../model/registration.ts';
import type { ConfigKey, UnitName } from '../model/snapshot.ts';
import { encodeChange } from '../wire/resource-codec.ts';
import type { PublishedObject } from './scope.ts';

/** The endpoint set of a unit: `EndpointSet/default/cart` for `cart.default`. */
export const endpointSetKey = (namespace: string, service: string): ConfigKey => `EndpointSet/${namespace}/${service}`;
const unitOf = (lease: SidecarLease): UnitName => `${lease.service}.${lease.namespace}`;

interface Members {
  readonly namespace: string;
  readonly service: string;
  readonly byLease: Map<string, Registration>;
  /** Built on demand: a Service whose thousand sidecars come at once is joined once per publish. */
  published: PublishedObject | null;
}

export class RegisteredEndpoints {
  readonly #members = new Map<ConfigKey, Members>();
  readonly #leases = new Map<string, SidecarLease>();

  /** Takes a lease as it is now (null: ended). Answers the units whose endpoints changed by it. */
  put(id: string, lease: SidecarLease | null): readonly UnitName[] {
    const before = this.#leases.get(id);
    if (lease === null) this.#leases.delete(id);
    else this.#leases.set(id, lease);
    const beforeUnit = before?.registration ? unitOf(before) : null;
    const afterUnit = lease?.registration ? unitOf(lease) : null;
    if (before?.registration && beforeUnit !== afterUnit) this.#change(before, id, null);
    if (lease?.registration) {
      if (beforeUnit === afterUnit && isSameRegistration(before?.registration, lease.registration)) return [];
      this.#change(lease, id, lease.registration);
    }
    return [...new Set([beforeUnit, afterUnit])].filter((unit) => unit !== null);
  }

  /** Null when nothing is registered under the key. */
  get(key: ConfigKey): PublishedObject | null {
    const members = this.#members.get(key);
    if (members === undefined) return null;
    members.published ??= publish(key, members);
    return members.published;
  }

  #change({ namespace, service }: SidecarLease, id: string, registration: Registration | null): void {
    const key = endpointSetKey(namespace, service);
    const members = this.#members.get(key) ?? { namespace, service, byLease: new Map(), published: null };
    members.published = null;
    if (registration === null) members.byLease.delete(id);
    else members.byLease.set(id, registration);
    if (members.byLease.size === 0) this.#members.delete(key);
    else this.#members.set(key, members);
  }
}

/** The version is a hash of the content, so that it is the same in every replica and after a restart. */
function publish(key: ConfigKey, { namespace, service, byLease }: Members): PublishedObject {
  const object: EndpointSet = { kind: 'EndpointSet', namespace, service, endpoints: endpointsOf(byLease) };
  const version = createHash('sha256').update(JSON.stringify(object)).digest('base64url').slice(0, 22);
  let encoded: Uint8Array | null = null;
  return {
    version,
    encode() {
      encoded ??= encodeChange({ key, version, object });
      return encoded;
    },
  };
}

/**
 * Sorted by address. Two leases can name one address for a while, when a sidecar was killed, or lost its state directory, and came back under
 * a new name: it counts once, and the lease that sorts last decides, in every replica alike. The links of all are kept: which of them are
 * still there is found out by dialling, and a caller takes what opens.
 */
function endpointsOf(byLease: ReadonlyMap<string, Registration>): readonly Registration[] {
  const byAddress = new Map<string, Registration>();
  for (const [, registration] of [...byLease].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const before = byAddress.get(registration.address)?.link ?? [];
    const link = [...new Set([...registration.link, ...before])].slice(0, limits.linkAddressesMax);
    byAddress.set(registration.address, canonical({ ...registration, link }));
  }
  return [...byAddress.values()].sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** Fields and labels in one order: the content hash must not depend on who wrote the lease. */
function canonical({ address, zone, labels, weight, link }: Registration): Registration {
  return { address, zone, labels: Object.fromEntries(Object.entries(labels).sort(byName)), weight, link };
}

const byName = ([a]: [string, string], [b]: [string, string]): number => (a < b ? -1 : 1);

function isSameRegistration(a: Registration | null | undefined, b: Registration): boolean {
  return a !== null && a !== undefined && JSON.stringify(canonical(a)) === JSON.stringify(canonical(b));
}
