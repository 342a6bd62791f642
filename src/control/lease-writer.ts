/** Writes leases: one write at a time for each sidecar, and of those that wait only the newest. */
import { limits } from '../model/limits.ts';
import type { Store } from './store/store.ts';

interface Waiting {
  value: string | null;
  readonly done: Promise<void>;
}

export class LeaseWriter {
  readonly #store: Store;
  readonly #running = new Map<string, Promise<void>>();
  readonly #waiting = new Map<string, Waiting>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Creates, replaces or renews the lease; null ends it. Resolves when this or a newer value is in the store. */
  write(id: string, value: string | null): Promise<void> {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) {
      waiting.value = value;
      return waiting.done;
    }
    const running = this.#running.get(id);
    return running === undefined ? this.#run(id, value) : this.#runAfter(running, id, value);
  }

  #run(id: string, value: string | null): Promise<void> {
    const write = value === null ? this.#store.deleteLease(id) : this.#store.putLease(id, value, limits.leaseMs);
    const done = write.finally(() => {
      if (this.#running.get(id) === done) this.#running.delete(id);
    });
    this.#running.set(id, done);
    return done;
  }

  #runAfter(running: Promise<void>, id: string, value: string | null): Promise<void> {
    const start = () => {
      this.#waiting.delete(id);
      return this.#run(id, entry.value);
    };
    // The write before reports its own failure to who asked for it.
    const entry: Waiting = { value, done: running.then(start, start) };
    this.#waiting.set(id, entry);
    return entry.done;
  }
}
