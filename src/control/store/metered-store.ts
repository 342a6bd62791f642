/** A store as it is, whose writes and looks are timed, and whose failures are counted. */
import type { ControlCounts, StoreOperation } from '../control-counts.ts';
import type {
  Commit,
  CommitResult,
  Revision,
  Store,
  StoreClock,
  StoredLease,
  StoredObject,
  StoreEvent,
  StoreOutage,
  StoreReplica,
} from './store.ts';
import { StoreError } from './store-error.ts';

export class MeteredStore implements Store {
  readonly #store: Store;
  readonly #counts: ControlCounts;
  readonly #clock: StoreClock;

  constructor(store: Store, counts: ControlCounts, clock: StoreClock) {
    this.#store = store;
    this.#counts = counts;
    this.#clock = clock;
  }

  commit(commit: Commit): Promise<CommitResult> {
    return this.#timed('commit', () => this.#store.commit(commit));
  }

  sync(): Promise<void> {
    return this.#timed('sync', () => this.#store.sync());
  }

  /** Thousands a second, nearly all of them in memory: only what fails is worth counting. */
  putLease(id: string, value: string, ttlMs: number): Promise<void> {
    return this.#counted('lease', this.#store.putLease(id, value, ttlMs));
  }

  deleteLease(id: string): Promise<void> {
    return this.#counted('lease', this.#store.deleteLease(id));
  }

  get revision(): number {
    return this.#store.revision;
  }

  get knownAtMs(): number {
    return this.#store.knownAtMs;
  }

  get outage(): StoreOutage | null {
    return this.#store.outage;
  }

  get replicaId(): string {
    return this.#store.replicaId;
  }

  get(key: string): StoredObject | null {
    return this.#store.get(key);
  }

  list(): Iterable<StoredObject> {
    return this.#store.list();
  }

  revisionsAfter(from: number): readonly Revision[] | null {
    return this.#store.revisionsAfter(from);
  }

  madeBy(requestId: string): Revision | null {
    return this.#store.madeBy(requestId);
  }

  history(limit: number): readonly Revision[] {
    return this.#store.history(limit);
  }

  leases(): Iterable<StoredLease> {
    return this.#store.leases();
  }

  replicas(): Iterable<StoreReplica> {
    return this.#store.replicas();
  }

  tell(compose: () => string): void {
    this.#store.tell(compose);
  }

  holderOf(leaseId: string): StoreReplica | null {
    return this.#store.holderOf(leaseId);
  }

  isTold(leaseId: string): boolean {
    return this.#store.isTold(leaseId);
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    return this.#store.subscribe(listener);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #timed<T>(operation: 'commit' | 'sync', run: () => Promise<T>): Promise<T> {
    const beganMs = this.#clock.nowMs();
    try {
      return await this.#counted(operation, run());
    } finally {
      this.#counts.store[operation].observe(this.#clock.nowMs() - beganMs);
    }
  }

  #counted<T>(operation: StoreOperation, running: Promise<T>): Promise<T> {
    return running.catch((error: unknown) => {
      this.#counts.storeFailed(operation, error instanceof StoreError ? error.code : 'other');
      throw error;
    });
  }
}
