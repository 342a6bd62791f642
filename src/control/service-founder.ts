/** Writes an empty Service at the first registration of an unknown name, so that every reference to it has a target. */
import { randomUUID } from 'node:crypto';
import { keyOf, type ObjectKey, type Service } from '../model/resources.ts';
import type { Store, StoreClock } from './store/store.ts';

export class ServiceFounder {
  readonly #store: Store;
  readonly #clock: StoreClock;
  /** Many sidecars of a new Service come at once: they share one commit. */
  readonly #running = new Map<ObjectKey, Promise<void>>();

  constructor(store: Store, clock: StoreClock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Resolves when the Service is in the store, whoever wrote it. Rejects with what the store rejects with. */
  found(name: string, namespace: string): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const creationTimestamp = new Date(nowMs).toISOString();
    const service: Service = {
      apiVersion: 'weft.mesh/v1',
      kind: 'Service',
      metadata: { name, namespace, creationTimestamp },
      spec: {},
    };
    const key = keyOf(service);
    if (this.#store.get(key) !== null) return Promise.resolve();
    let commit = this.#running.get(key);
    if (commit === undefined) {
      commit = this.#commit(key, service, nowMs).finally(() => this.#running.delete(key));
      this.#running.set(key, commit);
    }
    return commit;
  }

  /** A conflict means that somebody else was faster, which is as good. */
  async #commit(key: ObjectKey, service: Service, atMs: number): Promise<void> {
    await this.#store.commit({
      expect: new Map([[key, 0]]),
      changes: new Map([[key, JSON.stringify(service)]]),
      who: 'registration',
      message: `first registration of ${service.metadata.name}`,
      requestId: randomUUID(),
      atMs,
    });
  }
}
