/**
 * Writes an empty Service at the first registration of an unknown name, so that every reference to it has a target. A mistyped name makes one
 * too, and it stays: whoever registered is told, and whoever asks.
 */
import { randomUUID } from 'node:crypto';
import { isObjectKey, keyOf, type ObjectKey, type Service } from '../model/resources.ts';
import { slipOf } from '../model/similar-names.ts';
import type { Revision, Store, StoreClock } from './store/store.ts';

/** Who has made a revision in which a Service was founded. */
const who = 'registration';
/** So many revisions are looked through for them. */
const revisionsLookedAt = 1_000;
/** So many of the newest are compared with the other names: it is work for each pair. */
const comparedMax = 20;

/** Whether a registration made it: nobody has decided that, and as long as the sidecar is there it is needed. */
export const isFounding = ({ who: by }: Revision, { before }: Revision['changes'][number]): boolean =>
  by === who && before === null;

/** A Service that a registration has created, and to which nobody has written anything since. */
export interface FoundedService {
  readonly name: string;
  readonly namespace: string;
  /** ISO 8601. */
  readonly at: string;
  /** An older Service of the namespace whose name may have been meant; null: none is that close. */
  readonly similar: string | null;
}

/** Of the Service that a registration has just created: see `FoundedService`. */
export function similarService(store: Store, name: string, namespace: string): string | null {
  return slipOf(name, namesIn(store, namespace));
}

function* namesIn(store: Store, namespace: string): Generator<string> {
  const prefix = `Service/${namespace}/`;
  for (const { key } of store.list()) if (key.startsWith(prefix)) yield key.slice(prefix.length);
}

/** Those that still are in the store, out of its newest revisions; the newest first. */
export function foundedServices(store: Store): readonly FoundedService[] {
  const founded = store
    .history(revisionsLookedAt)
    .filter((revision) => revision.who === who)
    .flatMap(({ atMs, changes }) =>
      changes
        .filter(({ key, after }) => isObjectKey(key) && after !== null && store.get(key)?.value === after)
        .map(({ after }) => {
          const { name, namespace = '' } = (JSON.parse(after!) as Service).metadata;
          return { name, namespace, at: new Date(atMs).toISOString() };
        }),
    );
  return founded.map((service, index) => ({
    ...service,
    similar: index < comparedMax ? olderSimilar(store, service, founded.slice(0, index)) : null,
  }));
}

/** Of two names alike the first one is right until somebody says otherwise. */
function olderSimilar(
  store: Store,
  { name, namespace }: Pick<FoundedService, 'name' | 'namespace'>,
  younger: readonly Pick<FoundedService, 'name' | 'namespace'>[],
): string | null {
  const names = new Set(namesIn(store, namespace));
  for (const other of younger) if (other.namespace === namespace) names.delete(other.name);
  return slipOf(name, names);
}

export class ServiceFounder {
  readonly #store: Store;
  readonly #clock: StoreClock;
  /** Many sidecars of a new Service come at once: they share one commit. */
  readonly #running = new Map<ObjectKey, Promise<boolean>>();

  constructor(store: Store, clock: StoreClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Resolves when the Service is in the store: true when it was not before, and this has written it. Rejects with what the store rejects with. */
  found(name: string, namespace: string): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    const creationTimestamp = new Date(nowMs).toISOString();
    const service: Service = {
      apiVersion: 'weft.mesh/v1',
      kind: 'Service',
      metadata: { name, namespace, creationTimestamp },
      spec: {},
    };
    const key = keyOf(service);
    if (this.#store.get(key) !== null) return Promise.resolve(false);
    let commit = this.#running.get(key);
    if (commit === undefined) {
      commit = this.#commit(key, service, nowMs).finally(() => this.#running.delete(key));
      this.#running.set(key, commit);
    }
    return commit;
  }

  /** A conflict means that somebody else was faster, which is as good. */
  async #commit(key: ObjectKey, service: Service, atMs: number): Promise<boolean> {
    const { tag } = await this.#store.commit({
      expect: new Map([[key, 0]]),
      changes: new Map([[key, JSON.stringify(service)]]),
      who,
      message: `first registration of ${service.metadata.name}`,
      requestId: randomUUID(),
      atMs,
    });
    return tag === 'committed';
  }
}
